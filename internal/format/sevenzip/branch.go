package sevenzip

import (
	"encoding/binary"
	"errors"
	"io"
)

// A branchReader undoes the filter for x86 code, which some writers put before
// every compressor: targets of calls and jumps were made absolute, so that they
// repeat.
//
// Source: the description of the filter in the XZ Embedded library.
type branchReader struct {
	src  io.Reader
	buf  []byte
	from int // bytes handed out
	done int // bytes undone
	pos  uint32
	mask uint32 // which of the last bytes looked like opcodes
	err  error
}

func newBranch(src io.Reader) io.Reader {
	return &branchReader{src: src, buf: make([]byte, 0, 64<<10)}
}

// Read implements [io.Reader].
func (b *branchReader) Read(p []byte) (int, error) {
	for b.from == b.done {
		if b.err != nil {
			return 0, b.err
		}
		rest := copy(b.buf, b.buf[b.done:])
		b.buf, b.from, b.done = b.buf[:rest], 0, 0
		n, err := b.src.Read(b.buf[rest:cap(b.buf)])
		b.buf = b.buf[:rest+n]
		b.done = b.undo(b.buf)
		b.pos += uint32(b.done)
		if b.err = err; err != nil && errors.Is(err, io.EOF) {
			b.done = len(b.buf) // the last bytes are never an operand
		}
	}
	n := copy(p, b.buf[b.from:b.done])
	b.from += n
	return n, nil
}

// outermost reports whether c can be the highest byte of a near target.
func outermost(c byte) bool { return c == 0 || c == 0xff }

// undo converts targets in buf and returns how many bytes are final.
func (b *branchReader) undo(buf []byte) int {
	allowed := [8]bool{true, true, true, false, true, false, false, false}
	bit := [8]int{0, 1, 2, 2, 3, 3, 3, 3}
	last, i := -1, 0
	for ; i+4 < len(buf); i++ {
		if buf[i]&0xfe != 0xe8 {
			continue
		}
		gap := i - last
		last = i
		if gap > 3 {
			b.mask = 0
		} else if b.mask = b.mask << (gap - 1) & 7; b.mask != 0 {
			if !allowed[b.mask] || outermost(buf[i+4-bit[b.mask]]) {
				b.mask = b.mask<<1 | 1
				continue
			}
		}
		if !outermost(buf[i+4]) {
			b.mask = b.mask<<1 | 1
			continue
		}
		src := binary.LittleEndian.Uint32(buf[i+1:])
		var dest uint32
		for {
			dest = src - (b.pos + uint32(i) + 5)
			if b.mask == 0 {
				break
			}
			j := bit[b.mask] * 8
			if !outermost(byte(dest >> (24 - j))) {
				break
			}
			src = dest ^ (1<<(32-j) - 1)
		}
		dest = dest&0x01ffffff | -(dest & 0x01000000)
		binary.LittleEndian.PutUint32(buf[i+1:], dest)
		i += 4
	}
	if gap := i - last; gap > 3 {
		b.mask = 0
	} else {
		b.mask <<= gap - 1
	}
	return min(i, len(buf))
}
