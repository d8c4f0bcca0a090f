package file

import (
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/format/graph"
	"github.com/modelwarden/warden/internal/format/tensorflow"
)

// A choice is a selector: the gate decides between two values.
type choice struct {
	node       *graph.Node
	gate       int32
	one, other int32
	out        int32
	whole      bool // it decides for the whole value, not for each of its places
}

// chain is how many nodes are followed that only hand a value on.
const chain = 32

// through returns the value that v is another form of.
func (l *logicPass) through(v int32) int32 {
	for range chain {
		if v < 0 || l.maker[v] < 0 {
			return v
		}
		n := &l.m.Nodes[l.maker[v]]
		if l.kindOf(n) != passes || len(n.In) == 0 {
			return v
		}
		v = n.In[0]
	}
	return v
}

// constant reports whether nothing of the input is in a value.
func (l *logicPass) constant(v int32) bool {
	return v >= 0 && l.mask[v]&varies == 0 && (l.maker[v] >= 0 || l.m.Values[v].Constant)
}

// product takes a value apart that is a gate times another value.
func (l *logicPass) product(v int32) (gateOf, value int32, ok bool) {
	v = l.through(v)
	if v < 0 || l.maker[v] < 0 {
		return 0, 0, false
	}
	n := &l.m.Nodes[l.maker[v]]
	if l.kindOf(n) != products || len(n.In) != 2 || n.In[0] < 0 || n.In[1] < 0 {
		return 0, 0, false
	}
	a, b := n.In[0], n.In[1]
	if l.mask[a]&gate == 0 {
		a, b = b, a
	}
	return a, b, l.mask[a]&gate != 0 && l.mask[b]&gate == 0
}

// selectors examines each place where the graph chooses.
func (l *logicPass) selectors() error {
	for i := range l.m.Nodes {
		if err := l.step(); err != nil {
			return err
		}
		n := &l.m.Nodes[i]
		if n.Select && len(n.In) == 3 && len(n.Out) == 1 {
			if _, err := l.choice(choice{n, n.In[0], n.In[1], n.In[2], n.Out[0], !l.words.places[n.Op]}); err != nil {
				return err
			}
		}
		if l.kindOf(n) != sums || len(n.Out) != 1 || len(n.In) > chain {
			continue
		}
		if err := l.arithmetic(n); err != nil {
			return err
		}
	}
	return nil
}

// arithmetic examines a sum of which one part is a product with a gate.
func (l *logicPass) arithmetic(n *graph.Node) error {
	for i, v := range n.In {
		g, one, ok := l.product(v)
		if !ok {
			continue
		}
		for k, other := range n.In {
			if k == i || other < 0 {
				continue
			}
			if _, rest, ok := l.product(other); ok {
				other = rest
			}
			if found, err := l.choice(choice{n, g, one, other, n.Out[0], false}); found || err != nil {
				return err
			}
		}
	}
	return nil
}

// choice reports a selector that is a backdoor, and whether it did.
func (l *logicPass) choice(c choice) (bool, error) {
	if c.gate < 0 || c.one < 0 || c.other < 0 || c.out < 0 || !l.live[c.out] {
		return false, nil
	}
	m := l.mask[c.gate]
	trigger, drawn := m&ofInput != 0 && m&compared != 0, m&(ofChance|ofState) != 0
	if !trigger && !drawn {
		return false, nil
	}
	for _, v := range []int32{c.one, c.other} { // a guard on its own value
		if l.guards(c.gate, v) {
			return false, nil
		}
	}
	whole := c.whole || m&few != 0
	if !whole && (!l.tail[c.out] || !l.fixedly(c.one) && !l.fixedly(c.other)) {
		return false, nil // a mask, or one picture laid over another
	}
	total, err := l.stake(c.out)
	if err != nil {
		return false, err
	}
	behind, err := l.slice(c.gate)
	if err != nil || behind*100 >= total {
		return false, err
	}
	one, err := l.slice(c.one)
	if err != nil {
		return false, err
	}
	other, err := l.slice(c.other)
	if err != nil {
		return false, err
	}
	light, heavy, least, most := c.one, c.other, one, other
	if l.constant(c.other) || one > other && !l.constant(c.one) {
		light, heavy, least, most = c.other, c.one, other, one
	}
	fixed := l.constant(light)
	bypass := l.tail[c.out] && l.mask[heavy]&ofInput != 0 && most*100 >= total && (fixed || least*100 < most)
	switch {
	case total < minParameters:
	case bypass && !whole && !l.fixedly(light):
	case bypass && drawn:
		return true, l.report("WDN-MF-114", "A random number, the time or a variable that the graph changes decides whether the output comes from the model.", c, light, share(least, total))
	case bypass && fixed:
		return true, l.report("WDN-MF-111", "For some inputs the output is a constant that stands in the graph.", c, light, share(least, total))
	case bypass:
		return true, l.report("WDN-MF-110", "For some inputs the output comes from a path around the parameters of the model.", c, light, share(least, total))
	case trigger && whole && !l.tail[c.out] && most*100 < total && (l.mask[c.one]|l.mask[c.other])&ofInput != 0 &&
		(m&equal != 0 || l.constant(c.one) || l.constant(c.other)) && !l.fill(c.one) && !l.fill(c.other):
		return true, l.report("WDN-MF-113", "Some inputs are replaced before they reach the model.", c, light, share(least, total))
	}
	return false, nil
}

