// Package tarfile walks tar archives: old, ustar, GNU and PAX headers, long
// names, base-256 sizes, and archives one after another. It extracts nothing;
// links and devices are facts for the checks.
//
// Sources: POSIX.1-2017 pax, "ustar Interchange Format"; the GNU tar manual,
// "Basic Tar Format"; the observable rules of CPython's tarfile.
package tarfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// The kinds of entry.
const (
	Regular  = '0'
	HardLink = '1'
	SymLink  = '2'
	CharDev  = '3'
	BlockDev = '4'
	Folder   = '5'
	FIFO     = '6'
)

const (
	blockBytes = 512
	paxLocal   = 'x'
	paxGlobal  = 'g'
	gnuName    = 'L'
	gnuLink    = 'K'
	gnuSparse  = 'S'
	maxMeta    = 1 << 20 // bytes of one PAX or long-name record
)

// An Entry is one member.
type Entry struct {
	Name   string
	Link   string // target of a link
	Type   byte   // one of the constants; Regular for all sorts of contents
	Header int64
	Data   int64
	Size   int64
	Sparse bool // its data is a map and pieces, which a loader rearranges
}

// An Archive is the structure of one tar file.
type Archive struct {
	Entries     []Entry
	Differences []string // places where readers see different members
}

// Sniff reports whether head begins with a tar header: the ustar mark, or a
// correct checksum in an old header.
func Sniff(head []byte) bool {
	return len(head) >= blockBytes && head[0] != 0 && sumOK(head[:blockBytes])
}

func sumOK(h []byte) bool {
	want, err := octal(h[148:156])
	if err != nil {
		return false
	}
	var u, s int64
	for i, b := range h {
		if i >= 148 && i < 156 {
			b = ' '
		}
		u += int64(b)
		s += int64(int8(b))
	}
	return want == u || want == s
}

// Open walks the size bytes of r. The archive is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*Archive, []detect.Status) {
	w := &walker{r: r, size: size, lim: lim, a: &Archive{}}
	if err := w.walk(ctx); err != nil {
		return w.a, []detect.Status{{Detector: "read/tar", State: detect.StateOf(err), Err: err}}
	}
	return w.a, nil
}

type walker struct {
	r          io.ReaderAt
	size       int64
	lim        bound.Limits
	a          *Archive
	name, link string            // from a GNU record, for the next entry
	pax        map[string]string // from a PAX record, for the next entry
	zeros      int
}

func (w *walker) walk(ctx context.Context) error {
	var h [blockBytes]byte
	off := int64(0)
	for off+blockBytes <= w.size {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("header at %d: %w", off, err)
		}
		if _, err := w.r.ReadAt(h[:], off); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("header at %d: %w", off, err)
		}
		if h == [blockBytes]byte{} {
			w.zeros++
			off += blockBytes
			if w.zeros > maxZeros {
				return fmt.Errorf("more than %d empty blocks before %d: %w", maxZeros, off, detect.ErrLimit)
			}
			continue
		}
		if !sumOK(h[:]) {
			return fmt.Errorf("header at %d: wrong checksum, the rest of %d bytes was not read", off, w.size-off)
		}
		if w.zeros > 0 && len(w.a.Entries) > 0 {
			w.a.Differences = append(w.a.Differences, fmt.Sprintf("another archive follows the end mark at %d: only readers that ignore zeros see it", off))
		}
		w.zeros = 0
		next, err := w.entry(h[:], off)
		if err != nil {
			return err
		}
		if len(w.a.Entries) > w.lim.Members {
			return fmt.Errorf("more than %d members: %w", w.lim.Members, detect.ErrLimit)
		}
		off = next
	}
	if off < w.size {
		h = [blockBytes]byte{}
		if _, err := w.r.ReadAt(h[:w.size-off], off); err != nil && !errors.Is(err, io.EOF) || h != [blockBytes]byte{} {
			return fmt.Errorf("the last %d bytes at %d are not a header: %w", w.size-off, off, io.ErrUnexpectedEOF)
		}
	}
	return nil
}

// maxZeros bounds the padding after an archive: 128 MiB of it.
const maxZeros = 1 << 18

