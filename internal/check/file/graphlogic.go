package file

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/graph"
)

// graphLogic finds backdoors that are nodes of the graph.
var graphLogic = &detect.Detector[*format.File]{
	Name: "graph/logic",
	Doc: `Backdoors that are nodes of the graph.

A graph can carry its backdoor without code, without a strange operator and with
its weights untouched: a few nodes look for a pattern in the input, and a
selector then hands out something else than the model computed (ShadowLogic,
HiddenLayer 2024; architectural backdoors, Bober-Irizar et al., CVPR 2023).

The check follows the inputs forward, through comparisons with constants, to
selectors (If, Where, Loop, and products with a comparison that are added), and
compares the bytes of parameters behind the condition and behind each branch.
It does not see a backdoor in the weights, nor a step made of smooth functions
without a comparison. It reads the graphs of ONNX and TensorFlow, and of TorchScript
each method for itself.`,
	Rules: graphRules(),
	Run:   runGraphLogic,
}

func graphRules() []warden.Rule {
	rule := func(id warden.RuleID, severity warden.Severity, title, advice string) warden.Rule {
		return warden.Rule{ID: id, Title: title, Severity: severity, Advice: advice, Frameworks: []string{"owasp-llm@2025:LLM04", "mitre-atlas@5.6.0:AML.T0018.001"}}
	}
	const look = "Look at the nodes around the place named, and ask who built the model what they are for. Compare with an export of your own from the same weights."
	return []warden.Rule{
		rule("WDN-MF-110", warden.Medium, "Condition on the input bypasses the model", look),
		rule("WDN-MF-111", warden.Medium, "Condition on the input replaces the output by a constant", look),
		rule("WDN-MF-112", warden.Medium, "Constant overwrites the output", look),
		rule("WDN-MF-113", warden.Medium, "Condition on the input rewrites the input", look),
		rule("WDN-MF-114", warden.Medium, "Chance or state bypasses the model", look),
		rule("WDN-MF-115", warden.Medium, "Nodes that no output needs do more than compute", look),
		rule("WDN-MF-116", warden.High, "Hidden nodes run code, touch files or reach a service", "Do not run the model. "+look),
	}
}

func runGraphLogic(ctx context.Context, p *detect.Pass[*format.File]) error {
	steps := 0
	for _, m := range p.Subject.Graphs {
		if err := graphPass(ctx, p, m, &steps); err != nil {
			return err
		}
	}
	if len(p.Subject.TorchCode) == 0 {
		return nil
	}
	return torchGraphs(ctx, p.Subject, func(m *graph.Model) error { return graphPass(ctx, p, m, &steps) })
}

// graphPass examines one graph; steps are counted for all of a file together.
func graphPass(ctx context.Context, p *detect.Pass[*format.File], m *graph.Model, steps *int) error {
	l := &logicPass{ended: ctx.Err, p: p, m: m, steps: *steps, words: words[m.Dialect]}
	if l.words == nil {
		return fmt.Errorf("%w: operators of dialect %q", detect.ErrLimit, m.Dialect)
	}
	err := l.run()
	*steps = l.steps
	return err
}

// What is known of a value.
const (
	ofInput   = 1 << iota // depends on values of the input
	ofShape               // depends on shapes of the input
	ofChance              // depends on a random number or the time
	ofState               // depends on a variable that the graph changes
	compared              // a comparison with a constant lies behind it
	equal                 // one for equality, or for closeness
	few                   // made of few places of what it depends on, or of a sum
	resizable             // its shape depends on values
	gate                  // zero or one, made by a comparison

	varies = ofInput | ofShape | ofChance | ofState
)

// minParameters is the least number of bytes of parameters that make a model
// worth bypassing.
const minParameters = 256

// maxSteps bounds the steps of all backward walks together.
const maxSteps = 50_000_000

// A logicPass is one walk over one graph.
type logicPass struct {
	ended func() error // why to stop, as of the context of the run
	p     *detect.Pass[*format.File]
	m     *graph.Model
	words *dialect
	steps int
	total int64 // bytes of the constants that outputs need

	maker []int32   // node that makes a value, or -1
	more  [][]int32 // further nodes that make it
	users [][]int32 // nodes that take a value
	mask  []uint16
	fixed []int64 // bytes of the greatest constant of which a value is made, if of nothing else
	live  []bool  // an output needs it
	tail  []bool  // it reaches an output with no parameters on the way
	seen  []int32 // number of the last backward walk that met it
	walk  int32
	cost  map[int32]int64

	outputs map[int32]bool
	stakes  map[int32]int64 // bytes behind the outputs that a value reaches
}

func (l *logicPass) step() error {
	if l.steps++; l.steps&4095 == 0 {
		if err := l.ended(); err != nil {
			return err
		}
		if l.steps > maxSteps {
			return fmt.Errorf("more than %d steps in a graph: %w", maxSteps, detect.ErrLimit)
		}
	}
	return nil
}