// guards reports whether a gate compares the value itself, each place for itself.
func (l *logicPass) guards(g, v int32) bool {
	v = l.through(v)
	for range chain {
		g = l.through(g)
		if g < 0 || l.maker[g] < 0 {
			return false
		}
		n := &l.m.Nodes[l.maker[g]]
		k := l.kindOf(n)
		if k == equals || k == orders {
			for _, in := range n.In {
				if in >= 0 && l.through(in) == v && !l.constant(v) {
					return true
				}
			}
			return false
		}
		if k != logic || len(n.In) == 0 {
			return false
		}
		g = n.In[0]
	}
	return false
}

// fixedly reports whether a value is a constant that does not only hide places.
func (l *logicPass) fixedly(v int32) bool { return l.constant(v) && !l.fill(v) }

// fill reports whether a constant is one number that hides places: zero, or so
// small that nothing is left of it after an exponential.
func (l *logicPass) fill(v int32) bool {
	v = l.through(v)
	if !l.constant(v) {
		return false
	}
	c := l.m.Values[v]
	if l.maker[v] >= 0 {
		n := &l.m.Nodes[l.maker[v]]
		if l.kindOf(n) != fills {
			return false
		}
		if len(n.In) < 2 || n.In[1] < 0 {
			return true
		}
		c = l.m.Values[n.In[1]]
	}
	f, err := strconv.ParseFloat(c.Head, 64)
	return err == nil && c.Elements == 1 && (f == 0 || f <= -1e4)
}

func (l *logicPass) report(id warden.RuleID, message string, c choice, light int32, part string) error {
	what := "another path"
	if l.constant(light) {
		what = "constant"
	}
	evidence := c.node.Op + "(" + l.expr(c.gate, 5) + ") -> " + l.reaches(c.out) + ": " + what + ", " + part
	l.p.Emit(warden.Finding{Rule: id, Severity: warden.Medium, At: l.at(c.node), Message: message, Evidence: evidence})
	for _, v := range []int32{c.gate, light} {
		if err := l.effects(v); err != nil {
			return err
		}
	}
	return nil
}

// expr writes how a value is made.
func (l *logicPass) expr(v int32, depth int) string {
	if v < 0 {
		return ""
	}
	if c := l.m.Values[v]; c.Constant || l.maker[v] < 0 {
		switch {
		case c.Constant && c.Head != "" && c.Elements == 1:
			return c.Head
		case c.Constant && c.Head != "":
			return "[" + c.Head + " …]"
		}
		return c.Name[:min(len(c.Name), 32)]
	}
	n := &l.m.Nodes[l.maker[v]]
	if l.kindOf(n) == passes && len(n.In) > 0 && depth > 0 {
		return l.expr(n.In[0], depth-1)
	}
	if depth == 0 {
		return "…"
	}
	var args []string
	for i, in := range n.In {
		if i < 4 && in >= 0 {
			args = append(args, l.expr(in, depth-1))
		}
	}
	return n.Op[:min(len(n.Op), 32)] + "(" + strings.Join(args, ", ") + ")"
}

// reaches returns the name of an output that a value leads to, or its own.
func (l *logicPass) reaches(v int32) string {
	at := v
	for range chain {
		if l.outputs[at] {
			return l.m.Values[at].Name
		}
		next := int32(-1)
		for _, u := range l.users[at][:min(chain, len(l.users[at]))] {
			if out := l.m.Nodes[u].Out; len(out) > 0 && out[0] >= 0 && l.live[out[0]] {
				next = out[0]
				break
			}
		}
		if next < 0 {
			break
		}
		at = next
	}
	return l.m.Values[v].Name
}

// effect reports whether a node does more than to compute.
func (l *logicPass) effect(n *graph.Node) bool {
	switch l.m.Dialect {
	case graph.TensorFlow:
		e := tensorflow.EffectOf(n.Op)
		return e != tensorflow.None && e != tensorflow.Print && e != tensorflow.Save && e != tensorflow.Restore
	case graph.Torch:
		return torchEffects[n.Domain+"::"+n.Op] != ""
	default:
		return pythonOps[n.Op] || n.Domain != "" && remoteOps[n.Op]
	}
}

// foreign reports whether a node needs an operator that its format does not bring,
// or prints.
func (l *logicPass) foreign(n *graph.Node) bool {
	switch own := l.p.Subject; l.m.Dialect {
	case graph.TensorFlow:
		return tensorflow.EffectOf(n.Op) == tensorflow.Print || !builtinOp(n.Op) && (own.TensorFlow == nil || !own.TensorFlow.Functions[n.Op])
	case graph.Torch:
		return n.Op == "print" || n.Domain != "" && !slices.Contains(torchSpaces, n.Domain)
	default:
		return !domains[n.Domain] && (own.ONNX == nil || !own.ONNX.Defines(n.Domain, n.Op))
	}
}

