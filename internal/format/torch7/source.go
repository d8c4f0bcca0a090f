package torch7

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// A source reads the primitives of the format, from memory or from a file.
type source struct {
	b     []byte // instead of r: the head of a file
	r     io.ReaderAt
	buf   *bufio.Reader
	at    int64
	size  int64
	ascii bool
	long  int          // bytes of a number of type long
	check func() error // of the context
	steps int
}

func (s *source) broken() error {
	return fmt.Errorf("byte %d: the object breaks off: %w", s.at, ErrFormat)
}

// next reads one byte.
func (s *source) next() (byte, error) {
	if s.r == nil {
		if s.at >= int64(len(s.b)) {
			return 0, s.broken()
		}
		s.at++
		return s.b[s.at-1], nil
	}
	if s.buf == nil {
		s.buf = bufio.NewReaderSize(io.NewSectionReader(s.r, s.at, s.size-s.at), 32<<10)
	}
	if s.steps++; s.steps&0xffff == 0 && s.check() != nil {
		return 0, s.check()
	}
	c, err := s.buf.ReadByte()
	if errors.Is(err, io.EOF) {
		err = s.broken()
	}
	if err == nil {
		s.at++
	}
	return c, err
}

// back takes the last byte back.
func (s *source) back() {
	s.at--
	if s.r != nil && s.buf.UnreadByte() != nil {
		s.buf = nil // read again
	}
}

// skip passes over n bytes.
func (s *source) skip(n int64) error {
	if n < 0 || s.r != nil && n > s.size-s.at {
		return fmt.Errorf("byte %d: %d bytes, %d remain: %w", s.at, n, s.size-s.at, ErrFormat)
	}
	s.at += n
	if s.r == nil {
		return nil
	}
	if s.buf != nil && n <= int64(s.buf.Buffered()) {
		_, err := s.buf.Discard(int(n))
		return err
	}
	s.buf = nil
	return s.check()
}

// chars reads n bytes, which the caller has bounded.
func (s *source) chars(n int64) ([]byte, error) {
	b := make([]byte, n)
	for i := range b {
		c, err := s.next()
		if err != nil {
			return nil, err
		}
		b[i] = c
	}
	return b, nil
}

// little reads a number of n bytes.
func (s *source) little(n int) (int64, error) {
	var b [8]byte
	for i := range n {
		c, err := s.next()
		if err != nil {
			return 0, err
		}
		b[i] = c
	}
	if n == 4 {
		return int64(int32(binary.LittleEndian.Uint32(b[:]))), nil
	}
	return int64(binary.LittleEndian.Uint64(b[:])), nil
}

func blank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// space passes over blanks, as scanf does before a number.
func (s *source) space() {
	for {
		c, err := s.next()
		if err != nil {
			return
		}
		if !blank(c) {
			s.back()
			return
		}
	}
}

// word reads what stands up to the next blank.
func (s *source) word() (string, error) {
	s.space()
	const longest = 64
	var b []byte
	var err error
	for len(b) < longest {
		var c byte
		if c, err = s.next(); err != nil {
			break
		}
		if blank(c) {
			s.back()
			break
		}
		b = append(b, c)
	}
	if len(b) > 0 { // the file may end with a word
		err = nil
	}
	return string(b), err
}

// newline passes over the one line break that ends a row of the ascii form.
func (s *source) newline() {
	if !s.ascii {
		return
	}
	if c, err := s.next(); err == nil && c != '\n' {
		s.back()
	}
}

// whole reads one integer of the ascii form.
func (s *source) whole() (int64, error) {
	w, err := s.word()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(w, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("byte %d: %.20q is no number: %w", s.at, w, ErrFormat)
	}
	return n, nil
}

func (s *source) int() (int64, error) {
	if !s.ascii {
		return s.little(4)
	}
	n, err := s.whole()
	s.newline()
	return n, err
}

// longs reads n numbers of type long and returns the last one.
func (s *source) longs(n int64) (last int64, err error) {
	for range n {
		if s.ascii {
			last, err = s.whole()
		} else {
			last, err = s.little(s.long)
		}
		if err != nil {
			return 0, err
		}
	}
	if n > 0 {
		s.newline()
	}
	return last, nil
}

func (s *source) double() error {
	if !s.ascii {
		return s.skip(8)
	}
	_, err := s.word()
	s.newline()
	return err
}

// numbers passes over the elements of a storage.
func (s *source) numbers(n int64, t number) error {
	width := t.bytes
	if t.long {
		width = int64(s.long)
	}
	if s.ascii {
		width = 1 // at least
	}
	if n < 0 || n > (s.size-s.at)/width {
		return fmt.Errorf("byte %d: %d elements of %d bytes, %d bytes remain: %w", s.at, n, width, s.size-s.at, ErrFormat)
	}
	if !s.ascii || t.raw {
		if err := s.skip(n * width); err != nil {
			return err
		}
	} else {
		for range n {
			if _, err := s.word(); err != nil {
				return err
			}
		}
	}
	if n > 0 {
		s.newline()
	}
	return nil
}
