// Package sevenzip reads the directory of 7z archives. It decompresses nothing
// but the directory itself, which these archives usually keep compressed.
//
// Source: 7zFormat.txt of the LZMA SDK 24.09.
package sevenzip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/expand"
)

// Magic begins every archive.
const Magic = "7z\xbc\xaf\x27\x1c"

// Errors of an archive.
var (
	ErrFormat    = errors.New("not a 7z archive")
	ErrEncrypted = errors.New("encrypted")
)

// The methods that are read.
const (
	Copy    = "00"
	LZMA    = "030101"
	LZMA2   = "21"
	Deflate = "040108"
	Bzip2   = "040202"
	branch  = "03030103" // filter for x86 code
	delta   = "03"       // filter for samples of a fixed width
	aes     = "06f10701"
)

// A Folder is one compressed stream, which holds one or more files.
type Folder struct {
	Methods      []string // in hexadecimal; more than one is a chain of filters
	Props        [][]byte // of each method
	Binds        [][2]int64
	Start, Bytes int64 // of the packed bytes
	Size         int64 // unpacked
}

// An Entry is a file or a folder of names.
type Entry struct {
	Name   string
	Folder int   // index of its Folder, or -1 if it is empty
	Offset int64 // in the unpacked Folder
	Size   int64
	Dir    bool
	Link   bool
}

// An Archive is the directory of one file.
type Archive struct {
	Folders  []Folder
	Entries  []Entry
	Trailing int64 // bytes after the end
}

const (
	headerSize   = 32
	maxDirectory = 16 << 20 // bytes of a directory
	maxCoders    = 8
)

// The marks of the directory.
const (
	kEnd          = 0x00
	kHeader       = 0x01
	kProperties   = 0x02
	kMore         = 0x03
	kStreams      = 0x04
	kFiles        = 0x05
	kPack         = 0x06
	kUnpack       = 0x07
	kSub          = 0x08
	kSize         = 0x09
	kCRC          = 0x0a
	kFolder       = 0x0b
	kUnpackSize   = 0x0c
	kNumStreams   = 0x0d
	kEmptyStream  = 0x0e
	kEmptyFile    = 0x0f
	kNames        = 0x11
	kAttributes   = 0x15
	kEncoded      = 0x17
	unixExtension = 0x8000
)

// Open reads the directory. It is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, b *bound.Budget) (*Archive, error) {
	a := &Archive{}
	h := make([]byte, headerSize)
	if n, err := r.ReadAt(h, 0); n < headerSize {
		return a, fmt.Errorf("header: %w", errors.Join(err, ErrFormat))
	}
	if string(h[:6]) != Magic || crc32.ChecksumIEEE(h[12:]) != binary.LittleEndian.Uint32(h[8:]) {
		return a, fmt.Errorf("header with a wrong check: %w", ErrFormat)
	}
	off, n := binary.LittleEndian.Uint64(h[12:]), binary.LittleEndian.Uint64(h[20:])
	if off > uint64(size-headerSize) || n > uint64(size-headerSize)-off {
		return a, fmt.Errorf("directory of %d bytes at %d, the file has %d: %w", n, off, size, ErrFormat)
	}
	a.Trailing = size - headerSize - int64(off+n)
	if n == 0 {
		a.Trailing = size - headerSize
		return a, nil
	}
	dir, err := load(ctx, io.NewSectionReader(r, headerSize+int64(off), int64(n)), int64(n), b)
	for range 4 { // a compressed directory may be compressed again
		if err != nil || len(dir) == 0 || dir[0] != kEncoded {
			break
		}
		p := &parser{b: dir, i: 1, a: &Archive{}, size: size, lim: b.Limits()}
		p.streams()
		if p.err == nil && len(p.a.Folders) != 1 {
			p.fail("compressed directory of %d parts", len(p.a.Folders))
		}
		if p.err != nil {
			return a, p.err
		}
		var packed io.Reader
		f := p.a.Folders[0]
		if packed, err = f.Open(r); err == nil {
			dir, err = load(ctx, io.LimitReader(packed, f.Size), f.Bytes, b)
		}
	}
	if err != nil {
		return a, fmt.Errorf("directory: %w", err)
	}
	got, err := Parse(dir, size, b.Limits())
	got.Trailing = a.Trailing
	return got, err
}

// Parse reads a directory that is not compressed, of a file of size bytes.
func Parse(dir []byte, size int64, lim bound.Limits) (*Archive, error) {
	p := &parser{b: dir, a: &Archive{}, size: size, lim: lim}
	p.header()
	return p.a, p.err
}

// load reads a directory.
func load(ctx context.Context, r io.Reader, packed int64, b *bound.Budget) ([]byte, error) {
	held, err := expand.Hold(ctx, io.LimitReader(r, maxDirectory+1), packed, maxDirectory+1, b)
	defer held.Close() //nolint:staticcheck // Hold returns what it has read with an error too
	if err != nil {
		return nil, err
	}
	if held.Size > maxDirectory {
		return nil, fmt.Errorf("more than %d bytes: %w", maxDirectory, detect.ErrLimit)
	}
	dir := make([]byte, held.Size)
	_, err = held.ReadAt(dir, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return dir, err
}

// Open returns the unpacked bytes of the folder. It wraps [ErrEncrypted] or
// [detect.ErrLimit] if they cannot be had.
func (f Folder) Open(r io.ReaderAt) (io.Reader, error) {
	if slices.Contains(f.Methods, aes) {
		return nil, fmt.Errorf("AES: %w", ErrEncrypted)
	}
	if n := len(f.Methods); n == 2 {
		for filter, other := range []int{1, 0} {
			if !isFilter(f.Methods[filter]) || isFilter(f.Methods[other]) || f.Binds[0] != [2]int64{int64(filter), int64(other)} {
				continue
			}
			r, err := f.method(other, r)
			if err != nil {
				return nil, err
			}
			if r, ok := filtered(f.Methods[filter], f.Props[filter], r); ok {
				return r, nil
			}
		}
	}
	if len(f.Methods) != 1 {
		return nil, fmt.Errorf("chain of methods %v is not read: %w", f.Methods, detect.ErrLimit)
	}
	return f.method(0, r)
}

// method unpacks the packed bytes with one method.
func (f Folder) method(i int, r io.ReaderAt) (io.Reader, error) {
	src := io.NewSectionReader(r, f.Start, f.Bytes)
	switch f.Methods[i] {
	case Copy:
		return src, nil
	case LZMA:
		return expand.RawLZMA(f.Props[i], f.Size, src)
	case LZMA2:
		return expand.RawLZMA2(f.Props[i], src)
	case Deflate:
		return expand.Deflate(src), nil
	case Bzip2:
		return expand.NewReader(expand.Bzip2, src)
	default:
		return nil, fmt.Errorf("method %s is not read: %w", f.Methods[i], detect.ErrLimit)
	}
}
