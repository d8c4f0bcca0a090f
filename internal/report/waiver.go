package report

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// A Waiver is one accepted finding. It changes what fails a run, never a
// verdict, and the finding stays in every output.
type Waiver struct {
	Rule    string `json:"rule" yaml:"rule"`
	Digest  string `json:"digest" yaml:"digest"`                 // of the top-level file, or "any"
	Path    string `json:"path,omitempty" yaml:"path,omitempty"` // with digest "any": a glob on the top-level path
	At      string `json:"at,omitempty" yaml:"at,omitempty"`     // place inside the file, as findings write it; "" means any
	Reason  string `json:"reason" yaml:"reason"`
	By      string `json:"by" yaml:"by"`
	Expires string `json:"expires" yaml:"expires"` // date, at most one year ahead
}

// AnyDigest makes a [Waiver] hold for every file whose path matches.
const AnyDigest = "any"

// ErrWaiver is wrapped by [Baseline.Check].
var ErrWaiver = errors.New("invalid waiver")

// A Baseline is a list of waivers. Check it before use.
type Baseline []Waiver

// Check returns an error wrapping ErrWaiver for a waiver that says too little or
// too much. Expired ones are no error: they do not count any more.
func (b Baseline) Check(now time.Time) error {
	for i, w := range b {
		if err := w.check(now); err != nil {
			return fmt.Errorf("%w: entry %d (%s): %w", ErrWaiver, i+1, w.Rule, err)
		}
	}
	return nil
}

func (w Waiver) check(now time.Time) error {
	end, err := time.Parse(time.DateOnly, w.Expires)
	switch {
	case w.Rule == "" || w.Reason == "" || w.By == "":
		return errors.New("rule, reason and by are required")
	case err != nil:
		return fmt.Errorf("expires %q is no date like 2026-12-31", w.Expires)
	case end.After(now.AddDate(1, 0, 1)):
		return errors.New("expires more than one year ahead")
	case w.Digest == AnyDigest && w.Path == "":
		return errors.New("digest any needs a path")
	case w.Digest != AnyDigest && w.Path != "":
		return errors.New("a path needs digest any: a digest names the file already")
	case w.Digest != AnyDigest && (!strings.HasPrefix(w.Digest, "sha256:") || len(w.Digest) != 71):
		return fmt.Errorf("digest %q is neither sha256:… nor any", w.Digest)
	}
	if _, err := path.Match(w.Path, "x"); err != nil {
		return fmt.Errorf("path %q: %w", w.Path, err)
	}
	return nil
}

// Expired reports whether w does not count any more at now.
func (w Waiver) Expired(now time.Time) bool {
	end, err := time.Parse(time.DateOnly, w.Expires)
	return err != nil || !now.Before(end.AddDate(0, 0, 1))
}

// Matches reports whether w is about finding f of target t.
func (w Waiver) Matches(t Target, f Finding) bool {
	if w.Rule != f.Rule || w.At != "" && w.At != f.At.Path {
		return false
	}
	if w.Digest != AnyDigest {
		return w.Digest == t.Digest
	}
	whole, err := path.Match(w.Path, t.Path)
	base, err2 := path.Match(w.Path, path.Base(t.Path))
	return err == nil && err2 == nil && (whole || base)
}

// Apply marks the findings of t that a waiver accepts, and counts in used which
// waivers did.
func (b Baseline) Apply(t *Target, now time.Time, used []int) {
	for i := range t.Findings {
		for n, w := range b {
			if !w.Expired(now) && w.Matches(*t, t.Findings[i]) {
				t.Findings[i].Waiver = &b[n]
				used[n]++
				break
			}
		}
	}
}
