package formattest

import "encoding/binary"

// Flat holds the fields of a table of a FlatBuffer: nil for an absent one, a
// uint32, a string, a Flat, or a []Flat.
type Flat []any

// FlatBuffer writes a file with the table as its root. The identifier has four
// letters.
func FlatBuffer(identifier string, root Flat) []byte {
	w := &flatWriter{b: append(make([]byte, 4), identifier...)}
	w.patch(0, w.table(root))
	return w.b
}

type flatWriter struct{ b []byte }

// patch writes at a place how far behind it the target lies.
func (w *flatWriter) patch(at, target int) {
	binary.LittleEndian.PutUint32(w.b[at:], uint32(target-at))
}

func (w *flatWriter) table(fields Flat) int {
	list := len(w.b)
	w.b = binary.LittleEndian.AppendUint16(w.b, uint16(4+2*len(fields)))
	w.b = binary.LittleEndian.AppendUint16(w.b, uint16(4+4*len(fields)))
	for i, f := range fields {
		off := uint16(4 + 4*i)
		if f == nil {
			off = 0
		}
		w.b = binary.LittleEndian.AppendUint16(w.b, off)
	}
	at := len(w.b)
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(at-list))
	for _, f := range fields {
		v, _ := f.(uint32)
		w.b = binary.LittleEndian.AppendUint32(w.b, v)
	}
	for i, f := range fields {
		here := at + 4 + 4*i
		switch v := f.(type) {
		case string:
			w.patch(here, len(w.b))
			w.b = binary.LittleEndian.AppendUint32(w.b, uint32(len(v)))
			w.b = append(append(w.b, v...), 0)
		case Flat:
			w.patch(here, w.table(v))
		case []Flat:
			w.patch(here, len(w.b))
			w.b = binary.LittleEndian.AppendUint32(w.b, uint32(len(v)))
			first := len(w.b)
			w.b = append(w.b, make([]byte, 4*len(v))...)
			for k, e := range v {
				w.patch(first+4*k, w.table(e))
			}
		}
	}
	return at
}

// TFLite writes a model with one node for each operator: a name for a custom
// one, "" for an addition.
func TFLite(ops ...string) []byte {
	var codes, nodes []Flat
	for i, op := range ops {
		if op == "" {
			codes = append(codes, Flat{uint32(0)})
		} else {
			codes = append(codes, Flat{uint32(32), op, nil, uint32(32)})
		}
		nodes = append(nodes, Flat{uint32(i)})
	}
	return FlatBuffer("TFL3", Flat{
		uint32(3), codes, []Flat{{nil, nil, nil, nodes}}, "test", nil, nil, []Flat{{"min_runtime_version", uint32(0)}},
	})
}

// TFNode writes a node of a TensorFlow graph: its inputs, and its attributes as
// pairs of a key and a text.
func TFNode(name, op string, inputs []string, attributes ...string) []byte {
	fields := [][]byte{Field(1, name), Field(2, op)}
	for _, in := range inputs {
		fields = append(fields, Field(3, in))
	}
	for i := 0; i+1 < len(attributes); i += 2 {
		fields = append(fields, Field(5, Message(Field(1, attributes[i]), Field(2, Field(2, attributes[i+1])))))
	}
	return Message(fields...)
}

// TFConst writes a node that holds a text.
func TFConst(name, text string) []byte {
	tensor := Message(Field(1, 7), Field(8, text))
	return Message(Field(1, name), Field(2, "Const"), Field(5, Message(Field(1, "value"), Field(2, Field(8, tensor)))))
}

// TFFunction writes a function of a graph.
func TFFunction(name string, nodes ...[]byte) []byte {
	fields := [][]byte{Field(1, Field(1, name))}
	for _, n := range nodes {
		fields = append(fields, Field(3, n))
	}
	return Message(fields...)
}

// TFGraph writes a GraphDef.
func TFGraph(nodes, functions [][]byte) []byte {
	var fields, library [][]byte
	for _, n := range nodes {
		fields = append(fields, Field(1, n))
	}
	for _, fn := range functions {
		library = append(library, Field(1, fn))
	}
	if len(library) > 0 {
		fields = append(fields, Field(2, Message(library...)))
	}
	return Message(fields...)
}

// SavedModel writes a file with the graph and further fields of its MetaGraphDef.
func SavedModel(graph []byte, more ...[]byte) []byte {
	meta := Message(Field(1, Message(Field(4, "serve"))), Field(2, graph), Message(more...))
	return Message(Field(1, 1), Field(2, meta))
}

// ExecuTorch writes a program that uses the operators and backends.
func ExecuTorch(operators, delegates []string) []byte {
	table := func(names []string) (list []Flat) {
		for _, n := range names {
			list = append(list, Flat{n})
		}
		return list
	}
	plan := Flat{"forward", nil, nil, nil, nil, nil, table(operators), table(delegates)}
	return FlatBuffer("ET12", Flat{uint32(0), []Flat{plan}})
}
