// Package grpc reads the messages of the Open Inference Protocol over gRPC:
// the service inference.GRPCInferenceService. It decodes and edits nothing; the
// transport is the gateway's. Source: grpc_service.proto of KServe and Triton.
package grpc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/oip"
)

// Service is the full name of the service.
const Service = "inference.GRPCInferenceService"

// ErrMessage is wrapped by errors about bytes that are not one of the messages,
// or are in a form that readers could take in two ways: fields that are there
// twice, or that the protocol does not have.
var ErrMessage = errors.New("not an acceptable message of the inference protocol")

// Method returns what a path "/inference.GRPCInferenceService/ModelInfer" asks
// for. All others are unknown here: shared memory and the control of the
// repository are among them.
func Method(path string) (dialect.Op, bool) {
	op, ok := map[string]dialect.Op{
		"ModelInfer": dialect.Infer, "ModelReady": dialect.Ready, "ModelMetadata": dialect.Metadata,
		"ServerLive": dialect.Live, "ServerReady": dialect.Ready, "ServerMetadata": dialect.Metadata,
	}[strings.TrimPrefix(path, "/"+Service+"/")]
	return op, ok && strings.HasPrefix(path, "/"+Service+"/")
}

// Limits bound a message. A zero field allows nothing.
type Limits struct {
	Bytes   int
	Tensors int
	Rows    int64
}

// DefaultLimits returns those of classifiers.
func DefaultLimits() Limits { return Limits{Bytes: 64 << 20, Tensors: 256, Rows: 4096} }

// A Request is a decoded message of one of the methods.
type Request struct {
	chat.Exchange
	Version string
	Op      dialect.Op
}

// Decode reads the message of a request. The model is as the client calls it.
func Decode(op dialect.Op, body []byte, lim Limits) (*Request, error) {
	if len(body) > lim.Bytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMessage, len(body), lim.Bytes)
	}
	r := &Request{Op: op}
	r.Task, r.ID = op.Task(), ""
	var err error
	if op == dialect.Infer {
		err = r.infer(body, lim)
	} else {
		err = fields(body, func(f field) error {
			switch f.num {
			case 1:
				return f.text(&r.Model)
			case 2:
				return f.text(&r.Version)
			}
			return f.unknown()
		})
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if op == dialect.Infer && r.Model == "" {
		return nil, fmt.Errorf("%w: it names no model", ErrMessage)
	}
	return r, nil
}

// A field is one field of a message.
type field struct {
	num  protowire.Number
	kind protowire.Type
	at   int    // where val begins in the message
	val  []byte // of bytes, and of fixed numbers
	n    uint64 // of varints
	seen bool   // one of that number was there before
}

