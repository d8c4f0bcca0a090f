// Package stream searches a text that comes in pieces and says what may be
// passed on at once.
//
// The same text gives the same matches however it is cut. That holds because
// nothing here depends on when bytes come: what opens a candidate is read from
// the text alone, a [Recogniser] sees a window whose beginning is fixed by the
// text, and one that cannot tell yet says [More] and is asked again with more of
// the same text. Its answer may not change once it is given. At its cap a
// candidate is decided by the bytes up to the cap.
//
// A lane holds back what an open candidate or the current word may still turn
// into a match, and nothing else.
package stream

import (
	"cmp"
	"slices"

	"github.com/modelwarden/warden/internal/text"
)

// A State is what a recogniser says of a candidate.
type State int

// The states.
const (
	No   State = iota // it is none, whatever follows
	More              // what follows decides
	Yes               // it is what the matches say, whatever follows
)

// A Window is what a recogniser sees: at most Before bytes of the text before
// At, and the text after it as far as it is there.
type Window struct {
	B    []byte
	At   int  // where the recogniser was called: after a word, at a byte, at the beginning of a run
	Lo   int  // matches begin here or later: what lies before may have gone
	Prev int  // where the recogniser was called before, in the same word and near; else -1
	Last bool // the text ends here
	Cap  bool // the text goes on, but the candidate is as long as one may be

	// Dense: candidates of this recogniser stand so close together that it should
	// judge many at once, and say so with Clear.
	Dense bool
	clear *int
}

// Clear promises that candidates at places of the window before end are none
// which the matches that are returned do not have.
func (w Window) Clear(end int) {
	if w.clear != nil {
		*w.clear = end
	}
}

// Ended reports whether no more of B will come.
func (w Window) Ended() bool { return w.Last || w.Cap }

// A Match is a part of the text that a recogniser knows.
type Match struct {
	Start, End int64 // a recogniser gives places in its window
	Kind       string
	Group      int    // matches of one group that overlap are one: the first, then the longest, then the least Priority
	Priority   int    // 0 first
	Note       string // what is special about it
	Text       string // that stands for it where it is taken out; "" lets the caller choose
	Whole      string // the matched text itself, filled in for the caller; of a match with a body it is ""
	More       bool   // it belongs to the match before it
	Inside     string // kind of the match in whose body it begins, or ""
	Long       bool   // it has no end that is known: see Recogniser

	swallow *Body
}

// A Body is what follows a match and belongs to it: it is passed over, however
// long it is, until the text has a byte that cannot be in it or the body has
// ended with Until.
type Body struct {
	Bytes [256]bool
	Until string // "": only a byte ends it
}

// NewBody returns a body of letters, digits and more bytes.
func NewBody(more, until string) *Body {
	b := &Body{Until: until}
	for c := range 256 {
		b.Bytes[c] = c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' && c < 0x80
	}
	for i := range len(more) {
		b.Bytes[more[i]] = true
	}
	return b
}

// Swallow makes the bytes after m part of it. Only a recogniser that decides by
// what lies before its place may do so: it is asked when the text has got there,
// so that what follows is read as a body from its first byte.
func (m Match) Swallow(b *Body) Match {
	m.swallow = b
	return m
}

// A Recogniser decides about candidates of one sort. Run is a function of its
// window alone.
//
// What lies in a Long match is not looked at again: its candidates inside are
// passed over, which is why all its matches are of one group and begin behind the
// place where it was called before. A Long match that begins in another of its
// group is told from that one's end on, so that nothing of it gets lost.
type Recogniser struct {
	Run func(w Window) ([]Match, State)
	Cap int // bytes of text after At that may decide; 0: 512
}

// Bounds, in bytes of the text.
const (
	Before     = 384 // that a window shows before its candidate
	WordHeld   = 256 // of the current word that are held back
	defaultCap = 512
	maxOpen    = 1 << 14  // candidates of one lane
	again      = 1024     // longer candidates are asked only when they have grown by a sixteenth
	short      = 512      // candidates so long cost nothing
	atFirst    = 32 << 20 // bytes of longer ones that every text may have: what does not end at its end
	perByte    = 32       // and for each byte of it
	fewest     = 32       // candidates of a recogniser are not dense
	sparse     = 256      // bytes for each of more that are not
)

// A Trigger says where a recogniser, which is named by its slot, is called.
type Trigger struct {
	Slot  int
	Words []string // after any of these, whatever the case of their letters
	Bytes string   // at any of these
	Runs  bool     // at runs of ASCII letters and digits that hold a digit
}

