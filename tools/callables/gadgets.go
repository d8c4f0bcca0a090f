package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// gadgets checks the list of callables that beat other scanners: each must be
// told by the trees or by hand, and the file says which. A row by hand keeps
// its note, which says why the trees do not tell.
func (t *table) gadgets(name string, log io.Writer) error {
	src, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var out strings.Builder
	trees, hand := 0, 0
	for line := range strings.Lines(string(src)) {
		c := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3)
		if c[0] == "" || c[0][0] == '#' {
			out.WriteString(line)
			continue
		}
		r := t.rows[c[0]]
		tier, _ := t.hand.covered(c[0])
		switch {
		case r != nil && (r.tier == "dangerous" || r.tier == "builds"):
			trees++
			fmt.Fprintf(&out, "%s\ttrees\t%s: %s\n", c[0], r.effect, r.reason)
		case tier == "dangerous":
			hand++
			note := ""
			if len(c) == 3 && c[1] == "hand" {
				note = c[2]
			}
			fmt.Fprintf(&out, "%s\thand\t%s\n", c[0], note)
		default:
			return fmt.Errorf("%s: %s is told by nobody (hint: add a row to the table written by hand)", name, c[0])
		}
	}
	fmt.Fprintf(log, "gadgets: %d told by the trees, %d by hand\n", trees, hand)
	return os.WriteFile(name, []byte(out.String()), 0o644) //nolint:gosec // a file of the project
}
