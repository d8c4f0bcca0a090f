package formattest

import "encoding/binary"

// XGBinary writes a binary model of XGBoost with one tree of one node, and
// attributes as pairs of texts.
func XGBinary(mark, objective string, attributes ...[2]string) []byte {
	le := binary.LittleEndian
	text := func(b []byte, s string) []byte { return append(le.AppendUint64(b, uint64(len(s))), s...) }
	learner := make([]byte, 136)
	if len(attributes) > 0 {
		le.PutUint32(learner[12:], 1)
	}
	b := append([]byte(mark), learner...)
	b = text(text(b, objective), "gbtree")
	model := make([]byte, 160)
	le.PutUint32(model, 1)
	tree := make([]byte, 148+20+16)
	le.PutUint32(tree[4:], 1)
	b = append(append(append(b, model...), tree...), 0, 0, 0, 0)
	if len(attributes) > 0 {
		b = le.AppendUint64(b, uint64(len(attributes)))
	}
	for _, a := range attributes {
		b = text(text(b, a[0]), a[1])
	}
	return b
}
