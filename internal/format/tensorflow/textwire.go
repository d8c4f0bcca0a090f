package tensorflow

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// errText says that a text is no message in the text format.
var errText = errors.New("not a message in text form")

// A piece is one field of a message in text form.
type piece struct {
	name       string
	kids       []piece // of a message
	text       string  // of a text, or a word as it is written
	quoted     bool
	start, end int // of the value in the source
}

const (
	maxPieces = 2_000_000 // fields of one text
	maxQuoted = 64 << 10  // bytes kept of a text; what a tensor holds counts for no more
	maxNested = 32        // messages inside one another that are written in binary form
)

// A textParser reads the text format of protobuf into pieces.
type textParser struct {
	textScanner

	ctx    context.Context //nolint:containedctx // of the one parse
	lim    bound.Limits
	pieces int
}

func (p *textParser) peek() byte {
	p.blank()
	if p.i < len(p.src) {
		return p.src[p.i]
	}
	return 0
}

// message reads fields up to the closing mark, or to the end of the source.
func (p *textParser) message(closing byte, depth int) (list []piece, err error) {
	if depth > p.lim.Nesting {
		return nil, fmt.Errorf("messages nested more than %d deep: %w", p.lim.Nesting, detect.ErrLimit)
	}
	for {
		c := p.peek()
		switch {
		case c == closing && (c != 0 || p.i >= len(p.src)):
			p.i++
			return list, nil
		case c == ',' || c == ';':
			p.i++
			continue
		case c == '[': // an extension
			n := bytes.IndexByte(p.src[p.i:min(len(p.src), p.i+short)], ']')
			if n < 0 {
				return list, fmt.Errorf("byte %d: %w", p.i, errText)
			}
			p.i += n + 1
			if list, err = p.values(list, "", depth); err != nil {
				return list, err
			}
			continue
		}
		name := p.word()
		if name == "" {
			return list, fmt.Errorf("byte %d: %w", p.i, errText)
		}
		if list, err = p.values(list, name, depth); err != nil {
			return list, err
		}
	}
}

// values reads what stands behind a name: one value, or a list in brackets.
func (p *textParser) values(list []piece, name string, depth int) ([]piece, error) {
	colon := p.peek() == ':'
	if colon {
		p.i++
	}
	if p.peek() != '[' || !colon {
		v, err := p.value(name, colon, depth)
		return append(list, v), err
	}
	p.i++
	for {
		switch p.peek() {
		case ']':
			p.i++
			return list, nil
		case ',':
			p.i++
			continue
		}
		v, err := p.value(name, true, depth)
		if list = append(list, v); err != nil {
			return list, err
		}
	}
}

func (p *textParser) value(name string, colon bool, depth int) (v piece, err error) {
	if p.pieces++; p.pieces > maxPieces {
		return v, fmt.Errorf("more than %d fields: %w", maxPieces, detect.ErrLimit)
	}
	if p.pieces&1023 == 0 && p.ctx.Err() != nil {
		return v, p.ctx.Err()
	}
	v.name = name
	c := p.peek()
	v.start = p.i
	switch {
	case c == '{' || c == '<':
		p.i++
		v.kids, err = p.message(c+2, depth+1) // "}" and ">" stand two behind
	case !colon:
		err = fmt.Errorf("byte %d: %w", p.i, errText)
	case c == '"' || c == '\'':
		var out strings.Builder
		for c := p.peek(); c == '"' || c == '\''; c = p.peek() {
			if text := p.quoted(maxQuoted); out.Len() < maxQuoted {
				out.WriteString(text)
			}
			v.end = p.i
		}
		v.text, v.quoted = out.String(), true
		return v, nil
	default:
		if c == '-' {
			p.i++
			p.blank()
		}
		at := p.i
		for p.i < len(p.src) && strings.IndexByte(" \t\r\n\f\v{}<>[],;:#\"'", p.src[p.i]) < 0 {
			p.i++
		}
		if p.i == at {
			return v, fmt.Errorf("byte %d: %w", p.i, errText)
		}
		v.text = string(p.src[at:min(p.i, at+64)])
		if c == '-' {
			v.text = "-" + v.text
		}
	}
	v.end = p.i
	return v, err
}

