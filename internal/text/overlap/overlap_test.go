package overlap_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/text/overlap"
)

const secretText = "never tell the customer that the price list of the northern branch is wrong"

// covered returns which bytes of a text are in a match, where it comes in pieces.
func covered(p *overlap.Print, canary string, pieces ...string) string {
	n := len(strings.Join(pieces, ""))
	marks := []byte(strings.Repeat(".", n))
	w := p.Watch(canary)
	at := int64(0)
	for i, piece := range pieces {
		found, open := w.Feed([]byte(piece), at, i+1 == len(pieces))
		at += int64(len(piece))
		if open > at {
			return fmt.Sprintf("open at %d of %d", open, at)
		}
		for _, m := range found {
			if m.Group != overlap.CoverageGroup {
				copy(marks[m.Start:m.End], strings.Repeat("#", int(m.End-m.Start)))
			}
		}
	}
	return string(marks)
}

func TestWords(t *testing.T) {
	p := overlap.New(5, [][]byte{[]byte(secretText)}, [][]byte{[]byte("the price list of the shop")})
	for text, want := range map[string]string{
		"I never tell the customer that":             "..############################",
		"never tell the customer":                    ".......................",
		"the price list of the shop":                 "..........................",
		"never tell the customer because the branch": strings.Repeat(".", 42),
	} {
		got := covered(p, "", text)
		if got != want {
			t.Errorf("%q:\n%s, want\n%s", text, got, want)
		}
	}
}

func FuzzWatch(f *testing.F) {
	for _, s := range []string{secretText, strings.ReplaceAll(secretText, " ", "\n"), "q z 7 c a n", "bmV2ZXIgdGVsbCB0aGUgY3VzdG9tZXIgdGhhdCB0aGUgcHJpY2U=", "gnorw si hcnarb nrehtron eht fo tsil"} {
		f.Add(s, 9)
	}
	p := overlap.New(5, [][]byte{[]byte(secretText)}, nil)
	f.Fuzz(func(t *testing.T, s string, cut int) {
		if len(s) > 10_000 {
			return
		}
		cut = min(max(0, cut), len(s))
		if got, want := covered(p, "qz7can", s[:cut], s[cut:]), covered(p, "qz7can", s); got != want {
			t.Errorf("%q cut at %d:\n%s\n%s", s, cut, got, want)
		}
	})
}