func (w *walker) entry(h []byte, off int64) (next int64, err error) {
	size, err := number(h[124:136])
	if err != nil || size < 0 {
		return 0, fmt.Errorf("header at %d: size %q is not a number", off, h[124:136])
	}
	e := Entry{Name: text(h[:100]), Link: text(h[157:257]), Type: h[156], Header: off, Data: off + blockBytes, Size: size}
	if string(h[257:262]) == "ustar" && h[263] != ' ' {
		if prefix := text(h[345:500]); prefix != "" {
			e.Name = prefix + "/" + e.Name
		}
	}
	switch e.Type {
	case paxLocal, paxGlobal, gnuName, gnuLink:
		return w.meta(e)
	}
	if w.name != "" {
		e.Name = w.name
	}
	if w.link != "" {
		e.Link = w.link
	}
	if s, ok := w.pax["path"]; ok {
		if w.name != "" && w.name != s {
			w.differ("the GNU record at %d says %q, the PAX record says %q", off, w.name, s)
		}
		e.Name = s
	}
	if s, ok := w.pax["linkpath"]; ok {
		e.Link = s
	}
	if s, ok := w.pax["size"]; ok {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("member %q at %d: PAX size %q is not a number", e.Name, off, s)
		}
		if size != 0 && n != size {
			w.differ("member %q at %d has %d bytes in its header and %d in its PAX record", e.Name, off, size, n)
		}
		e.Size = n
	}
	_, e.Sparse = w.pax["GNU.sparse.major"]
	w.name, w.link, w.pax = "", "", nil
	switch e.Type {
	case HardLink, SymLink, CharDev, BlockDev, Folder, FIFO:
		e.Size = 0 // as tar readers do, whatever the header says
		if size != 0 && e.Type != HardLink {
			w.differ("member %q at %d has no contents and declares %d bytes", e.Name, off, size)
		}
	case gnuSparse:
		e.Sparse, e.Type = true, Regular
	default: // 0, NUL, 7 and unknown types are files
		e.Type = Regular
		if strings.HasSuffix(e.Name, "/") && e.Size == 0 {
			e.Type = Folder
		}
	}
	if e.Size > w.size-e.Data {
		short := Entry{Name: e.Name, Type: e.Type, Header: off, Data: e.Data, Size: w.size - e.Data}
		w.a.Entries = append(w.a.Entries, short)
		return 0, fmt.Errorf("member %q at %d: %d bytes declared, %d remain", e.Name, off, e.Size, short.Size)
	}
	w.a.Entries = append(w.a.Entries, e)
	return e.Data + pad(e.Size), nil
}

func (w *walker) differ(format string, args ...any) {
	if len(w.a.Differences) < 1000 {
		w.a.Differences = append(w.a.Differences, fmt.Sprintf(format, args...))
	}
}

// meta reads a record about the next entry.
func (w *walker) meta(e Entry) (next int64, err error) {
	if e.Size > maxMeta {
		return 0, fmt.Errorf("record at %d has %d bytes, at most %d: %w", e.Header, e.Size, maxMeta, detect.ErrLimit)
	}
	if e.Size > w.size-e.Data {
		return 0, fmt.Errorf("record at %d: %d bytes declared, %d remain", e.Header, e.Size, w.size-e.Data)
	}
	b := make([]byte, e.Size)
	if n, err := w.r.ReadAt(b, e.Data); n < len(b) {
		return 0, fmt.Errorf("record at %d: %w", e.Data, err)
	}
	switch e.Type {
	case gnuName:
		w.name = text(b)
	case gnuLink:
		w.link = text(b)
	case paxGlobal:
		if err := w.records(b); err != nil {
			return 0, fmt.Errorf("PAX record at %d: %w", e.Header, err)
		}
		for _, key := range []string{"path", "linkpath", "size"} {
			if _, ok := w.pax[key]; ok {
				w.differ("a global PAX record at %d sets the %s of later members; not all readers follow it", e.Header, key)
			}
		}
	default:
		if err := w.records(b); err != nil {
			return 0, fmt.Errorf("PAX record at %d: %w", e.Header, err)
		}
	}
	return e.Data + pad(e.Size), nil
}

// records reads "length key=value\n" lines.
func (w *walker) records(b []byte) error {
	if w.pax == nil {
		w.pax = map[string]string{}
	}
	for len(b) > 0 {
		i := bytes.IndexByte(b, ' ')
		if i <= 0 {
			if len(bytes.Trim(b, "\x00")) == 0 {
				return nil
			}
			return errors.New("no length")
		}
		n, err := strconv.Atoi(string(b[:i]))
		if err != nil || n <= i+1 || n > len(b) {
			return fmt.Errorf("length %q does not fit", b[:i])
		}
		key, value, ok := strings.Cut(strings.TrimSuffix(string(b[i+1:n]), "\n"), "=")
		if !ok {
			return errors.New("no =")
		}
		w.pax[key] = value
		b = b[n:]
	}
	return nil
}

func pad(n int64) int64 { return (n + blockBytes - 1) / blockBytes * blockBytes }

func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func octal(b []byte) (int64, error) {
	s := strings.Trim(string(b), " \x00")
	if i := strings.IndexByte(s, 0); i >= 0 {
		s = s[:i]
	}
	if s == "" {
		return 0, nil
	}
	return strconv.ParseInt(strings.TrimSpace(s), 8, 64)
}

// number reads an octal number, or base 256 where the first bit is set.
func number(b []byte) (int64, error) {
	if b[0]&0x80 == 0 {
		return octal(b)
	}
	if b[0]&0x40 != 0 {
		return 0, errors.New("negative")
	}
	v := int64(b[0] & 0x3f)
	for _, c := range b[1:] {
		if v >= 1<<55 {
			return 0, errors.New("number too large")
		}
		v = v<<8 | int64(c)
	}
	return v, nil
}
