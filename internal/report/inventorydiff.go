package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/modelwarden/warden/detect"
)

// An InventoryDiff is what differs between two inventories of a tree.
type InventoryDiff struct {
	Complete           bool // both are
	Appeared, Vanished []Asset
	Changed            []AssetChange
	New, Gone          []DiffUse
}

// An AssetChange is an asset that is not as it was.
type AssetChange struct {
	Kind, Name string
	Worse      bool
	Fields     []FieldChange
}

// A FieldChange is one field with both values; "" is none.
type FieldChange struct{ Name, Old, New string }

// A DiffUse is an unsafe use that one of the inventories lacks.
type DiffUse struct {
	Asset string // as people call it
	Use
}

// Tidy makes every text printable. Render after it.
func (d *InventoryDiff) Tidy() {
	for _, list := range [][]Asset{d.Appeared, d.Vanished} {
		for i := range list {
			list[i].tidy()
		}
	}
	for i := range d.Changed {
		c := &d.Changed[i]
		c.Name = text(c.Name)
		for k := range c.Fields {
			c.Fields[k].Old, c.Fields[k].New = text(c.Fields[k].Old), text(c.Fields[k].New)
		}
	}
	for _, list := range [][]DiffUse{d.New, d.Gone} {
		for i := range list {
			list[i].Asset = text(list[i].Asset)
			list[i].tidy()
		}
	}
}

func (d *InventoryDiff) summary() string {
	s := fmt.Sprintf("%d appeared, %d vanished, %d changed, %s new, %d gone", len(d.Appeared), len(d.Vanished), len(d.Changed), plural(len(d.New), "unsafe use"), len(d.Gone))
	if !d.Complete {
		s += "; incomplete: what is absent may not have been read"
	}
	return s
}

