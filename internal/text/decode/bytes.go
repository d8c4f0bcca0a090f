package decode

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"html"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	least  = 16 // characters of an encoded text
	probed = 24 // of them are decoded to see whether it is worth it
)

// runs calls fn for the stretches of b of at least n bytes that are in a set.
// Lines of at least 60 that follow one another are one.
func runs(ctx context.Context, b []byte, n int, in *[256]bool, fn func(start, end int) bool) {
	for i := 0; i < len(b); {
		if !in[b[i]] {
			i++
			continue
		}
		start, line := i, i
		for i < len(b) {
			if in[b[i]] {
				i++
				continue
			}
			k := i
			if b[k] == '\r' && k+1 < len(b) {
				k++
			}
			if b[k] != '\n' || i-line < 60 || k+1 >= len(b) || !in[b[k+1]] {
				break
			}
			i, line = k+1, k+1
		}
		if i-start >= n && (ctx.Err() != nil || !fn(start, i)) {
			return
		}
	}
}

func set(chars string) (in [256]bool) {
	for _, c := range []byte(chars) {
		in[c] = true
	}
	return in
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

var (
	inBase64 = set(letters + "abcdefghijklmnopqrstuvwxyz0123456789+/-_=")
	inBase32 = set(letters + "234567=")
	inHex    = set("0123456789abcdefABCDEF")
)

func strip(b []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == '=' {
			return -1
		}
		return r
	}, b)
}

func base64s(ctx context.Context, b []byte, room int) (out []candidate, over bool) {
	runs(ctx, b, least, &inBase64, func(start, end int) bool {
		s := b[start:end]
		if k := bytes.IndexByte(s, '='); k >= 0 && k < len(s)-2 && s[k+1] != '=' && s[k+1] != '\n' { // "key=c2VjcmV0…"
			if k >= least {
				s, end = s[:k], start+k
			} else {
				s, start = s[k+1:], start+k+1
			}
		}
		if len(s) < least || !mixed(s) {
			return true
		}
		plain := strip(s)
		for i, c := range plain {
			switch c {
			case '-':
				plain[i] = '+'
			case '_':
				plain[i] = '/'
			}
		}
		plain = plain[:len(plain)-b2i(len(plain)%4 == 1)]
		if !worth64(plain) {
			return true
		}
		if len(plain)*3/4 > room {
			over = true
			return false
		}
		got, err := base64.RawStdEncoding.DecodeString(string(plain))
		if err != nil {
			return true
		}
		text, cut := unpack(got, room)
		over = over || cut
		if readable(text) {
			room -= len(text)
			out = append(out, candidate{start: start, end: end, text: text})
		}
		return true
	})
	return out, over
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// mixed reports whether s has the letters of both cases or digits that base64
// text of this length has: names and paths have not.
func mixed(s []byte) bool {
	var upper, lower, digit int
	for _, c := range s[:min(len(s), 64)] {
		switch {
		case c >= 'A' && c <= 'Z':
			upper++
		case c >= 'a' && c <= 'z':
			lower++
		case c >= '0' && c <= '9':
			digit++
		}
	}
	return upper > 0 && lower+digit > 0
}

// worth64 decodes the beginning: text, compressed text, or text in two bytes a
// character.
func worth64(s []byte) bool {
	head, err := base64.RawStdEncoding.DecodeString(string(s[:min(len(s), probed)&^3]))
	if err != nil || len(head) == 0 {
		return false
	}
	if bytes.HasPrefix(head, []byte{0x1f, 0x8b}) || wide(head) {
		return true
	}
	for len(head) > 0 { // the last character may be cut
		r, n := utf8.DecodeRune(head)
		if r == utf8.RuneError && n <= 1 {
			return len(head) < utf8.UTFMax
		}
		if r < ' ' && r != '\n' && r != '\t' && r != '\r' {
			return false
		}
		head = head[n:]
	}
	return true
}

// wide reports whether b is UTF-16LE text that is mostly ASCII.
func wide(b []byte) bool {
	n := 0
	for i := 1; i < len(b); i += 2 {
		if b[i] == 0 && b[i-1] != 0 {
			n++
		}
	}
	return len(b) > 8 && n*2 > len(b)*4/5
}

// unpack turns UTF-16 into UTF-8, and unpacks gzip up to room bytes.
func unpack(b []byte, room int) (text []byte, over bool) {
	if wide(b) {
		var u []uint16
		for i := 0; i+1 < len(b); i += 2 {
			u = append(u, uint16(b[i])|uint16(b[i+1])<<8)
		}
		return []byte(string(utf16.Decode(u))), false
	}
	if !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return b, false
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, false
	}
	var w bytes.Buffer
	n, _ := io.Copy(&w, io.LimitReader(z, int64(room)+1)) // what came before an error is read too
	return w.Bytes()[:min(int64(room), n)], n > int64(room)
}

func base32s(ctx context.Context, b []byte, room int) (out []candidate, over bool) {
	runs(ctx, b, least, &inBase32, func(start, end int) bool {
		s := strip(b[start:end])
		s = s[:len(s)-spare32(len(s))]
		if len(s) > room {
			over = true
			return false
		}
		head, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(string(s[:min(len(s), probed)&^7]))
		if err != nil || !utf8.Valid(head[:len(head)*3/4]) {
			return true
		}
		got, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(string(s))
		if err == nil && readable(got) {
			out = append(out, candidate{start: start, end: end, text: got})
		}
		return true
	})
	return out, over
}

// spare32 is how many characters of so many do not make a byte.
func spare32(n int) int {
	switch n % 8 {
	case 1, 3, 6:
		return 1
	}
	return 0
}

