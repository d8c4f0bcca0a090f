package expand

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"

	"github.com/modelwarden/warden/detect"
)

// The wrappers, as they appear in File.Format. ZFile is the container of old
// joblib versions: "ZF", a padded hexadecimal length, zlib data.
const (
	Gzip  = "gzip"
	Bzip2 = "bzip2"
	XZ    = "xz"
	LZMA  = "lzma"
	Zlib  = "zlib"
	Zstd  = "zstd"
	LZ4   = "lz4"
	ZFile = "joblib-zf"
)

// maxWindow bounds the dictionary of a decompressor: xz -9 uses 64 MiB.
const maxWindow = 64 << 20

// trial is how much must decompress before a short magic number is believed.
const trial = 64

// Sniff returns the wrapper that head begins with, or "". The two-byte headers
// of zlib and lzma are believed only if the data behind them decompresses.
func Sniff(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b, 8}):
		return Gzip
	case len(head) >= 10 && string(head[:3]) == "BZh" && head[3] >= '1' && head[3] <= '9' &&
		(string(head[4:10]) == "1AY&SY" || string(head[4:10]) == "\x17\x72\x45\x38\x50\x90"):
		return Bzip2
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return XZ
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return Zstd
	case bytes.HasPrefix(head, []byte{0x04, 0x22, 0x4d, 0x18}):
		return LZ4
	case len(head) >= zfHeader+2 && string(head[:4]) == "ZF0x":
		return ZFile
	case len(head) >= 2 && head[0]&0x0f == 8 && head[0]>>4 <= 7 && (int(head[0])<<8|int(head[1]))%31 == 0 && head[1]&0x20 == 0 && works(Zlib, head):
		return Zlib
	case len(head) >= 14 && head[0] == 0x5d && head[1] == 0 && head[2] == 0 && head[13] == 0 && works(LZMA, head):
		return LZMA
	}
	return ""
}

// works reports whether the beginning of a stream decompresses to something.
func works(kind string, head []byte) bool {
	r, err := NewReader(kind, bytes.NewReader(head))
	if err != nil {
		return false
	}
	n, err := io.ReadFull(r, make([]byte, trial))
	return n == trial || n > 0 && (errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF))
}

// NewReader returns the decompressed bytes of src. Concatenated streams are
// joined as the loaders do; bytes after the last stream that are neither a
// stream nor zero padding end the result with an error.
func NewReader(kind string, src io.Reader) (io.Reader, error) {
	br := bufio.NewReaderSize(src, chunk)
	switch kind {
	case Gzip:
		return gzip.NewReader(br)
	case Bzip2:
		return bzip2.NewReader(br), nil
	case XZ:
		return newXZ(br), nil
	case LZMA:
		return &ending{src: br, open: func() (io.Reader, error) {
			return lzma.ReaderConfig{DictCap: maxWindow}.NewReader(br)
		}}, nil
	case Zlib:
		return &ending{src: br, open: func() (io.Reader, error) { return zlib.NewReader(br) }}, nil
	case ZFile:
		if err := skipZF(br); err != nil {
			return nil, err
		}
		return &ending{src: br, open: func() (io.Reader, error) { return zlib.NewReader(br) }}, nil
	case Zstd:
		d, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case LZ4:
		return &ending{src: br, open: func() (io.Reader, error) { return lz4.NewReader(br), nil }}, nil
	default:
		return nil, fmt.Errorf("no decompressor for %q: %w", kind, detect.ErrLimit)
	}
}

// Watch returns r as a reader that ends with ctx, so that a decompressor that
// consumes without producing cannot run on.
func Watch(ctx context.Context, r io.Reader) io.Reader {
	return readFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// Deflate returns the inflated bytes of src, as in a zip member.
func Deflate(src io.Reader) io.Reader { return flate.NewReader(bufio.NewReaderSize(src, chunk)) }

// DeflateExact is Deflate for a source that is read to the end of the stream and
// not beyond, so that the caller can tell its length.
func DeflateExact(src interface {
	io.Reader
	io.ByteReader
},
) io.Reader {
	return flate.NewReader(src)
}

// ending joins concatenated streams and refuses other trailing bytes.
type ending struct {
	src   *bufio.Reader
	open  func() (io.Reader, error)
	cur   io.Reader
	begun bool
}

func (e *ending) Read(p []byte) (int, error) {
	for {
		if e.cur == nil {
			if e.begun {
				if err := skipZeros(e.src); err != nil {
					return 0, err
				}
			}
			r, err := e.open()
			if err != nil && e.begun {
				return 0, fmt.Errorf("bytes after the compressed stream: %w", err)
			}
			if err != nil {
				return 0, unexpected(err)
			}
			e.cur, e.begun = r, true
		}
		n, err := e.cur.Read(p)
		if errors.Is(err, io.EOF) {
			e.cur, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// skipZeros passes zero padding and returns io.EOF at the end.
func skipZeros(r *bufio.Reader) error {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			return r.UnreadByte()
		}
	}
}

// zfHeader is the length of the prefix of an old joblib file: "ZF" and the
// longest hexadecimal 65-bit number.
const zfHeader = 2 + len("0x10000000000000000")

// skipZF passes the header of an old joblib file. Versions up to 0.8.4 wrote
// one more space.
func skipZF(r *bufio.Reader) error {
	var head [zfHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("joblib ZF header: %w", err)
	}
	text := strings.TrimSpace(string(head[2:]))
	if _, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64); err != nil {
		return fmt.Errorf("joblib ZF header: length %q is not hexadecimal", text)
	}
	if b, err := r.Peek(1); err == nil && b[0] == ' ' {
		_, _ = r.Discard(1) // it was just peeked
	}
	return nil
}

// ZipLZMA returns the bytes of a zip member of method 14: two bytes version, two
// bytes length, the five property bytes, then a raw stream without length.
func ZipLZMA(src io.Reader) (io.Reader, error) {
	var h [9]byte
	if _, err := io.ReadFull(src, h[:]); err != nil {
		return nil, fmt.Errorf("zip lzma header: %w", unexpected(err))
	}
	if h[2] != 5 || h[3] != 0 {
		return nil, fmt.Errorf("zip lzma properties of %d bytes", int(h[2])|int(h[3])<<8)
	}
	head := append(h[4:9:9], "\xff\xff\xff\xff\xff\xff\xff\xff"...)
	return lzma.ReaderConfig{DictCap: maxWindow}.NewReader(bufio.NewReaderSize(io.MultiReader(bytes.NewReader(head), src), chunk))
}
