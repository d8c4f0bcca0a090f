// Package pii recognises personal data in text: numbers that carry check digits
// and names of places on networks, by their form; numbers without a check only
// beside a word that says what they are. It knows no names of people or streets.
package pii

import (
	"bytes"
	"strings"

	"github.com/modelwarden/warden/internal/text/stream"
)

// Group is the group of all matches of this package.
const Group = 1

// How far context words may be: words, and bytes.
const (
	wordsBefore = 6
	bytesBefore = 96
	bytesAfter  = 40
)

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isAlnum(c byte) bool  { return isDigit(c) || isLetter(c) }
func isHex(c byte) bool    { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
func isWord(c byte) bool   { return isAlnum(c) || c >= 0x80 || c == '_' }

// A context is the words before a place, the nearest first, in small letters.
type context struct {
	words [wordsBefore][]byte
	n     int
	made  bool
	small [bytesBefore]byte
}

// before fills in c with the last words before i: whole words only.
func (c *context) before(b []byte, i int) *context {
	if c.made {
		return c
	}
	c.made = true
	from := max(0, i-bytesBefore)
	small := c.small[:i-from]
	for j, x := range b[from:i] {
		if x >= 'A' && x <= 'Z' {
			x |= 0x20
		}
		if small[j] = x; x >= 0x80 {
			small = bytes.ToLower(b[from:i])
			break
		}
	}
	for j := len(small); j > 0 && c.n < wordsBefore; {
		for j > 0 && !isWord(small[j-1]) {
			j--
		}
		end := j
		for j > 0 && isWord(small[j-1]) {
			j--
		}
		if j < end && (j > 0 || from == 0) {
			c.words[c.n] = small[j:end]
			c.n++
		}
	}
	return c
}

// has reports whether one of the nearest words is in a set.
func (c *context) has(of map[string]bool, nearest int) bool {
	for _, w := range c.words[:min(c.n, nearest)] {
		if of[string(w)] {
			return true
		}
	}
	return false
}

// beside reports whether one of the words before i is in a set.
func beside(b []byte, i int, of map[string]bool) bool {
	var c context
	return c.before(b, i).has(of, wordsBefore)
}

// after returns the next word of the line after i, in small letters, and whether
// it is known: no more of it can come.
func after(w stream.Window, i int) ([]byte, bool) {
	limit := i + bytesAfter
	for i < len(w.B) && i < limit && !isWord(w.B[i]) && w.B[i] != '\n' {
		i++
	}
	start := i
	for i < len(w.B) && i < limit && isWord(w.B[i]) {
		i++
	}
	if i == len(w.B) && !w.Ended() && i < limit {
		return nil, false
	}
	if i == start || i == limit {
		return nil, true
	}
	return bytes.ToLower(w.B[start:i]), true
}

// set makes a set of the words of a list.
func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}
