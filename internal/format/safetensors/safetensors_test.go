package safetensors_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/safetensors"
)

func seeds() [][]byte {
	data := make([]byte, 16)
	const a, b = `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`, `"b":{"dtype":"I16","shape":[4],"data_offsets":[8,16]}`
	return [][]byte{
		formattest.Safetensors("{"+a+","+b+"}", data),
		formattest.Safetensors(`{"__metadata__":{"k":"v"},`+a+","+a+"}", data),
		formattest.Safetensors(`{"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[8,0]}}`, data),
	}
}

func TestOpen(t *testing.T) {
	b := seeds()[0]
	h, err := safetensors.Open(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default())
	if err != nil || h.Tensors != 2 || len(h.Problems) > 0 || !safetensors.Sniff(b, int64(len(b))) {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestDamageIsTold(t *testing.T) {
	b := seeds()[0]
	for n := range len(b) {
		m, err := safetensors.Open(t.Context(), bytes.NewReader(b[:n]), int64(n), bound.Default())
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
		one, err1 := safetensors.Open(t.Context(), bytes.NewReader(b), int64(len(b)), lim)
		two, err2 := safetensors.Open(t.Context(), bytes.NewReader(b), int64(len(b)), lim)
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
	})
}
