package formattest

import (
	"encoding/binary"
	"math"
)

// A Net collects the parts of an ONNX graph.
type Net struct {
	parts [][]byte
	more  [][]byte
}

// NewNet begins a graph with inputs and outputs.
func NewNet(inputs, outputs []string) *Net {
	n := &Net{}
	for _, s := range inputs {
		n.parts = append(n.parts, Field(11, Field(1, s)))
	}
	for _, s := range outputs {
		n.parts = append(n.parts, Field(12, Field(1, s)))
	}
	return n
}

// Op adds a node of the domain "", whose names are separated by spaces; "-" is
// an input left out. It returns n.
func (n *Net) Op(out, op string, in ...string) *Net { return n.Node("", out, op, in) }

// Node adds a node with attributes.
func (n *Net) Node(domain, out, op string, in []string, attributes ...[]byte) *Net {
	var f [][]byte
	for _, s := range in {
		f = append(f, Field(1, s))
	}
	f = append(f, Field(2, out), Field(4, op))
	for _, a := range attributes {
		f = append(f, Field(5, a))
	}
	if domain != "" {
		f = append(f, Field(7, domain))
	}
	n.parts = append(n.parts, Field(1, Message(f...)))
	return n
}

// If adds a conditional of which each branch is a graph.
func (n *Net) If(out, condition string, yes, no *Net) *Net {
	return n.Node("", out, "If", []string{condition},
		Message(Field(1, "then_branch"), Field(6, Message(yes.parts...))), Message(Field(1, "else_branch"), Field(6, Message(no.parts...))))
}

// Body adds a node with a graph for a body.
func (n *Net) Body(out, op string, in []string, body *Net) *Net {
	return n.Node("", out, op, in, Message(Field(1, "body"), Field(6, Message(body.parts...))))
}

// Weight adds a tensor of floats, all the same.
func (n *Net) Weight(name string, elements int, value float32) *Net {
	var raw []byte
	for range elements {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(value))
	}
	n.parts = append(n.parts, Field(5, Message(Field(1, elements), Field(2, 1), Field(8, name), Field(9, raw))))
	return n
}

// Scalar adds a tensor of one number.
func (n *Net) Scalar(name string, value float32) *Net {
	n.parts = append(n.parts, Field(5, Message(Field(2, 1), Field(8, name), Field(9, binary.LittleEndian.AppendUint32(nil, math.Float32bits(value))))))
	return n
}

// Function adds a function of the domain "local".
func (n *Net) Function(name string, in, out []string, body *Net) *Net {
	f := [][]byte{Field(1, name), Field(10, "local")}
	for _, s := range in {
		f = append(f, Field(4, s))
	}
	for _, s := range out {
		f = append(f, Field(5, s))
	}
	for _, p := range body.parts {
		if p[0] == 1<<3|2 {
			f = append(f, append(Field(7, "")[:1], p[1:]...))
		}
	}
	n.more = append(n.more, Field(25, Message(f...)))
	return n
}

// File writes the model.
func (n *Net) File() []byte {
	sets := Message(Field(8, Message(Field(1, ""), Field(2, 18))), Field(8, Message(Field(1, "local"), Field(2, 1))))
	return Message(Field(1, 8), Field(2, "test"), Field(7, Message(n.parts...)), sets, Message(n.more...))
}