// A Plan finds where recognisers are called. It is safe for concurrent use.
type Plan struct {
	words *text.Words
	of    [][]int // slots of each word
	bytes [256][]int
	runs  []int
	class [256]uint8
}

// The classes of bytes.
const (
	other  = iota // a word may go on after it
	letter        // ASCII
	digit
	space  // ends a word: the next begins after it
	opener // begins a word
	called // other, and a recogniser is called at it
)

// NewPlan compiles triggers.
func NewPlan(ts []Trigger) (*Plan, error) {
	p := &Plan{}
	index := map[string]int{}
	var words []string
	for c := range 256 {
		switch b := byte(c); {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z':
			p.class[c] = letter
		case b >= '0' && b <= '9':
			p.class[c] = digit
		case b <= ' ', b == 0x7f, b == '"', b == '\'', b == '`', b == ')', b == ']', b == '}', b == '>', b == ',', b == ';':
			p.class[c] = space
		case b == '(', b == '[', b == '{', b >= 0xe0: // scripts without spaces come in characters of three bytes
			p.class[c] = opener
		}
	}
	for _, t := range ts {
		for _, w := range t.Words {
			i, ok := index[w]
			if !ok {
				i = len(words)
				index[w] = i
				words = append(words, w)
				p.of = append(p.of, nil)
			}
			if !slices.Contains(p.of[i], t.Slot) {
				p.of[i] = append(p.of[i], t.Slot)
			}
		}
		for _, c := range []byte(t.Bytes) {
			p.bytes[c] = append(p.bytes[c], t.Slot)
		}
		if t.Runs {
			p.runs = append(p.runs, t.Slot)
		}
	}
	var err error
	p.words, err = text.NewWords(words)
	return p, err
}

// A Watcher reads a whole text in order, beside the recognisers: each byte once.
type Watcher interface {
	// Feed takes the bytes of the text from the place at on. It returns what it
	// found and the place from which on it may still find something.
	Feed(b []byte, at int64, last bool) (found []Match, open int64)
}

// A Text is one text that is read in pieces. It belongs to one goroutine.
type Text struct {
	plan     *Plan
	recs     []Recogniser
	watch    []Watcher
	buf      []byte
	base     int64 // place of buf[0]
	pos      int64 // all before is read
	state    int   // of the automaton
	word     int64 // beginning of the current word
	run      int64 // beginning of the current run of letters and digits, or -1
	digits   bool  // the run holds a digit
	body     *Body
	bodyOf   Match
	tail     []byte // end of a body that is read until a text
	bodies   []body
	called   []int64 // where each recogniser was called last
	slots    []queue
	busy     []int   // slots that have open candidates
	waiting  int     // open candidates
	found    []Match // known, not told
	ends     [groups]int64
	watching int64
	bounded  bool  // more candidates than a lane may have
	steps    int64 // bytes that recognisers were shown
	shared   string
	sharedAt int64 // place of shared, which long matches are parts of
}

// groups is how many groups of matches there may be.
const groups = 16

type body struct {
	start, end int64
	kind       string
}

type candidate struct {
	at, lo int64
	prev   int64
	again  int64 // it is not asked before the text reaches so far
	seen   int   // bytes after at that it was shown
}

// A queue holds the open candidates of one recogniser. Only the first is asked:
// what it says may spare the others.
type queue struct {
	open  []candidate
	clear int64 // candidates before it are none
	cost  int64 // bytes that were read for long candidates
	told  int64 // candidates that were decided
	given int   // by the recogniser to [Window.Clear]
}

// dense reports whether there are many candidates for a text that is so long.
func (q *queue) dense(at int64) bool { return q.told > fewest+at/sparse }

// New returns a text. The recognisers are those of the plan's slots.
func New(p *Plan, recs []Recogniser, watch ...Watcher) *Text {
	t := &Text{plan: p, recs: recs, watch: watch, run: -1, called: make([]int64, len(recs)), slots: make([]queue, len(recs))}
	for i := range t.called {
		t.called[i] = -1
	}
	return t
}

// Overrun reports that there were more candidates at once than are followed.
func (t *Text) Overrun() bool { return t.bounded }

// Steps returns how many bytes recognisers were shown: what a text costs, but for
// a constant factor.
func (t *Text) Steps() int64 { return t.steps }

