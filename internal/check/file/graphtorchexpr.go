package file

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/format/graph"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// operators of Python and the functions of torch that do the same.
var operators = map[string]string{
	"+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floor_divide", "%": "remainder", "**": "pow", "@": "matmul", "&": "__and__", "|": "__or__", "^": "__xor__",
	"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "in": "__contains__", "not in": "__contains__", "is": "__is__", "is not": "__isnot__",
	"not": "__not__", "and": "__and__", "or": "__or__", "~": "bitwise_not",
}

// maxExpr bounds expressions inside one another.
const maxExpr = 200

// eval returns the value of an expression.
func (f *torchRun) eval(n *syntax.Node, env scope, depth int) int32 {
	if n == nil || depth > maxExpr || !f.spend(1) {
		return nothing
	}
	kids := func() (in []int32) {
		for _, k := range n.Kids {
			in = append(in, f.eval(k, env, depth+1))
		}
		return in
	}
	switch n.Kind {
	case syntax.Name:
		if v, ok := env[n.Text]; ok {
			return v
		}
		return f.constant(n, "", 0)
	case syntax.Number:
		return f.constant(n, strings.TrimSuffix(n.Text, "j"), 8)
	case syntax.Constant:
		head := map[string]string{"True": "1", "False": "0"}[n.Text]
		return f.constant(n, head, 1)
	case syntax.String:
		return f.constant(n, "", int64(len(n.Text)))
	case syntax.Attr:
		return f.member(n, env, depth)
	case syntax.Call:
		return f.call(n, env, depth)
	case syntax.Tuple, syntax.List:
		in := kids()
		v := f.op("list", n, in...)
		f.parts[v] = in
		return v
	case syntax.Unary:
		if v := n.Kid(0); n.Text == "-" && v != nil && (v.Kind == syntax.Number || v.Kind == syntax.Name && v.Text == "inf") {
			return f.constant(n, "-"+v.Text, 8)
		}
		return f.op(operators[n.Text], n, kids()...)
	case syntax.Binary:
		return f.op(operators[n.Text], n, kids()...)
	case syntax.Bool:
		return f.op(operators[n.Text], n, kids()...)
	case syntax.Compare:
		name, _, _ := strings.Cut(n.Text, ",")
		return f.op(operators[name], n, kids()...)
	case syntax.IfExp:
		return f.choose("if", n, f.eval(n.Kid(0), env, depth+1), f.eval(n.Kid(1), env, depth+1), f.eval(n.Kid(2), env, depth+1))
	case syntax.Subscript:
		in := kids()
		if parts, i := f.parts[in[0]], n.Kid(1); len(parts) > 0 && i.Kind == syntax.Number {
			if k, err := strconv.Atoi(i.Text); err == nil && k >= 0 && k < len(parts) {
				return parts[k]
			}
		}
		return f.op("select", n, in...)
	case syntax.Keyword, syntax.Star:
		return f.eval(n.Kid(0), env, depth+1)
	default:
		return f.op("", n, kids()...)
	}
}

func (b *torchBuilder) constant(n *syntax.Node, head string, bytes int64) int32 {
	name := n.Text
	v := b.Value(name[:min(len(name), 64)])
	if f, err := strconv.ParseFloat(head, 64); err == nil {
		head = strconv.FormatFloat(f, 'g', 6, 64)
	} else {
		head = ""
	}
	b.Constant(v, graph.Value{Bytes: bytes, Head: head, Elements: 1})
	return v
}

// member is an attribute: of the module, of the constants of the archive, or of
// a value.
func (f *torchRun) member(n *syntax.Node, env scope, depth int) int32 {
	switch name := torchName(n.Kid(0)); {
	case name == "CONSTANTS":
		v := f.Value("CONSTANTS." + n.Text)
		bytes, ok := f.p.constants[n.Text]
		if !ok {
			bytes = bufferBytes
		}
		f.Constant(v, graph.Value{Bytes: bytes})
		return v
	case strings.HasPrefix(name, "torch") || strings.HasPrefix(name, "ops") || strings.HasPrefix(name, "__torch__"):
		if _, ok := env[name]; !ok {
			return f.function(torchName(n))
		}
	}
	object := f.eval(n.Kid(0), env, depth+1)
	if object == f.self {
		return f.attribute(n.Text)
	}
	return f.part(object, n.Text, n)
}

// function returns a value that stands for a function of the archive, which the
// source calls by another name.
func (f *torchRun) function(name string) int32 {
	v := f.Value(name)
	f.Constant(v, graph.Value{})
	f.modules[v] = name
	return v
}