// fields calls f for each field of a message, in order.
func fields(b []byte, f func(field) error) error {
	seen := map[protowire.Number]bool{}
	for at := 0; at < len(b); {
		num, kind, n := protowire.ConsumeTag(b[at:])
		if n < 0 {
			return protowire.ParseError(n)
		}
		at += n
		x := field{num: num, kind: kind, at: at, seen: seen[num]}
		seen[num] = true
		switch kind {
		case protowire.VarintType:
			x.n, n = protowire.ConsumeVarint(b[at:])
		case protowire.BytesType:
			if x.val, n = protowire.ConsumeBytes(b[at:]); n >= 0 {
				x.at = at + n - len(x.val)
			}
		case protowire.Fixed32Type, protowire.Fixed64Type:
			if n = protowire.ConsumeFieldValue(num, kind, b[at:]); n >= 0 {
				x.val = b[at : at+n]
			}
		default:
			return fmt.Errorf("field %d is a group", num)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := f(x); err != nil {
			return err
		}
		at += n
	}
	return nil
}

func (f field) unknown() error { return fmt.Errorf("field %d is not known", f.num) }

// bytes returns the value of a field that holds bytes; single says that it may
// be there once only: of two, readers take the last or join them.
func (f field) bytes(single bool) ([]byte, error) {
	switch {
	case f.kind != protowire.BytesType:
		return nil, fmt.Errorf("field %d has wire type %d", f.num, f.kind)
	case single && f.seen:
		return nil, fmt.Errorf("field %d is there twice", f.num)
	}
	return f.val, nil
}

func (f field) text(to *string) error {
	b, err := f.bytes(true)
	if err == nil && !utf8.Valid(b) {
		err = fmt.Errorf("field %d is not UTF-8", f.num)
	}
	*to = string(b)
	return err
}

// varints appends the numbers of a repeated field, packed or not.
func (f field) varints(to []uint64) ([]uint64, error) {
	if f.kind == protowire.VarintType {
		return append(to, f.n), nil
	}
	b, err := f.bytes(false)
	for len(b) > 0 && err == nil {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		to, b = append(to, v), b[n:]
	}
	return to, err
}

// parameter refuses shared memory, whatever the case of its name.
func parameter(f field) error {
	b, err := f.bytes(false)
	if err != nil {
		return err
	}
	name := ""
	err = fields(b, func(x field) error {
		switch x.num {
		case 1:
			return x.text(&name)
		case 2:
			_, err := x.bytes(true)
			return err
		}
		return x.unknown()
	})
	if err == nil && strings.HasPrefix(strings.ToLower(strings.ToUpper(name)), "shared_memory") {
		err = errors.New("shared memory is not allowed")
	}
	return err
}

// A tensor is one that was read but not compared with its data yet.
type tensor struct {
	chat.Tensor
	contents []field // typed data
	at       int     // where the message of contents begins
	some     bool
}

func (r *Request) infer(body []byte, lim Limits) error {
	var ts []tensor
	var raws []field
	err := fields(body, func(f field) error {
		switch f.num {
		case 1:
			return f.text(&r.Model)
		case 2:
			return f.text(&r.Version)
		case 3:
			return f.text(&r.ID)
		case 4:
			return parameter(f)
		case 5:
			b, err := f.bytes(false)
			if err != nil {
				return err
			}
			if len(ts) >= lim.Tensors {
				return fmt.Errorf("more than %d inputs", lim.Tensors)
			}
			t, err := input(b, f.at)
			ts = append(ts, t)
			return err
		case 6:
			b, err := f.bytes(false)
			if err != nil {
				return err
			}
			return output(b)
		case 7:
			_, err := f.bytes(false)
			if raws = append(raws, f); len(raws) > lim.Tensors {
				err = fmt.Errorf("more than %d raw inputs", lim.Tensors)
			}
			return err
		}
		return f.unknown()
	})
	if err != nil {
		return err
	}
	if len(ts) == 0 || len(raws) > 0 && len(raws) != len(ts) {
		return fmt.Errorf("%d inputs and %d raw contents", len(ts), len(raws))
	}
	m := chat.Message{Role: chat.User}
	for i, t := range ts {
		if slices.ContainsFunc(r.Tensors, func(o chat.Tensor) bool { return o.Name == t.Name }) {
			return fmt.Errorf("input %q is there twice", t.Name)
		}
		var texts [][]byte
		if len(raws) > 0 {
			if t.some {
				return fmt.Errorf("input %q has raw and typed contents", t.Name)
			}
			texts, err = t.raw(raws[i])
		} else {
			texts, err = t.typed()
		}
		if err != nil {
			return fmt.Errorf("input %q: %w", t.Name, err)
		}
		for _, s := range texts {
			m.Parts = append(m.Parts, oip.TextOf(s))
		}
		if len(t.Shape) > 0 {
			if r.Params.Rows = max(r.Params.Rows, t.Shape[0]); r.Params.Rows > lim.Rows {
				return fmt.Errorf("input %q has %d rows, at most %d", t.Name, r.Params.Rows, lim.Rows)
			}
		}
		r.Tensors = append(r.Tensors, t.Tensor)
	}
	if len(m.Parts) > 0 {
		r.Messages = []chat.Message{m}
	}
	return nil
}

func output(b []byte) error {
	name := ""
	return fields(b, func(f field) error {
		switch f.num {
		case 1:
			return f.text(&name)
		case 2:
			return parameter(f)
		}
		return f.unknown()
	})
}

// input reads one tensor, whose message begins at that byte of the body.
func input(b []byte, at int) (tensor, error) {
	var t tensor
	var shape []uint64
	err := fields(b, func(f field) (err error) {
		switch f.num {
		case 1:
			return f.text(&t.Name)
		case 2:
			return f.text(&t.Datatype)
		case 3:
			shape, err = f.varints(shape)
			return err
		case 4:
			return parameter(f)
		case 5:
			c, err := f.bytes(true)
			if err != nil {
				return err
			}
			t.at, t.some = at+f.at, true
			return fields(c, func(x field) error {
				t.contents = append(t.contents, x)
				return nil
			})
		}
		return f.unknown()
	})
	if err != nil {
		return t, err
	}
	if _, known := oip.Sizes()[t.Datatype]; !known || t.Name == "" {
		return t, fmt.Errorf("input %q of datatype %q", t.Name, t.Datatype)
	}
	for _, s := range shape {
		t.Shape = append(t.Shape, int64(s))
	}
	_, err = oip.Count(t.Shape)
	return t, err
}

// raw compares raw bytes with shape and datatype and returns the texts in them.
func (t *tensor) raw(f field) ([][]byte, error) {
	n, err := oip.Count(t.Shape)
	if err != nil {
		return nil, err
	}
	t.Raw, t.Data = true, chat.Span{Start: f.at, End: f.at + len(f.val)}
	return oip.Raw(t.Datatype, n, f.val)
}

// places are the fields of typed contents that hold a datatype.
var places = map[string]protowire.Number{
	"BOOL": 1, "INT8": 2, "INT16": 2, "INT32": 2, "INT64": 3, "UINT8": 4, "UINT16": 4, "UINT32": 4, "UINT64": 5, "FP32": 6, "FP64": 7, "BYTES": 8,
}

// typed compares typed contents with shape and datatype. Data is where they
// stand if that is how raw bytes would stand: packed numbers of fixed size.
// Others have no place of their own: their Data is empty.
func (t *tensor) typed() ([][]byte, error) {
	count, err := oip.Count(t.Shape)
	if err != nil {
		return nil, err
	}
	place, ok := places[t.Datatype]
	if !ok {
		return nil, fmt.Errorf("%s has raw contents only", t.Datatype)
	}
	size := int64(0)
	if place == 6 || place == 7 {
		size = oip.Sizes()[t.Datatype]
	}
	var texts [][]byte
	got := int64(0)
	for _, f := range t.contents {
		switch {
		case f.num != place:
			return nil, fmt.Errorf("%s in contents of field %d", t.Datatype, f.num)
		case place == 8:
			b, err := f.bytes(false)
			if err != nil {
				return nil, err
			}
			texts = append(texts, b)
			got++
		case size > 0:
			if int64(len(f.val))%size != 0 || f.kind == protowire.VarintType || f.kind != protowire.BytesType && int64(len(f.val)) != size {
				return nil, fmt.Errorf("contents are no %s", t.Datatype)
			}
			got += int64(len(f.val)) / size
			if len(t.contents) == 1 {
				t.Raw, t.Data = true, chat.Span{Start: t.at + f.at, End: t.at + f.at + len(f.val)}
			}
		default:
			vs, err := f.varints(nil)
			if err != nil {
				return nil, err
			}
			got += int64(len(vs))
		}
	}
	if got != count {
		return nil, fmt.Errorf("%d elements for a shape of %d", got, count)
	}
	return texts, nil
}

// An Answer is the decoded message of ModelInfer's answer, as far as records
// need it.
type Answer struct {
	Model, Version, ID string
	Outputs            int
}

// DecodeAnswer reads the answer to ModelInfer.
func DecodeAnswer(body []byte, lim Limits) (*Answer, error) {
	if len(body) > lim.Bytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMessage, len(body), lim.Bytes)
	}
	a := &Answer{}
	err := fields(body, func(f field) error {
		switch f.num {
		case 1:
			return f.text(&a.Model)
		case 2:
			return f.text(&a.Version)
		case 3:
			return f.text(&a.ID)
		case 5:
			a.Outputs++
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return a, nil
}
