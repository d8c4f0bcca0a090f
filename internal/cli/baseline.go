package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/report"
	"github.com/modelwarden/warden/rules"
)

// accepted is the baseline of one run: what it accepts, and what a first one
// would have to.
type accepted struct {
	list  report.Baseline
	used  []int
	write string
	fresh report.Baseline
	now   time.Time
}

// What a first baseline leaves for people to fill in.
const (
	sayWhy = "say why: "
	sayWho = "say who"
)

const maxBaseline = 16 << 20

func newAccepted(f *scanFlags) (*accepted, error) {
	a := &accepted{write: f.writeBaseline, now: time.Now()}
	if f.baseline == "" {
		return a, nil
	}
	st, err := os.Stat(f.baseline)
	if err == nil && st.Size() > maxBaseline {
		err = fmt.Errorf("%d bytes, at most %d", st.Size(), maxBaseline)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(f.baseline)
	}
	if err == nil {
		err = rules.DecodeStrict(text, &a.list)
	}
	if err == nil {
		err = a.list.Check(a.now)
	}
	if err != nil {
		return nil, usage("--baseline %s: %w", f.baseline, err)
	}
	a.used = make([]int, len(a.list))
	return a, nil
}

func (a *accepted) apply(t *report.Target) { a.list.Apply(t, a.now, a.used) }

// note remembers what a first baseline would accept.
func (a *accepted) note(t report.Target, failAt warden.Severity) {
	if a.write == "" || t.Digest == "" {
		return
	}
	seen := map[string]bool{}
	for _, f := range t.Findings {
		if f.Waiver != nil || severityOf(f) < failAt || seen[f.Rule+f.At.Path] {
			continue
		}
		seen[f.Rule+f.At.Path] = true
		a.fresh = append(a.fresh, report.Waiver{
			Rule: f.Rule, Digest: t.Digest, At: f.At.Path, Reason: sayWhy + f.Message, By: sayWho, Expires: a.now.AddDate(0, 3, 0).Format(time.DateOnly),
		})
	}
}

// finish says what no longer counts or was not needed, and writes a first
// baseline if that was asked for.
func (a *accepted) finish(w io.Writer) error {
	var errs []error
	for i, x := range a.list {
		var err error
		switch {
		case x.Expired(a.now):
			_, err = fmt.Fprintf(w, "baseline: the waiver of %s for %s expired on %s and does not count\n", x.Rule, x.Digest, x.Expires)
		case a.used[i] == 0:
			_, err = fmt.Fprintf(w, "baseline: the waiver of %s for %s matches nothing; remove it\n", x.Rule, x.Digest)
		case x.By == sayWho || strings.HasPrefix(x.Reason, sayWhy):
			_, err = fmt.Fprintf(w, "baseline: the waiver of %s for %s does not say who accepted it and why; fill in by and reason\n", x.Rule, x.Digest)
		}
		errs = append(errs, err)
	}
	if a.write == "" {
		return errors.Join(errs...)
	}
	text := []byte("[]\n")
	if len(a.fresh) > 0 {
		var err error
		if text, err = yaml.Marshal(a.fresh); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "baseline: %d written to %s; fill in by and reason, then scan with --baseline %s\n", len(a.fresh), a.write, a.write)
	return errors.Join(append(errs, err, os.WriteFile(a.write, text, 0o644))...) //nolint:gosec // a file of the project, like its source
}