// word reads a name.
func (p *textParser) word() string {
	start := p.i
	for p.i < len(p.src) {
		c := p.src[p.i]
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') {
			break
		}
		p.i++
	}
	return string(p.src[start:p.i])
}

// A fieldSpec is how a field is written: its number, and the message that it
// holds, or one of the forms below.
type fieldSpec struct {
	num  int
	kind string
}

// Forms of fields that are no messages.
const (
	asText   = ""
	asNumber = "#"
	asFloat  = "f"
	asDouble = "d"
	asType   = "t" // the name of a data type
)

// schema says how the fields of the messages that the walk reads are written.
// Others are left out.
var schema = map[string]map[string]fieldSpec{
	SavedModel: {"saved_model_schema_version": {1, asNumber}, "meta_graphs": {2, MetaGraph}},
	MetaGraph:  {"graph_def": {2, GraphDef}, "signature_def": {5, "signatureEntry"}, "asset_file_def": {6, "asset"}, "object_graph_def": {7, "objects"}},
	GraphDef:   {"node": {1, "node"}, "library": {2, "library"}},
	"node":     {"name": {1, asText}, "op": {2, asText}, "input": {3, asText}, "attr": {5, "attrEntry"}},
	"library":  {"function": {1, "function"}},
	"function": {"signature": {1, "opdef"}, "node_def": {3, "node"}, "ret": {4, "pair"}, "control_ret": {6, "pair"}},
	"opdef":    {"name": {1, asText}, "input_arg": {2, "arg"}, "output_arg": {3, "arg"}},
	"arg":      {"name": {1, asText}, "type": {3, asType}},
	"pair":     {"key": {1, asText}, "value": {2, asText}},
	"attrEntry": {
		"key": {1, asText}, "value": {2, "attr"},
	},
	"attr": {
		"list": {1, "list"}, "s": {2, asText}, "i": {3, asNumber}, "f": {4, asFloat}, "b": {5, asNumber}, "type": {6, asType}, "shape": {7, "shape"},
		"tensor": {8, "tensor"}, "func": {10, "func"},
	},
	"list":   {"s": {2, asText}, "i": {3, asNumber}, "type": {6, asType}, "shape": {7, "shape"}, "tensor": {8, "tensor"}, "func": {9, "func"}},
	"func":   {"name": {1, asText}, "attr": {2, "attrEntry"}},
	"shape":  {"dim": {2, "dim"}},
	"dim":    {"size": {1, asNumber}},
	"tensor": {"dtype": {1, asType}, "tensor_shape": {2, "shape"}, "tensor_content": {4, asText}, "float_val": {5, asFloat}, "double_val": {6, asDouble}, "int_val": {7, asNumber}, "string_val": {8, asText}, "int64_val": {10, asNumber}, "bool_val": {11, asNumber}},

	"signatureEntry": {"key": {1, asText}, "value": {2, "signature"}},
	"signature":      {"inputs": {1, "infoEntry"}, "outputs": {2, "infoEntry"}},
	"infoEntry":      {"key": {1, asText}, "value": {2, "info"}},
	"info":           {"name": {1, asText}},
	"asset":          {"filename": {2, asText}},
	"objects":        {"nodes": {1, "object"}},
	"object":         {"user_object": {4, "userObject"}},
	"userObject":     {"identifier": {1, asText}, "metadata": {3, asText}},
}

// dataTypes are the names of the data types.
var dataTypes = map[string]uint64{
	"DT_FLOAT": 1, "DT_DOUBLE": 2, "DT_INT32": 3, "DT_UINT8": 4, "DT_INT16": 5, "DT_INT8": 6, "DT_STRING": 7, "DT_COMPLEX64": 8, "DT_INT64": 9,
	"DT_BOOL": 10, "DT_BFLOAT16": 14, "DT_UINT16": 17, "DT_HALF": 19, "DT_RESOURCE": 20, "DT_VARIANT": 21, "DT_UINT32": 22, "DT_UINT64": 23,
}

// A span is a part of the source.
type span struct{ start, end int64 }

