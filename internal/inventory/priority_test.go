package inventory_test

import (
	"context"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/source"
	"github.com/modelwarden/warden/internal/source/sight"
)

// TestPriority has the rows of the design's table.
func TestPriority(t *testing.T) {
	t.Parallel()
	const no = warden.Verdict(-1) // not scanned
	for name, c := range map[string]struct {
		verdict warden.Verdict
		loads   string
		state   sight.State
		scope   sight.Scope
		pinned  bool
		want    int
	}{
		"malicious_reachable":    {warden.Malicious, "pickle", sight.Reachable, sight.Production, false, 1},
		"unsafe_reachable":       {warden.Unsafe, "keras", sight.Reachable, sight.Production, true, 1},
		"malicious_possibly":     {warden.Malicious, "pickle", sight.Possible, sight.Production, false, 2},
		"malicious_config":       {warden.Malicious, "code", sight.ConfigOnly, sight.Production, false, 2},
		"malicious_safe_loader":  {warden.Malicious, "safe", sight.Reachable, sight.Production, false, 3},
		"malicious_no_loader":    {warden.Malicious, "", sight.ConfigOnly, sight.Production, false, 3},
		"malicious_unreachable":  {warden.Malicious, "pickle", sight.Unreachable, sight.Production, false, 3},
		"unsafe_safe_loader":     {warden.Unsafe, "safe", sight.Reachable, sight.Production, false, 4},
		"unsafe_no_loader":       {warden.Unsafe, "", sight.ConfigOnly, sight.Production, false, 4},
		"review_reachable":       {warden.Review, "pickle", sight.Reachable, sight.Production, false, 3},
		"inconclusive_reachable": {warden.Inconclusive, "pickle", sight.Reachable, sight.Production, true, 3},
		"review_no_loader":       {warden.Review, "", sight.ConfigOnly, sight.Production, true, 4},
		"clean_unpinned":         {warden.Clean, "pickle", sight.Reachable, sight.Production, false, 3},
		"clean_pinned":           {warden.Clean, "pickle", sight.Reachable, sight.Production, true, 5},
		"not_scanned_unpinned":   {no, "pickle", sight.Reachable, sight.Production, false, 2},
		"not_scanned_pinned":     {no, "pickle", sight.Reachable, sight.Production, true, 3},
		"not_scanned_unused":     {no, "pickle", sight.Unreachable, sight.Production, false, 5},
		"test_lowers":            {warden.Unsafe, "pickle", sight.Reachable, sight.Test, false, 2},
		"test_keeps_malicious":   {warden.Malicious, "", sight.ConfigOnly, sight.Test, false, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, because := inventory.Priority(max(c.verdict, 0), c.verdict != no, c.loads, c.state, c.scope, c.pinned)
			if got != c.want || len(because) == 0 {
				t.Errorf("priority %d %q, want %d", got, because, c.want)
			}
		})
	}
}

type tree map[string]string

// List implements [source.Lister].
func (f tree) List(context.Context) iter.Seq2[source.Entry, error] {
	return func(yield func(source.Entry, error) bool) {
		var names []string
		for n := range f {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names {
			open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(f[n])), nil }
			if !yield(source.Entry{Path: n, Size: int64(len(f[n])), Open: open}, nil) {
				return
			}
		}
	}
}

// TestJoin: a malicious pickle that a reachable torch.load would read comes
// first; one that a safetensors sibling or weights_only shields comes last among
// the malicious ones.
func TestJoin(t *testing.T) {
	t.Parallel()
	of := tree{
		"app/main.py":       "import torch\nfrom transformers import AutoModel\ndef run():\n    torch.load('models/hot.pt', weights_only=False)\n    torch.load('models/shielded.pt', weights_only=True)\n    AutoModel.from_pretrained('models/folder')\n    AutoModel.from_pretrained('models/plain')\nif __name__ == '__main__':\n    run()\n",
		"requirements.txt":  "torch==2.7.0\n",
		"app/models/hot.pt": "x", "app/models/shielded.pt": "x", "app/models/cold.pt": "x",
		"models/folder/pytorch_model.bin": "x", "models/folder/model.safetensors": "x", "models/plain/pytorch_model.bin": "x",
	}
	src, err := source.Open(t.Context(), of, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := inventory.Build(t.Context(), src, inventory.Options{Verdict: func(p, _, _, _ string) (warden.Verdict, bool) {
		return warden.Malicious, strings.HasSuffix(p, ".pt") || strings.HasSuffix(p, ".bin")
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, a := range doc.Assets {
		if a.Kind == sight.ModelFile {
			got[a.Name] = a.Priority
		}
	}
	for name, want := range map[string]int{"app/models/hot.pt": 1, "models/plain/pytorch_model.bin": 1, "app/models/shielded.pt": 3, "app/models/cold.pt": 3, "models/folder/pytorch_model.bin": 3} {
		if got[name] != want {
			t.Errorf("%s has priority %d, want %d (all: %v)", name, got[name], want, got)
		}
	}
}
