// Package graph holds the computation of a model without the ways of one
// format: nodes between numbered values, with bodies and functions linked in so
// that one walk over the nodes sees every path. It is made by the readers of
// formats and holds no tensor data beyond the first element of a constant.
package graph

import (
	"fmt"

	"github.com/modelwarden/warden/detect"
)

// A Value is what a node takes or makes.
type Value struct {
	Name     string
	Bytes    int64  // of the constant; 0 if the value is computed or given
	Constant bool   // stored in the model
	Head     string // first element of a constant, as text; "" if not a number
	Elements int64  // of a constant, as its shape declares them
}

// A Node makes values of values. Of a selector ([Node.Select]) the first input
// decides, and the output is the second or the third.
type Node struct {
	Domain, Op, Name string
	In, Out          []int32 // indices into Model.Values
	After            []int32 // values whose nodes run before, and hand nothing over
	Select           bool
	Link             bool // made by the reader: hands values in and out of bodies
	Writes           bool // changes the variable that is its first input
	Start, End       int64
}

// The dialects: whose operators the nodes of a model are.
const (
	ONNX       = "onnx"
	TensorFlow = "tensorflow"
	Torch      = "torch"
)

// A Model is the nodes that lie behind one entry point of a file, with those of
// the functions and bodies that they run.
type Model struct {
	Dialect string
	Member  string // of the container that holds the nodes; "" for the file itself
	Values  []Value
	Nodes   []Node
	Inputs  []int32 // given by the caller, without those that are constants
	Outputs []int32
}

const (
	maxEdges = 1_000_000 // inputs and outputs of nodes of one model
	maxNames = 64 << 20  // bytes of names kept of one model
)

// A Builder makes a Model. The zero Builder is ready.
type Builder struct {
	M     Model
	edges int
	names int64
	err   error
}

// Err says which limit left something out; it wraps [detect.ErrLimit].
func (b *Builder) Err() error { return b.err }

// Full reports whether a limit was reached, after which nothing is added.
func (b *Builder) Full() bool { return b.err != nil }

// Edges counts edges before they are kept, and reports whether they may be.
func (b *Builder) Edges(n int) bool {
	if b.edges += n; b.edges > maxEdges {
		b.full("edges of a graph", maxEdges)
	}
	return !b.Full()
}

// Value adds a value and returns its number, or -1 past a limit.
func (b *Builder) Value(name string) int32 {
	if b.names += int64(len(name)); b.names > maxNames || len(b.M.Values) >= maxEdges {
		b.full("values of a graph", maxEdges)
	}
	if b.Full() {
		return -1
	}
	b.M.Values = append(b.M.Values, Value{Name: name})
	return int32(len(b.M.Values) - 1)
}

// Node adds a node, whose edges were counted. Edges to -1, which is no value, are kept: the places of
// inputs have a meaning.
func (b *Builder) Node(n Node) {
	if b.Edges(2) {
		b.M.Nodes = append(b.M.Nodes, n)
	}
}

// Constant says that a value is stored in the model.
func (b *Builder) Constant(v int32, c Value) {
	if v < 0 {
		return
	}
	c.Name, c.Constant = b.M.Values[v].Name, true
	b.M.Values[v] = c
}

// Link makes the value to hold what from holds.
func (b *Builder) Link(from, to int32, start, end int64) {
	if from >= 0 && to >= 0 && from != to {
		b.Node(Node{Op: "Identity", In: []int32{from}, Out: []int32{to}, Link: true, Start: start, End: end})
	}
}

func (b *Builder) full(what string, n int) {
	if b.err == nil {
		b.err = fmt.Errorf("more than %d %s: %w", n, what, detect.ErrLimit)
	}
}
