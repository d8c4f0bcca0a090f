package expand

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz/lzma"

	"github.com/modelwarden/warden/detect"
)

// xzReader walks the .xz container (file format 1.1.0) itself, because the
// dictionary of each block must be bounded before it is allocated. Checks of
// the content are not compared: a loader that stops early never does.
type xzReader struct {
	src   *bufio.Reader
	count int64 // bytes taken from src
	block io.Reader
	start int64 // of the block's data
	check int   // bytes of the check after each block
	state int
}

const (
	xzStream = iota // a stream header comes next
	xzBlock         // a block header or the index comes next
	xzData          // inside a block
)

func newXZ(src *bufio.Reader) io.Reader { return &xzReader{src: src} }

// ReadByte and readFull keep count of what was taken from the source.
func (x *xzReader) ReadByte() (byte, error) {
	b, err := x.src.ReadByte()
	if err == nil {
		x.count++
	}
	return b, err
}

type xzSource struct{ x *xzReader }

func (s xzSource) ReadByte() (byte, error) { return s.x.ReadByte() }
func (s xzSource) Read(p []byte) (int, error) {
	n, err := s.x.src.Read(p)
	s.x.count += int64(n)
	return n, err
}

func (x *xzReader) full(p []byte) error {
	n, err := io.ReadFull(x.src, p)
	x.count += int64(n)
	return err
}

// Read implements [io.Reader].
func (x *xzReader) Read(p []byte) (int, error) {
	for {
		switch x.state {
		case xzStream:
			if err := x.header(); err != nil {
				return 0, err
			}
		case xzBlock:
			if err := x.next(); err != nil {
				return 0, err
			}
		default:
			n, err := x.block.Read(p)
			if errors.Is(err, io.EOF) {
				err = x.endBlock()
			}
			if n > 0 || err != nil {
				return n, err
			}
		}
	}
}

func (x *xzReader) header() error {
	if x.count > 0 {
		if err := skipZeros(x.src); err != nil {
			return err // io.EOF: the usual end
		}
	}
	var h [12]byte
	if err := x.full(h[:]); err != nil {
		return fmt.Errorf("xz stream header: %w", unexpected(err))
	}
	if string(h[:6]) != "\xfd7zXZ\x00" {
		return errors.New("bytes after the xz stream are not another one")
	}
	if crc32.ChecksumIEEE(h[6:8]) != binary.LittleEndian.Uint32(h[8:]) {
		return errors.New("xz stream header: wrong check")
	}
	sizes := [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}
	x.check, x.state = sizes[h[7]&15], xzBlock
	return nil
}

// next reads a block header, or the index and the footer.
func (x *xzReader) next() error {
	size, err := x.ReadByte()
	if err != nil {
		return fmt.Errorf("xz block header: %w", unexpected(err))
	}
	if size == 0 {
		return x.index()
	}
	h := make([]byte, (int(size)+1)*4-1)
	if err := x.full(h); err != nil {
		return fmt.Errorf("xz block header: %w", unexpected(err))
	}
	flags, rest := h[0], h[1:len(h)-4]
	for _, bit := range []byte{0x40, 0x80} {
		if flags&bit != 0 {
			if _, rest, err = vli(rest); err != nil {
				return err
			}
		}
	}
	if flags&3 != 0 {
		return fmt.Errorf("xz block uses %d filters; only LZMA2 is read: %w", flags&3+1, detect.ErrLimit)
	}
	id, rest, err := vli(rest)
	if err != nil || id != 0x21 || len(rest) < 2 || rest[0] != 1 || rest[1] > 40 {
		return fmt.Errorf("xz filter %#x is not read: %w", id, detect.ErrLimit)
	}
	window, err := lzma.DecodeDictCap(rest[1])
	if err != nil {
		return fmt.Errorf("xz dictionary: %w", err)
	}
	if window > maxWindow {
		return fmt.Errorf("xz dictionary of %d bytes, at most %d: %w", window, maxWindow, detect.ErrLimit)
	}
	x.start = x.count
	x.block, err = lzma.Reader2Config{DictCap: int(max(window, lzma.MinDictCap))}.NewReader2(xzSource{x})
	x.state = xzData
	return err
}

func (x *xzReader) endBlock() error {
	x.state, x.block = xzBlock, nil
	pad := int((4 - (x.count-x.start)%4) % 4)
	if err := x.full(make([]byte, pad+x.check)); err != nil {
		return fmt.Errorf("xz block check: %w", unexpected(err))
	}
	return nil
}

// index passes the index of a stream, whose size is in no header, and its footer.
func (x *xzReader) index() error {
	start := x.count - 1
	records, err := x.vli()
	if err != nil {
		return fmt.Errorf("xz index: %w", err)
	}
	for i := range records {
		for range 2 {
			if _, err := x.vli(); err != nil { // ends with the input at the latest
				return fmt.Errorf("xz index record %d: %w", i, err)
			}
		}
	}
	pad := int((4 - (x.count-start)%4) % 4)
	if err := x.full(make([]byte, pad+4+12)); err != nil {
		return fmt.Errorf("xz footer: %w", unexpected(err))
	}
	x.state = xzStream
	return nil
}

func (x *xzReader) vli() (uint64, error) {
	var v uint64
	for i := range 9 {
		b, err := x.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, errors.New("number longer than 9 bytes")
}

func vli(p []byte) (uint64, []byte, error) {
	var v uint64
	for i, b := range p[:min(len(p), 9)] {
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return v, p[i+1:], nil
		}
	}
	return 0, nil, errors.New("xz block header: bad number")
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// RawLZMA reads a raw LZMA stream as 7z archives hold it: five bytes of properties
// and the unpacked size lie in the directory.
func RawLZMA(props []byte, size int64, src io.Reader) (io.Reader, error) {
	if len(props) != 5 {
		return nil, fmt.Errorf("LZMA with %d bytes of properties", len(props))
	}
	window := int64(binary.LittleEndian.Uint32(props[1:]))
	if window > maxWindow {
		return nil, fmt.Errorf("LZMA dictionary of %d bytes, at most %d: %w", window, maxWindow, detect.ErrLimit)
	}
	h := binary.LittleEndian.AppendUint64(append(make([]byte, 0, 13), props...), uint64(size))
	return lzma.ReaderConfig{DictCap: int(max(window, lzma.MinDictCap))}.NewReader(io.MultiReader(bytes.NewReader(h), src))
}

// RawLZMA2 reads a raw LZMA2 stream, whose property is one byte.
func RawLZMA2(props []byte, src io.Reader) (io.Reader, error) {
	if len(props) != 1 || props[0] > 40 {
		return nil, fmt.Errorf("LZMA2 with properties % x", props)
	}
	window, err := lzma.DecodeDictCap(props[0])
	if err != nil {
		return nil, fmt.Errorf("LZMA2 dictionary: %w", err)
	}
	if window > maxWindow {
		return nil, fmt.Errorf("LZMA2 dictionary of %d bytes, at most %d: %w", window, maxWindow, detect.ErrLimit)
	}
	return lzma.Reader2Config{DictCap: int(max(window, lzma.MinDictCap))}.NewReader2(bufio.NewReader(src))
}
