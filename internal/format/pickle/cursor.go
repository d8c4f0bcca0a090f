package pickle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Errors of one stream, as a loader would raise them.
var (
	errEnd   = errors.New("the data ends inside an opcode")
	errFrame = errors.New("a frame ends inside an opcode")
)

// A view is one loader's idea of the same bytes. They differ only where frames
// lie or where raw array bytes follow an object.
type view uint8

const (
	viewMemory view = iota // C Unpickler over memory or a peekable file; joblib's arrays are skipped
	viewStream             // C Unpickler over a source without peek, such as BytesIO
	viewPure               // pure Python Unpickler
	viewPlain              // as viewMemory, but array bytes are read as opcodes
)

// A cursor reads a file through one bounded buffer. Positions are absolute.
type cursor struct {
	r    io.ReaderAt
	size int64
	pos  int64
	buf  []byte
	base int64 // position of buf[0]

	view     view
	frameEnd int64 // end of the current frame, 0 if none
	odd      bool  // frames here are read differently by the views
}

const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
)

func newCursor(r io.ReaderAt, size, pos int64) cursor {
	n := int64(largeBuffer)
	if size-pos <= smallBuffer {
		n = max(size-pos, 16)
	}
	return cursor{r: r, size: size, pos: pos, base: pos, buf: make([]byte, 0, n)}
}

// fill makes at least n bytes (n <= cap(buf)) at pos available, or returns an
// error.
func (c *cursor) fill(ctx context.Context, n int) error {
	if int64(n) > c.size-c.pos {
		return errEnd
	}
	if c.pos >= c.base && c.pos+int64(n) <= c.base+int64(len(c.buf)) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read pickle at byte %d: %w", c.pos, context.Cause(ctx))
	}
	want := min(int64(cap(c.buf)), c.size-c.pos)
	c.buf = c.buf[:want]
	c.base = c.pos
	got, err := c.r.ReadAt(c.buf, c.pos)
	c.buf = c.buf[:max(got, 0)]
	if got >= n {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return readError{fmt.Errorf("read %d bytes at byte %d: %w", want, c.pos, err)}
}

// A readError is a failure of the source, not of the stream.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// enter applies the frame rules of the view to a read of n bytes.
func (c *cursor) enter(n int64) error {
	if c.frameEnd == 0 {
		return nil
	}
	if c.pos >= c.frameEnd {
		c.frameEnd = 0
		return nil
	}
	if c.pos+n <= c.frameEnd || n == 0 {
		return nil
	}
	c.odd = true
	switch c.view {
	case viewPure:
		return errFrame
	case viewStream:
		c.pos, c.frameEnd = c.frameEnd, 0
	case viewMemory, viewPlain:
	}
	return nil
}

// frame starts a frame of n bytes, as the FRAME opcode asks for.
func (c *cursor) frame(n uint64) error {
	left := uint64(c.size - c.pos)
	if c.frameEnd != 0 && c.pos < c.frameEnd {
		c.odd = true
		if c.view == viewPure {
			return fmt.Errorf("a frame begins before the one before it ends: %w", errFrame)
		}
	}
	if n > left {
		c.odd = true
		if c.view != viewPure {
			return fmt.Errorf("a frame of %d bytes where %d remain: %w", n, left, errEnd)
		}
		n = left
	}
	if err := c.enter(int64(n)); err != nil {
		return err
	}
	if end := c.pos + int64(n); end <= c.size {
		c.frameEnd = max(c.frameEnd, end)
		return nil
	}
	return errEnd
}

// byte reads one byte.
func (c *cursor) byte(ctx context.Context) (byte, error) {
	if c.frameEnd != 0 {
		if err := c.enter(1); err != nil {
			return 0, err
		}
	}
	if i := c.pos - c.base; i < 0 || i >= int64(len(c.buf)) {
		if err := c.fill(ctx, 1); err != nil {
			return 0, err
		}
	}
	b := c.buf[c.pos-c.base]
	c.pos++
	return b, nil
}

// fixed reads n bytes, n at most 8. They are valid until the next read.
func (c *cursor) fixed(ctx context.Context, n int) ([]byte, error) {
	if err := c.enter(int64(n)); err != nil {
		return nil, err
	}
	if err := c.fill(ctx, n); err != nil {
		return nil, err
	}
	i := c.pos - c.base
	c.pos += int64(n)
	return c.buf[i : i+int64(n)], nil
}

