// Package text holds plain functions on text that several checks need.
package text

import "fmt"

// Words finds any of many words in one pass, whatever the case of their ASCII
// letters. It is not changed after [NewWords] and safe for concurrent use.
//
// Source: Aho and Corasick, "Efficient string matching", CACM 18(6), 1975.
type Words struct {
	class   [256]uint8 // of each byte; 0 is in no word
	classes int
	next    []uint16  // state × class
	found   [][]int   // words that end in a state, longest first
	length  []int     // of each word
	quiet   [256]bool // bytes that leave the first state as it is
}

// maxStates bounds an automaton.
const maxStates = 1 << 15

// NewWords builds the automaton of words that are not empty.
func NewWords(words []string) (*Words, error) {
	w := &Words{}
	var classes uint8 // below 256, since capitals have none of their own
	for i, word := range words {
		if word == "" {
			return nil, fmt.Errorf("word %d is empty", i)
		}
		for _, c := range []byte(word) {
			if c = lower(c); w.class[c] == 0 {
				classes++
				w.class[c] = classes
			}
		}
	}
	for c := byte('A'); c <= 'Z'; c++ {
		w.class[c] = w.class[c+'a'-'A']
	}
	w.classes = int(classes) + 1
	var states uint16
	w.next, w.found = make([]uint16, w.classes), make([][]int, 1)
	for i, word := range words {
		state := 0
		for _, c := range []byte(word) {
			at := state*w.classes + int(w.class[c])
			if w.next[at] == 0 {
				if states++; states == maxStates {
					return nil, fmt.Errorf("more than %d letters in all words", maxStates)
				}
				w.next[at] = states
				w.found = append(w.found, nil)
				w.next = append(w.next, make([]uint16, w.classes)...)
			}
			state = int(w.next[at])
		}
		w.found[state] = append(w.found[state], i)
		w.length = append(w.length, len(word))
	}
	w.link()
	for c := range w.quiet {
		w.quiet[c] = w.next[w.class[c]] == 0
	}
	return w, nil
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// link fills in, breadth first, where each state goes on a byte that continues
// none of its words: to the longest end of what was read that begins one.
func (w *Words) link() {
	fail := make([]uint16, len(w.found))
	var queue []uint16
	for _, s := range w.next[:w.classes] {
		if s != 0 {
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		back := fail[state]
		w.found[state] = append(w.found[state], w.found[back]...)
		for c := range w.classes {
			at := int(state)*w.classes + c
			other := w.next[int(back)*w.classes+c]
			if s := w.next[at]; s != 0 {
				fail[s] = other
				queue = append(queue, s)
			} else {
				w.next[at] = other
			}
		}
	}
}

// Each calls fn for each word in b, with its number and its place, in the order
// of their ends, until fn returns false.
func (w *Words) Each(b []byte, fn func(word, start, end int) bool) {
	state := 0
	for i := 0; i < len(b); i++ {
		if state == 0 {
			for i < len(b) && w.quiet[b[i]] {
				i++
			}
			if i == len(b) {
				return
			}
		}
		state = int(w.next[state*w.classes+int(w.class[b[i]])])
		for _, word := range w.found[state] {
			if !fn(word, i+1-w.length[word], i+1) {
				return
			}
		}
	}
}

// Next returns the state after byte c in a state, of which 0 is the first: with
// [Words.Ends] the same search for text that comes in pieces.
func (w *Words) Next(state int, c byte) int {
	return int(w.next[state*w.classes+int(w.class[c])])
}

// Ends returns the words that end in a state, longest first. The caller does not
// change it.
func (w *Words) Ends(state int) []int { return w.found[state] }

// Len returns the length of a word.
func (w *Words) Len(word int) int { return w.length[word] }