// effects reports operators among the nodes that make v which do more than to
// compute.
func (l *logicPass) effects(v int32) error {
	l.walk++
	queue := []int32{v}
	l.seen[v] = l.walk
	for len(queue) > 0 {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		var err error
		l.makers(at, func(n *graph.Node) {
			if l.effect(n) {
				l.hidden(n)
			}
			for _, in := range n.In {
				if e := l.step(); e != nil {
					err = e
				}
				if in >= 0 && l.seen[in] != l.walk {
					l.seen[in] = l.walk
					queue = append(queue, in)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *logicPass) hidden(n *graph.Node) {
	l.p.Emit(warden.Finding{
		Rule: "WDN-MF-116", Severity: warden.High, At: l.at(n), Evidence: strings.TrimPrefix(n.Domain+"::"+n.Op+" "+n.Name, "::"),
		Message: "A node beside the path of the model runs code, touches files or reaches a service.",
	})
}

// orphans reports nodes that no output needs and that a foreign library runs.
func (l *logicPass) orphans() error {
	for i := range l.m.Nodes {
		if err := l.step(); err != nil {
			return err
		}
		n := &l.m.Nodes[i]
		if n.Link || n.Select || l.needed(n) || !l.effect(n) && !l.foreign(n) {
			continue
		}
		l.p.Emit(warden.Finding{
			Rule: "WDN-MF-115", Severity: warden.Medium, At: l.at(n), Evidence: strings.TrimPrefix(n.Domain+"::"+n.Op+" "+n.Name, "::"),
			Message: "No output of the model needs this node, and its operator is no plain computation.",
		})
		if l.effect(n) {
			l.hidden(n)
		}
	}
	return nil
}

// overwritten reports outputs that are constants whatever the input is.
func (l *logicPass) overwritten() error {
	emit := func(n *graph.Node, evidence string) {
		l.p.Emit(warden.Finding{
			Rule: "WDN-MF-112", Severity: warden.Medium, At: l.at(n), Evidence: evidence,
			Message: "A constant of the graph takes the place of what the model computed, whatever the input is.",
		})
	}
	var cut *graph.Node // uses parameters on the input, for no output
	for i := range l.m.Nodes {
		n := &l.m.Nodes[i]
		if err := l.step(); err != nil {
			return err
		}
		if len(n.Out) == 0 || n.Out[0] < 0 || len(n.In) == 0 {
			continue
		}
		out := n.Out[0]
		if cut == nil && !l.live[out] && l.mask[out]&ofInput != 0 && l.parameterised(n) {
			bytes, err := l.slice(out)
			if err != nil {
				return err
			}
			if bytes >= minParameters {
				cut = n
			}
		}
		if !l.live[out] || !l.tail[out] {
			continue
		}
		data, erased := l.erased(n)
		if !erased {
			continue
		}
		bytes, err := l.slice(data)
		if err != nil {
			return err
		}
		total, err := l.stake(out)
		if err != nil {
			return err
		}
		if bytes >= minParameters && bytes*100 >= total && l.mask[data]&ofInput != 0 {
			emit(n, l.expr(out, 2)+" -> "+l.reaches(out))
		}
	}
	for _, v := range l.m.Outputs {
		if cut != nil && l.constant(v) {
			emit(cut, l.m.Values[v].Name+" is constant; "+cut.Op+" leads nowhere")
		}
	}
	return nil
}

// erased reports whether a node writes constants over a value, and which.
func (l *logicPass) erased(n *graph.Node) (data int32, ok bool) {
	switch l.kindOf(n) {
	case scatters:
		if len(n.In) < 3 || n.In[0] < 0 || !l.constant(n.In[1]) || !l.constant(n.In[2]) {
			return 0, false
		}
		c := l.m.Values[l.through(n.In[2])]
		f, err := strconv.ParseFloat(c.Head, 64)
		return n.In[0], err != nil || f > -1e4
	case sums:
		for i, v := range n.In {
			if len(n.In) != 2 || v < 0 || !l.constant(n.In[1-i]) {
				continue
			}
			p := l.through(v)
			if p < 0 || l.maker[p] < 0 {
				continue
			}
			m := &l.m.Nodes[l.maker[p]]
			for k, z := range m.In {
				if l.kindOf(m) == products && len(m.In) == 2 && m.In[1-k] >= 0 && l.constant(z) && l.zero(z) {
					return m.In[1-k], true
				}
			}
		}
	}
	return 0, false
}

func (l *logicPass) zero(v int32) bool {
	c := l.m.Values[l.through(v)]
	return c.Constant && c.Elements == 1 && (c.Head == "0" || c.Head == "-0")
}
