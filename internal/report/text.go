package report

import (
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// TextOptions configure the report for people.
type TextOptions struct {
	Color bool // use ANSI colours; only for a terminal
	Quiet bool // no line of counts
}

// NewText returns a Writer for people: one block for each file that is not
// clean, and one line of counts at the end.
func NewText(w io.Writer, opts TextOptions) Writer { return &textWriter{w: w, opts: opts} }

type textWriter struct {
	accepted int // findings with a waiver
	w        io.Writer
	opts     TextOptions
}

func (t *textWriter) Begin(Tool, time.Time) error { return nil }

// findingsShown is how many findings of one file the text shows; the JSON has all.
const findingsShown = 20

func (t *textWriter) Target(x Target) error {
	if x.Verdict == "clean" {
		return nil
	}
	var b strings.Builder
	format := x.Format
	if format == "" {
		format = "unknown format"
	}
	total := 0
	for _, n := range x.Counts {
		total += n
	}
	about := format + ", " + plural(total, "finding")
	if x.Size < 0 {
		about = "not read"
	}
	fmt.Fprintf(&b, "%s  %s  (%s)\n", t.paint(x.Verdict, x.Verdict), x.Path, about)
	for _, f := range x.Findings {
		if f.Waiver != nil {
			t.accepted++
		}
	}
	for i, f := range x.Findings {
		if i == findingsShown {
			fmt.Fprintf(&b, "  … and %d more; see --format json\n", total-findingsShown)
			break
		}
		place := f.At.Path
		if rest, ok := strings.CutPrefix(place, path.Base(x.Path)); ok && (rest == "" || rest[0] == '!') {
			place = x.Path + rest // people look for the file they named
		}
		if f.At.Start >= 0 {
			place += fmt.Sprintf("  %ss %d-%d", f.At.Unit, f.At.Start, f.At.End)
		}
		fmt.Fprintf(&b, "  %s %s  %s\n    %s\n", t.paint(f.Severity, f.Severity), f.Rule, place, f.Message)
		if f.Evidence != "" {
			fmt.Fprintf(&b, "    %s\n", t.paint("evidence", f.Evidence))
		}
		if f.Waiver != nil {
			fmt.Fprintf(&b, "    Accepted by %s until %s: %s\n", f.Waiver.By, f.Waiver.Expires, f.Waiver.Reason)
		}
		fmt.Fprintf(&b, "    %s See `warden rules show %s`.\n", f.Advice, f.Rule)
	}
	for i, s := range x.Statuses {
		if i == findingsShown {
			fmt.Fprintf(&b, "  … and %d more\n", len(x.Statuses)-findingsShown)
			break
		}
		fmt.Fprintf(&b, "  %s %s: %s\n", t.paint("inconclusive", "not examined"), s.Detector, s.Error)
	}
	_, err := io.WriteString(t.w, b.String())
	return err
}

func (t *textWriter) End(s Summary, _ time.Duration) error {
	if t.opts.Quiet {
		return nil
	}
	var parts []string
	for _, p := range []struct {
		n    int
		name string
	}{{s.Malicious, "malicious"}, {s.Unsafe, "unsafe"}, {s.Inconclusive, "inconclusive"}, {s.Review, "review"}, {s.Clean, "clean"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, t.paint(p.name, p.name)))
		}
	}
	if t.accepted > 0 {
		parts = append(parts, plural(t.accepted, "finding")+" accepted")
	}
	if len(parts) == 0 {
		parts = []string{"nothing to scan"}
	}
	_, err := fmt.Fprintf(t.w, "%s: %s\n", plural(s.Files, "file"), strings.Join(parts, ", "))
	return err
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// paint colours text by what it stands for. Colour never carries meaning alone.
func (t *textWriter) paint(what, s string) string {
	if !t.opts.Color {
		return s
	}
	code := map[string]string{
		"malicious": "1;31", "critical": "1;31", "unsafe": "31", "high": "31", "inconclusive": "35",
		"review": "33", "medium": "33", "low": "36", "info": "36", "clean": "32", "evidence": "1",
	}[what]
	if code == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}
