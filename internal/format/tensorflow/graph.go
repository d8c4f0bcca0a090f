package tensorflow

import (
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/format/graph"
)

// A body is the nodes of a graph or of a function, as the file names them. Which
// value an input means is known when all of it is read.
type body struct {
	function bool
	args     []arg
	outs     []string          // output arguments of a function, or outputs of a graph, in order
	rets     map[string]string // output argument -> value
	always   []string          // nodes that run whenever the function does
	nodes    []raw
}

// An arg is an argument of a function.
type arg struct {
	name     string
	resource bool // a handle of a variable or a table, not data
}

// A raw node is a NodeDef without what the graph does not need.
type raw struct {
	name, op   string
	in         []string
	funcs      []attrFunc
	value      graph.Value // of constants and variables
	start, end int64
}

// An attrFunc is a function that an attribute names.
type attrFunc struct{ key, name string }

// unknownBytes stands for the parameters of which a function sees only handles.
const unknownBytes = 1 << 20

const (
	maxBodyEdges = 1_000_000 // nodes and inputs kept of all bodies of a file
	maxEntries   = 4_000_000 // edges of all graphs of a file
)

// variables are operators that make a variable, with its shape as an attribute.
var variables = map[string]bool{"VarHandleOp": true, "VariableV2": true, "Variable": true, "TemporaryVariable": true}

// restores are operators that read parameters which the graph does not hold.
var restores = map[string]bool{"RestoreV2": true, "Restore": true, "RestoreSlice": true}

// writes are operators that change the variable which is their first input.
var writes = map[string]bool{
	"Assign": true, "AssignAdd": true, "AssignSub": true, "AssignVariableOp": true, "AssignAddVariableOp": true, "AssignSubVariableOp": true,
	"ResourceScatterUpdate": true, "ResourceScatterAdd": true, "ResourceScatterNdUpdate": true, "ScatterUpdate": true, "ScatterAdd": true,
	"CountUpTo": true, "ResourceCountUpTo": true, "ResourceStridedSliceAssign": true,
}

// inputs are operators that hand in what the caller gives.
var inputs = map[string]bool{
	"Placeholder": true, "PlaceholderV2": true, "PlaceholderWithDefault": true, "_Arg": true, "IteratorGetNext": true, "IteratorV2": true,
	"QueueDequeueV2": true, "QueueDequeueManyV2": true, "QueueDequeueUpToV2": true, "ReaderReadV2": true,
}

// ends are operators whose results nobody takes from a graph that does not say
// what its outputs are.
func ends(op string) bool {
	return op == "NoOp" || op == "Assert" || op == "Const" || EffectOf(op) != None || inputs[op] || variables[op] || writes[op]
}

// graphs builds one graph for the main body and one for each function that
// nothing calls, which a loader offers as methods of the model.
func (w *walker) graphs(top *body, lib map[string]*body) {
	left := maxEntries
	add := func(b *body) {
		if left <= 0 || b == nil {
			return
		}
		m, err := build(b, lib)
		if left -= len(m.Nodes) + len(m.Values); left <= 0 {
			w.full("edges of graphs", maxEntries)
		}
		if err != nil && w.limit == nil {
			w.limit = err
		}
		if len(m.Outputs) > 0 {
			w.m.Graphs = append(w.m.Graphs, m)
		}
	}
	called := map[string]bool{}
	note := func(b *body) {
		for _, n := range b.nodes {
			called[n.op] = true
			for _, f := range n.funcs {
				called[f.name] = true
			}
		}
	}
	note(top)
	names := make([]string, 0, len(lib))
	for name, b := range lib {
		note(b)
		names = append(names, name)
	}
	slices.Sort(names)
	add(top)
	for _, name := range names {
		if !called[name] {
			add(lib[name])
		}
	}
}

// An instance is a body in the graph that is built: its ends are values.
type instance struct {
	body   *body
	args   []int32
	outs   []int32
	always []int32
}

