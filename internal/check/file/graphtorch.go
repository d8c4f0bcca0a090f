package file

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/graph"
	"github.com/modelwarden/warden/internal/source/python"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// What parameters count for whose size the source does not tell.
const (
	moduleBytes    = 256 << 20 // a module with parameters
	parameterBytes = 1 << 20   // a parameter
	bufferBytes    = 1 << 10   // a buffer, or a constant of the archive
)

// A torchClass is a module of TorchScript.
type torchClass struct {
	name    string // "__torch__.a.B"
	member  string
	params  bool // it has parameters itself
	attrs   map[string]string
	tensors map[string]int64 // attribute -> bytes
	methods map[string]*syntax.Node
	heavy   int8 // whether it or a module in it has parameters: 0 is not known yet
}

// A torchProgram is all source of one archive.
type torchProgram struct {
	classes   map[string]*torchClass
	functions map[string]*syntax.Node
	order     []*torchClass
	constants map[string]int64 // "c0" -> bytes

	ended func() error // why to stop
	steps int
	err   error // why it stopped
}

// torchGraphs makes a graph of each method that a caller reaches: what hands on a
// value and what decides about it. Methods of other modules are seen from outside:
// they use parameters or they do not.
func torchGraphs(ctx context.Context, f *format.File, visit func(*graph.Model) error) error {
	p := &torchProgram{classes: map[string]*torchClass{}, functions: map[string]*syntax.Node{}, constants: map[string]int64{}, ended: ctx.Err}
	var problem error
	for _, src := range f.TorchCode {
		m, errs := python.Parse(ctx, src.Text, python.DefaultLimits())
		if len(errs) > 0 && problem == nil {
			problem = fmt.Errorf("%s: %w", src.Name, errs[0])
		}
		p.read(src.Name, m)
	}
	if f.Zip != nil {
		for _, e := range f.Zip.Entries {
			if dir, base := path.Split(e.Name); path.Base(dir) == "constants" {
				p.constants["c"+base] = e.Packed
			}
		}
	}
	for _, c := range p.order {
		names := make([]string, 0, len(c.methods))
		for name := range c.methods {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if err := errors.Join(ctx.Err(), p.err); err != nil {
				return err
			}
			m, err := p.method(c, c.methods[name])
			if err != nil && problem == nil {
				problem = err
			}
			if len(m.Outputs) > 0 {
				if err := visit(m); err != nil {
					return errors.Join(problem, err)
				}
			}
		}
	}
	return problem
}

// read takes in the classes and functions of one text.
func (p *torchProgram) read(member string, m *python.Module) {
	_, module, _ := strings.Cut("/"+member, "/code/")
	module = strings.ReplaceAll(strings.TrimSuffix(module, ".py"), "/", ".")
	for _, n := range m.Body {
		switch n.Kind {
		case syntax.Func:
			p.functions[module+"."+n.Text] = n
		case syntax.Class:
			c := &torchClass{name: module + "." + n.Text, member: member, attrs: map[string]string{}, tensors: map[string]int64{}, methods: map[string]*syntax.Node{}}
			for _, s := range n.Body() {
				c.statement(s)
			}
			for name, bytes := range c.tensors {
				if bytes == 0 {
					c.tensors[name] = bufferBytes
				}
			}
			p.classes[c.name] = c
			p.order = append(p.order, c)
		default:
		}
	}
}

// statement takes in one line of a class: attributes with their types, the lists
// of parameters, and methods.
func (c *torchClass) statement(s *syntax.Node) {
	switch s.Kind {
	case syntax.Func:
		c.methods[s.Text] = s
	case syntax.AnnAssign:
		c.attribute(s.Kid(0), s.Kid(1))
	case syntax.Assign:
		target, value := s.Kid(0), s.Kid(len(s.Kids)-1)
		switch {
		case target.Kind == syntax.Subscript: // __annotations__["0"] = type
			c.attribute(target.Kid(1), value)
		case target.Kind == syntax.Name && target.Text == "__parameters__" && value.Kind == syntax.List:
			for _, e := range value.Kids {
				c.tensors[e.Text] = parameterBytes
				c.params = true
			}
		}
	default:
	}
}

