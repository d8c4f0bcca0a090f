package file

import (
	"context"
	"fmt"
	"strconv"

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
without a comparison. It reads ONNX graphs.`,
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
		rule("WDN-MF-114", warden.Medium, "Chance bypasses the model", look),
		rule("WDN-MF-115", warden.Medium, "Nodes that no output needs use foreign operators", look),
		rule("WDN-MF-116", warden.High, "Hidden nodes run Python or reach a service", "Do not run the model. "+look),
	}
}

func runGraphLogic(ctx context.Context, p *detect.Pass[*format.File]) error {
	if p.Subject.Graph == nil {
		return nil
	}
	l := &logicPass{ended: ctx.Err, p: p, m: p.Subject.Graph}
	return l.run()
}

// What is known of a value.
const (
	ofInput   = 1 << iota // depends on values of the input
	ofShape               // depends on shapes of the input
	ofChance              // depends on a random number
	compared              // a comparison with a constant lies behind it
	equal                 // one for equality, or for closeness
	few                   // made of few places of what it depends on, or of a sum
	resizable             // its shape depends on values
	gate                  // zero or one, made by a comparison
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
	for _, do := range []func() error{l.index, l.forward, l.backward, l.orphans, l.selectors, l.overwritten} {
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
	l.cost = map[int32]int64{}
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

func kindOf(n *graph.Node) kind {
	if n.Domain != "" {
		return other
	}
	return kinds[n.Op]
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
	k := kindOf(n)
	varies, constant := 0, 0
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
		if m&(ofInput|ofShape|ofChance) == 0 {
			constant++
			bytes = max(bytes, l.fixed[v])
		} else {
			varies++
			gates = gates && m&gate != 0
		}
	}
	if varies > 0 {
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
	case equals, orders:
		if varies > 0 && constant > 0 && mask&(ofInput|ofChance) != 0 {
			keep |= compared | gate
			if k == equals || l.close(n) {
				keep |= equal
			}
		}
		return keep, bytes, nil
	case reduces:
		return keep | few | mask&gate*gateIf(gates), bytes, nil
	case chance:
		return keep | ofChance, bytes, nil
	case passes, logic, sums, products:
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
		if v >= 0 && l.maker[v] >= 0 && l.m.Nodes[l.maker[v]].Op == "Abs" {
			return true
		}
	}
	return false
}

// parameterised reports whether a node uses a notable part of the parameters.
func (l *logicPass) parameterised(n *graph.Node) bool {
	if n.Select || n.Link || kindOf(n) == scatters {
		return false
	}
	for _, v := range n.In {
		if v >= 0 && l.mask[v]&(ofInput|ofShape|ofChance) == 0 && l.fixed[v] >= max(64, l.total/1000) {
			return true
		}
	}
	return false
}

// backward marks what outputs need, and what reaches one with no parameters on
// the way.
func (l *logicPass) backward() error {
	spread := func(marks []bool, through func(*graph.Node) bool) error {
		queue := make([]int32, 0, len(l.m.Outputs))
		add := func(v int32) {
			if v >= 0 && !marks[v] {
				marks[v] = true
				queue = append(queue, v)
			}
		}
		for _, v := range l.m.Outputs {
			add(v)
		}
		for len(queue) > 0 {
			v := queue[len(queue)-1]
			queue = queue[:len(queue)-1]
			var err error
			l.makers(v, func(n *graph.Node) {
				if !through(n) {
					return
				}
				for _, in := range n.In {
					if e := l.step(); e != nil {
						err = e
					}
					add(in)
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := spread(l.live, func(*graph.Node) bool { return true }); err != nil {
		return err
	}
	for i, v := range l.m.Values {
		if l.live[i] {
			l.total = min(l.total+v.Bytes, 1<<60)
		}
	}
	return spread(l.tail, func(n *graph.Node) bool { return !l.parameterised(n) })
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

// share writes bytes as a part of the parameters.
func (l *logicPass) share(bytes int64) string {
	return strconv.FormatFloat(100*float64(bytes)/float64(l.total), 'g', 2, 64) + " % of parameters"
}
