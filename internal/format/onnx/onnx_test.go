package onnx_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/onnx"
)

func seed() []byte {
	f := formattest.Field
	sub := formattest.Message(f(1, formattest.ONNXNode("mine", "Inner")), f(5, formattest.ONNXExternal("v", "deep.bin")))
	return formattest.ONNX(
		[][]byte{formattest.ONNXNode("", "If", formattest.Message(f(1, "then_branch"), f(6, sub))), formattest.ONNXNode("", "Relu")},
		[][]byte{formattest.ONNXExternal("w", "w.bin")},
		f(14, formattest.Message(f(1, "k"), f(2, "v"))), f(25, formattest.Message(f(1, "F"), f(10, "mine"))),
	)
}

func TestOpen(t *testing.T) {
	b := seed()
	m, err := onnx.Open(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default())
	if err != nil || m.Nodes != 3 || !onnx.Sniff(t.Context(), bytes.NewReader(b), int64(len(b))) {
		t.Fatalf("%+v, %v", m, err)
	}
	var got []string
	for _, e := range m.External {
		got = append(got, e.Tensor+"="+e.Location)
	}
	if d := cmp.Diff([]string{"v=deep.bin", "w=w.bin"}, got); d != "" {
		t.Error(d)
	}
	if m.Ops[onnx.Op{Domain: "mine", Type: "Inner"}].Count != 1 || !m.Functions[onnx.Op{Domain: "mine", Type: "F"}] || len(m.Metadata) != 1 {
		t.Errorf("%+v", m)
	}
}

func TestDeepGraphIsLimited(t *testing.T) {
	g := []byte{}
	for range 500 {
		g = formattest.Field(1, formattest.Field(5, formattest.Field(6, g)))
	}
	b := formattest.Message(formattest.Field(1, 8), formattest.Field(7, g))
	if _, err := onnx.Open(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default()); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Errorf("500 graphs inside one another: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(seed())
	f.Add(formattest.Message(formattest.Field(1, 8), formattest.Field(7, "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		onnx.Sniff(t.Context(), bytes.NewReader(b), int64(len(b)))
		one, err1 := onnx.Open(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default())
		two, err2 := onnx.Open(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default())
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
	})
}