// An encoder writes pieces as the loader would have them in binary form.
type encoder struct {
	ended func() error
	err   error
	marks []mark
}

// A mark says where in the source the content of a field comes from.
type mark struct {
	at int // in the encoded bytes
	span
}

// message writes the fields of a message that the schema has. The marks of its
// fields count from its own beginning until it is put into another.
func (e *encoder) message(kind string, list []piece, depth int) []byte {
	var b []byte
	if err := e.ended(); err != nil {
		e.err = err
	}
	if depth > maxNested && e.err == nil {
		e.err = fmt.Errorf("messages nested more than %d deep: %w", maxNested, detect.ErrLimit)
	}
	if e.err != nil {
		return nil
	}
	for _, p := range list {
		f, ok := schema[kind][p.name]
		if !ok {
			continue
		}
		tag := func(wire int) { b = binary.AppendUvarint(b, uint64(f.num)<<3|uint64(wire)) }
		field := func(content []byte, first int) {
			tag(2)
			b = binary.AppendUvarint(b, uint64(len(content)))
			for i := first; i < len(e.marks); i++ {
				e.marks[i].at += len(b)
			}
			e.marks = append(e.marks, mark{len(b), span{int64(p.start), int64(p.end)}})
			b = append(b, content...)
		}
		number, _ := strconv.ParseFloat(strings.TrimSuffix(p.text, "f"), 64) // what is none is zero, as hostile text may be
		switch f.kind {
		case asText:
			field([]byte(p.text), len(e.marks))
		case asNumber:
			n, err := strconv.ParseInt(p.text, 0, 64)
			if p.text == "true" || p.text == "True" || p.text == "t" {
				n = 1
			} else if err != nil {
				n = int64(number)
			}
			tag(0)
			b = binary.AppendUvarint(b, uint64(n))
		case asFloat:
			tag(5)
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(number)))
		case asDouble:
			tag(1)
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(number))
		case asType:
			n, ok := dataTypes[strings.TrimSuffix(p.text, "_REF")]
			if !ok {
				n = uint64(number)
			}
			tag(0)
			b = binary.AppendUvarint(b, n)
		default:
			first := len(e.marks)
			field(e.message(f.kind, p.kids, depth+1), first)
		}
	}
	return b
}

// messageText walks a text as the messages that it holds. It reports false if the
// text is none that a loader takes.
func messageText(ctx context.Context, src []byte, lim bound.Limits) (*Model, bool, error) {
	p := &textParser{textScanner: textScanner{src: src}, ctx: ctx, lim: lim}
	list, err := p.message(0, 0)
	if err != nil {
		if !errors.Is(err, errText) {
			return nil, true, err
		}
		return nil, false, nil
	}
	kind := ""
	for _, f := range list {
		for _, k := range []string{SavedModel, MetaGraph, GraphDef} {
			if _, ok := schema[k][f.name]; ok && f.kids != nil {
				kind = k
			}
		}
	}
	if kind == "" {
		return nil, false, nil
	}
	e := &encoder{ended: ctx.Err}
	b := e.message(kind, list, 0)
	m, err := Open(ctx, bytes.NewReader(b), int64(len(b)), []string{kind}, lim)
	err = errors.Join(e.err, err)
	places := make(map[int64]span, len(e.marks))
	for _, k := range e.marks {
		places[int64(k.at)] = k.span
	}
	m.move(func(start, end *int64) {
		if s, ok := places[*start]; ok {
			*start, *end = s.start, s.end
		}
	})
	return m, m.Nodes > 0, err
}

// move gives everything in the model another place.
func (m *Model) move(to func(start, end *int64)) {
	for op, u := range m.Ops {
		to(&u.Start, &u.End)
		m.Ops[op] = u
	}
	for i := range m.Calls {
		to(&m.Calls[i].Start, &m.Calls[i].End)
	}
	for i := range m.Assets {
		to(&m.Assets[i].Start, &m.Assets[i].End)
	}
	for i := range m.Keras {
		to(&m.Keras[i].Start, &m.Keras[i].End)
	}
	for _, g := range m.Graphs {
		for i := range g.Nodes {
			to(&g.Nodes[i].Start, &g.Nodes[i].End)
		}
	}
}