// hexes decodes digits in a row, and pairs of them between spaces, colons, or
// with "0x" or "\x" before them.
func hexes(ctx context.Context, b []byte, room int) (out []candidate, over bool) {
	runs(ctx, b, least, &inHex, func(start, end int) bool {
		s := b[start:end]
		if len(s)%2 == 1 {
			s, end = s[:len(s)-1], end-1
		}
		if len(s)/2 > room {
			over = true
			return false
		}
		got := make([]byte, len(s)/2)
		if _, err := hex.Decode(got, s); err == nil && readable(got) {
			out = append(out, candidate{start: start, end: end, text: got})
		}
		return true
	})
	for i := 0; i < len(b); {
		start, last := i, i
		var got []byte
		for {
			k := i
			if k > start && k < len(b) && (b[k] == ' ' || b[k] == ':' || b[k] == ',') {
				k++
				if k < len(b) && b[k] == ' ' {
					k++
				}
			}
			if k+1 < len(b) && b[k] == '0' && b[k+1] == 'x' {
				k += 2
			}
			if k+2 > len(b) || !inHex[b[k]] || !inHex[b[k+1]] || k+2 < len(b) && inHex[b[k+2]] || k == i && i > start {
				break
			}
			got = append(got, nibble(b[k])<<4|nibble(b[k+1]))
			i, last = k+2, k+2
		}
		if len(got) >= least/2 && readable(got) {
			if len(got) > room {
				return out, true
			}
			out = append(out, candidate{start: start, end: last, text: got})
			if ctx.Err() != nil {
				return out, over
			}
		}
		i = max(i, start+1)
		if i == start+1 { // to the next word
			for i < len(b) && inHex[b[i]] {
				i++
			}
		}
	}
	return out, over
}

func nibble(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}

// An escape decodes what may begin at b[0]: the bytes it stands for, and how many
// it takes; 0: it is none.
type escape func(b []byte) (text []byte, n int)

// maxLine is how much of a text is looked at at once.
const maxLine = 4096

// reach is how far apart escapes of one text may stand, and how much of the text
// around them belongs to it.
const reach = 64

// unescape decodes stretches with at least three escapes that begin with c.
func unescape(ctx context.Context, b []byte, c byte, room int, one escape) (out []candidate, over bool) {
	const few = 3
	var text []byte
	count, first, last, done := 0, 0, 0, 0 // of the stretch: escapes, its place, up to where text has it
	flush := func() bool {
		if count < few {
			return true
		}
		text = append(text, b[done:min(len(b), last+reach)]...)
		if !readable(text) {
			return true
		}
		if room -= len(text); room < 0 {
			return false
		}
		out = append(out, candidate{start: first, end: last, text: bytes.Clone(text)})
		return true
	}
	for i := 0; ; {
		next := bytes.IndexByte(b[i:], c)
		if next < 0 {
			break
		}
		i += next
		got, n := one(b[i:])
		if n == 0 {
			i++
			continue
		}
		if count == 0 || i-last > reach || len(text) > maxLine {
			if !flush() {
				return out, true
			}
			if ctx.Err() != nil {
				return out, false
			}
			count, first, done = 0, i, max(0, i-reach)
			text = text[:0]
		}
		text = append(append(text, b[done:i]...), got...)
		i += n
		count, last, done = count+1, i, i
	}
	return out, !flush()
}

func pair(b []byte) (byte, bool) {
	if len(b) < 2 || !inHex[b[0]] || !inHex[b[1]] {
		return 0, false
	}
	return nibble(b[0])<<4 | nibble(b[1]), true
}

func percents(ctx context.Context, b []byte, room int) ([]candidate, bool) {
	return unescape(ctx, b, '%', room, func(b []byte) ([]byte, int) {
		if c, ok := pair(b[1:]); ok {
			return []byte{c}, 3
		}
		return nil, 0
	})
}

func quotedPrintable(ctx context.Context, b []byte, room int) ([]candidate, bool) {
	return unescape(ctx, b, '=', room, func(b []byte) ([]byte, int) {
		if c, ok := pair(b[1:]); ok {
			return []byte{c}, 3
		}
		return nil, 0
	})
}

// longestEntity is the longest name of an entity, and the digits of one.
const longestEntity = 33

func entities(ctx context.Context, b []byte, room int) ([]candidate, bool) {
	return unescape(ctx, b, '&', room, func(b []byte) ([]byte, int) {
		n := bytes.IndexByte(b[:min(len(b), longestEntity)], ';')
		if n < 2 {
			return nil, 0
		}
		if s := html.UnescapeString(string(b[:n+1])); s != string(b[:n+1]) {
			return []byte(s), n + 1
		}
		return nil, 0
	})
}

// escapes are those of programs: \x41, \u0041, \U00000041, \101.
func escapes(ctx context.Context, b []byte, room int) ([]candidate, bool) {
	return unescape(ctx, b, '\\', room, func(b []byte) ([]byte, int) {
		if len(b) < 4 {
			return nil, 0
		}
		var digits int
		switch b[1] {
		case 'x':
			c, ok := pair(b[2:])
			if ok {
				return []byte{c}, 4
			}
			return nil, 0
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		default:
			if b[1] >= '0' && b[1] <= '3' && b[2] >= '0' && b[2] <= '7' && b[3] >= '0' && b[3] <= '7' {
				return []byte{(b[1]-'0')<<6 | (b[2]-'0')<<3 | (b[3] - '0')}, 4
			}
			return nil, 0
		}
		if len(b) < 2+digits {
			return nil, 0
		}
		r := rune(0)
		for _, c := range b[2 : 2+digits] {
			if !inHex[c] {
				return nil, 0
			}
			r = r<<4 | rune(nibble(c))
		}
		return utf8.AppendRune(nil, r), 2 + digits
	})
}
