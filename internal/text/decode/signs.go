package decode

import (
	"bytes"
	"context"
)

// binaries decodes groups of eight zeros and ones.
func binaries(ctx context.Context, b []byte, room int) (out []candidate, over bool) {
	const bits, few = 8, 4
	for i := 0; i+bits <= len(b); {
		if b[i] != '0' && b[i] != '1' {
			i++
			continue
		}
		start := i
		var text []byte
		for {
			v, ok := octet(b[i:])
			if !ok {
				break
			}
			text = append(text, v)
			i += bits
			if i+1 < len(b) && (b[i] == ' ' || b[i] == '\n') && (b[i+1] == '0' || b[i+1] == '1') {
				i++
			}
		}
		if len(text) >= few && readable(text) {
			if room -= len(text); room < 0 {
				return out, true
			}
			out = append(out, candidate{start: start, end: i, text: text})
			if ctx.Err() != nil {
				return out, over
			}
		}
		for i < len(b) && (b[i] == '0' || b[i] == '1') {
			i++
		}
	}
	return out, over
}

func octet(b []byte) (v byte, ok bool) {
	if len(b) < 8 {
		return 0, false
	}
	for _, c := range b[:8] {
		if c != '0' && c != '1' {
			return 0, false
		}
		v = v<<1 | (c - '0')
	}
	return v, true
}

// codes are the letters and digits of Morse, a to z and 0 to 9 (ITU-R M.1677-1).
const codes = ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.. ----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----."

// morse decodes signs between spaces; a slash or more spaces end a word.
func morse(ctx context.Context, b []byte, room int) (out []candidate, over bool) {
	const few = 8
	sign := func(c byte) bool { return c == '.' || c == '-' }
	for i := 0; i < len(b); {
		if !sign(b[i]) || i > 0 && b[i-1] != ' ' && b[i-1] != '\n' && b[i-1] != '"' && b[i-1] != ':' {
			i++
			continue
		}
		start := i
		var text []byte
		n := 0
		for i < len(b) {
			k := i
			for k < len(b) && sign(b[k]) {
				k++
			}
			c := letter(b[i:k])
			if c == 0 {
				break
			}
			text = append(text, c)
			n++
			i = k
			for k < len(b) && (b[k] == ' ' || b[k] == '/' || b[k] == '|') {
				k++
			}
			if k == i || k == len(b) || !sign(b[k]) {
				break
			}
			if k-i > 1 {
				text = append(text, ' ')
			}
			i = k
		}
		if n >= few && readable(text) {
			if room -= len(text); room < 0 {
				return out, true
			}
			out = append(out, candidate{start: start, end: i, text: text})
			if ctx.Err() != nil {
				return out, over
			}
		}
		i = max(i, start+1)
	}
	return out, over
}

func letter(code []byte) byte {
	if len(code) == 0 || len(code) > 5 {
		return 0
	}
	n := 0
	for rest := []byte(codes); ; n++ {
		one, after, more := bytes.Cut(rest, []byte(" "))
		if bytes.Equal(one, code) {
			break
		}
		if !more {
			return 0
		}
		rest = after
	}
	if n < 26 {
		return byte('a' + n)
	}
	return byte('0' + n - 26)
}

