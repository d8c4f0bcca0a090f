package tflite_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/flatbuf"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/tflite"
)

func open(ctx context.Context, b []byte) (*tflite.Model, error) {
	return tflite.Open(ctx, bytes.NewReader(b), int64(len(b)), bound.Default())
}

func TestOpen(t *testing.T) {
	b := formattest.TFLite("", "FlexReadFile", "")
	m, err := open(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Ops {
		m.Ops[i].At = 0
	}
	want := &tflite.Model{
		Version: 3, Description: "test", Ops: []tflite.Op{{Uses: 1}, {Builtin: 32, Custom: "FlexReadFile", Uses: 1}, {Uses: 1}},
		Metadata: []string{"min_runtime_version"}, Subgraphs: 1, Nodes: 3,
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
}

func TestDamage(t *testing.T) {
	type flat = formattest.Flat
	unknown := formattest.FlatBuffer("TFL3", flat{uint32(3), []flat{{uint32(0)}}, []flat{{nil, nil, nil, []flat{{uint32(7)}}}}})
	for name, b := range map[string][]byte{
		"short":            []byte("\x10\x00\x00\x00TFL3"),
		"root_outside":     append([]byte("\xff\xff\xff\xffTFL3"), make([]byte, 64)...),
		"root_in_header":   append([]byte("\x00\x00\x00\x00TFL3"), make([]byte, 64)...),
		"unknown_operator": unknown,
		"cut":              formattest.TFLite("A")[:80],
	} {
		if _, err := open(t.Context(), b); !errors.Is(err, flatbuf.ErrBuffer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := open(t.Context(), formattest.FlatBuffer("TFL3", flat{uint32(4)})); !errors.Is(err, detect.ErrLimit) {
		t.Errorf("another version: %v", err)
	}
}

// TestTwoGraphs counts the nodes of every graph.
func TestTwoGraphs(t *testing.T) {
	graph := formattest.Flat{nil, nil, nil, []formattest.Flat{{uint32(0)}}}
	b := formattest.FlatBuffer("TFL3", formattest.Flat{uint32(3), []formattest.Flat{{uint32(0)}}, []formattest.Flat{graph, graph}})
	m, err := open(t.Context(), b)
	if err != nil || m.Subgraphs != 2 || m.Nodes != 2 {
		t.Errorf("%+v, %v", m, err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(formattest.TFLite("", "Custom"))
	f.Add(formattest.FlatBuffer("TFL3", formattest.Flat{uint32(3)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err1 := open(t.Context(), b)
		two, err2 := open(t.Context(), b)
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
	})
}
