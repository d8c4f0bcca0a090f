package file

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/pickle"
)

// corpus is the developers' corpus, inert bytes that must never be loaded.
const corpus = "../../../../shared/data/artifacts"

// judgeBytes judges b as pickle alone, without containers.
func judgeBytes(ctx context.Context, name string, b []byte) (detect.Result, []detect.Status) {
	r := bytes.NewReader(b)
	if !pickle.Sniff(ctx, r, r.Size(), bound.Default()) {
		return detect.Result{}, []detect.Status{{State: detect.Failed}}
	}
	streams, unread := pickle.Open(ctx, r, r.Size(), bound.Default())
	f := &format.File{Path: name, Format: "pickle", R: r, Size: r.Size(), Pickles: streams, Unread: unread}
	return detect.Run(ctx, warden.Ref{}, f, detect.DefaultLimits(), pickles), unread
}

// TestPickleCorpus runs the check over every plain pickle of the corpus. It
// fails if one takes too long, or if a bound of the design is missed.
func TestPickleCorpus(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join(corpus, "MANIFEST.tsv"))
	if err != nil {
		t.Skipf("no corpus beside the repository: %v", err)
	}
	var caught, malicious, alarms, reviews, benign int
	var took []time.Duration
	for line := range strings.Lines(string(manifest)) {
		col := strings.Split(line, "\t")
		if len(col) < 5 || col[3] != "pickle-family" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(corpus, filepath.FromSlash(col[0])))
		if err != nil {
			t.Fatal(err)
		}
		if container(b) {
			continue
		}
		start := time.Now()
		res, unread := judgeBytes(t.Context(), filepath.Base(col[0]), b)
		d := time.Since(start)
		took = append(took, d)
		if d > 2*time.Second {
			t.Errorf("%s: took %v", col[0], d)
		}
		v := res.Verdict()
		var why []string
		for _, f := range res.Findings {
			why = append(why, string(f.Rule)+" "+f.Severity.String()+" "+f.Evidence)
		}
		switch {
		case col[1] == "malicious" && col[2] == "exec":
			malicious++
			if v >= warden.Unsafe {
				caught++
			} else {
				t.Logf("missed: %s: %v %v %v", col[0], v, why, unread)
			}
		case col[1] == "malicious" && v == warden.Clean && len(unread) == 0:
			t.Logf("indicator is clean: %s", col[0])
		case col[1] == "benign":
			benign++
			if v >= warden.Unsafe {
				alarms++
				t.Logf("false alarm: %s: %v %q", col[0], v, why)
			} else if v == warden.Review {
				reviews++
				t.Logf("review: %s: %q", col[0], why)
			} else if len(unread) > 0 {
				t.Logf("benign but unread: %s: %v", col[0], unread)
			}
		case col[1] == "robust" && v == warden.Clean && len(unread) == 0:
			t.Logf("robust file is clean: %s", col[0])
		}
	}
	slices.Sort(took)
	t.Logf("recall %d/%d, false alarms %d/%d, review %d/%d, median %v, p95 %v", caught, malicious, alarms, benign, reviews, benign, took[len(took)/2], took[len(took)*95/100])
	if caught*100 < malicious*99 || alarms*100 > benign || reviews*100 > benign*15 {
		t.Error("a bound of the design is missed")
	}
}

// container reports whether b is a container, whose members other tests cover.
func container(b []byte) bool {
	for _, magic := range []string{"PK\x03\x04", "PK\x01\x02", "7z\xbc\xaf", "\x93NUMPY", "\x1f\x8b", "BZh", "\xfd7zXZ", "x\x9c", "x\x01", "x\xda", "x^", "]\x00\x00", "\x04\x22\x4d\x18", "ZF"} {
		if bytes.HasPrefix(b, []byte(magic)) {
			return true
		}
	}
	return len(b) > 262 && string(b[257:262]) == "ustar"
}