// spaced joins letters with one sign between each: "i g n o r e". Where more
// signs stand there is the space between words; else that is lost.
func spaced(ctx context.Context, b []byte, room int) (out []candidate, over bool) {
	const few = 6
	for i := 0; i+2 < len(b); {
		if !isLetter(b[i]) || i > 0 && isLetter(b[i-1]) || !between(b[i+1]) || !isLetter(b[i+2]) || i+3 < len(b) && isLetter(b[i+3]) {
			i++
			continue
		}
		start, sep := i, b[i+1]
		var text []byte
		n, spaces := 0, 0
		for i < len(b) {
			text = append(text, b[i])
			n++
			i++
			k := i
			for k < len(b) && (b[k] == sep || b[k] == ' ') {
				k++
			}
			if k == i || k+1 < len(b) && isLetter(b[k]) && isLetter(b[k+1]) || k == len(b) || !isLetter(b[k]) || k-i > 8 {
				break
			}
			if k-i > 1 {
				text = append(text, ' ')
				spaces++
			}
			i = k
		}
		if n >= few {
			if room -= len(text); room < 0 {
				return out, true
			}
			out = append(out, candidate{start: start, end: i, text: text, loose: spaces == 0})
			if ctx.Err() != nil {
				return out, over
			}
		}
	}
	return out, over
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func between(c byte) bool {
	return c == ' ' || c == '.' || c == '-' || c == '_' || c == '*' || c == '|' || c == '/' || c == '+'
}

// plain reads letters as they are, shifted by thirteen, and as signs that look
// like them.
var (
	plain   = reading("abcdefghijklmnopqrstuvwxyz", "")
	shifted = reading("nopqrstuvwxyzabcdefghijklm", "")
	leets   = reading("abcdefghijklmnopqrstuvwxyz", "0o1i3e4a5s7t8b9g@a$s!i|l")
)

// reading maps the letters to those of an alphabet, and pairs of a sign and what
// it is read as.
func reading(alphabet, signs string) (as [256]byte) {
	for i := range 26 {
		as['a'+i], as['A'+i] = alphabet[i], alphabet[i]
	}
	for i := 0; i < len(signs); i += 2 {
		as[signs[i]] = signs[i+1]
	}
	return as
}

// Shares of common trigrams, in percent: text in English has 40 to 65, other
// text in Latin letters 10 to 35, shifted or reversed text less.
const (
	few     = 24 // a share at most this high makes a text be read another way
	gain    = 20 // the other way must have so much more
	shortly = 12 // trigrams that must be there
)

// segments calls fn for the stretches of b between marks that end what is said.
func segments(ctx context.Context, b []byte, fn func(start, end int) bool) {
	for i := 0; i < len(b); {
		end := i
		for end < len(b) && end-i < maxLine {
			if c := b[end]; c == '\n' || c == ':' || c == '"' || c == '`' || c == ';' || (c == '.' || c == '!' || c == '?') && (end+1 == len(b) || b[end+1] == ' ' || b[end+1] == '\n') {
				break
			}
			end++
		}
		if end-i > shortly && (ctx.Err() != nil || !fn(i, end)) {
			return
		}
		i = end + 1
	}
}

func other(ctx context.Context, b []byte, room int, as *[256]byte, back bool) (out []candidate, over bool) {
	buf := []byte(nil)
	segments(ctx, b, func(start, end int) bool {
		s := b[start:end]
		now, n := english(s, &plain)
		if n < shortly || now > few {
			return true
		}
		if back {
			buf = append(buf[:0], s...)
			for i, k := 0, len(buf)-1; i < k; i, k = i+1, k-1 {
				buf[i], buf[k] = buf[k], buf[i]
			}
			s = buf
		}
		if then, _ := english(s, as); then < now+gain {
			return true
		}
		if room -= len(s); room < 0 {
			over = true
			return false
		}
		text := make([]byte, len(s))
		for i, c := range s {
			if text[i] = c; as[c] != 0 {
				text[i] = as[c]
			}
		}
		out = append(out, candidate{start: start, end: end, text: text})
		return true
	})
	return out, over
}

func rot13(ctx context.Context, b []byte, room int) ([]candidate, bool) {
	return other(ctx, b, room, &shifted, false)
}

// reversed works on ASCII, which views are mostly.
func reversed(ctx context.Context, b []byte, room int) ([]candidate, bool) {
	return other(ctx, b, room, &plain, true)
}

// leet reads segments in which several words have digits or signs between their
// letters.
func leet(ctx context.Context, b []byte, room int) (out []candidate, over bool) {
	const words = 2
	segments(ctx, b, func(start, end int) bool {
		s := b[start:end]
		mixed := 0
		for i := 1; i+1 < len(s) && mixed < words; i++ {
			if isLetter(s[i-1]) && !isLetter(s[i]) && s[i] != ' ' && leets[s[i]] != 0 && (isLetter(s[i+1]) || leets[s[i+1]] != 0) {
				mixed++
				for i+1 < len(s) && s[i] != ' ' {
					i++
				}
			}
		}
		if mixed < words {
			return true
		}
		now, before := english(s, &plain)
		then, after := english(s, &leets)
		if after < shortly || then*after <= now*before+gain*10 || then <= few {
			return true
		}
		if room -= len(s); room < 0 {
			over = true
			return false
		}
		text := make([]byte, len(s))
		for i, c := range s {
			if text[i] = c; leets[c] != 0 {
				text[i] = leets[c]
			}
		}
		out = append(out, candidate{start: start, end: end, text: text})
		return true
	})
	return out, over
}
