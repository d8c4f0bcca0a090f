package oip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// ErrTensor is wrapped by errors about data that does not fit shape or datatype.
var ErrTensor = errors.New("the data does not fit")

// Sizes returns the datatypes with the bytes of one element; 0: it varies.
func Sizes() map[string]int64 {
	return map[string]int64{
		"BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8,
		"FP16": 2, "BF16": 2, "FP32": 4, "FP64": 8, "BYTES": 0,
	}
}

// maxElements is more than any request within its limits can hold.
const maxElements = 1 << 31

// Count returns how many elements a shape has. A dimension that is negative is
// left open in metadata only.
func Count(shape []int64) (int64, error) {
	if len(shape) > 32 {
		return 0, fmt.Errorf("%w: a shape of %d dimensions", ErrTensor, len(shape))
	}
	n := int64(1)
	for _, s := range shape {
		if s < 0 || s > maxElements || n > 0 && s > maxElements/n {
			return 0, fmt.Errorf("%w: a shape of %v", ErrTensor, shape)
		}
		n *= s
	}
	return n, nil
}

// Raw checks the raw bytes of a tensor of count elements and returns the texts
// of one of BYTES: each stands behind its length, four bytes little-endian.
func Raw(datatype string, count int64, raw []byte) ([][]byte, error) {
	if size := Sizes()[datatype]; size > 0 {
		if int64(len(raw)) != count*size {
			return nil, fmt.Errorf("%w: %d raw bytes for %d elements of %s", ErrTensor, len(raw), count, datatype)
		}
		return nil, nil
	}
	var out [][]byte
	for len(raw) > 0 {
		if len(raw) < 4 {
			return nil, fmt.Errorf("%w: a length is cut off", ErrTensor)
		}
		n := int64(binary.LittleEndian.Uint32(raw))
		if raw = raw[4:]; n > int64(len(raw)) {
			return nil, fmt.Errorf("%w: an element of %d bytes in %d", ErrTensor, n, len(raw))
		}
		out = append(out, raw[:n])
		raw = raw[n:]
	}
	if int64(len(out)) != count {
		return nil, fmt.Errorf("%w: %d elements for a shape of %d", ErrTensor, len(out), count)
	}
	return out, nil
}

// TextOf returns the part of an element of BYTES, which may be a text or not.
func TextOf(s []byte) chat.Part {
	if utf8.Valid(s) {
		return chat.Part{Kind: chat.Text, Text: s}
	}
	return chat.Part{Kind: chat.File, Blob: &chat.Blob{Size: int64(len(s))}}
}

// fits reports whether a JSON value is an element of that datatype.
func fits(datatype string, v wire.Value) bool {
	switch datatype {
	case "BYTES":
		return v.Kind() == wire.String
	case "BOOL":
		return v.Kind() == wire.Bool
	case "FP16", "BF16", "FP32", "FP64":
		return v.Kind() == wire.Number
	}
	if v.Kind() != wire.Number {
		return false
	}
	var err error
	bits := int(Sizes()[datatype]) * 8
	if datatype[0] == 'U' {
		_, err = strconv.ParseUint(string(v.Raw()), 10, bits)
	} else {
		_, err = strconv.ParseInt(string(v.Raw()), 10, bits)
	}
	return err == nil
}

func answer(t dialect.Target, h dialect.Header, body []byte, lim wire.Limits) (*dialect.Answer, error) {
	head, tail, _, err := split(h, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", dialect.ErrAnswer, err)
	}
	a, root, err := dialect.BeginAnswer(t, head, lim)
	if err != nil {
		return nil, err
	}
	a.Tail = tail
	a.ID, _ = root.Get("id").Text()
	a.Model, _ = root.Get("model_name").Text()
	a.Fingerprint, _ = root.Get("model_version").Text()
	if t.Op != dialect.Infer {
		return a, nil
	}
	outs := root.Get("outputs")
	if outs.Kind() != wire.Array {
		return nil, fmt.Errorf("%w: outputs is missing or not an array", dialect.ErrAnswer)
	}
	for out := range outs.Items() {
		if tail, err = output(a, out, tail); err != nil {
			return nil, fmt.Errorf("%w: %w", dialect.ErrAnswer, err)
		}
	}
	if len(tail) > 0 {
		return nil, fmt.Errorf("%w: %d raw bytes belong to no output", dialect.ErrAnswer, len(tail))
	}
	return a, nil
}

// output reads one tensor of an answer and returns the raw bytes behind it.
func output(a *dialect.Answer, out wire.Value, tail []byte) ([]byte, error) {
	var shape []int64
	for s := range out.Get("shape").Items() {
		n, ok := s.Int()
		if !ok {
			return nil, fmt.Errorf("%w: a dimension is not a whole number", ErrTensor)
		}
		shape = append(shape, n)
	}
	count, err := Count(shape)
	if err != nil {
		return nil, err
	}
	datatype, _ := out.Get("datatype").Text()
	if size, ok := out.Get("parameters").Get("binary_data_size").Int(); ok {
		if size < 0 || size > int64(len(tail)) {
			return nil, fmt.Errorf("%w: %d raw bytes of %d", ErrTensor, size, len(tail))
		}
		if _, known := Sizes()[datatype]; !known {
			return nil, fmt.Errorf("%w: datatype %q", ErrTensor, datatype)
		}
		texts, err := Raw(datatype, count, tail[:size])
		for _, s := range texts {
			p := TextOf(s)
			lane := chat.Lane{Kind: p.Kind, Index: len(a.Texts)}
			if p.Kind != chat.Text {
				lane.Kind = chat.Unknown
			}
			a.Texts = append(a.Texts, dialect.Text{Lane: lane, Text: p.Text})
		}
		return tail[size:], err
	}
	data := out.Get("data")
	if data.Kind() != wire.Array {
		return nil, fmt.Errorf("%w: an output has no data", ErrTensor)
	}
	numbers := make([]wire.Value, 0, min(count, int64(data.Len())))
	n := int64(0)
	for _, v := range data.All() {
		switch v.Kind() {
		case wire.Array:
			continue
		case wire.Number:
			numbers = append(numbers, v)
		case wire.String:
			a.Add(chat.Lane{Kind: chat.Text, Index: len(a.Texts)}, nil, v)
		}
		n++
	}
	if n != count {
		return nil, fmt.Errorf("%w: %d elements for a shape of %d", ErrTensor, n, count)
	}
	if len(datatype) < 2 || datatype[:2] != "FP" && datatype[:2] != "BF" || int64(len(numbers)) != n || n == 0 {
		return tail, nil // labels and counts are no scores
	}
	if len(shape) < 2 { // one number a row, or a vector
		a.Scores = append(a.Scores, dialect.Scores{Values: numbers, Vector: true})
		return tail, nil
	}
	width := int(shape[len(shape)-1])
	for ; len(numbers) > 0; numbers = numbers[width:] {
		a.Scores = append(a.Scores, dialect.Scores{Values: numbers[:width]})
	}
	return tail, nil
}
