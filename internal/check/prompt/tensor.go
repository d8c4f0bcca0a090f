package prompt

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/chat"
)

const (
	ruleInput    = "WDN-EX-860"
	ruleDatatype = "WDN-EX-861"
	ruleShape    = "WDN-EX-862"
	ruleRange    = "WDN-EX-863"
	ruleFinite   = "WDN-EX-864"
)

// A TensorSpec declares an input of a classifier.
type TensorSpec struct {
	Name     string
	Datatype string   // of the Open Inference Protocol; "": any
	Shape    []int64  // rows first; below 0: any length; none: any shape
	Min, Max *float64 // of every value; nil: any
	Optional bool     // a request may leave it out
}

// sizes are the bytes of a value of each type; of BYTES they differ.
var sizes = map[string]int{
	"BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8,
	"FP16": 2, "BF16": 2, "FP32": 4, "FP64": 8, "BYTES": 0,
}

func (t TensorSpec) check() error {
	if _, ok := sizes[t.Datatype]; !ok && t.Datatype != "" {
		return fmt.Errorf("datatype %q is not one of the Open Inference Protocol", t.Datatype)
	}
	if t.Name == "" {
		return errors.New("the name is missing")
	}
	if t.Min != nil && t.Max != nil && *t.Min > *t.Max {
		return fmt.Errorf("min %v is above max %v", *t.Min, *t.Max)
	}
	return nil
}

// tensors compares the inputs of a classifier with what is declared. Values are
// tested to be finite even where nothing is.
func tensors(ctx context.Context, p *pass) error {
	in := p.Subject
	if len(in.Exchange.Tensors) == 0 && (len(in.Config.Tensors) == 0 || in.Exchange.Task != chat.Classify) {
		return in.err()
	}
	seen := map[string]bool{}
	var bad error
	for i, t := range in.Exchange.Tensors {
		at := warden.Location{Path: fmt.Sprintf("tensors/%d", i), Span: warden.Span{Unit: warden.Bytes, Start: int64(t.Data.Start), End: int64(t.Data.End)}}
		var spec TensorSpec
		for _, s := range in.Config.Tensors {
			if s.Name == t.Name {
				spec = s
			}
		}
		switch {
		case len(in.Config.Tensors) > 0 && spec.Name == "":
			p.Report(ruleInput, at, "Input %q is not declared", t.Name)
		case seen[t.Name]:
			p.Report(ruleInput, at, "Input %q comes twice", t.Name)
		}
		seen[t.Name] = true
		if spec.Datatype != "" && spec.Datatype != t.Datatype {
			p.Report(ruleDatatype, at, "Input %q is %s, declared %s", t.Name, t.Datatype, spec.Datatype)
		}
		if !sameShape(spec.Shape, t.Shape) {
			p.Report(ruleShape, at, "Input %q has shape %v, declared %v", t.Name, t.Shape, spec.Shape)
		}
		if err := in.values(ctx, p, at, t, spec); err != nil {
			bad = errors.Join(bad, fmt.Errorf("input %q: %w", t.Name, err))
		}
	}
	for _, s := range in.Config.Tensors {
		if !seen[s.Name] && !s.Optional {
			p.Report(ruleInput, warden.Location{Path: "tensors", Span: warden.One(warden.Turns, 0)}, "Input %q is missing", s.Name)
		}
	}
	return errors.Join(bad, in.err())
}

func sameShape(want, got []int64) bool {
	if len(want) == 0 {
		return true
	}
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if want[i] >= 0 && want[i] != got[i] {
			return false
		}
	}
	return true
}

// elements returns how many values a shape has; -1: no shape of anything.
func elements(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		if d < 0 || d > 0 && n > math.MaxInt64/d {
			return -1
		}
		n *= d
	}
	return n
}