// Add reads b, which follows what was read; last says that nothing follows b. It
// calls tell for each match in the order of their beginnings and returns the
// place up to which nothing more will be found.
func (t *Text) Add(b []byte, last bool, tell func(Match)) int64 {
	from := t.base + int64(len(t.buf))
	t.buf = append(t.buf, b...)
	t.scan(last)
	t.ask(last)
	t.watching = t.base + int64(len(t.buf))
	for _, w := range t.watch {
		found, open := w.Feed(b, from, last)
		t.found = append(t.found, found...)
		t.watching = min(t.watching, open)
	}
	until := t.held(last)
	t.tell(until, tell)
	if cut := min(until, t.pos) - Before - WordHeld; cut > t.base+4096 {
		n := copy(t.buf, t.buf[cut-t.base:])
		t.buf, t.base = t.buf[:n], cut
	}
	return until
}

// held returns the place from which on the text is undecided.
func (t *Text) held(last bool) int64 {
	until := t.pos
	if !last && t.body == nil {
		until = max(t.word, t.pos-WordHeld)
	}
	for _, slot := range t.busy {
		until = min(until, t.slots[slot].open[0].lo)
	}
	return min(until, t.watching)
}

// tell passes on the matches that begin before until: nothing that begins
// before them can come.
func (t *Text) tell(until int64, tell func(Match)) {
	if len(t.found) == 0 {
		return
	}
	slices.SortStableFunc(t.found, func(a, b Match) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(b.End, a.End), cmp.Compare(a.Group, b.Group),
			cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Kind, b.Kind))
	})
	n := 0
	for ; n < len(t.found) && t.found[n].Start < until; n++ {
		m := t.found[n]
		if m.Start < t.ends[m.Group] && !m.More {
			if !m.Long || m.End <= t.ends[m.Group] {
				continue
			}
			m.Start, m.Whole = t.ends[m.Group], ""
		}
		t.ends[m.Group] = max(m.End, t.ends[m.Group])
		for _, b := range t.bodies {
			if !m.More && m.Start >= b.start && m.Start < b.end {
				m.Inside = b.kind
			}
		}
		tell(m)
	}
	t.found = t.found[:copy(t.found, t.found[n:])]
	for len(t.bodies) > 1 && t.bodies[0].end <= until { // what comes begins at until or later
		t.bodies = t.bodies[1:]
	}
}

// scan reads what is new and opens candidates.
func (t *Text) scan(last bool) {
	p := t.plan
	b := t.buf
	i := int(t.pos - t.base)
	state := t.state
	for i < len(b) {
		if t.body != nil {
			i = t.swallow(i)
			state = 0
			continue
		}
		c := b[i]
		state = p.words.Next(state, c)
		class, word := p.class[c], t.word
		switch class {
		case letter:
			if t.run < 0 {
				t.run = t.base + int64(i)
			}
		case digit:
			if t.run < 0 {
				t.run = t.base + int64(i)
			}
			t.digits = true
		default:
			if t.run >= 0 {
				t.endRun(t.base + int64(i))
			}
			switch class {
			case space:
				t.word = t.base + int64(i) + 1
			case opener:
				t.word = t.base + int64(i)
			}
			for _, slot := range p.bytes[c] {
				t.candidate(slot, t.base+int64(i), min(t.word, t.base+int64(i)))
			}
		}
		i++
		if ends := p.words.Ends(state); len(ends) > 0 {
			t.state, t.pos = state, t.base+int64(i)
			for _, w := range ends {
				for _, slot := range p.of[w] {
					t.candidate(slot, t.pos, word)
				}
			}
		}
	}
	t.state, t.pos = state, t.base+int64(i)
	if last && t.run >= 0 {
		t.endRun(t.pos)
	}
}

// endRun calls recognisers for the run that ends at a place. One that is longer
// than what is held back is not one of theirs.
func (t *Text) endRun(end int64) {
	if t.digits && end-t.run <= WordHeld {
		for _, slot := range t.plan.runs {
			t.candidate(slot, t.run, t.word)
		}
	}
	t.run, t.digits = -1, false
}

// candidate opens a candidate, or decides it at once where its recogniser can.
func (t *Text) candidate(slot int, at, word int64) {
	q := &t.slots[slot]
	if t.recs[slot].Run == nil {
		return
	}
	c := candidate{at: at, lo: min(at, max(word, at-WordHeld)), prev: -1}
	if last := t.called[slot]; last >= c.lo {
		c.prev = last
	} else {
		t.called[slot] = at
	}
	if len(q.open) == 0 && t.decide(slot, &c, false) {
		return
	}
	if t.waiting == maxOpen {
		t.bounded = true
		return
	}
	if len(q.open) == 0 {
		t.busy = append(t.busy, slot)
	}
	q.open = append(q.open, c)
	t.waiting++
}