// A builder builds one graph. A function is built once however often it is
// called.
type builder struct {
	graph.Builder

	lib   map[string]*body
	made  map[*body]*instance
	queue []*instance // whose nodes are still to be built
}

func build(top *body, lib map[string]*body) (*graph.Model, error) {
	b := &builder{lib: lib, made: map[*body]*instance{}}
	b.M.Dialect = graph.TensorFlow
	main := b.instance(top)
	for i, v := range main.args {
		if top.args[i].resource {
			b.Constant(v, graph.Value{Bytes: unknownBytes})
		} else if v >= 0 {
			b.M.Inputs = append(b.M.Inputs, v)
		}
	}
	for len(b.queue) > 0 && !b.Full() {
		inst := b.queue[0]
		b.queue = b.queue[1:]
		b.fill(inst, inst == main)
	}
	for _, v := range main.outs {
		if v >= 0 {
			b.M.Outputs = append(b.M.Outputs, v)
		}
	}
	return &b.M, b.Err()
}

func (b *builder) instance(t *body) *instance {
	if i := b.made[t]; i != nil {
		return i
	}
	i := &instance{body: t}
	b.made[t] = i
	for _, a := range t.args {
		i.args = append(i.args, b.Value(a.name))
	}
	for _, o := range t.outs {
		i.outs = append(i.outs, b.Value(o))
	}
	for _, n := range t.always {
		i.always = append(i.always, b.Value(n))
	}
	b.queue = append(b.queue, i)
	return i
}

// A filling is a body while its nodes are built.
type filling struct {
	*builder

	inst   *instance
	byName map[string]int32 // node
	values map[string]int32
	outs   [][]result // of each node
	used   map[string]bool
	loops  map[string]string // head of a loop, or another node, that a Switch divides -> condition
}

// A result is a value that a node makes.
type result struct {
	v     int32
	place int // among the results of the node; -1 for a mere sign that it ran
}

func (b *builder) fill(inst *instance, top bool) {
	t := inst.body
	f := &filling{builder: b, inst: inst, byName: map[string]int32{}, values: map[string]int32{}, outs: make([][]result, len(t.nodes)), used: map[string]bool{}, loops: map[string]string{}}
	for i, n := range t.nodes {
		f.byName[n.name] = int32(i)
		if (n.op == "Switch" || n.op == "RefSwitch") && len(n.in) >= 2 {
			f.loops[base(n.in[0])] = n.in[1]
		}
	}
	for i, a := range t.args {
		f.values[a.name] = inst.args[i]
	}
	in, after := make([][]int32, len(t.nodes)), make([][]int32, len(t.nodes))
	for i, n := range t.nodes {
		for _, ref := range n.in {
			if v := f.value(ref); strings.HasPrefix(ref, "^") {
				after[i] = append(after[i], v)
			} else {
				in[i] = append(in[i], v)
			}
			f.used[base(ref)] = true
		}
	}
	var always []int32
	for i, name := range t.always {
		v := f.value("^" + name)
		always = append(always, v)
		b.Link(v, inst.always[i], 0, 0)
	}
	for i, o := range t.outs {
		ref := o
		if t.function {
			ref = t.rets[o]
		}
		if v := f.value(ref); v >= 0 && b.Edges(2) {
			b.Node(graph.Node{Op: "Identity", In: []int32{v}, Out: []int32{inst.outs[i]}, After: always, Link: true})
		}
	}
	if top && len(t.outs) == 0 && !t.function {
		f.sinks()
	}
	for i := range t.nodes {
		if b.Full() {
			return
		}
		f.node(int32(i), in[i], after[i], top)
	}
}

