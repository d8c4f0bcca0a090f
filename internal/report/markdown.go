package report

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// markdownBytes bounds the report for pull-request comments, whose hosts cut
// longer ones.
const markdownBytes = 60_000

// NewMarkdown returns a Writer for comments on pull requests: a table of counts,
// then the findings, at most 60 kB.
func NewMarkdown(w io.Writer) Writer { return &markdownWriter{w: w} }

type markdownWriter struct {
	w    io.Writer
	body strings.Builder
	left int // files that did not fit
}

func (m *markdownWriter) Begin(Tool, time.Time) error { return nil }

func (m *markdownWriter) Target(t Target) error {
	if t.Verdict == "clean" {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "### %s: %s\n\n", t.Verdict, code(t.Path))
	for i, f := range t.Findings {
		if i == findingsShown {
			fmt.Fprintf(&b, "- … and %d more\n", len(t.Findings)-i)
			break
		}
		fmt.Fprintf(&b, "- **%s** %s at %s: %s", f.Severity, f.Rule, code(f.At.Path), escape(f.Message))
		if f.Evidence != "" {
			fmt.Fprintf(&b, " %s", code(f.Evidence))
		}
		if f.Waiver != nil {
			fmt.Fprintf(&b, " (accepted until %s: %s)", f.Waiver.Expires, escape(f.Waiver.Reason))
		}
		fmt.Fprintf(&b, "\n  - %s\n", escape(f.Advice))
	}
	for i, s := range t.Statuses {
		if i == findingsShown {
			fmt.Fprintf(&b, "- … and %d more parts\n", len(t.Statuses)-i)
			break
		}
		fmt.Fprintf(&b, "- not examined: %s: %s\n", s.Detector, escape(s.Error))
	}
	b.WriteByte('\n')
	if m.body.Len()+b.Len() > markdownBytes {
		m.left++
		return nil
	}
	m.body.WriteString(b.String())
	return nil
}

func (m *markdownWriter) End(s Summary, _ time.Duration) error {
	_, err := fmt.Fprintf(m.w, "## Model scan\n\n| files | malicious | unsafe | inconclusive | review | clean |\n|--:|--:|--:|--:|--:|--:|\n| %d | %d | %d | %d | %d | %d |\n\n%s",
		s.Files, s.Malicious, s.Unsafe, s.Inconclusive, s.Review, s.Clean, m.body.String())
	if err == nil && m.left > 0 {
		_, err = fmt.Fprintf(m.w, "%d more files did not fit; see the JSON report.\n", m.left)
	}
	return err
}

// code shows hostile text as code: nothing in it is markup.
func code(s string) string {
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if len(fence) > 1 {
		return fence + " " + s + " " + fence
	}
	return fence + s + fence
}

// escape keeps text from being read as markup, links or mentions.
func escape(s string) string {
	return strings.NewReplacer("\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "<", "&lt;", ">", "&gt;", "#", "\\#", "|", "\\|", "@", "&#64;", "://", ":&#47;/").Replace(s)
}