// part is an attribute of a module inside the module, or of a value.
func (f *torchRun) part(object int32, name string, at *syntax.Node) int32 {
	class, module := f.modules[object]
	if !module {
		return f.op("shape", at, object) // device, data type and the like
	}
	v := f.Value(name)
	c := f.p.classes[class]
	switch {
	case c == nil:
		f.Constant(v, graph.Value{Bytes: moduleBytes})
		f.modules[v] = ""
	case c.tensors[name] > 0:
		f.Constant(v, graph.Value{Bytes: c.tensors[name]})
	case strings.HasPrefix(c.attrs[name], "__torch__."):
		f.modules[v] = c.attrs[name]
		f.Constant(v, graph.Value{})
		if f.p.heavy(c.attrs[name], 0) {
			f.Constant(v, graph.Value{Bytes: moduleBytes})
		}
	default:
		f.Constant(v, graph.Value{Bytes: 8})
	}
	return v
}

// call is a call of a function of torch, of a function or method of the archive,
// or of a module.
func (f *torchRun) call(n *syntax.Node, env scope, depth int) int32 {
	callee := n.Kid(0)
	var in []int32
	for _, a := range n.Kids[1:] {
		in = append(in, f.eval(a, env, depth+1))
	}
	name := torchName(callee)
	if callee.Kind == syntax.Name {
		if v, ok := env[name]; ok { // a function by another name
			if fn, ok := f.modules[v]; ok && fn != "" {
				return f.apply(fn, n, in)
			}
			return f.op("forward", n, append([]int32{v}, in...)...)
		}
		return f.builtin(name, n, in, env)
	}
	switch {
	case strings.HasPrefix(name, "torch."):
		return f.torch("", name[strings.LastIndexByte(name, '.')+1:], n, in, env)
	case strings.HasPrefix(name, "ops."):
		space, op, _ := strings.Cut(strings.TrimPrefix(name, "ops."), ".")
		if space == "aten" || space == "prim" {
			space = ""
		}
		return f.torch(space, op, n, in, env)
	case strings.HasPrefix(name, "__torch__."):
		return f.apply(name, n, in)
	case callee.Kind != syntax.Attr:
		return f.op("", n, append([]int32{f.eval(callee, env, depth+1)}, in...)...)
	}
	object := f.eval(callee.Kid(0), env, depth+1)
	if object == f.self {
		if fn := f.class.methods[callee.Text]; fn != nil {
			return f.follow(fn, n, append([]int32{f.self}, in...))
		}
	}
	if _, module := f.modules[object]; module || object == f.self {
		if f.parameterless(object) {
			return f.op(callee.Text, n, in...)
		}
		return f.op(callee.Text, n, append([]int32{object}, in...)...)
	}
	return f.torch("", callee.Text, n, append([]int32{object}, in...), env)
}

// apply calls a function of the archive by its whole name, or builds an object.
func (f *torchRun) apply(name string, n *syntax.Node, in []int32) int32 {
	if fn := f.p.functions[name]; fn != nil {
		return f.follow(fn, n, in)
	}
	return f.torch("", name[strings.LastIndexByte(name, '.')+1:], n, in, nil)
}

// follow runs a function of the archive on values.
func (f *torchRun) follow(fn, at *syntax.Node, in []int32) int32 {
	if f.depth >= maxCalls || slices.Contains(f.running, fn) {
		return f.op("forward", at, in...)
	}
	env := scope{}
	for i, p := range fn.Kid(0).Kids {
		if i < len(in) {
			env[p.Text] = in[i]
		} else {
			env[p.Text] = nothing
		}
	}
	return f.run(fn, env, f.depth+1)
}

// builtin is a call of a function without a dot.
func (f *torchRun) builtin(name string, n *syntax.Node, in []int32, env scope) int32 {
	switch {
	case name == "annotate" || name == "unchecked_cast":
		if len(in) > 1 {
			return in[1]
		}
	case name == "uninitialized":
		return nothing
	case name == "float" && len(in) == 1 && n.Kid(1).Kind == syntax.String:
		return f.constant(n, n.Kid(1).Text, 8)
	case name == "getattr" && len(in) > 1 && n.Kid(2).Kind == syntax.String:
		if in[0] == f.self {
			return f.attribute(n.Kid(2).Text)
		}
		return f.part(in[0], n.Kid(2).Text, n)
	}
	return f.torch("", name, n, in, env)
}

