package rdata

import (
	"context"
	"math"
	"strconv"
)

// next reads one byte of the text form.
func (w *walker) next() (byte, error) {
	c, err := w.r.ReadByte()
	if err != nil {
		return 0, w.bad("the object breaks off")
	}
	w.at++
	return c, nil
}

// back takes the last byte back.
func (w *walker) back() {
	w.at--
	_ = w.r.UnreadByte() // it was just read
}

func blank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// space passes over white space, up to the first other byte.
func (w *walker) space() error {
	for {
		c, err := w.next()
		if err != nil {
			return err
		}
		if !blank(c) {
			w.back()
			return nil
		}
	}
}

// word reads one word of the text form. R takes at most 100 letters.
func (w *walker) word() (string, error) {
	if err := w.space(); err != nil {
		return "", err
	}
	const longest = 100
	var b []byte
	for len(b) < longest {
		c, err := w.next()
		if err != nil { // the file ends with a word
			break
		}
		if blank(c) {
			w.back()
			break
		}
		b = append(b, c)
	}
	if len(b) == longest {
		return "", w.bad("a word of %d letters and more", longest)
	}
	return string(b), nil
}

// written reads a whole number of the text form.
func (w *walker) written() (int32, error) {
	s, err := w.word()
	if err != nil {
		return 0, err
	}
	if s == "NA" {
		return math.MinInt32, nil
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0, w.bad("%.20q is no number", s)
	}
	return int32(n), nil
}

// words passes over the numbers of a vector.
func (w *walker) words(ctx context.Context, n int64) error {
	for i := range n {
		if i&4095 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := w.word(); err != nil {
			return err
		}
	}
	return nil
}

// escapes are what stands behind a backslash, besides numbers of base eight.
var escapes = map[byte]byte{'n': '\n', 't': '\t', 'v': '\v', 'b': '\b', 'r': '\r', 'f': '\f', 'a': '\a'}

// escaped reads a text of n bytes, which are written with escapes.
func (w *walker) escaped(n int64) (string, error) {
	if n == 0 {
		return "", nil
	}
	if err := w.space(); err != nil {
		return "", err
	}
	var b []byte
	for range n {
		c, err := w.next()
		if err == nil && c == '\\' {
			c, err = w.escape()
		}
		if err != nil {
			return "", err
		}
		if len(b) < maxName {
			b = append(b, c)
		}
	}
	return string(b), nil
}

func (w *walker) escape() (byte, error) {
	c, err := w.next()
	if err != nil {
		return 0, err
	}
	if to, ok := escapes[c]; ok {
		return to, nil
	}
	if c < '0' || c > '7' {
		return c, nil
	}
	v := int(c - '0')
	for range 2 {
		if c, err = w.next(); err != nil {
			return 0, err
		}
		if c < '0' || c > '7' {
			w.back()
			break
		}
		v = v*8 + int(c-'0')
	}
	return byte(v), nil
}
