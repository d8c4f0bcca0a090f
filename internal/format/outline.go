package format

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/onnx"
	"github.com/modelwarden/warden/internal/format/pickle"
)

// A Part is one thing inside a file, for people to look at: a tensor, an
// operator, something a pickle does.
type Part struct {
	Kind       string // "tensor", "call", "import", "operator", "metadata", …
	Name       string
	Detail     string // type and shape, expression, value; one printable line
	Start, End int64  // half-open, in the innermost file; -1, -1 without a place
}

// partBytes bounds the texts of a [Part].
const partBytes = 256

// Outline lists what is inside f, at most limit parts in the order of the file,
// and how many there are at least. Members have outlines of their own.
func (f *File) Outline(limit int) (parts []Part, total int) {
	o := &outline{limit: limit}
	for _, s := range f.Pickles {
		o.pickle(s)
	}
	o.tensors(f)
	o.graphs(f)
	o.texts(f)
	return o.parts, o.total
}

type outline struct {
	limit, total int
	parts        []Part
}

func (o *outline) add(kind, name, detail string, start, end int64) {
	o.total++
	if len(o.parts) < o.limit {
		o.parts = append(o.parts, Part{kind, detect.Printable(name, partBytes), detect.Printable(detail, partBytes), start, end})
	}
}

// shape renders a type and its axes: "F32 [2, 3]".
func shape[N int64 | uint64](typ string, axes []N) string {
	return strings.TrimSpace(typ + " " + strings.ReplaceAll(fmt.Sprint(axes), " ", ", "))
}

func (o *outline) tensors(f *File) {
	if h := f.Safetensors; h != nil {
		for _, t := range h.List {
			o.add("tensor", t.Name, shape(t.Type, t.Shape), t.Start, t.End)
		}
		o.total += h.Tensors - len(h.List)
		for _, p := range h.Metadata {
			o.add("metadata", p.Key, p.Value, p.At, p.At+int64(len(p.Value)))
		}
	}
	if m := f.GGUF; m != nil {
		for _, t := range m.Texts {
			o.add("metadata", t.Key, t.Value, t.At, t.At+int64(len(t.Value)))
		}
		for _, t := range m.List {
			o.add("tensor", t.Name, shape(t.Type, t.Shape), t.Start, t.End)
		}
		o.total += m.Tensors - len(m.List)
	}
	if h := f.Npy; h != nil {
		end := int64(-1)
		if h.Bytes >= 0 {
			end = h.Data + h.Bytes
		}
		o.add("tensor", f.Name, shape(h.Descr, h.Shape), h.Data, max(end, h.Data))
	}
}

func (o *outline) graphs(f *File) {
	if m := f.ONNX; m != nil {
		names := map[string]onnx.Use{}
		for op, u := range m.Ops {
			names[strings.TrimPrefix(op.Domain+"::"+op.Type, "::")] = u
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			u := names[name]
			o.add("operator", name, fmt.Sprintf("%d times", u.Count), u.Start, u.End)
		}
		for _, x := range m.External {
			o.add("external data", x.Tensor, x.Location, x.Start, x.End)
		}
		for _, t := range m.Metadata {
			o.add("metadata", t.Key, t.Value, t.Start, t.End)
		}
	}
	if m := f.TensorFlow; m != nil {
		for _, op := range slices.Sorted(maps.Keys(m.Ops)) {
			u := m.Ops[op]
			o.add("operator", op, fmt.Sprintf("%d times", u.Count), u.Start, u.End)
		}
		for _, a := range m.Assets {
			o.add("asset", a.Value, "", a.Start, a.End)
		}
	}
	if m := f.TFLite; m != nil {
		for _, op := range m.Ops {
			name := op.Custom
			if name == "" {
				name = fmt.Sprintf("builtin %d", op.Builtin)
			}
			o.add("operator", name, fmt.Sprintf("%d times", op.Uses), op.At, op.At+4)
		}
	}
	if p := f.ExecuTorch; p != nil {
		for _, n := range p.Operators {
			o.add("operator", n.Text, "", n.At, n.At+int64(len(n.Text)))
		}
		for _, n := range p.Delegates {
			o.add("delegate", n.Text, "", n.At, n.At+int64(len(n.Text)))
		}
	}
}

func (o *outline) texts(f *File) {
	if h := f.HDF5; h != nil {
		for _, l := range h.Links {
			o.add(string(l.Kind)+" link", l.Path, l.File+" "+l.Target, l.At, l.At)
		}
		for _, a := range h.Attrs {
			o.add("attribute", a.Object+"@"+a.Name, a.Value, a.At, a.At+int64(len(a.Value)))
		}
	}
	for _, r := range f.References {
		o.add("reference", r.Key, r.Name, r.Start, r.End)
	}
	for _, t := range f.Templates {
		o.add("template", t.Key, "", t.At, t.At)
	}
}

// effectNames say what an effect is, for people.
var effectNames = map[pickle.EffectKind]string{
	pickle.Import: "import", pickle.Invoke: "call", pickle.Build: "set state", pickle.Mutate: "add items", pickle.Nested: "nested stream",
	pickle.Code: "code object", pickle.Identifier: "persistent id", pickle.Extension: "extension code", pickle.Expansion: "expansion", pickle.Reserve: "reserved memory",
}

func (o *outline) pickle(s *pickle.Stream) {
	detail := fmt.Sprintf("protocol %d, %d opcodes", s.Protocol, s.Ops)
	if s.Err != nil {
		detail += ", " + s.Err.Error()
	}
	o.add("pickle stream", s.Path, detail, s.Start, s.End)
	for _, e := range s.Effects {
		o.add(effectNames[e.Kind], "", e.Value.Expr(), e.Start, e.End)
		for _, inner := range e.Inner {
			o.pickle(inner)
		}
	}
}

// Instructions lists at most limit opcodes of the pickle streams of f, and says
// whether that is all of them.
func (f *File) Instructions(ctx context.Context, limit int) (list []pickle.Instruction, all bool) {
	all = true
	for _, s := range f.Pickles {
		if s.Via != pickle.Direct {
			continue // its bytes lie inside a value of another one
		}
		more, err := pickle.Disassemble(ctx, f.R, min(f.Size, s.End), s.Start, limit-len(list))
		list, all = append(list, more...), all && err == nil
	}
	return list, all
}
