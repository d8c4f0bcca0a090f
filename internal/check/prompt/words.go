package prompt

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/modelwarden/warden/internal/text"
	"github.com/modelwarden/warden/internal/text/view"
	"github.com/modelwarden/warden/rules"
)

// A wordIndex finds the words of all rules in one pass.
type wordIndex struct {
	words  *text.Words
	uses   [][]use // of each word of the automaton
	groups []group
	vocab  map[string]bool // words of Latin letters, for those that only look like them
	stems  []string
	turns  []turn
}

// A use of an automaton's word: it may be one of several in a phrase.
type use struct {
	rule   int
	group  int // -1: a marker
	set    int
	phrase []string // its words
	anchor int      // which of them the automaton finds
	before bool     // more letters may come before the first,
	after  bool     // or after the last
	wide   bool     // of a script without spaces
}

type group struct{ rule, sets, within int }

type turn struct {
	rule int
	name string
}

func newWordIndex(list []rules.InputRule) (*wordIndex, error) {
	x := &wordIndex{vocab: map[string]bool{}}
	var words []string
	at := map[string]int{}
	add := func(word string, u use) {
		i, ok := at[word]
		if !ok {
			i = len(words)
			at[word] = i
			words = append(words, word)
			x.uses = append(x.uses, nil)
		}
		x.uses[i] = append(x.uses[i], u)
	}
	for i, r := range list {
		for _, m := range r.Markers {
			add(folded(m), use{rule: i, group: -1})
		}
		for _, t := range r.Turns {
			x.turns = append(x.turns, turn{i, t})
		}
		for _, m := range r.Match {
			g := len(x.groups)
			x.groups = append(x.groups, group{i, len(m.Sets), m.Within})
			for set, list := range m.Sets {
				for _, word := range list {
					u := use{rule: i, group: g, set: set, before: strings.HasPrefix(word, "*"), after: strings.HasSuffix(word, "*")}
					u.phrase = strings.FieldsFunc(folded(strings.Trim(word, "*")), func(r rune) bool { return !inWord(r) })
					if len(u.phrase) == 0 {
						return nil, fmt.Errorf("%s: %q has no letters", r.ID, word)
					}
					x.learn(u)
					for k, w := range u.phrase {
						if len(w) > len(u.phrase[u.anchor]) {
							u.anchor = k
						}
					}
					first, _ := utf8.DecodeRuneInString(u.phrase[0])
					u.wide = unicode.In(first, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul)
					add(u.phrase[u.anchor], u)
				}
			}
		}
	}
	var err error
	x.words, err = text.NewWords(words)
	return x, err
}

// leastLook is the shortest word that is known by its looks.
const leastLook = 5

func (x *wordIndex) learn(u use) {
	for k, w := range u.phrase {
		if len(w) < leastLook || w[0] >= utf8.RuneSelf {
			continue
		}
		if u.after && k == len(u.phrase)-1 {
			x.stems = append(x.stems, w)
		} else {
			x.vocab[w] = true
		}
	}
}

// known reports whether a word is one of the rules'.
func (x *wordIndex) known(word string) bool {
	word = strings.ToLower(word)
	return x.vocab[word] || slices.ContainsFunc(x.stems, func(s string) bool { return strings.HasPrefix(word, s) })
}

func folded(s string) string {
	v := view.New([]byte(s))
	return strings.ToLower(string(v.Text))
}

func inWord(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	}
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
}

// A wordScan is the state of one look at one text.
type wordScan struct {
	x     *wordIndex
	b     []byte
	loose bool // words need no space between them
	last  [][4]seen
	at    int // up to where words were counted
	count int
}

type seen struct {
	pos        int // words before it, plus one
	start, end int
}

// scan calls found for what rules match in b, until ctx ends.
func (x *wordIndex) scan(ctx context.Context, b []byte, loose bool, found func(rule, start, end int)) error {
	n := 0
	s := wordScan{x: x, b: b, loose: loose}
	x.words.Each(b, func(word, start, end int) bool {
		if n++; n%pace == 0 && ctx.Err() != nil {
			return false
		}
		for i := range x.uses[word] {
			u := &x.uses[word][i]
			if u.group < 0 {
				found(u.rule, start, end)
				continue
			}
			if from, to, ok := s.phrase(u, start, end); ok {
				s.hit(u, from, to, end, found)
			}
		}
		return true
	})
	x.lines(b, found)
	return ctx.Err()
}

