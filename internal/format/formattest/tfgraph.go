package formattest

import (
	"encoding/binary"
	"math"
)

// A TFNet collects the nodes of a TensorFlow graph or function.
type TFNet struct {
	nodes, library [][]byte
	outputs        []string
}

// NewTFNet begins a graph with placeholders, and names the values that its
// signature hands out; without one the graph has no signature.
func NewTFNet(inputs []string, outputs ...string) *TFNet {
	n := &TFNet{outputs: outputs}
	for _, in := range inputs {
		n.Op(in, "Placeholder")
	}
	return n
}

// Op adds a node and returns n.
func (n *TFNet) Op(name, op string, in ...string) *TFNet { return n.Node(name, op, in) }

// Node adds a node with attributes.
func (n *TFNet) Node(name, op string, in []string, attributes ...[]byte) *TFNet {
	f := [][]byte{Field(1, name), Field(2, op)}
	for _, s := range in {
		f = append(f, Field(3, s))
	}
	for _, a := range attributes {
		f = append(f, Field(5, a))
	}
	n.nodes = append(n.nodes, Message(f...))
	return n
}

// TFAttr writes an attribute that names functions: one, or a list.
func TFAttr(key string, functions ...string) []byte {
	if len(functions) == 1 {
		return Message(Field(1, key), Field(2, Field(10, Field(1, functions[0]))))
	}
	var list [][]byte
	for _, f := range functions {
		list = append(list, Field(9, Field(1, f)))
	}
	return Message(Field(1, key), Field(2, Field(1, Message(list...))))
}

// tfShape writes a shape of one dimension.
func tfShape(size int) []byte { return Field(2, Field(1, size)) }

// Const adds a tensor of floats, all the same.
func (n *TFNet) Const(name string, elements int, value float32) *TFNet {
	var raw []byte
	for range elements {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(value))
	}
	tensor := Message(Field(1, 1), Field(2, tfShape(elements)), Field(4, raw))
	return n.Node(name, "Const", nil, Message(Field(1, "value"), Field(2, Field(8, tensor))))
}

// Variable adds the handle of a variable of floats, whose values lie elsewhere.
func (n *TFNet) Variable(name string, elements int) *TFNet {
	return n.Node(name, "VarHandleOp", nil,
		Message(Field(1, "dtype"), Field(2, Field(6, 1))), Message(Field(1, "shape"), Field(2, Field(7, tfShape(elements)))))
}

// Function adds a function to the library: arguments that begin with "*" are
// handles, rets are pairs of a name and a value.
func (n *TFNet) Function(name string, args, rets []string, body *TFNet) *TFNet {
	signature := [][]byte{Field(1, name)}
	for _, a := range args {
		kind := 1
		if a[0] == '*' {
			a, kind = a[1:], 20
		}
		signature = append(signature, Field(2, Message(Field(1, a), Field(3, kind))))
	}
	var ret [][]byte
	for i := 0; i+1 < len(rets); i += 2 {
		if rets[i] == "^" { // runs in any case
			ret = append(ret, Field(6, Message(Field(1, rets[i+1]), Field(2, rets[i+1]))))
			continue
		}
		signature = append(signature, Field(3, Field(1, rets[i])))
		ret = append(ret, Field(4, Message(Field(1, rets[i]), Field(2, rets[i+1]))))
	}
	fields := [][]byte{Field(1, Message(signature...))}
	for _, b := range body.nodes {
		fields = append(fields, Field(3, b))
	}
	n.library = append(n.library, Message(append(fields, ret...)...))
	return n
}

// Graph writes the GraphDef.
func (n *TFNet) Graph() []byte { return TFGraph(n.nodes, n.library) }

// File writes a SavedModel.
func (n *TFNet) File() []byte {
	if len(n.outputs) == 0 {
		return SavedModel(n.Graph())
	}
	var outs [][]byte
	for _, o := range n.outputs {
		outs = append(outs, Field(2, Message(Field(1, o), Field(2, Field(1, o)))))
	}
	return SavedModel(n.Graph(), Field(5, Message(Field(1, "serving_default"), Field(2, Message(outs...)))))
}
