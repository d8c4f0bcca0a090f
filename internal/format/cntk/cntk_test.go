package cntk_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/cntk"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/named"
)

type pair = formattest.CNTKPair

func model() []byte {
	return formattest.CNTKModel(pair{Key: "type", Value: "UserDefinedFunction"}, pair{Key: "module", Value: "evil"}, pair{Key: "native", Value: true})
}

func TestOpen(t *testing.T) {
	b := model()
	r, size := bytes.NewReader(b), int64(len(b))
	if !cntk.Sniff(t.Context(), r, size) {
		t.Error("not taken for a model")
	}
	list, err := cntk.Open(t.Context(), r, size, bound.Default())
	want := []named.Item{
		{Kind: named.Text, Key: "type", Value: "CompositeFunction"},
		{Kind: named.Text, Key: "root", Value: "Plus7"},
		{Kind: named.Text, Key: "uid", Value: "Composite8"},
		{Kind: named.Custom, Key: "type", Value: "UserDefinedFunction"},
		{Kind: named.Python, Key: "module", Value: "evil"},
		{Kind: named.Custom, Key: "native", Value: "native user-defined function"},
	}
	if d := cmp.Diff(want, list.Items, cmpopts.IgnoreFields(named.Item{}, "Start", "End")); d != "" || err != nil {
		t.Error(err, d)
	}
	for name, b := range map[string][]byte{"onnx": formattest.ONNX(nil, nil), "savedmodel": formattest.SavedModel(nil), "dictionary": formattest.CNTK(pair{Key: "a", Value: "b"}), "text": []byte("some words")} {
		if cntk.Sniff(t.Context(), bytes.NewReader(b), int64(len(b))) {
			t.Errorf("%s is taken for a model", name)
		}
	}
}

func TestOpenV1(t *testing.T) {
	b := formattest.CNTKV1("BVersion", `C:\evil.dll`, "Plus", "cmd /c dir", "UserDefinedV2Function")
	list, err := cntk.OpenV1(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default())
	want := []named.Item{
		{Kind: named.Library, Key: "text", Value: `C:\evil.dll`},
		{Kind: named.Text, Key: "text", Value: "cmd /c dir"},
		{Kind: named.Custom, Key: "text", Value: "UserDefinedV2Function"},
	}
	if d := cmp.Diff(want, list.Items, cmpopts.IgnoreFields(named.Item{}, "Start", "End")); d != "" || err != nil {
		t.Error(err, d)
	}
	for _, i := range list.Items {
		if i.End-i.Start != 2*int64(len(i.Value)) || b[i.Start] != i.Value[0] {
			t.Errorf("%+v is somewhere else", i)
		}
	}
}

func TestDepth(t *testing.T) {
	d := formattest.CNTK(pair{Key: "module", Value: "evil"})
	for range 100 {
		d = formattest.CNTK(pair{Key: "inner", Value: [][]byte{d}})
	}
	if _, err := cntk.Open(t.Context(), bytes.NewReader(d), int64(len(d)), bound.Default()); !errors.Is(err, detect.ErrLimit) {
		t.Errorf("dictionaries in dictionaries: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(model())
	f.Add(formattest.CNTKV1("Plus", `C:\evil.dll`, "cmd /c dir"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, size := bytes.NewReader(b), int64(len(b))
		cntk.Sniff(t.Context(), r, size)
		one, err1 := cntk.Open(t.Context(), r, size, bound.Default())
		two, err2 := cntk.Open(t.Context(), r, size, bound.Default())
		if d := cmp.Diff(one.Items, two.Items); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
		if size == 0 {
			return
		}
		list, err := cntk.OpenV1(t.Context(), r, size, bound.Default())
		if err != nil {
			t.Error(err)
		}
		for _, i := range append(one.Items, list.Items...) {
			if i.Start < 0 || i.Start > i.End || i.End > size {
				t.Errorf("%+v in %d bytes", i, size)
			}
		}
	})
}