// inPlace reports whether a function changes its first input: those of tensors
// have "_" at the end, those of lists and dictionaries do not.
func inPlace(name string) bool {
	switch name {
	case "append", "extend", "insert", "_set_item", "update":
		return true
	}
	base, ok := strings.CutSuffix(name, "_")
	return ok && base != "" && !strings.HasSuffix(base, "_")
}

// torch makes the node of a function of torch, in the form that the check knows.
func (f *torchRun) torch(space, name string, n *syntax.Node, in []int32, env scope) int32 {
	get := func(i int) int32 {
		if i < len(in) {
			return in[i]
		}
		return nothing
	}
	changes := inPlace(name) && space == ""
	base := strings.TrimSuffix(name, "_")
	var out int32
	switch {
	case space != "":
		return f.node(space, name, n, in)
	case name == "where" && len(in) == 3:
		return f.choose(name, n, in[0], in[1], in[2])
	case base == "masked_fill" && len(in) >= 3:
		out = f.choose(name, n, in[1], in[2], in[0])
	case base == "index_put" && len(in) >= 3:
		places := in[1]
		if parts := f.parts[places]; len(parts) == 1 {
			places = parts[0]
		}
		if f.stored(places) {
			out = f.op("scatter", n, in[0], places, in[2])
		} else {
			out = f.choose(name, n, places, in[2], in[0])
		}
	case (base == "scatter" || base == "index_fill" || base == "index_copy") && len(in) >= 4:
		out = f.op("scatter", n, in[0], in[2], in[3])
	case name == "copy_" || name == "fill_":
		return f.overwrite(n, get(0), get(1), env)
	case (base == "add" || base == "sub") && len(in) > 2:
		out = f.op(name, n, in[:2]...)
	case name == "full_like" || name == "new_full":
		return f.op("full", n, f.op("shape", n, get(0)), get(len(in)-1))
	case name == "tensor" && len(in) > 0:
		return f.op(name, n, in[0])
	case (name == "__getitem__" || name == "select") && len(in) == 2 && len(f.parts[in[0]]) > 0:
		c := f.M.Values[max(in[1], 0)]
		if i, err := strconv.Atoi(c.Head); err == nil && c.Constant && i >= 0 && i < len(f.parts[in[0]]) {
			return f.parts[in[0]][i]
		}
		return f.op(name, n, in...)
	default:
		out = f.op(name, n, in...)
	}
	if changes && len(in) > 0 {
		f.rebind(n, in[0], out, env)
	}
	return out
}

// stored reports whether a value is a constant of the source, or made of such.
func (f *torchRun) stored(v int32) bool {
	if v < 0 {
		return false
	}
	parts, list := f.parts[v]
	for _, p := range parts {
		if !f.stored(p) {
			return false
		}
	}
	return list && len(parts) > 0 || f.M.Values[v].Constant
}

// views are functions whose result shares the memory of their first input.
var views = map[string]bool{
	"select": true, "slice": true, "view": true, "reshape": true, "unsqueeze": true, "squeeze": true, "narrow": true, "detach": true, "expand": true,
	"transpose": true, "permute": true, "t": true, "flatten": true, "__getitem__": true,
}

// whole returns the value that v is a view of.
func (f *torchRun) whole(v int32) int32 {
	for range maxExpr {
		i, ok := f.made[v]
		if !ok || !views[f.M.Nodes[i].Op] || len(f.M.Nodes[i].In) == 0 {
			return v
		}
		v = f.M.Nodes[i].In[0]
	}
	return v
}

// overwrite writes a value over another, or over the part of it that is a view.
func (f *torchRun) overwrite(n *syntax.Node, to, with int32, env scope) int32 {
	base := f.whole(to)
	if base == to { // all of it
		out := f.op("clone", n, with)
		f.rebind(n, to, out, env)
		return out
	}
	place := f.Value("")
	f.Constant(place, graph.Value{Bytes: 8})
	out := f.op("scatter", n, base, place, with)
	f.rebind(n, base, out, env)
	return out
}

// rebind makes the names of a value stand for what it became.
func (f *torchRun) rebind(n *syntax.Node, old, now int32, env scope) {
	if old < 0 {
		return
	}
	old = f.whole(old)
	f.spend(len(env) + len(f.attrs))
	for name, v := range env {
		if v == old {
			env[name] = now
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.attrs)) {
		if f.attrs[name] == old && f.M.Values[old].Constant {
			f.store(name, now, n)
		}
	}
}
