package gguf_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/gguf"
)

func seeds() [][]byte {
	data := make([]byte, 64)
	whole := func(g *formattest.GGUF) []byte {
		return g.Pair("general.name", "x").Pair("tokenizer.chat_template", "{{ x }}").Tensor("a", 0, 4, 2).Tensor("b", 32, 8).Bytes(data)
	}
	return [][]byte{
		whole(&formattest.GGUF{}), whole(&formattest.GGUF{Version: 1}), whole(&formattest.GGUF{BigEndian: true}),
		(&formattest.GGUF{Keys: 1}).Text("k").U32(9).U32(8).U64(2).Text("a").Text("b").Bytes(nil),
		(&formattest.GGUF{Keys: 1}).Text("k").U32(9).U32(9).U64(1).U32(4).U64(1).U32(7).Bytes(nil),
	}
}

func TestOpen(t *testing.T) {
	for i, b := range seeds()[:3] {
		m, err := gguf.Open(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default())
		if err != nil || m.Keys != 2 || m.Tensors != 2 || len(m.Problems) > 0 || m.BigEndian != (i == 2) {
			t.Errorf("seed %d: %+v, %v", i, m, err)
			continue
		}
		if x := m.Texts[1]; x.Key != "tokenizer.chat_template" || x.Value != "{{ x }}" || string(b[x.At:x.At+7]) != x.Value {
			t.Errorf("seed %d: %+v", i, x)
		}
	}
}

func TestDamageIsTold(t *testing.T) {
	b := seeds()[0]
	for n := range len(b) {
		m, err := gguf.Open(t.Context(), bytes.NewReader(b[:n]), int64(n), bound.Default())
		if err == nil && len(m.Problems) == 0 {
			t.Errorf("a file cut at %d of %d reads as whole", n, len(b))
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	lim := bound.Default()
	lim.Header = 1 << 20
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err1 := gguf.Open(t.Context(), bytes.NewReader(b), int64(len(b)), lim)
		two, err2 := gguf.Open(t.Context(), bytes.NewReader(b), int64(len(b)), lim)
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
	})
}