// value returns the number of what an input names.
func (f *filling) value(ref string) int32 {
	if ref == "" {
		return -1
	}
	if !f.inst.body.function && !strings.HasPrefix(ref, "^") && !strings.Contains(ref, ":") {
		ref += ":0"
	}
	if v, ok := f.values[ref]; ok {
		return v
	}
	name := base(ref)
	v := f.Value(name)
	f.values[ref] = v
	n, ok := f.byName[name]
	if !ok || v < 0 {
		return v
	}
	r := result{v, -1}
	if !strings.HasPrefix(ref, "^") {
		r.place, _ = strconv.Atoi(ref[strings.LastIndexByte(ref, ':')+1:]) // no number: the first
		r.place = max(r.place, 0)
	}
	f.outs[n] = append(f.outs[n], r)
	return v
}

// base returns the node or argument that an input names.
func base(ref string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(ref, "^"), ":")
	return name
}

// sinks makes outputs of the nodes whose results nobody takes.
func (f *filling) sinks() {
	for _, n := range f.inst.body.nodes {
		if !f.used[n.name] && !ends(n.op) {
			if v := f.value(n.name + ":0"); v >= 0 {
				f.M.Outputs = append(f.M.Outputs, v)
			}
		}
	}
}

// node builds one node.
func (f *filling) node(i int32, in, after []int32, top bool) {
	n := &f.inst.body.nodes[i]
	outs := f.outs[i]
	if len(outs) == 0 { // nobody takes anything
		outs = []result{{f.Value(n.name), 0}}
	}
	out := make([]int32, len(outs))
	for k, r := range outs {
		out[k] = r.v
	}
	if !f.Edges(len(in) + len(out) + len(after)) {
		return
	}
	g := graph.Node{Op: n.op, Name: n.name, In: in, Out: out, After: after, Writes: writes[n.op], Start: n.start, End: n.end}
	switch {
	case n.op == "Const" || variables[n.op] || restores[n.op]:
		for _, v := range out {
			f.Constant(v, n.value)
		}
	case inputs[n.op] && top:
		f.M.Inputs = append(f.M.Inputs, out...)
	case n.op == "Merge" || n.op == "RefMerge":
		f.merge(i, g, outs)
	case (n.op == "Switch" || n.op == "RefSwitch") && len(in) == 2:
		g.In, g.After = in[:1], append(after, in[1])
		f.Node(g)
	case (n.op == "Select" || n.op == "SelectV2") && len(in) == 3:
		g.Select = true
		for _, v := range out {
			g.Out = []int32{v}
			f.Node(g)
		}
	case len(n.funcs) > 0 || f.lib[n.op] != nil:
		f.call(n, g, outs)
	default:
		f.Node(g)
	}
}

// call links a node to the functions that it runs.
func (f *filling) call(n *raw, g graph.Node, outs []result) {
	functions := map[string][]*instance{}
	var all []*instance
	for _, a := range append(n.funcs, attrFunc{"f", n.op}) {
		if t := f.lib[a.name]; t != nil {
			inst := f.instance(t)
			functions[a.key] = append(functions[a.key], inst)
			all = append(all, inst)
		}
	}
	link := func(from, to int32) { f.Link(from, to, g.Start, g.End) }
	hand := func(in []int32, inst *instance) {
		for k, v := range in[:min(len(in), len(inst.args))] {
			link(v, inst.args[k])
		}
	}
	choose := func(pred, one, other, out int32) {
		if f.Edges(4) {
			f.Node(graph.Node{Op: n.op, Name: n.name, In: []int32{pred, one, other}, Out: []int32{out}, Select: true, Start: g.Start, End: g.End})
		}
	}
	one := func(key string) *instance {
		if l := functions[key]; len(l) > 0 {
			return l[0]
		}
		return &instance{body: &body{}}
	}
	for _, inst := range all { // what the functions do in any case, the node does
		g.After = append(g.After, inst.always...)
	}
	for _, r := range outs {
		if r.place < 0 && f.Edges(len(g.After)) {
			f.Node(graph.Node{Op: "Identity", In: g.In, Out: []int32{r.v}, After: g.After, Link: true, Start: g.Start, End: g.End})
		}
	}
	first := int32(-1)
	if len(g.In) > 0 {
		first = g.In[0]
	}
	switch n.op {
	case "If", "StatelessIf", "_If":
		yes, no := one("then_branch"), one("else_branch")
		hand(g.In[min(1, len(g.In)):], yes)
		hand(g.In[min(1, len(g.In)):], no)
		for _, r := range outs {
			choose(first, get(yes.outs, r.place), get(no.outs, r.place), r.v)
		}
	case "Case", "StatelessCase":
		list := functions["branches"]
		for k, inst := range list {
			hand(g.In[min(1, len(g.In)):], inst)
			for _, r := range outs {
				if before := max(k, 1) - 1; before < k {
					choose(first, get(inst.outs, r.place), get(list[before].outs, r.place), r.v)
				}
			}
		}
	case "While", "StatelessWhile", "_While":
		cond, loop := one("cond"), one("body")
		for _, inst := range []*instance{cond, loop} {
			hand(g.In, inst)
			hand(loop.outs, inst)
		}
		for _, r := range outs {
			choose(get(cond.outs, 0), get(loop.outs, r.place), get(g.In, r.place), r.v)
		}
	default:
		for _, inst := range all {
			hand(g.In, inst)
			for _, r := range outs {
				link(get(inst.outs, r.place), r.v)
			}
		}
		if len(all) == 0 || !strings.HasSuffix(n.op, "PartitionedCall") && f.lib[n.op] == nil { // does more than to call
			f.Node(g)
		}
	}
}

