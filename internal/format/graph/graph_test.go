package graph_test

import (
	"errors"
	"testing"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/graph"
)

func TestBuilderIsLimited(t *testing.T) {
	var b graph.Builder
	for b.Edges(1) {
	}
	if v := b.Value("x"); v != -1 || !errors.Is(b.Err(), detect.ErrLimit) {
		t.Errorf("value %d, error %v", v, b.Err())
	}
	b.Node(graph.Node{Op: "Add"})
	if b.Link(0, 1, 0, 0); len(b.M.Nodes) != 0 {
		t.Errorf("nodes past the limit: %+v", b.M.Nodes)
	}
}

// FuzzBuilder makes graphs of letters: every edge leads to a value or is -1.
func FuzzBuilder(f *testing.F) {
	f.Add("abca")
	f.Add("")
	f.Fuzz(func(t *testing.T, names string) {
		var b graph.Builder
		last := int32(-1)
		for i := range len(names) {
			v := b.Value(names[i : i+1])
			b.Link(last, v, int64(i), int64(i)+1)
			b.Node(graph.Node{Op: names[i : i+1], In: []int32{last, v}, Out: []int32{v}})
			last = v
		}
		for _, n := range b.M.Nodes {
			for _, v := range append(n.In, n.Out...) {
				if v < -1 || int(v) >= len(b.M.Values) {
					t.Errorf("edge to %d of %d values", v, len(b.M.Values))
				}
			}
		}
	})
}
