// Package pii recognises personal data in text: numbers that carry check digits
// and names of places on networks, by their form; numbers without a check only
// beside a word that says what they are. It knows no names of people or streets.
package pii

import (
	"strings"

	"github.com/modelwarden/warden/internal/text/stream"
)

// Group is the group of all matches of this package.
const Group = 1

// How far context words may be: words, and bytes.
const (
	wordsBefore = 6
	bytesBefore = 96
	wordsAfter  = 2
	bytesAfter  = 40
)

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isAlnum(c byte) bool  { return isDigit(c) || isLetter(c) }
func isHex(c byte) bool    { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
func isWord(c byte) bool   { return isAlnum(c) || c >= 0x80 || c == '_' }

// before returns the last words before i, in small letters: whole words only.
func before(b []byte, i int) []string {
	from := max(0, i-bytesBefore)
	var words []string
	for i > from && len(words) < wordsBefore {
		for i > from && !isWord(b[i-1]) {
			i--
		}
		end := i
		for i > from && isWord(b[i-1]) {
			i--
		}
		if i < end && (i > from || i == 0) {
			words = append(words, strings.ToLower(string(b[i:end])))
		}
	}
	return words
}

// after returns the next words of the line after i, and whether no more of them
// can come.
func after(w stream.Window, i int) ([]string, bool) {
	var words []string
	limit := i + bytesAfter
	for len(words) < wordsAfter {
		for i < len(w.B) && i < limit && !isWord(w.B[i]) && w.B[i] != '\n' {
			i++
		}
		start := i
		for i < len(w.B) && i < limit && isWord(w.B[i]) {
			i++
		}
		if i == len(w.B) && !w.Ended() && i < limit {
			return words, false
		}
		if i == start || i == limit {
			return words, true
		}
		words = append(words, strings.ToLower(string(w.B[start:i])))
	}
	return words, true
}

func hasAny(words []string, of map[string]bool) bool {
	for _, w := range words {
		if of[w] {
			return true
		}
	}
	return false
}

// set makes a set of the words of a list.
func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}
