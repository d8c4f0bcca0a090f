package file

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
)

const artifacts = "../../../../shared/data/artifacts"

// verdict examines a file and everything in it, as the engine does.
func verdict(ctx context.Context, name string, b []byte) (warden.Verdict, []string) {
	v, why := warden.Clean, []string(nil)
	var walk func(f *format.File)
	walk = func(f *format.File) {
		res := detect.Run(ctx, warden.Ref{}, f, detect.DefaultLimits(), All()...)
		res.Statuses = append(res.Statuses, f.Unread...)
		v = max(v, res.Verdict())
		for _, x := range res.Findings {
			why = append(why, fmt.Sprintf("%s %s %s: %s [%s]", x.Severity, x.Rule, x.At.Path, x.Message, x.Evidence))
		}
		for _, s := range res.Statuses {
			if s.State == detect.Failed || s.State == detect.Skipped {
				why = append(why, fmt.Sprintf("%s: %v", s.State, s.Err))
			}
		}
		for m, err := range f.Members(ctx) {
			if err != nil {
				v = max(v, warden.Inconclusive)
				why = append(why, err.Error())
				continue
			}
			walk(m)
		}
	}
	f, err := format.Open(ctx, name, bytes.NewReader(b), int64(len(b)), format.DefaultLimits())
	if err != nil {
		return warden.Inconclusive, []string{err.Error()}
	}
	walk(f)
	return v, why
}

// TestCorpus examines the developers' files. The pickle family is measured by
// TestPickleCorpus; here nothing may hang, robust files may not be clean, and
// other formats raise no false alarm.
func TestCorpus(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join(artifacts, "MANIFEST.tsv"))
	if err != nil {
		t.Skipf("no corpus beside this tree: %v", err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(manifest)) {
		row := strings.Split(line, "\t")
		if row[0] == "path" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(artifacts, row[0]))
		if err != nil {
			t.Error(err)
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		start := time.Now()
		v, why := verdict(ctx, filepath.Base(row[0]), b)
		if ctx.Err() != nil {
			t.Errorf("%s: not done in 20 s", row[0])
		}
		cancel()
		if d := time.Since(start); d > 20*time.Second {
			t.Logf("%s: %v", row[0], d)
		}
		label, family := row[1], row[3]
		counts[fmt.Sprintf("%-14s %-9s %-9s %s", family, label, row[2], v)]++
		text := family == "other" // JSON edge cases with nothing in them
		switch {
		case label == "robust" && !text && v == warden.Clean && strings.HasSuffix(row[0], ".pkl"):
			t.Logf("%s is clean and complete: see TestPickleCorpus", row[0])
		case label == "robust" && !text && v == warden.Clean:
			t.Errorf("%s is clean and complete", row[0])
		case label == "benign" && v >= warden.Unsafe && family != "pickle-family":
			t.Errorf("false alarm: %s is %s\n%s", row[0], v, strings.Join(why, "\n"))
		case label == "benign" && v >= warden.Unsafe:
			t.Logf("false alarm: %s is %s\n%s", row[0], v, strings.Join(why, "\n"))
		case label == "benign" && v > warden.Clean:
			t.Logf("not clean: %s is %s\n%s", row[0], v, strings.Join(why, "\n"))
		case label == "malicious" && v < warden.Unsafe:
			t.Logf("missed: %s is %s\n%s", row[0], v, strings.Join(why, "\n"))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%4d %s", counts[k], k)
	}
}
