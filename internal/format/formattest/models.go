package formattest

import (
	"bytes"
	"encoding/binary"
)

// GGUF writes files of that format value by value, so that every number in them
// can be wrong. The zero value writes version 3 in little-endian order.
type GGUF struct {
	Version   uint32 // 3 if zero
	BigEndian bool
	Tensors   uint64 // declared counts
	Keys      uint64

	body bytes.Buffer
}

func (g *GGUF) order() binary.AppendByteOrder {
	if g.BigEndian {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// U32 appends a number of 32 bits.
func (g *GGUF) U32(v uint32) *GGUF { g.body.Write(g.order().AppendUint32(nil, v)); return g }

// U64 appends a number of 64 bits.
func (g *GGUF) U64(v uint64) *GGUF { g.body.Write(g.order().AppendUint64(nil, v)); return g }

// Length appends a length as wide as the version wants.
func (g *GGUF) Length(v uint64) *GGUF {
	if g.Version == 1 {
		return g.U32(uint32(v))
	}
	return g.U64(v)
}

// Text appends a length and the text.
func (g *GGUF) Text(s string) *GGUF { g.Length(uint64(len(s))); g.body.WriteString(s); return g }

// Pair appends a key with a text as its value.
func (g *GGUF) Pair(key, value string) *GGUF {
	g.Keys++
	return g.Text(key).U32(8).Text(value)
}

// Tensor appends the description of a tensor of 32-bit numbers.
func (g *GGUF) Tensor(name string, offset uint64, dims ...uint64) *GGUF {
	g.Tensors++
	g.Text(name).U32(uint32(len(dims)))
	for _, d := range dims {
		g.Length(d)
	}
	return g.U32(0).U64(offset)
}

// Bytes returns the file, with data aligned to 32 bytes behind the header.
func (g *GGUF) Bytes(data []byte) []byte {
	h := &GGUF{Version: g.Version, BigEndian: g.BigEndian}
	h.body.WriteString("GGUF")
	h.U32(max(1, g.Version) + 2*boolean(g.Version == 0)).Length(g.Tensors).Length(g.Keys)
	h.body.Write(g.body.Bytes())
	h.body.Write(make([]byte, (32-h.body.Len()%32)%32))
	h.body.Write(data)
	return h.body.Bytes()
}

func boolean(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// Field is one field of a protobuf message: a text, a nested message or a number.
func Field(num int, value any) []byte {
	var b []byte
	switch v := value.(type) {
	case int:
		b = binary.AppendUvarint(b, uint64(num)<<3)
		return binary.AppendUvarint(b, uint64(v))
	case string:
		b = binary.AppendUvarint(b, uint64(num)<<3|2)
		b = binary.AppendUvarint(b, uint64(len(v)))
		return append(b, v...)
	case []byte:
		return Field(num, string(v))
	}
	return b
}

// Message joins fields.
func Message(fields ...[]byte) []byte { return bytes.Join(fields, nil) }

// ONNX writes a model with the nodes and initializers given as messages.
func ONNX(nodes, initializers [][]byte, more ...[]byte) []byte {
	var graph [][]byte
	for _, n := range nodes {
		graph = append(graph, Field(1, n))
	}
	for _, t := range initializers {
		graph = append(graph, Field(5, t))
	}
	return Message(Field(1, 8), Field(2, "test"), Field(7, Message(graph...)), Field(8, Message(Field(1, ""), Field(2, 18))), Message(more...))
}

// ONNXNode writes a node, with attributes given as messages.
func ONNXNode(domain, op string, attributes ...[]byte) []byte {
	fields := [][]byte{Field(1, "x"), Field(2, "y"), Field(4, op)}
	for _, a := range attributes {
		fields = append(fields, Field(5, a))
	}
	if domain != "" {
		fields = append(fields, Field(7, domain))
	}
	return Message(fields...)
}

// ONNXExternal writes a tensor whose data lies in other files.
func ONNXExternal(name string, locations ...string) []byte {
	fields := [][]byte{Field(1, 4), Field(2, 1), Field(8, name)}
	for _, l := range locations {
		fields = append(fields, Field(13, Message(Field(1, "location"), Field(2, l))))
	}
	return Message(append(fields, Field(14, 1))...)
}
