package coreml_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/coreml"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/named"
)

func network() []byte {
	layers := append(formattest.CoreMLLayer("conv", ""), formattest.CoreMLLayer("mine", "MyLayer")...)
	return formattest.CoreML(500, layers, "author", "somebody")
}

func program() []byte {
	return formattest.CoreML(502, formattest.CoreMLProgram("custom_layer", "class_name", "MyOp", "@model_path/weights/weight.bin"))
}

func TestOpen(t *testing.T) {
	for name, tt := range map[string]struct {
		b    []byte
		want []named.Item
	}{
		"network": {network(), []named.Item{
			{Kind: named.Text, Key: "author", Value: "somebody"},
			{Kind: named.Custom, Key: "custom layer", Value: "MyLayer"},
			{Kind: named.Text, Key: "custom layer", Value: "value"},
			{Kind: named.Text, Key: "custom layer", Value: "a layer"},
		}},
		"program": {program(), []named.Item{
			{Kind: named.Custom, Key: "operation", Value: "custom_layer"},
			{Kind: named.Custom, Key: "operation", Value: "MyOp"},
			{Kind: named.File, Key: "weights", Value: "@model_path/weights/weight.bin"},
		}},
	} {
		r, size := bytes.NewReader(tt.b), int64(len(tt.b))
		if !coreml.Sniff(t.Context(), r, size, false) {
			t.Errorf("%s: not taken for a model", name)
		}
		list, err := coreml.Open(t.Context(), r, size, bound.Default())
		if d := cmp.Diff(tt.want, list.Items, cmpopts.IgnoreFields(named.Item{}, "Start", "End")); d != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, d)
		}
	}
	for name, b := range map[string][]byte{"onnx": formattest.ONNX(nil, nil), "savedmodel": formattest.SavedModel(nil), "text": []byte("some words")} {
		if coreml.Sniff(t.Context(), bytes.NewReader(b), int64(len(b)), false) {
			t.Errorf("%s is taken for a model", name)
		}
	}
}

func TestDepth(t *testing.T) {
	m := network()
	for range 100 {
		m = formattest.CoreML(202, formattest.Field(1, m))
	}
	if _, err := coreml.Open(t.Context(), bytes.NewReader(m), int64(len(m)), bound.Default()); !errors.Is(err, detect.ErrLimit) {
		t.Errorf("pipelines in pipelines: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(network())
	f.Add(program())
	f.Add(formattest.CoreML(556, formattest.Field(1, formattest.Field(1, formattest.Field(1, "../x")))))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, size := bytes.NewReader(b), int64(len(b))
		coreml.Sniff(t.Context(), r, size, true)
		one, err1 := coreml.Open(t.Context(), r, size, bound.Default())
		two, err2 := coreml.Open(t.Context(), r, size, bound.Default())
		if d := cmp.Diff(one.Items, two.Items); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
		for _, i := range one.Items {
			if i.Start < 0 || i.Start > i.End || i.End > size {
				t.Errorf("%+v in %d bytes", i, size)
			}
		}
	})
}
