// Package overlap finds text that was said before in what is said now: a word
// that stands nowhere else, and so many words in a row.
//
// The guarantee is for copies: as they are, in other case and punctuation, one
// word a line, letter by letter, reversed, in ROT13, base64 and hexadecimal.
// Translations and paraphrases are not found.
package overlap

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"unicode"

	"github.com/modelwarden/warden/internal/text/stream"
)

// Groups of matches.
const (
	FingerprintGroup = 7
	CanaryGroup      = 6
	CoverageGroup    = 8
)

// Bounds.
const (
	maxWords    = 1 << 16 // of all forms of a text
	maxWord     = 64      // bytes
	shingle     = 5       // words, of the share that was said
	leastCover  = 6       // such shingles, and the share of all in percent
	leastShare  = 35
	lettersEach = 4 // letters that stand for a word where they are apart
	blobLeast   = 16
	blobMost    = 4096
	lineLeast   = 40 // of a line of a blob that goes on in the next
)

// A Print is what a text can be recognised by. It is not changed once it is made.
type Print struct {
	k       int
	ids     map[string]int32
	corpus  []int32 // words of all forms; 0 between
	suffix  []int32 // places of the corpus in order of what follows
	letters string
	known   map[uint64]bool // runs of words that others have said too
	plain   int             // words of the text itself
	full    bool
}

// New returns what texts are recognised by at k words in a row. What also stands
// in the public texts is nobody's secret.
func New(k int, texts, public [][]byte) *Print {
	p := &Print{k: k, ids: map[string]int32{}, known: map[uint64]bool{}}
	var letters strings.Builder
	for _, t := range texts {
		words := split(string(t))
		if len(p.corpus)+3*len(words) > maxWords {
			p.full = true
			words = words[:max(0, maxWords-len(p.corpus))/3]
		}
		p.add(words, &letters)
	}
	p.plain = len(p.corpus)
	for _, t := range texts {
		words := split(string(t))
		words = words[:min(len(words), max(0, maxWords-len(p.corpus))/2)]
		back := make([]string, len(words))
		turned := make([]string, len(words))
		for i, w := range words {
			back[len(words)-1-i] = reverse(w)
			turned[i] = rot13(w)
		}
		p.add(back, &letters)
		p.add(turned, &letters)
	}
	p.letters = letters.String()
	p.suffix = make([]int32, len(p.corpus))
	for i := range p.suffix {
		p.suffix[i] = int32(i)
	}
	depth := p.depth()
	slices.SortFunc(p.suffix, func(a, b int32) int {
		x, y := p.corpus[a:min(len(p.corpus), int(a)+depth)], p.corpus[b:min(len(p.corpus), int(b)+depth)]
		return cmp.Or(slices.Compare(x, y), cmp.Compare(a, b))
	})
	for _, t := range public {
		ids := make([]int32, 0, 256)
		for _, w := range split(string(t)) {
			ids = append(ids, p.ids[w])
		}
		for _, n := range []int{k, shingle} {
			for i := 0; i+n <= len(ids); i++ {
				p.known[runHash(ids[i:i+n])] = true
			}
		}
	}
	return p
}

// Full reports that the texts are longer than what is looked for.
func (p *Print) Full() bool { return p.full }

// depth is how many words in a row are followed at most.
func (p *Print) depth() int { return 4 * p.k }

func (p *Print) add(words []string, letters *strings.Builder) {
	for _, w := range words {
		id, ok := p.ids[w]
		if !ok {
			id = int32(len(p.ids)) + 1 //nolint:gosec // below maxWords
			p.ids[w] = id
		}
		p.corpus = append(p.corpus, id)
		letters.WriteString(w)
	}
	p.corpus = append(p.corpus, 0)
	letters.WriteByte(0)
}

// runHash is FNV-1a over words.
func runHash(ids []int32) uint64 {
	h := uint64(14695981039346656037)
	for _, id := range ids {
		h = (h ^ uint64(uint32(id))) * 1099511628211 //nolint:gosec // a hash
	}
	return h
}

// split returns the words of a text, in small letters.
func split(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return r < 0x80 && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

func reverse(s string) string {
	r := []rune(s)
	slices.Reverse(r)
	return string(r)
}

func rot13(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return 'a' + (r-'a'+13)%26
		}
		return r
	}, s)
}

// A Watch looks for a Print, and for a canary if there is one, in one text. It
// belongs to one goroutine.
type Watch struct {
	p       *Print
	canary  *canary
	at      int64 // of the next byte
	word    []byte
	start   int64 // of the word
	run     []said
	lo, hi  int
	leaking bool
	told    bool
	done    int64 // all before is in a match that was told
	covered map[int32]bool
	spaced  []said // letters that stand apart, and what they spell
	spelled []byte
	blob    blob
	found   []stream.Match
}

type said struct {
	start, end int64
	id         int32
}

// Watch returns a watcher of a text; canary may be "".
func (p *Print) Watch(canaryWord string) *Watch {
	return &Watch{p: p, canary: newCanary(canaryWord), covered: map[int32]bool{}}
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}

// Feed implements [stream.Watcher].
func (w *Watch) Feed(b []byte, at int64, last bool) ([]stream.Match, int64) {
	w.found = nil
	for i, c := range b {
		w.at = at + int64(i)
		if w.canary != nil {
			w.found = w.canary.feed(c, w.at, w.found)
		}
		if len(w.p.corpus) == 0 {
			continue
		}
		w.feedBlob(c)
		switch {
		case !isWord(c):
			if len(w.word) > 0 {
				w.endWord(w.at)
			}
		case len(w.word) == 0:
			w.start = w.at
			w.word = append(w.word, c)
		case len(w.word) <= maxWord:
			w.word = append(w.word, c)
		}
	}
	w.at = at + int64(len(b))
	if last {
		if len(w.word) > 0 {
			w.endWord(w.at)
		}
		w.endBlob(w.at)
		w.coverage()
		return w.found, w.at
	}
	return w.found, w.open()
}

