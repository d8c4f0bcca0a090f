package sevenzip

import (
	"encoding/binary"
	"errors"
	"io"
)

// An undo converts the addresses in buf, which lies at a position of the stream,
// back to what they were, and returns how many bytes are final. What it leaves
// comes again with more behind it.
//
// Sources: the descriptions of the filters in XZ Utils 5.6 and in the LZMA SDK.
type undo func(buf []byte, pos uint32) int

// filters are those for the code of processors, by the ids of their methods; the
// short ones are of newer writers. That for x86 has a memory of its own.
var filters = map[string]undo{
	"03030205": undoPPC, "05": undoPPC,
	"03030401": undoIA64, "06": undoIA64,
	"03030501": undoARM, "07": undoARM,
	"03030701": undoThumb, "08": undoThumb,
	"03030805": undoSPARC, "09": undoSPARC,
	"0a": undoARM64,
}

// filtered returns the bytes behind a filter, or false if the method is none
// that is read.
func filtered(method string, props []byte, src io.Reader) (io.Reader, bool) {
	switch {
	case method == branch || method == "04":
		return newBranch(src), true
	case method == delta && len(props) == 1:
		return &deltaReader{src: src, distance: int(props[0]) + 1}, true
	case method == "0a" && len(props) == 4 && binary.LittleEndian.Uint32(props)%4 == 0:
		return &filterReader{src: src, undo: undoARM64, pos: binary.LittleEndian.Uint32(props), buf: make([]byte, 0, 64<<10)}, true
	case filters[method] != nil && len(props) == 0:
		return &filterReader{src: src, undo: filters[method], buf: make([]byte, 0, 64<<10)}, true
	}
	return nil, false
}

// isFilter reports whether the method changes bytes without packing them.
func isFilter(method string) bool {
	return method == branch || method == "04" || method == delta || filters[method] != nil
}

type filterReader struct {
	src        io.Reader
	undo       undo
	buf        []byte
	from, done int // handed out, and final
	pos        uint32
	err        error
}

// Read implements [io.Reader].
func (f *filterReader) Read(p []byte) (int, error) {
	for f.from == f.done {
		if f.err != nil {
			return 0, f.err
		}
		rest := copy(f.buf, f.buf[f.done:])
		n, err := f.src.Read(f.buf[rest:cap(f.buf)])
		f.buf, f.from = f.buf[:rest+n], 0
		f.done = f.undo(f.buf, f.pos)
		f.pos += uint32(f.done)
		if f.err = err; err != nil && errors.Is(err, io.EOF) {
			f.done = len(f.buf) // less than one instruction
		}
	}
	n := copy(p, f.buf[f.from:f.done])
	f.from += n
	return n, nil
}

func undoARM(b []byte, pos uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 4 {
		if b[i+3] != 0xeb { // BL
			continue
		}
		v := (uint32(b[i]) | uint32(b[i+1])<<8 | uint32(b[i+2])<<16) << 2
		v = (v - (pos + uint32(i) + 8)) >> 2
		b[i], b[i+1], b[i+2] = byte(v), byte(v>>8), byte(v>>16)
	}
	return i
}

func undoThumb(b []byte, pos uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 2 {
		if b[i+1]&0xf8 != 0xf0 || b[i+3]&0xf8 != 0xf8 { // BL in two halves
			continue
		}
		v := (uint32(b[i+1]&7)<<19 | uint32(b[i])<<11 | uint32(b[i+3]&7)<<8 | uint32(b[i+2])) << 1
		v = (v - (pos + uint32(i) + 4)) >> 1
		b[i], b[i+1], b[i+2], b[i+3] = byte(v>>11), 0xf0|byte(v>>19)&7, byte(v), 0xf8|byte(v>>8)&7
		i += 2
	}
	return min(i, len(b))
}

func undoPPC(b []byte, pos uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 4 {
		v := binary.BigEndian.Uint32(b[i:])
		if v>>26 != 0x12 || v&3 != 1 { // BL
			continue
		}
		v = 0x48000001 | (v-(pos+uint32(i)))&0x03fffffc
		binary.BigEndian.PutUint32(b[i:], v)
	}
	return i
}

func undoSPARC(b []byte, pos uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 4 {
		v := binary.BigEndian.Uint32(b[i:])
		if v>>22 != 0x100 && v>>22 != 0x1ff { // CALL with a near target
			continue
		}
		v = (v<<2 - (pos + uint32(i))) >> 2
		v = (0-(v>>22&1))<<22&0x3fffffff | v&0x3fffff | 0x40000000
		binary.BigEndian.PutUint32(b[i:], v)
	}
	return i
}

func undoARM64(b []byte, pos uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 4 {
		v, pc := binary.LittleEndian.Uint32(b[i:]), pos+uint32(i)
		switch {
		case v>>26 == 0x25: // BL
			v = 0x94000000 | (v-pc>>2)&0x03ffffff
		case v&0x9f000000 == 0x90000000: // ADRP with a near target
			from := v>>29&3 | v>>3&0x001ffffc
			if (from+0x00020000)&0x001c0000 != 0 {
				continue
			}
			to := from - pc>>12
			v = v&0x9000001f | to&3<<29 | to&0x0003fffc<<3 | (0-to&0x00020000)&0x00e00000
		default:
			continue
		}
		binary.LittleEndian.PutUint32(b[i:], v)
	}
	return i
}

// bundles tell which of the three slots of an Itanium bundle can hold a branch,
// by its template.
var bundles = [32]uint8{16: 4, 17: 4, 18: 6, 19: 6, 22: 7, 23: 7, 24: 4, 25: 4, 28: 4, 29: 4}

func undoIA64(b []byte, pos uint32) int {
	i := 0
	for ; i+16 <= len(b); i += 16 {
		for slot := range 3 {
			if bundles[b[i]&0x1f]>>slot&1 == 0 {
				continue
			}
			bit := 5 + 41*slot
			at, shift := i+bit/8, bit%8
			var word uint64
			for k := range 6 {
				word |= uint64(b[at+k]) << (8 * k)
			}
			code := word >> shift
			if code>>37&0xf != 5 || code>>9&7 != 0 {
				continue
			}
			v := (uint32(code>>13)&0xfffff | uint32(code>>36)&1<<20) << 4
			v = (v - (pos + uint32(i))) >> 4
			code = code&^(uint64(0x8fffff)<<13) | uint64(v&0xfffff)<<13 | uint64(v&0x100000)<<16
			word = word&(1<<shift-1) | code<<shift
			for k := range 6 {
				b[at+k] = byte(word >> (8 * k))
			}
		}
	}
	return i
}

// A deltaReader adds to each byte the one at a distance before it.
type deltaReader struct {
	src      io.Reader
	distance int
	last     [256]byte
	at       uint8
}

// Read implements [io.Reader].
func (d *deltaReader) Read(p []byte) (int, error) {
	n, err := d.src.Read(p)
	for i, c := range p[:n] {
		p[i] = c + d.last[d.at-uint8(d.distance)]
		d.last[d.at] = p[i]
		d.at++
	}
	return n, err
}
