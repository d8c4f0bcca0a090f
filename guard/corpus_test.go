package guard_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/chat"
)

// A tally counts what became of the rows of one source.
type tally struct {
	rows, review, redact, deny, incomplete int
	rules                                  map[warden.RuleID]int
}

// TestCorpus counts, for each source of ../shared/data/guard, the rows that are
// not simply let through. Benign rows may be at most 6 % of a source; texts about
// prompting, which hold what the rules look for, 15 %.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("../../shared/data/guard/train/*.jsonl.gz")
	if err != nil || len(files) == 0 {
		t.Skip("no data: ../shared/data/guard/train is not there")
	}
	g := newGuard(t, guard.Config{})
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".jsonl.gz"), func(t *testing.T) {
			for label, n := range count(t, g, name) {
				caught := n.review + n.redact + n.deny
				t.Logf("label %d: %d rows, review %d, redact %d, deny %d, incomplete %d (%.2f %% not simply allowed) %v", label, n.rows, n.review, n.redact, n.deny, n.incomplete, 100*float64(caught)/float64(n.rows), n.rules)
				limit := 0.06
				if strings.Contains(name, "prompt") {
					limit = 0.15
				}
				if label == 0 && float64(caught) > limit*float64(n.rows) {
					t.Errorf("%d of %d benign rows", caught, n.rows)
				}
			}
		})
	}
}

func count(t *testing.T, g *guard.Guard, name string) map[int]*tally {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[int]*tally{}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var row struct {
			Text, Kind string
			Label      int
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		n := out[row.Label]
		if n == nil {
			n = &tally{rules: map[warden.RuleID]int{}}
			out[row.Label] = n
		}
		role := chat.User
		if row.Kind == "indirect" || row.Kind == "clean_doc" {
			role = chat.Tool
		}
		res := g.Check(t.Context(), exchange(role, row.Text))
		n.rows++
		switch res.Effect {
		case warden.AllowReview:
			n.review++
		case warden.Redact:
			n.redact++
		case warden.Deny, warden.Require:
			n.deny++
		case warden.Allow:
		}
		if !res.Complete {
			n.incomplete++
		}
		for _, id := range slices.Sorted(maps.Keys(res.Counts)) {
			n.rules[id]++
		}
		if os.Getenv("SHOW") != "" && row.Label == 0 && res.Effect != warden.Allow {
			for _, f := range res.Findings {
				a, b := max(0, f.At.Span.Start-30), min(int64(len(row.Text)), f.At.Span.End+30)
				t.Logf("%s %s %s: %q", f.Rule, f.Message, f.Evidence, row.Text[a:b])
			}
		}
	}
	return out
}
