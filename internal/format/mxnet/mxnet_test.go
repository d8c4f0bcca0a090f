package mxnet_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/jsontext"
	"github.com/modelwarden/warden/internal/format/mxnet"
	"github.com/modelwarden/warden/internal/format/named"
)

const symbol = `{"nodes": [{"op": "null", "name": "data", "inputs": []},
 {"op": "Custom", "name": "c", "attrs": {"op_type": "evil", "kernel": "(3, 3)"}, "inputs": [[0, 0, 0]]},
 {"op": "_foreach", "name": "loop", "inputs": [], "subgraphs": [{"nodes": [{"op": "X", "name": "$(id)", "attr": {"lib": "a.so"}}], "arg_nodes": []}]}],
 "arg_nodes": [0], "heads": [[1, 0, 0]]}`

func TestSymbol(t *testing.T) {
	doc, err := jsontext.Parse(t.Context(), []byte(symbol), bound.Default())
	if err != nil || !mxnet.IsSymbol(doc) {
		t.Fatal("not taken for a graph", err)
	}
	list, err := mxnet.Symbol(t.Context(), doc, bound.Default())
	want := []named.Item{
		{Kind: named.Python, Key: "op_type", Value: "evil"},
		{Kind: named.Text, Key: "name", Value: "$(id)"},
		{Kind: named.Library, Key: "lib", Value: "a.so"},
	}
	if d := cmp.Diff(want, list.Items, cmpopts.IgnoreFields(named.Item{}, "Start", "End")); d != "" || err != nil {
		t.Error(err, d)
	}
}

func TestArrays(t *testing.T) {
	good := formattest.MXNetArrays("arg:w", "arg:b", "aux:m", "arg:$(id)")
	list, err := mxnet.Arrays(t.Context(), bytes.NewReader(good), int64(len(good)), bound.Default())
	want := []named.Item{{Kind: named.Text, Key: "name of an array", Value: "arg:$(id)"}}
	if d := cmp.Diff(want, list.Items, cmpopts.IgnoreFields(named.Item{}, "Start", "End")); d != "" || err != nil {
		t.Error(err, d)
	}
	for name, b := range map[string][]byte{
		"cut": good[:len(good)-1], "more": append(bytes.Clone(good), 0), "count": append(bytes.Clone(good[:16]), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "empty": good[:16],
	} {
		if _, err := mxnet.Arrays(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default()); !errors.Is(err, mxnet.ErrArrays) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(symbol))
	f.Add(formattest.MXNetArrays("arg:w", "arg:b", "aux:m"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, size := bytes.NewReader(b), int64(len(b))
		one, err1 := mxnet.Arrays(t.Context(), r, size, bound.Default())
		two, err2 := mxnet.Arrays(t.Context(), r, size, bound.Default())
		if d := cmp.Diff(one.Items, two.Items); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
		if doc, err := jsontext.Parse(t.Context(), b, bound.Default()); err == nil && mxnet.IsSymbol(doc) {
			if _, err := mxnet.Symbol(t.Context(), doc, bound.Default()); err != nil {
				t.Error(err)
			}
		}
	})
}