// open returns the place from which on something may still be found.
func (w *Watch) open() int64 {
	open := w.at
	if w.canary != nil {
		open = min(open, w.canary.open(w.at))
	}
	if len(w.p.corpus) == 0 {
		return open
	}
	if len(w.word) > 0 {
		open = min(open, w.start)
	}
	if n := len(w.run); n > 0 && w.leaking {
		open = min(open, w.run[n-1].end)
	} else if n > 0 {
		open = min(open, max(w.done, w.run[0].start))
	}
	if len(w.spaced) > 0 {
		open = min(open, max(w.done, w.spaced[0].start))
	}
	if w.blob.size > 0 {
		open = min(open, w.blob.start)
	}
	return open
}

// endWord follows the runs of words that the word is part of.
func (w *Watch) endWord(end int64) {
	word := ""
	if len(w.word) <= maxWord {
		word = strings.ToLower(string(w.word))
	}
	start := w.start
	single := len(w.word) == 1
	w.word = w.word[:0]
	w.letter(word, single, start, end)
	s := said{start, end, w.p.ids[word]}
	if s.id == 0 {
		w.run, w.leaking = w.run[:0], false
		return
	}
	if !w.extend(s) {
		w.leaking = false
		old := slices.Clone(w.run)
		for drop := 1; drop <= len(old); drop++ {
			w.run = w.run[:0]
			ok := true
			for _, o := range append(old[drop:len(old):len(old)], s) {
				if ok = w.extend(o); !ok {
					break
				}
			}
			if ok {
				break
			}
			w.run = w.run[:0]
		}
	}
	n := len(w.run)
	if n >= shingle && !w.allowed(shingle) {
		w.covered[w.p.suffix[w.lo]+int32(n-shingle)] = true //nolint:gosec // below maxWords
	}
	if n < w.p.k || w.allowed(w.p.k) {
		return
	}
	if w.leaking {
		w.found = append(w.found, stream.Match{Start: w.run[n-2].end, End: end, Kind: "fingerprint", Group: FingerprintGroup, More: true})
	} else {
		w.found = append(w.found, stream.Match{Start: max(w.done, w.run[0].start), End: end, Kind: "fingerprint", Group: FingerprintGroup})
	}
	w.leaking, w.told, w.done = true, true, end
	if n == w.p.depth() { // go on with the last words of it
		keep := slices.Clone(w.run[n-w.p.k+1:])
		w.run = w.run[:0]
		for _, o := range keep {
			w.extend(o)
		}
	}
}

// allowed reports whether others have said the last n words too.
func (w *Watch) allowed(n int) bool {
	if len(w.p.known) == 0 {
		return false
	}
	ids := make([]int32, 0, 64)
	for _, s := range w.run[len(w.run)-n:] {
		ids = append(ids, s.id)
	}
	return w.p.known[runHash(ids)]
}

// extend adds a word to the run if the text goes on like that somewhere.
func (w *Watch) extend(s said) bool {
	n := len(w.run)
	if n == 0 {
		w.lo, w.hi = 0, len(w.p.suffix)
	}
	at := func(i int) int32 {
		j := int(w.p.suffix[w.lo+i]) + n
		if j >= len(w.p.corpus) {
			return -1
		}
		return w.p.corpus[j]
	}
	size := w.hi - w.lo
	from := sort.Search(size, func(i int) bool { return at(i) >= s.id })
	to := sort.Search(size, func(i int) bool { return at(i) > s.id })
	if from == to {
		return false
	}
	w.lo, w.hi = w.lo+from, w.lo+to
	w.run = append(w.run, s)
	return true
}

// letter follows letters that stand apart.
func (w *Watch) letter(word string, single bool, start, end int64) {
	if !single || len(w.spaced) > 0 && start-w.spaced[len(w.spaced)-1].end > 4 {
		w.spaced, w.spelled = w.spaced[:0], w.spelled[:0]
	}
	if !single {
		return
	}
	w.spaced, w.spelled = append(w.spaced, said{start: start, end: end}), append(w.spelled, word...)
	for len(w.spaced) > 0 && !strings.Contains(w.p.letters, string(w.spelled)) {
		w.spaced, w.spelled = w.spaced[1:], w.spelled[1:]
	}
	if n := len(w.spaced); n >= lettersEach*w.p.k {
		w.found = append(w.found, stream.Match{Start: max(w.done, w.spaced[0].start), End: end, Kind: "fingerprint", Group: FingerprintGroup, Note: "letter by letter"})
		w.done = end
		w.spaced, w.spelled = slices.Clone(w.spaced[n/2:]), slices.Clone(w.spelled[n/2:])
		w.told = true
	}
}

// coverage tells at the end how much of the text was said in pieces.
func (w *Watch) coverage() {
	n := 0
	for c := range w.covered {
		if int(c) < w.p.plain {
			n++
		}
	}
	if w.told || n < leastCover || n*100 < (w.p.plain-shingle)*leastShare || w.at == 0 {
		return
	}
	w.found = append(w.found, stream.Match{Start: w.at - 1, End: w.at, Kind: "coverage", Group: CoverageGroup})
}