func (c *torchClass) attribute(name, kind *syntax.Node) {
	if name == nil || kind == nil || name.Text == "" {
		return
	}
	c.attrs[name.Text] = torchName(kind)
	if strings.HasSuffix(torchName(kind), "Tensor") || kind.Kind == syntax.Subscript && strings.HasSuffix(torchName(kind.Kid(1)), "Tensor") {
		c.tensors[name.Text] = max(c.tensors[name.Text], 0)
	}
}

// torchName writes a name with its dots, or "".
func torchName(n *syntax.Node) string {
	switch {
	case n == nil:
		return ""
	case n.Kind == syntax.Name, n.Kind == syntax.String:
		return n.Text
	case n.Kind == syntax.Attr:
		if before := torchName(n.Kid(0)); before != "" && len(before) < 1024 {
			return before + "." + n.Text
		}
	default:
	}
	return ""
}

// heavy reports whether a module uses parameters, itself or in a module of its
// own. What is not in the archive is taken to.
func (p *torchProgram) heavy(name string, depth int) bool {
	c := p.classes[name]
	switch {
	case c == nil || depth > 64:
		return true
	case c.heavy != 0:
		return c.heavy > 0
	}
	c.heavy = -1
	if c.params {
		c.heavy = 1
	}
	for _, kind := range c.attrs {
		if c.heavy < 0 && p.classes[kind] != nil && p.heavy(kind, depth+1) {
			c.heavy = 1
		}
	}
	return c.heavy > 0
}

// method builds the graph of one method.
func (p *torchProgram) method(c *torchClass, fn *syntax.Node) (*graph.Model, error) {
	b := &torchBuilder{p: p, class: c, attrs: map[string]int32{}, parts: map[int32][]int32{}, modules: map[int32]string{}, made: map[int32]int{}}
	b.M.Dialect, b.M.Member = graph.Torch, c.member
	env := scope{}
	for i, param := range fn.Kid(0).Kids {
		v := b.Value(param.Text)
		if i == 0 {
			b.self = v
		} else if v >= 0 {
			b.M.Inputs = append(b.M.Inputs, v)
		}
		if i > 0 && option(param.Kid(0)) {
			v = b.op("option", param, v)
		}
		env[param.Text] = v
	}
	out := b.run(fn, env, 0)
	outs := []int32{out}
	if parts := b.parts[out]; len(parts) > 0 {
		outs = parts
	}
	for _, v := range outs {
		if v < 0 {
			continue
		}
		name := "output"
		if len(outs) > 1 {
			name += strconv.Itoa(len(b.M.Outputs))
		}
		o := b.Value(name)
		if o < 0 {
			continue
		}
		b.Node(graph.Node{Op: "return", In: []int32{v}, Out: []int32{o}, After: b.always, Link: true, Start: int64(fn.Start), End: int64(fn.End)})
		b.M.Outputs = append(b.M.Outputs, o)
	}
	return &b.M, errors.Join(p.err, b.Err())
}

// option reports whether a type is that of a switch or a number by which the
// caller chooses, and no data.
func option(kind *syntax.Node) bool {
	if kind != nil && kind.Kind == syntax.Subscript && torchName(kind.Kid(0)) == "Optional" {
		kind = kind.Kid(1)
	}
	switch torchName(kind) {
	case "int", "bool", "float", "Device", "number":
		return true
	}
	return false
}

// parameterless says of a call of a module whether it uses no parameters.
func (b *torchBuilder) parameterless(v int32) bool {
	name, known := b.modules[v]
	return known && name != "" && !b.p.heavy(name, 0)
}
