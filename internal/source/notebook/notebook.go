// Package notebook reads Jupyter notebooks, nbformat 3 and 4, into one text of
// Python with the place of each cell.
package notebook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// A Notebook is the code of one.
type Notebook struct {
	Language string // of the kernel, in lower case; "" if it is not said
	Source   string // code cells one after the other; magics and shell lines are blank
	Cells    []int  // the line of Source where each code cell begins, from 1
	Shell    []Line // lines that a shell runs: those after "!" and of %%bash cells
	Problem  string // what was left out; "" if nothing
}

// A Line is a command line in a notebook.
type Line struct {
	Text string
	Line int // in Source, from 1
}

// ErrNotebook is wrapped by the error for what is no notebook.
var ErrNotebook = errors.New("not a notebook")

// A text is the source of a cell, which the format has as a string or as a list
// of strings. What is neither is broken: one such cell hides no other.
type text struct {
	lines  []string
	broken bool
}

// UnmarshalJSON never fails: see text.
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text{lines: []string{s}}
		return nil
	}
	t.broken = json.Unmarshal(b, &t.lines) != nil
	return nil
}

type cell struct {
	Type   string `json:"cell_type"`
	Source text   `json:"source"`
	Input  text   `json:"input"` // nbformat 3
	Lang   string `json:"language"`
}

// Read reads a notebook. Its size is bounded by the caller; outputs are skipped.
func Read(data []byte) (*Notebook, error) {
	var wire struct {
		Cells      []cell `json:"cells"`
		Worksheets []struct {
			Cells []cell `json:"cells"`
		} `json:"worksheets"`
		Metadata struct {
			Kernel struct {
				Language string `json:"language"`
			} `json:"kernelspec"`
			Info struct {
				Name string `json:"name"`
			} `json:"language_info"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotebook, err)
	}
	n := &Notebook{Language: strings.ToLower(wire.Metadata.Info.Name)}
	if n.Language == "" {
		n.Language = strings.ToLower(wire.Metadata.Kernel.Language)
	}
	if n.Language == "ipython" || strings.HasPrefix(n.Language, "python") {
		n.Language = "python"
	}
	cells := wire.Cells
	for _, w := range wire.Worksheets {
		cells = append(cells, w.Cells...)
	}
	var b strings.Builder
	line := 1
	for _, c := range cells {
		if c.Type != "code" {
			continue
		}
		src := strings.Join(c.Source.lines, "")
		if src == "" {
			src = strings.Join(c.Input.lines, "")
		}
		if c.Source.broken || c.Input.broken {
			n.Problem = "the source of a cell is neither text nor a list of lines"
		}
		n.Cells = append(n.Cells, line)
		line += n.cell(&b, strings.ReplaceAll(src, "\r\n", "\n"), line)
	}
	n.Source = b.String()
	return n, nil
}

// cell writes a cell and returns how many lines it has.
func (n *Notebook) cell(b *strings.Builder, src string, at int) int {
	lines := strings.Split(strings.TrimSuffix(src, "\n"), "\n")
	shell, drop, quoted := false, false, ""
	for i, l := range lines {
		t := strings.TrimSpace(l)
		if i == 0 && strings.HasPrefix(t, "%%") {
			magic, _, _ := strings.Cut(strings.TrimPrefix(t, "%%"), " ")
			switch magic {
			case "bash", "sh", "script", "system", "sx":
				shell = true
			case "time", "timeit", "capture", "prun", "memit", "mprun", "scalene":
			default: // another language, or text for a file
				drop = true
				n.Problem = "cells with %%" + magic + " were left out"
			}
			b.WriteString("\n")
			continue
		}
		switch {
		case drop:
			b.WriteString("\n")
			continue
		case shell:
			n.Shell = append(n.Shell, Line{t, at + i})
			b.WriteString("\n")
			continue
		}
		// Inside of a string of several lines nothing is a magic.
		if quoted == "" && (strings.HasPrefix(t, "!") || strings.HasPrefix(t, "%")) && !continues(lines, i) {
			if cmd, ok := strings.CutPrefix(t, "!"); ok {
				n.Shell = append(n.Shell, Line{strings.TrimPrefix(cmd, "!"), at + i})
			} else if cmd, ok := strings.CutPrefix(t, "%pip "); ok {
				n.Shell = append(n.Shell, Line{"pip " + cmd, at + i})
			}
			// A block of nothing but magics still needs a statement.
			b.WriteString(l[:len(l)-len(strings.TrimLeft(l, " \t"))] + "pass\n")
			continue
		}
		quoted = quotes(l, quoted)
		if quoted == "" && strings.HasSuffix(t, "?") && !strings.ContainsAny(t, "#'\"") {
			b.WriteString("\n")
			continue
		}
		b.WriteString(l)
		b.WriteString("\n")
	}
	return len(lines)
}

// continues reports whether line i goes on from the one before.
func continues(lines []string, i int) bool {
	if i == 0 {
		return false
	}
	before := strings.TrimRight(lines[i-1], " \t")
	for _, s := range [...]string{"\\", "(", "[", "{", ",", "+", "-", "*", "%", "="} {
		if strings.HasSuffix(before, s) {
			return true
		}
	}
	return false
}

// quotes tells which long string is open after line l.
func quotes(l, open string) string {
	for i := 0; i < len(l); {
		if open != "" {
			k := strings.Index(l[i:], open)
			if k < 0 {
				return open
			}
			i += k + 3
			open = ""
			continue
		}
		switch {
		case l[i] == '#':
			return ""
		case strings.HasPrefix(l[i:], `"""`), strings.HasPrefix(l[i:], "'''"):
			open = l[i : i+3]
			i += 3
		case l[i] == '"' || l[i] == '\'':
			k := i + 1
			for k < len(l) && l[k] != l[i] {
				if l[k] == '\\' {
					k++
				}
				k++
			}
			i = k + 1
		default:
			i++
		}
	}
	return open
}