// hit notes a word of a set, and reports the group if all its sets are near.
func (s *wordScan) hit(u *use, from, to, end int, found func(rule, start, end int)) {
	if s.last == nil {
		s.last = make([][4]seen, len(s.x.groups))
	}
	s.advance(end)
	g := s.x.groups[u.group]
	last := &s.last[u.group]
	last[u.set] = seen{s.count + 1, from, to}
	start, stop := from, to
	for k := range g.sets {
		w := last[k]
		if w.pos == 0 || s.count+1-w.pos > g.within {
			return
		}
		start, stop = min(start, w.start), max(stop, w.end)
	}
	*last = [4]seen{}
	found(u.rule, start, stop)
}

// sentence is how many words the end of a sentence counts for.
const sentence = 4

// advance counts words up to a place.
func (s *wordScan) advance(to int) {
	b := s.b
	for i := s.at; i < to; {
		c := b[i]
		switch {
		case c < utf8.RuneSelf:
			if inWord(rune(c)) && (i+1 == len(b) || b[i+1] < utf8.RuneSelf && !inWord(rune(b[i+1]))) {
				s.count++
			}
			if (c == '.' || c == '!' || c == '?') && i+1 < len(b) && (b[i+1] == ' ' || b[i+1] == '\n') {
				s.count += sentence
			}
			i++
		default:
			r, n := utf8.DecodeRune(b[i:])
			i += n
			switch {
			case r >= 0x3040 && r <= 0x9fff || r >= 0xac00 && r <= 0xd7a3:
				s.count++
			case r == '。' || r == '！' || r == '？':
				s.count += sentence
			case inWord(r):
				if next, _ := utf8.DecodeRune(b[i:]); i == len(b) || !inWord(next) {
					s.count++
				}
			}
		}
		s.at = i
	}
}

// phrase reports whether the word in [start, end) is part of the phrase of u, and
// where that stands.
func (s *wordScan) phrase(u *use, start, end int) (from, to int, ok bool) {
	from, to = start, end
	for k := u.anchor - 1; k >= 0; k-- {
		gap := s.gapBefore(from)
		w := u.phrase[k]
		if gap < len(w) || gap == from && !s.loose && !u.wide || !equalFold(s.b[gap-len(w):gap], w) {
			return 0, 0, false
		}
		from = gap - len(w)
	}
	for k := u.anchor + 1; k < len(u.phrase); k++ {
		gap := s.gapAfter(to)
		w := u.phrase[k]
		if gap+len(w) > len(s.b) || gap == to && !s.loose && !u.wide || !equalFold(s.b[gap:gap+len(w)], w) {
			return 0, 0, false
		}
		to = gap + len(w)
	}
	if s.loose || u.wide {
		return from, to, true
	}
	if r, _ := utf8.DecodeLastRune(s.b[:from]); !u.before && from > 0 && inWord(r) {
		return 0, 0, false
	}
	if r, _ := utf8.DecodeRune(s.b[to:]); !u.after && to < len(s.b) && inWord(r) {
		return 0, 0, false
	}
	return from, to, true
}

// maxGap is how many bytes may stand between the words of a phrase.
const maxGap = 8

func (s *wordScan) gapAfter(i int) int {
	for n := 0; n < maxGap && i < len(s.b); n++ {
		r, w := utf8.DecodeRune(s.b[i:])
		if inWord(r) {
			break
		}
		i += w
	}
	return i
}

func (s *wordScan) gapBefore(i int) int {
	for n := 0; n < maxGap && i > 0; n++ {
		r, w := utf8.DecodeLastRune(s.b[:i])
		if inWord(r) {
			break
		}
		i -= w
	}
	return i
}

// equalFold compares with a word in lower case.
func equalFold(b []byte, word string) bool {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// lines finds lines that begin another's turn: a name and a colon, or a heading.
func (x *wordIndex) lines(b []byte, found func(rule, start, end int)) {
	if len(x.turns) == 0 {
		return
	}
	for i := 0; i < len(b); {
		end := i
		for end < len(b) && b[end] != '\n' {
			end++
		}
		x.line(b, i, end, found)
		i = end + 1
	}
}

func (x *wordIndex) line(b []byte, start, end int, found func(rule, start, end int)) {
	i, heading := start, false
	for i < end && strings.IndexByte(" \t#*>[-", b[i]) >= 0 {
		heading = heading || b[i] == '#'
		i++
	}
	if i == end {
		return
	}
	if c := b[i] | 0x20; c != 's' && c != 'a' && c != 'h' && c != 'd' {
		return
	}
	for _, t := range x.turns {
		n := len(t.name)
		if end-i < n || !equalFold(b[i:i+n], t.name) || b[i] >= 'a' && !heading {
			continue
		}
		rest := i + n
		for rest < end && strings.IndexByte("*] \t\r", b[rest]) >= 0 {
			rest++
		}
		if rest < end && b[rest] == ':' || heading && rest == end {
			found(t.rule, i, i+n)
			return
		}
	}
}