// little reads an unsigned little-endian number of n bytes.
func (c *cursor) little(ctx context.Context, n int) (uint64, error) {
	b, err := c.fixed(ctx, n)
	if err != nil {
		return 0, err
	}
	var v uint64
	for _, v0 := range slices.Backward(b) {
		v = v<<8 | uint64(v0)
	}
	return v, nil
}

// counted reads a literal of n bytes and keeps at most keep of them; the rest
// is skipped unread. into says that the C Unpickler copies what its buffer
// holds and reads the rest, so that frames do not matter.
func (c *cursor) counted(ctx context.Context, n uint64, keep int64, into bool) (string, error) {
	if n > uint64(c.size-c.pos) {
		return "", fmt.Errorf("a literal of %d bytes where %d remain: %w", n, c.size-c.pos, errEnd)
	}
	if into && c.view == viewStream {
		if c.pos < c.frameEnd && c.pos+int64(n) > c.frameEnd {
			c.odd, c.frameEnd = true, 0
		}
	} else if err := c.enter(int64(n)); err != nil {
		return "", err
	}
	if int64(n) > c.size-c.pos {
		return "", errEnd
	}
	kept, err := c.copy(ctx, c.pos, min(int64(n), keep))
	if err != nil {
		return "", err
	}
	c.pos += int64(n)
	return kept, nil
}

// copy returns n bytes at off, which the caller compared with what remains.
func (c *cursor) copy(ctx context.Context, off, n int64) (string, error) {
	if i := off - c.base; i >= 0 && i+n <= int64(len(c.buf)) {
		return string(c.buf[i : i+n]), nil
	}
	if off == c.pos && n <= int64(cap(c.buf)) {
		if err := c.fill(ctx, int(n)); err != nil {
			return "", err
		}
		return string(c.buf[:n]), nil
	}
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("read pickle at byte %d: %w", off, context.Cause(ctx))
	}
	b := make([]byte, n)
	if got, err := c.r.ReadAt(b, off); int64(got) < n {
		return "", readError{fmt.Errorf("read %d bytes at byte %d: %w", n, off, err)}
	}
	return string(b), nil
}

// A lineRule says what a line may hold: reading ends with errOperand at the
// first byte that no loader accepts there, so that a line that never ends in
// binary data is not followed to its end.
type lineRule struct {
	keep int             // bytes that are returned
	most int64           // bytes that the line may have; 0 means any number
	only func(byte) bool // bytes that it may hold; nil means all
}

// line reads up to and including a newline and returns at most rule.keep bytes
// of it without the newline, and its full length without the newline.
func (c *cursor) line(ctx context.Context, rule lineRule) (string, int64, error) {
	if c.frameEnd != 0 && c.pos >= c.frameEnd {
		c.frameEnd = 0
	}
	limit := c.size
	start := c.pos
	if c.frameEnd != 0 {
		limit = c.frameEnd
	}
	text, n, err := c.lineWithin(ctx, limit, rule)
	if err == nil || c.frameEnd == 0 || !errors.Is(err, errEnd) {
		return text, n, err
	}
	c.odd = true
	switch c.view {
	case viewPure:
		return "", 0, errFrame
	case viewStream:
		start = c.frameEnd
	case viewMemory, viewPlain:
	}
	c.pos, c.frameEnd = start, 0
	return c.lineWithin(ctx, c.size, rule)
}

func (c *cursor) lineWithin(ctx context.Context, limit int64, rule lineRule) (string, int64, error) {
	var kept []byte
	start := c.pos
	for c.pos < limit {
		if err := c.fill(ctx, 1); err != nil {
			return "", 0, err
		}
		chunk := c.buf[c.pos-c.base:]
		if room := limit - c.pos; int64(len(chunk)) > room {
			chunk = chunk[:room]
		}
		i := bytes.IndexByte(chunk, '\n')
		part := chunk
		if i >= 0 {
			part = chunk[:i]
		}
		if rule.only != nil {
			if j := slices.IndexFunc(part, func(b byte) bool { return !rule.only(b) }); j >= 0 {
				return "", 0, fmt.Errorf("byte %#02x in a line: %w", part[j], errOperand)
			}
		}
		if n := c.pos - start + int64(len(part)); rule.most > 0 && n > rule.most {
			return "", 0, fmt.Errorf("line of more than %d bytes: %w", rule.most, errOperand)
		}
		if room := rule.keep - len(kept); room > 0 {
			kept = append(kept, part[:min(len(part), room)]...)
		}
		c.pos += int64(len(part))
		if i >= 0 {
			n := c.pos - start
			c.pos++
			return string(kept), n, nil
		}
	}
	return string(kept), 0, fmt.Errorf("a line has no end: %w", errEnd)
}