func get(vs []int32, i int) int32 {
	if i >= 0 && i < len(vs) {
		return vs[i]
	}
	return -1
}

// merge builds the end of a conditional or the head of a loop of version 1: the
// first is a choice between what came through the two sides of a Switch, the
// second between what came in and what the loop made of it.
func (f *filling) merge(i int32, g graph.Node, outs []result) {
	t := f.inst.body
	n := &t.nodes[i]
	data := slices.DeleteFunc(slices.Clone(n.in), func(s string) bool { return strings.HasPrefix(s, "^") })
	pred, one, other := int32(-1), 0, 1
	if len(data) == 2 {
		a, b := f.sides(data[0]), f.sides(data[1])
		for p, s := range a { // both sides of one Switch, each for one input
			if s|b[p] == 3 && s&b[p] == 0 && (pred < 0 || p < pred) {
				pred = p
			}
		}
		if pred >= 0 && a[pred] == 1 { // the side for false
			one, other = 1, 0
		}
		for k, ref := range data {
			if v, ok := f.byName[base(ref)]; pred < 0 && ok && strings.HasSuffix(t.nodes[v].op, "NextIteration") {
				pred, one, other = f.value(f.loops[n.name]), k, 1-k
			}
		}
	}
	if pred < 0 {
		f.Node(g)
		return
	}
	for _, r := range outs {
		if f.Edges(4) {
			f.Node(graph.Node{Op: n.op, Name: n.name, In: []int32{pred, g.In[one], g.In[other]}, Out: []int32{r.v}, After: g.After, Select: true, Start: g.Start, End: g.End})
		}
	}
}

// maxMerge bounds the nodes looked at on the way from a Merge to its Switch.
const maxMerge = 256

// sides returns the sides of the conditions that a value came through: 1 for
// false, 2 for true.
func (f *filling) sides(ref string) map[int32]uint8 {
	t := f.inst.body
	found, seen := map[int32]uint8{}, map[string]bool{}
	for queue := []string{ref}; len(queue) > 0 && len(seen) < maxMerge; {
		ref := queue[0]
		queue = queue[1:]
		i, ok := f.byName[base(ref)]
		if !ok || seen[ref] {
			continue
		}
		seen[ref] = true
		n := &t.nodes[i]
		if (n.op == "Switch" || n.op == "RefSwitch") && len(n.in) >= 2 {
			side := uint8(1)
			if strings.HasSuffix(ref, ":1") || strings.HasSuffix(ref, ":output_true:0") {
				side = 2
			}
			found[f.value(n.in[1])] |= side
		}
		queue = append(queue, n.in...)
	}
	return found
}
