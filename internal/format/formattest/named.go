package formattest

import (
	"encoding/binary"
	"math"
)

// CoreML writes a model of one kind, by the number of its field, with pairs of
// metadata.
func CoreML(kind int, content []byte, metadata ...string) []byte {
	var meta [][]byte
	for i := 0; i+1 < len(metadata); i += 2 {
		meta = append(meta, Field(100, Message(Field(1, metadata[i]), Field(2, metadata[i+1]))))
	}
	description := Message(Field(1, Message(Field(1, "image"))), Field(10, Message(Field(1, "label"))), Field(100, Message(meta...)))
	return Message(Field(1, 4), Field(2, description), Field(kind, content))
}

// CoreMLLayer writes a layer of a network; with a class it is a custom one.
func CoreMLLayer(name, class string) []byte {
	if class == "" {
		return Field(1, Message(Field(1, name), Field(2, "in"), Field(3, "out"), Field(140, Message(Field(1, 8)))))
	}
	custom := Message(Field(10, class), Field(30, Message(Field(1, "key"), Field(2, Field(20, "value")))), Field(40, "a layer"))
	return Field(1, Message(Field(1, name), Field(2, "in"), Field(3, "out"), Field(500, custom)))
}

// CoreMLProgram writes an ML program with one operation, an attribute of which is
// a text, and weights in a file.
func CoreMLProgram(op, key, text, file string) []byte {
	value := Message(Field(2, ""), Field(3, Field(1, Field(4, Field(1, text)))))
	blob := Message(Field(2, ""), Field(5, Message(Field(1, file), Field(2, 64))))
	operations := Message(
		Field(3, Message(Field(5, Message(Field(1, key), Field(2, value))), Field(1, op))),
		Field(3, Message(Field(1, "const"), Field(5, Message(Field(1, "val"), Field(2, blob))))))
	function := Message(Field(2, "CoreML6"), Field(3, Message(Field(1, "CoreML6"), Field(2, operations))))
	return Message(Field(1, 1), Field(2, Message(Field(1, "main"), Field(2, function))))
}

// PaddleOp writes an operator with attributes, as pairs of a key and a text.
func PaddleOp(op string, attributes ...string) []byte {
	fields := [][]byte{Field(1, Message(Field(1, "X"), Field(2, "x"))), Field(3, op)}
	for i := 0; i+1 < len(attributes); i += 2 {
		fields = append(fields, Field(4, Message(Field(1, attributes[i]), Field(2, 2), Field(5, attributes[i+1]))))
	}
	return Message(fields...)
}

// Paddle writes a program of one block.
func Paddle(ops ...[]byte) []byte {
	block := [][]byte{Field(1, 0), Field(2, 0), Field(3, Message(Field(1, "x"), Field(2, Field(1, 7))))}
	for _, op := range ops {
		block = append(block, Field(4, op))
	}
	return Message(Field(1, Message(block...)), Field(4, Field(1, 0)))
}

// PaddleTensor writes a tensor of floats.
func PaddleTensor(elements int) []byte {
	desc := Message(Field(1, 5), Field(2, elements))
	b := binary.LittleEndian.AppendUint32(make([]byte, 16), uint32(len(desc)))
	return append(append(b, desc...), make([]byte, 4*elements)...)
}

// A CNTKPair is an entry of a dictionary of CNTK: a text, a bool or a list of
// dictionaries.
type CNTKPair struct {
	Key   string
	Value any
}

// CNTK writes a dictionary.
func CNTK(pairs ...CNTKPair) []byte {
	fields := [][]byte{Field(1, 1)}
	for _, p := range pairs {
		var v []byte
		switch x := p.Value.(type) {
		case string:
			v = Message(Field(2, 6), Field(8, x))
		case bool:
			v = Message(Field(2, 1), Field(3, 1))
		case [][]byte:
			var list [][]byte
			for _, d := range x {
				list = append(list, Field(1, Field(12, d)))
			}
			v = Message(Field(2, 9), Field(11, Message(list...)))
		}
		fields = append(fields, Field(2, Message(Field(1, p.Key), Field(2, v))))
	}
	return Message(fields...)
}

// CNTKModel writes a model with one function.
func CNTKModel(function ...CNTKPair) []byte {
	return CNTK(CNTKPair{"type", "CompositeFunction"}, CNTKPair{"root", "Plus7"}, CNTKPair{"uid", "Composite8"},
		CNTKPair{"primitive_functions", [][]byte{CNTK(function...)}})
}

// CNTKV1 writes a model of version 1 with texts among numbers.
func CNTKV1(texts ...string) []byte {
	wide := func(b []byte, s string) []byte {
		for i := range len(s) {
			b = append(b, s[i], 0)
		}
		return append(b, 0, 0)
	}
	b := wide(nil, "BCN")
	b = binary.LittleEndian.AppendUint64(b, 2)
	for i, s := range texts {
		b = append(b, make([]byte, i%2)...)
		b = wide(b, s)
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(-1))
	}
	return wide(b, "ECN")
}

// MXNetArrays writes a file of arrays of floats, in each of the forms.
func MXNetArrays(names ...string) []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(le.AppendUint64(nil, 0x112), 0)
	b = le.AppendUint64(b, uint64(len(names)))
	for i := range names {
		switch i % 3 {
		case 0: // version 2, dense
			b = le.AppendUint32(le.AppendUint32(b, 0xf993fac9), 0)
			b = le.AppendUint64(le.AppendUint32(b, 1), 3)
		case 1: // version 1
			b = le.AppendUint64(le.AppendUint32(le.AppendUint32(b, 0xf993fac8), 1), 3)
		default: // none: the number of dimensions
			b = le.AppendUint32(le.AppendUint32(b, 1), 3)
		}
		b = append(b, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		b = append(b, make([]byte, 12)...)
	}
	b = le.AppendUint64(b, uint64(len(names)))
	for _, n := range names {
		b = append(le.AppendUint64(b, uint64(len(n))), n...)
	}
	return b
}
