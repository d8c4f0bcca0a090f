package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// placesShown is how many places the text names of one thing; the JSON has all.
const placesShown = 3

// WriteText renders an inventory for people: a summary, the assets by kind, the
// unsafe uses by priority, and what could not be read.
func (n *Inventory) WriteText(w io.Writer, opts TextOptions) error {
	t := &textWriter{w: w, opts: opts}
	var b strings.Builder
	if !opts.Quiet {
		state := "clean"
		if !n.Complete {
			state = "inconclusive"
		}
		fmt.Fprintf(&b, "%s: %s\n", t.paint("evidence", "AI inventory of "+n.Name), t.paint(state, n.summary()))
	}
	for _, g := range groups {
		n.textGroup(&b, t, g.kind)
	}
	n.textTasks(&b, t)
	n.textGaps(&b, t)
	if len(n.Assets) == 0 && !opts.Quiet {
		b.WriteString("\nNo AI found in this tree.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// A row is an asset in a table of text.
type row struct {
	cells [5]string // name, provider, revision, state, place
	more  []string
	state string
}

func (n *Inventory) textGroup(b *strings.Builder, t *textWriter, kind string) {
	var rows []row
	var width [5]int
	for i := range n.Assets {
		a := &n.Assets[i]
		if a.Kind != kind {
			continue
		}
		r := a.row(t)
		for k, c := range r.cells {
			width[k] = max(width[k], utf8.RuneCountInString(c))
		}
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s (%d)\n", t.paint("evidence", heading(kind)), len(rows))
	for _, r := range rows {
		b.WriteByte(' ')
		pad := 1
		for k, c := range r.cells {
			if width[k] == 0 {
				continue
			}
			if c != "" {
				b.WriteString(strings.Repeat(" ", pad))
				pad = 0
				if k == 3 {
					b.WriteString(t.paint(r.state, c))
				} else {
					b.WriteString(c)
				}
			}
			pad += width[k] - utf8.RuneCountInString(c) + 2
		}
		b.WriteByte('\n')
		for _, m := range r.more {
			b.WriteString("      " + m + "\n")
		}
	}
}

// stateColour names the paint of a state: what runs stands out.
func stateColour(state string) string {
	switch state {
	case "reachable":
		return "clean"
	case "possibly_reachable", "config_only":
		return "review"
	default:
		return ""
	}
}

func (a *Asset) row(t *textWriter) row {
	r := row{state: stateColour(a.State)}
	r.cells[0] = cut(a.Label(), 56)
	if a.Provider != "" && a.Kind != "provider" {
		r.cells[1] = a.Provider
	}
	switch {
	case a.Version != "":
		r.cells[2] = cut(a.Version, 20)
	case a.Revision != "" && a.Pinned:
		r.cells[2] = cut(a.Revision, 12) + " pinned"
	case a.Revision != "":
		r.cells[2] = cut(a.Revision, 20) + " not pinned"
	case a.Provider == "huggingface" && (a.Kind == "model" || a.Kind == "dataset"):
		r.cells[2] = "not pinned"
	}
	r.cells[3] = strings.ReplaceAll(a.State, "_", " ")
	if a.Scope != "" && a.Scope != "production" {
		r.cells[3] += " (" + a.Scope + ")"
	}
	if len(a.Places) > 0 {
		r.cells[4] = a.Places[0].String()
		if k := len(a.Places) - 1; k > 0 {
			r.cells[4] += fmt.Sprintf(" +%d", k)
		}
		if a.Places[0].Via != "" {
			r.cells[4] += " via " + cut(a.Places[0].Via, 48)
		}
	}
	r.more = a.details(t)
	return r
}

// details are the further lines of an asset.
func (a *Asset) details(t *textWriter) []string {
	var out []string
	if len(a.Flags) > 0 {
		worst := "info"
		for _, u := range a.Uses {
			if severityRank(u.Severity) > severityRank(worst) {
				worst = u.Severity
			}
		}
		out = append(out, t.paint(worst, "! "+strings.Join(a.Flags, ", ")))
	}
	var about []string
	if a.Verdict != "" {
		about = append(about, "file is "+t.paint(a.Verdict, a.Verdict))
	}
	for _, x := range []struct{ label, value string }{{"", a.Note}, {"name from ", a.Implicit}, {"owner ", a.Owner}} {
		if x.value != "" {
			about = append(about, x.label+cut(x.value, 80))
		}
	}
	if a.Selectable {
		about = append(about, "one of several to choose")
	}
	for _, s := range a.Scores {
		about = append(about, fmt.Sprintf("%s %.1f", s.Name, s.Value))
	}
	if len(a.Scores) > 0 {
		about = append(about, fmt.Sprintf("%.0f %% of the factors known", a.Known*100))
	}
	if len(about) > 0 {
		out = append(out, strings.Join(about, ", "))
	}
	return out
}

func (n *Inventory) textTasks(b *strings.Builder, t *textWriter) {
	tasks := n.tasks()
	if len(tasks) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s (%d), most urgent first\n", t.paint("evidence", "Unsafe uses"), len(tasks))
	for _, k := range tasks {
		about := k.asset
		if k.rule != "" {
			about = strings.TrimSpace(k.rule + "  " + about)
		}
		fmt.Fprintf(b, "  %s %-8s  %s\n    %s\n", t.paint(k.severity, fmt.Sprintf("P%d", k.priority)), k.severity, about, k.title)
		for i, p := range k.places {
			if i == placesShown {
				fmt.Fprintf(b, "      … and %s more\n", plural(len(k.places)-i, "place"))
				break
			}
			line := "      " + p.String()
			if p.Snippet != "" {
				line += "  " + t.paint("evidence", cut(p.Snippet, 100))
			}
			b.WriteString(line + "\n")
		}
		if len(k.because) > 0 {
			fmt.Fprintf(b, "    Because: %s.\n", strings.Join(k.because, ", "))
		}
		if len(k.advice) > 0 && !t.opts.Quiet {
			fmt.Fprintf(b, "    %s\n", strings.Join(k.advice, " "))
		}
	}
}

func (n *Inventory) textGaps(b *strings.Builder, t *textWriter) {
	all := n.gapGroups()
	if t.opts.Quiet {
		all = slices.DeleteFunc(all, func(g gapGroup) bool { return !g.Blind() })
	}
	if len(all) == 0 && (len(n.Skipped) == 0 || t.opts.Quiet) {
		return
	}
	fmt.Fprintf(b, "\n%s\n", t.paint("evidence", "Not read, or not wholly"))
	for _, g := range all {
		what := "review"
		if g.Blind() {
			what = "inconclusive"
		}
		fmt.Fprintf(b, "  %s %s: %s", t.paint(what, strings.ReplaceAll(g.State, "_", " ")), g.Reader, g.Error)
		for i, p := range g.places {
			switch i {
			case 0:
				b.WriteString(": ")
			case placesShown:
				fmt.Fprintf(b, " and %d more", len(g.places)-i)
			default:
				b.WriteString(", ")
			}
			if i == placesShown {
				break
			}
			b.WriteString(p.String())
		}
		b.WriteByte('\n')
	}
	if len(n.Skipped) > 0 && !t.opts.Quiet {
		fmt.Fprintf(b, "  code of others, not analysed: %s\n", cut(strings.Join(n.Skipped, ", "), 160))
	}
}

// cut shortens to a number of characters.
func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	r := []rune(s)
	return string(r[:most-1]) + "…"
}