// WriteText renders a difference for people: what is new first.
func (d *InventoryDiff) WriteText(w io.Writer, opts TextOptions) error {
	t := &textWriter{w: w, opts: opts}
	var b strings.Builder
	if len(d.New) > 0 {
		fmt.Fprintf(&b, "%s\n", t.paint("evidence", "New unsafe uses"))
		for _, u := range d.New {
			fmt.Fprintf(&b, "  %s %-8s  %s  %s\n    %s\n", t.paint(u.Severity, fmt.Sprintf("P%d", u.Priority)), u.Severity, strings.TrimSpace(u.Rule+"  "+u.Asset), u.At, u.Message)
			if u.Advice != "" && !opts.Quiet {
				fmt.Fprintf(&b, "    %s\n", u.Advice)
			}
		}
	}
	for _, g := range []struct {
		title, sign, paint string
		list               []Asset
	}{{"Appeared", "+", "clean", d.Appeared}, {"Vanished", "-", "high", d.Vanished}} {
		if len(g.list) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s\n", t.paint("evidence", g.title))
		for i := range g.list {
			fmt.Fprintf(&b, "  %s %s\n", t.paint(g.paint, g.sign), g.list[i].line())
		}
	}
	if len(d.Changed) > 0 {
		fmt.Fprintf(&b, "%s\n", t.paint("evidence", "Changed"))
		for _, c := range d.Changed {
			sign := "~"
			if c.Worse {
				sign = t.paint("high", "!")
			}
			fmt.Fprintf(&b, "  %s %s %s: %s\n", sign, strings.ReplaceAll(c.Kind, "_", " "), c.Name, c.fields(", ", func(s string) string { return s }))
		}
	}
	if len(d.Gone) > 0 {
		fmt.Fprintf(&b, "%s\n", t.paint("evidence", "Unsafe uses that are gone"))
		for _, u := range d.Gone {
			fmt.Fprintf(&b, "  %s  %s  %s\n", strings.TrimSpace(u.Rule+"  "+u.Asset), u.At, u.Message)
		}
	}
	if !opts.Quiet {
		b.WriteString(d.summary() + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// line is an asset in one line: kind, name, state, first place, flags.
func (a *Asset) line() string {
	s := strings.ReplaceAll(a.Kind, "_", " ") + " " + a.Label()
	if a.Provider != "" && a.Kind != "provider" {
		s += " (" + a.Provider + ")"
	}
	s += ", " + strings.ReplaceAll(a.State, "_", " ")
	if a.Scope != "" && a.Scope != "production" {
		s += ", scope " + a.Scope
	}
	if len(a.Places) > 0 {
		s += ", " + a.Places[0].String()
	}
	if len(a.Flags) > 0 {
		s += " ! " + strings.Join(a.Flags, ", ")
	}
	return s
}

func (c *AssetChange) fields(sep string, quote func(string) string) string {
	var out []string
	for _, f := range c.Fields {
		old, now := f.Old, f.New
		if old == "" {
			old = "none"
		}
		if now == "" {
			now = "none"
		}
		out = append(out, strings.ReplaceAll(f.Name, "_", " ")+" "+quote(old)+" → "+quote(now))
	}
	return strings.Join(out, sep)
}

// WriteMarkdown renders a difference for a comment on a pull request, at most
// 60 kB. Texts of the tree are code or escaped.
func (d *InventoryDiff) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	left := 0
	add := func(format string, args ...any) {
		s := fmt.Sprintf(format, args...)
		if b.Len()+len(s) > markdownBytes {
			left++
			return
		}
		b.WriteString(s)
	}
	add("## AI in this change\n\n")
	if len(d.Appeared)+len(d.Vanished)+len(d.Changed)+len(d.New)+len(d.Gone) == 0 {
		add("Nothing changed.\n\n")
	} else {
		add("%s.\n\n", d.summary())
	}
	if len(d.New) > 0 {
		add("### New unsafe uses\n\n| | severity | rule | what | where |\n|--|--|--|--|--|\n")
		for _, u := range d.New {
			add("| P%d | **%s** | %s | %s: %s. %s | %s |\n", u.Priority, u.Severity, u.Rule, cell(u.Asset), escape(u.Message), escape(u.Advice), cell(u.At.String()))
		}
		add("\n")
	}
	for _, g := range []struct {
		title string
		list  []Asset
	}{{"Appeared", d.Appeared}, {"Vanished", d.Vanished}} {
		if len(g.list) == 0 {
			continue
		}
		add("### %s\n\n| kind | name | provider | state | where |\n|--|--|--|--|--|\n", g.title)
		for i := range g.list {
			a := &g.list[i]
			at := ""
			if len(a.Places) > 0 {
				at = cell(a.Places[0].String())
			}
			add("| %s | %s | %s | %s | %s |\n", strings.ReplaceAll(a.Kind, "_", " "), cell(a.Label()), escape(a.Provider), strings.ReplaceAll(a.State, "_", " "), at)
		}
		add("\n")
	}
	if len(d.Changed) > 0 {
		add("### Changed\n\n")
		for _, c := range d.Changed {
			mark := ""
			if c.Worse {
				mark = " **(worse)**"
			}
			add("- %s %s%s: %s\n", strings.ReplaceAll(c.Kind, "_", " "), code(detect.Printable(c.Name, 200)), mark, c.fields(", ", code))
		}
		add("\n")
	}
	if len(d.Gone) > 0 {
		add("### Unsafe uses that are gone\n\n")
		for _, u := range d.Gone {
			add("- %s %s at %s\n", u.Rule, escape(u.Message), code(u.At.String()))
		}
		add("\n")
	}
	if left > 0 {
		fmt.Fprintf(&b, "%d more lines did not fit; see the JSON form.\n", left)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell shows hostile text as code in a table, where a bar would end the cell.
func cell(s string) string {
	if s == "" {
		return ""
	}
	return code(strings.ReplaceAll(detect.Printable(s, 200), "|", "¦"))
}