// values tests every value of a tensor, and counts them.
func (in *Input) values(ctx context.Context, p *pass, at warden.Location, t chat.Tensor, spec TensorSpec) error {
	body := in.Config.Body
	if t.Datatype == "BYTES" {
		return nil // texts, which are parts of messages too
	}
	if t.Data.Start < 0 || t.Data.End > len(body) || t.Data.Start >= t.Data.End {
		if elements(t.Shape) == 0 {
			return nil
		}
		return fmt.Errorf("its values were not given to the guard: %w", detect.ErrLimit)
	}
	data := body[t.Data.Start:t.Data.End]
	var count int64
	ranged, finite := false, false
	test := func(v float64) {
		count++
		if !finite && (math.IsNaN(v) || math.IsInf(v, 0)) {
			finite = true
			p.Report(ruleFinite, at, "Value %d of input %q is not finite", count, t.Name)
		}
		if !ranged && (spec.Min != nil && v < *spec.Min || spec.Max != nil && v > *spec.Max) {
			ranged = true
			p.Report(ruleRange, at, "Value %d of input %q lies outside of what is declared", count, t.Name)
		}
	}
	var err error
	if t.Raw {
		err = rawValues(ctx, t.Datatype, data, test)
	} else {
		err = jsonValues(ctx, data, test)
	}
	if err != nil {
		return err
	}
	if count != elements(t.Shape) {
		p.Report(ruleShape, at, "Input %q has %d values, which is not its shape %v", t.Name, count, t.Shape)
	}
	return nil
}

const pace = 4096 // values between two looks at the clock

// jsonValues reads numbers and booleans in nested arrays. What JSON cannot hold
// is written as a name or a string by some clients: it is not finite.
func jsonValues(ctx context.Context, b []byte, test func(float64)) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	depth := 0
	for n := 0; ; n++ {
		if n%pace == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("its values are not JSON: %w", err)
		}
		switch v := tok.(type) {
		case json.Delim:
			if v == '{' {
				return errors.New("its values are an object")
			}
			if v == '[' {
				if depth++; depth > maxJSON {
					return fmt.Errorf("nested deeper than %d: %w", maxJSON, detect.ErrLimit)
				}
			} else {
				depth--
			}
		case json.Number:
			f, err := strconv.ParseFloat(v.String(), 64)
			if err != nil {
				f = math.Inf(1) // out of range
			}
			test(f)
		case bool:
			f := 0.0
			if v {
				f = 1
			}
			test(f)
		case string:
			if f, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil {
				test(f)
			} else {
				test(math.NaN())
			}
		default:
			test(math.NaN())
		}
	}
}

// rawValues reads little-endian values.
func rawValues(ctx context.Context, datatype string, b []byte, test func(float64)) error {
	size := sizes[datatype]
	if size == 0 {
		return fmt.Errorf("datatype %q is not known: %w", datatype, detect.ErrLimit)
	}
	if len(b)%size != 0 {
		return fmt.Errorf("%d bytes are no values of %d bytes", len(b), size)
	}
	for n := 0; len(b) > 0; n++ {
		if n%pace == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		test(rawValue(datatype, b))
		b = b[size:]
	}
	return nil
}

func rawValue(datatype string, b []byte) float64 {
	switch datatype {
	case "INT8":
		return float64(int8(b[0]))
	case "UINT16":
		return float64(binary.LittleEndian.Uint16(b))
	case "INT16":
		return float64(int16(binary.LittleEndian.Uint16(b)))
	case "UINT32":
		return float64(binary.LittleEndian.Uint32(b))
	case "INT32":
		return float64(int32(binary.LittleEndian.Uint32(b)))
	case "UINT64":
		return float64(binary.LittleEndian.Uint64(b))
	case "INT64":
		return float64(int64(binary.LittleEndian.Uint64(b)))
	case "FP16":
		return half(binary.LittleEndian.Uint16(b))
	case "BF16":
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
	case "FP32":
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	case "FP64":
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	default: // BOOL, UINT8
		return float64(b[0])
	}
}

// half returns the value of an IEEE 754 binary16.
func half(h uint16) float64 {
	sign, exp, frac := 1.0, int(h>>10)&31, float64(h&1023)
	if h&0x8000 != 0 {
		sign = -1
	}
	switch exp {
	case 0:
		return sign * math.Ldexp(frac, -24)
	case 31:
		if frac != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	default:
		return sign * math.Ldexp(1024+frac, exp-25)
	}
}
