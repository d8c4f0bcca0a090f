package stream

import (
	"bytes"
	"regexp"
	"regexp/syntax"
	"strings"
)

// regionCap is how much text an expression sees at once where its words stand
// close together, and regionEnd how much of it is judged: a match that begins
// before is at most so much shorter than what a word by itself is shown.
const (
	regionCap = 4 << 10
	regionEnd = regionCap - defaultCap
)

// An expression, and a text in small letters without which it matches nothing.
type expression struct {
	one, any *regexp.Regexp // "$" is the end of the text; of a line
	needs    string
}

// Expressions returns a recogniser that is called after a word and looks for any
// of the expressions around it: in what is shown before the word, the word, and
// what ahead names after it: nothing, the "word" that follows, or the rest of the
// "line". A match has the end of the word in it or ends there.
//
// Where words stand close together it judges kilobytes at once, with all matches
// that begin in them.
func Expressions(any []*regexp.Regexp, kind string, group int, ahead string) (Recogniser, error) {
	var list []expression
	for _, re := range any {
		e := expression{one: re, needs: needs(re)}
		var err error
		if e.any, err = regexp.Compile("(?m:" + re.String() + ")"); err != nil {
			return Recogniser{}, err
		}
		list = append(list, e)
	}
	match := func(m []int) Match {
		return Match{Start: int64(m[0]), End: int64(m[1]), Kind: kind, Group: group}
	}
	return Recogniser{Cap: regionCap, Run: func(w Window) ([]Match, State) {
		if w.Dense {
			if !w.Ended() {
				return nil, More
			}
			var found []Match
			low := bytes.ToLower(w.B)
			for _, e := range list {
				if !bytes.Contains(low, []byte(e.needs)) {
					continue
				}
				for _, m := range e.any.FindAllIndex(w.B, -1) {
					if m[1] >= w.At && m[0] < w.At+regionEnd {
						found = append(found, match(m))
					}
				}
			}
			w.Clear(w.At + regionEnd)
			if len(found) == 0 {
				return nil, No
			}
			return found, Yes
		}
		b, ended := w.B, w.Ended()
		if len(b) > w.At+defaultCap {
			b, ended = b[:w.At+defaultCap], true
		}
		end := w.At
		switch ahead {
		case "line":
			for end < len(b) && b[end] != '\n' {
				end++
			}
		case "word":
			for end < len(b) && (b[end] == ' ' || b[end] == '"' || b[end] == '\'') {
				end++
			}
			for end < len(b) && b[end] > ' ' && b[end] != '"' && b[end] != '\'' && b[end] != '`' {
				end++
			}
		}
		if ahead != "" && end == len(b) && !ended {
			return nil, More
		}
		low := bytes.ToLower(b[:end])
		for _, e := range list {
			if !bytes.Contains(low, []byte(e.needs)) {
				continue
			}
			for _, m := range e.one.FindAllIndex(b[:end], -1) {
				if m[0] < w.At && m[1] >= w.At {
					return []Match{match(m)}, Yes
				}
			}
		}
		return nil, No
	}}, nil
}

// needs returns the longest text, in small letters, that every match of an
// expression has in it; "" if there is none that is easily seen.
func needs(re *regexp.Regexp) string {
	t, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return ""
	}
	best := ""
	var walk func(t *syntax.Regexp, depth int)
	walk = func(t *syntax.Regexp, depth int) {
		switch {
		case depth > 8:
		case t.Op == syntax.OpLiteral:
			for _, s := range strings.FieldsFunc(strings.ToLower(string(t.Rune)), manyForms) {
				if len(s) > len(best) {
					best = s
				}
			}
		case t.Op == syntax.OpConcat || t.Op == syntax.OpCapture || t.Op == syntax.OpPlus:
			for _, s := range t.Sub {
				walk(s, depth+1)
			}
		}
	}
	walk(t, 0)
	return best
}

// manyForms reports whether r may stand in a text in another form than it or its
// capital: "k" and "s" are also U+212A and U+017F where case does not count.
func manyForms(r rune) bool { return r >= 0x80 || r == 'k' || r == 's' }