func (l *logicPass) run() error {
	if len(l.m.Outputs) == 0 {
		return nil
	}
	for _, do := range []func() error{l.index, l.alive, l.states, l.forward, l.backward, l.orphans, l.selectors, l.overwritten} {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// index finds makers and users of the values.
func (l *logicPass) index() error {
	n := len(l.m.Values)
	l.maker, l.users, l.mask, l.fixed = make([]int32, n), make([][]int32, n), make([]uint16, n), make([]int64, n)
	l.more, l.live, l.tail, l.seen = make([][]int32, n), make([]bool, n), make([]bool, n), make([]int32, n)
	l.cost, l.stakes, l.outputs = map[int32]int64{}, map[int32]int64{}, map[int32]bool{}
	for _, v := range l.m.Outputs {
		l.outputs[v] = true
	}
	for i, v := range l.m.Values {
		if err := l.step(); err != nil {
			return err
		}
		l.maker[i] = -1
		l.fixed[i] = v.Bytes
	}
	for i, node := range l.m.Nodes {
		for _, v := range node.Out {
			if err := l.step(); err != nil {
				return err
			}
			switch {
			case v < 0:
			case l.maker[v] < 0:
				l.maker[v] = int32(i)
			default:
				l.more[v] = append(l.more[v], int32(i))
			}
		}
		for _, v := range node.In {
			if err := l.step(); err != nil {
				return err
			}
			if v >= 0 {
				l.users[v] = append(l.users[v], int32(i))
			}
		}
	}
	for _, v := range l.m.Inputs {
		l.mask[v] = ofInput
	}
	return nil
}

// makers calls visit for the nodes that make a value.
func (l *logicPass) makers(v int32, visit func(n *graph.Node)) {
	if l.maker[v] >= 0 {
		visit(&l.m.Nodes[l.maker[v]])
	}
	for _, i := range l.more[v] {
		visit(&l.m.Nodes[i])
	}
}

func (l *logicPass) kindOf(n *graph.Node) kind {
	if n.Domain != "" {
		return other
	}
	k, ok := l.words.kinds[n.Op]
	if !ok && l.m.Dialect == graph.Torch && !strings.HasSuffix(n.Op, "__") {
		k = l.words.kinds[strings.TrimSuffix(n.Op, "_")]
	}
	return k
}

// at returns the place of a node.
func (l *logicPass) at(n *graph.Node) warden.Location {
	where := at(l.p.Subject, n.Start, n.End)
	if l.m.Member != "" {
		where.Path += "!/" + detect.Printable(l.m.Member, 1024)
	}
	return where
}

// forward spreads what is known of values until nothing changes. Each value
// changes at most once for each of its bits.
func (l *logicPass) forward() error {
	queue, waiting := make([]int32, len(l.m.Nodes)), make([]bool, len(l.m.Nodes))
	for i := range queue {
		queue[i], waiting[i] = int32(i), true
	}
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		waiting[i] = false
		n := &l.m.Nodes[i]
		mask, bytes, err := l.transfer(n)
		if err != nil {
			return err
		}
		for _, v := range n.Out {
			if v < 0 || l.mask[v]|mask == l.mask[v] && l.fixed[v] >= bytes {
				continue
			}
			l.mask[v] |= mask
			l.fixed[v] = max(l.fixed[v], bytes)
			for _, u := range l.users[v] {
				if err := l.step(); err != nil {
					return err
				}
				if !waiting[u] {
					waiting[u] = true
					queue = append(queue, u)
				}
			}
		}
	}
	return nil
}

// transfer returns what a node makes of its inputs.
func (l *logicPass) transfer(n *graph.Node) (mask uint16, bytes int64, err error) {
	k := l.kindOf(n)
	changing, constant := 0, 0
	gates := true
	for _, v := range n.In {
		if err := l.step(); err != nil {
			return 0, 0, err
		}
		if v < 0 {
			continue
		}
		m := l.mask[v]
		mask |= m
		if m&varies == 0 {
			constant++
			bytes = max(bytes, l.fixed[v])
		} else {
			changing++
			gates = gates && m&gate != 0
		}
	}
	if changing > 0 {
		bytes = 0
	}
	keep := mask &^ gate
	switch k {
	case shapes:
		if mask&resizable != 0 {
			return keep &^ resizable, bytes, nil
		}
		if mask&(ofInput|ofShape) != 0 {
			return ofShape, bytes, nil
		}
		return 0, bytes, nil
	case dynamic:
		return keep | resizable, bytes, nil
	case equals, orders, tests:
		if changing > 0 && (constant > 0 || k == tests) && mask&(ofInput|ofChance|ofState) != 0 {
			keep |= compared | gate
			if k != orders || l.close(n) {
				keep |= equal
			}
		}
		return keep, bytes, nil
	case reduces:
		return keep | few | mask&gate*gateIf(gates), bytes, nil
	case chance:
		return keep | ofChance, bytes, nil
	case passes, bends, logic, sums, products:
		return keep | mask&gate*gateIf(gates), bytes, nil
	}
	return keep, bytes, nil
}

// gateIf is 1 where the value stays a gate.
func gateIf(ok bool) uint16 {
	if ok {
		return 1
	}
	return 0
}

// close reports whether a comparison is of a distance.
func (l *logicPass) close(n *graph.Node) bool {
	for _, v := range n.In {
		if v >= 0 && l.maker[v] >= 0 && strings.EqualFold(l.m.Nodes[l.maker[v]].Op, "abs") {
			return true
		}
	}
	return false
}

// parameterised reports whether a node uses a notable part of the parameters.
func (l *logicPass) parameterised(n *graph.Node) bool {
	if n.Select || n.Link || l.kindOf(n) == scatters {
		return false
	}
	for _, v := range n.In {
		if v >= 0 && l.mask[v]&varies == 0 && l.fixed[v] >= max(64, l.total/1000) {
			return true
		}
	}
	return false
}

// spread marks the values from which outputs are made, through the nodes that
// may be passed. With after it also marks what only has to run before them.
func (l *logicPass) spread(marks []bool, after bool, through func(*graph.Node) bool) error {
	queue := make([]int32, 0, len(l.m.Outputs))
	var err error
	add := func(v int32) {
		if e := l.step(); e != nil {
			err = e
		}
		if v >= 0 && !marks[v] {
			marks[v] = true
			queue = append(queue, v)
		}
	}
	for _, v := range l.m.Outputs {
		add(v)
	}
	for len(queue) > 0 && err == nil {
		v := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		l.makers(v, func(n *graph.Node) {
			if !through(n) {
				return
			}
			for _, in := range n.In {
				add(in)
			}
			for i := 0; after && i < len(n.After); i++ {
				add(n.After[i])
			}
		})
	}
	return err
}

// alive marks what outputs need.
func (l *logicPass) alive() error {
	if err := l.spread(l.live, true, func(*graph.Node) bool { return true }); err != nil {
		return err
	}
	for i, v := range l.m.Values {
		if l.live[i] {
			l.total = min(l.total+v.Bytes, 1<<60)
		}
	}
	return nil
}

// states finds the variables that the graph itself changes while it runs.
func (l *logicPass) states() error {
	for i := range l.m.Nodes {
		if err := l.step(); err != nil {
			return err
		}
		n := &l.m.Nodes[i]
		if !n.Writes || len(n.In) == 0 || n.In[0] < 0 || !l.needed(n) {
			continue
		}
		l.walk++
		queue := []int32{n.In[0]}
		for len(queue) > 0 {
			v := queue[len(queue)-1]
			queue = queue[:len(queue)-1]
			if err := l.step(); err != nil {
				return err
			}
			if l.maker[v] < 0 {
				l.mask[v] |= ofState
			}
			l.makers(v, func(n *graph.Node) {
				if len(n.In) > 0 && n.In[0] >= 0 && l.seen[n.In[0]] != l.walk {
					l.seen[n.In[0]] = l.walk
					queue = append(queue, n.In[0])
				}
			})
		}
	}
	return nil
}

// needed reports whether an output needs a node.
func (l *logicPass) needed(n *graph.Node) bool {
	for _, v := range n.Out {
		if v >= 0 && l.live[v] {
			return true
		}
	}
	return false
}

// backward marks what reaches an output with no parameters on the way.
func (l *logicPass) backward() error {
	return l.spread(l.tail, false, func(n *graph.Node) bool { return !l.parameterised(n) })
}

// slice returns the bytes of constants that a value is made of.
func (l *logicPass) slice(v int32) (int64, error) {
	if v < 0 {
		return 0, nil
	}
	if b, ok := l.cost[v]; ok {
		return b, nil
	}
	l.walk++
	queue := []int32{v}
	l.seen[v] = l.walk
	var sum int64
	for len(queue) > 0 {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		sum = min(sum+l.m.Values[at].Bytes, 1<<60)
		var err error
		l.makers(at, func(n *graph.Node) {
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
			return 0, err
		}
	}
	l.cost[v] = sum
	return sum, nil
}

// stake returns the bytes of parameters behind the outputs that a value reaches:
// what there is to bypass.
func (l *logicPass) stake(v int32) (int64, error) {
	if b, ok := l.stakes[v]; ok {
		return b, nil
	}
	l.walk++
	queue := []int32{v}
	l.seen[v] = l.walk
	var reached []int32
	for len(queue) > 0 {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if l.outputs[at] {
			reached = append(reached, at)
		}
		for _, u := range l.users[at] {
			for _, out := range l.m.Nodes[u].Out {
				if err := l.step(); err != nil {
					return 0, err
				}
				if out >= 0 && l.seen[out] != l.walk {
					l.seen[out] = l.walk
					queue = append(queue, out)
				}
			}
		}
	}
	var most int64
	for _, o := range reached {
		b, err := l.slice(o)
		if err != nil {
			return 0, err
		}
		most = max(most, b)
	}
	l.stakes[v] = most
	return most, nil
}

// share writes bytes as a part of others.
func share(bytes, of int64) string {
	return strconv.FormatFloat(100*float64(bytes)/float64(of), 'g', 2, 64) + " % of parameters"
}