// ask asks about the open candidates again.
func (t *Text) ask(last bool) {
	end := t.base + int64(len(t.buf))
	kept := t.busy[:0]
	for _, slot := range t.busy {
		q := &t.slots[slot]
		n := 0
		for n < len(q.open) && (last || end >= q.open[n].again) && t.decide(slot, &q.open[n], last) {
			n++
		}
		q.open = q.open[:copy(q.open, q.open[n:])]
		t.waiting -= n
		if len(q.open) > 0 {
			kept = append(kept, slot)
		}
	}
	t.busy = kept
}

// decide asks the recogniser of c and reports whether it has decided. It shows
// more and more of the text, so that what a candidate costs depends on the text
// alone.
func (t *Text) decide(slot int, c *candidate, last bool) bool {
	q := &t.slots[slot]
	if c.at < q.clear {
		return true
	}
	r := t.recs[slot]
	limit := cmp.Or(r.Cap, defaultCap)
	from := max(c.at-Before, t.base)
	all := Window{B: t.buf[from-t.base:], At: int(c.at - from), Lo: int(c.lo - from), Prev: -1, Last: last}
	all.Dense, all.clear, q.given = q.dense(c.at), &q.given, 0
	if c.prev >= from {
		all.Prev = int(c.prev - from)
	}
	if len(all.B) > all.At+limit {
		all.B, all.Last, all.Cap = all.B[:all.At+limit], false, true
	}
	for size := short; ; size *= 2 {
		w := all
		if len(w.B) > w.At+size {
			if size <= c.seen {
				continue
			}
			w.B, w.Last, w.Cap = w.B[:w.At+size], false, false
		}
		t.steps += int64(len(w.B))
		found, state := r.Run(w)
		if state == More && !w.Ended() {
			if len(w.B) < len(all.B) {
				continue
			}
			c.again, c.seen = 0, len(w.B)-w.At
			if n := int64(c.seen); n > again {
				c.again = min(c.at+int64(limit)+1, c.at+n+n/16)
			}
			return false
		}
		if size > short {
			if q.cost += int64(size); q.cost > atFirst+perByte*c.at {
				t.bounded = true
			}
		}
		q.told++
		if q.given > 0 {
			q.clear = max(q.clear, from+int64(q.given))
		}
		t.take(q, w, from, found)
		return true
	}
}

// take keeps the matches that a recogniser found in a window.
func (t *Text) take(q *queue, w Window, from int64, found []Match) {
	for _, m := range found {
		m.Start = max(m.Start, int64(w.Lo))
		if m.End <= m.Start {
			continue
		}
		if m.swallow == nil {
			m.Whole = t.whole(int(from-t.base+m.Start), int(from-t.base+m.End))
		}
		m.Start, m.End = m.Start+from, m.End+from
		if m.Long {
			q.clear = max(q.clear, m.End)
		}
		if m.swallow != nil && t.body == nil {
			t.body, t.bodyOf, t.tail = m.swallow, m, nil
			t.bodies = append(t.bodies, body{m.End, m.End, m.Kind})
		}
		t.found = append(t.found, m)
	}
}

// copied is how much text of a match is copied for it alone. What is longer can
// overlap with what other matches hold, so that they share one copy.
const copied = 256

// whole returns the text of a match at these places of the buffer.
func (t *Text) whole(from, to int) string {
	if to-from <= copied {
		return string(t.buf[from:to])
	}
	if at := t.base + int64(from) - t.sharedAt; at >= 0 && at+int64(to-from) <= int64(len(t.shared)) {
		return t.shared[at : at+int64(to-from)]
	}
	t.shared, t.sharedAt = string(t.buf[from:]), t.base+int64(from)
	return t.shared[:to-from]
}

// swallow passes over the body of a match, from buf[i] on, and returns where it
// stopped.
func (t *Text) swallow(i int) int {
	from := i
	b := t.body
	done := false
	for i < len(t.buf) && !done {
		c := t.buf[i]
		if done = !b.Bytes[c]; done {
			break
		}
		i++
		if b.Until == "" {
			continue
		}
		t.tail = append(t.tail, c)
		if len(t.tail) > len(b.Until) {
			t.tail = t.tail[:copy(t.tail, t.tail[1:])]
		}
		done = string(t.tail) == b.Until
	}
	if i > from {
		m := Match{Start: t.base + int64(from), End: t.base + int64(i), Kind: t.bodyOf.Kind, Group: t.bodyOf.Group, More: true}
		t.found = append(t.found, m)
		t.pos = t.base + int64(i)
		t.bodies[len(t.bodies)-1].end = t.pos
	}
	if done {
		t.body, t.word, t.run, t.digits, t.tail = nil, t.base+int64(i), -1, false, nil
	}
	return i
}
