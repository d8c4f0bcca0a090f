// Package zipfile reads zip archives as leniently as the loaders of model files
// do, all of them at once. It keeps the physical entries, found by walking from
// one local header to the next, beside the entries of every directory, and says
// where the views of two loaders differ: that is where payloads hide.
//
// Sources: APPNOTE.TXT 6.3.10; the observable rules of CPython's zipfile and of
// miniz 3 as used by PyTorch.
package zipfile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// Compression methods that are read.
const (
	Stored    = 0
	Deflated  = 8
	Deflate64 = 9
	Bzip2     = 12
	LZMA      = 14
	Zstd      = 93
	XZ        = 95
	AES       = 99
)

// Flag bits that make CPython refuse a member and that miniz in torch ignores.
const (
	FlagEncrypted  = 0x1
	flagDescriptor = 0x8
	FlagPatched    = 0x20
	FlagStrong     = 0x40
)

// A View is one way to find the entries of an archive.
type View string

// The views.
const (
	Python   View = "python-zipfile" // last end record, prefix allowed
	Torch    View = "torch"          // last end record, offsets from byte 0
	Earlier  View = "earlier-end"    // an end record that is not the last
	Physical View = "physical"       // local headers in sequence
)

// An Entry is one member as one view sees it.
type Entry struct {
	Name   string // as stored; bytes of any encoding
	View   View
	Method uint16
	Flags  uint16
	CRC    uint32
	Packed int64 // bytes of Data in the archive
	Size   int64 // declared bytes after decompression; -1 if the header leaves it open
	Header int64 // offset of the local header
	Data   int64 // offset of the data; -1 if there is no local header
	Mode   uint32
}

// Dir reports whether e is a folder.
func (e Entry) Dir() bool { return e.Name != "" && e.Name[len(e.Name)-1] == '/' && e.Size <= 0 }

// Link reports whether e is a symbolic link, by the mode that Unix tools store.
func (e Entry) Link() bool { return e.Mode>>16&0o170000 == 0o120000 }

// A Difference is a place where two loaders see different members or bytes.
type Difference struct {
	Name   string
	Offset int64 // in the archive
	What   string
}

// An Archive is the structure of one zip file.
type Archive struct {
	Entries     []Entry // distinct data of all views: each is to be examined
	Directory   []Entry // what the Python view lists, in order
	Differences []Difference
	Prefixed    bool  // it does not begin with a local header
	Trailing    int64 // bytes after the end record and its comment
}

const (
	sigLocal     = 0x04034b50
	sigCentral   = 0x02014b50
	sigEnd       = 0x06054b50
	sigEnd64     = 0x06064b50
	sigLocator   = 0x07064b50
	sigSpan      = 0x08074b50
	localBytes   = 30
	centralBytes = 46
	endBytes     = 22
	locatorBytes = 20
	end64Bytes   = 56
	tailBytes    = 1<<16 + endBytes
	maxDiffs     = 1000 // more say nothing new
)

// Sniff reports whether a loader would take the file for a zip archive: it
// begins with a local header, or an end record lies in the last 64 KiB.
func Sniff(head, tail []byte) bool {
	return len(head) >= 4 && le32(head) == sigLocal || lastEnd(tail) >= 0
}

// Open reads the directories and local headers of the size bytes of r. The
// archive is valid as far as it goes, whatever the statuses say.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*Archive, []detect.Status) {
	z := &reader{r: r, size: size, lim: lim, a: &Archive{}, seen: map[region]int{}}
	z.read(ctx)
	return z.a, z.unread
}

// region tells data apart: the same bytes under two names are examined once.
type region struct {
	data, packed int64
	method       uint16
}

type reader struct {
	r      io.ReaderAt
	size   int64
	lim    bound.Limits
	a      *Archive
	unread []detect.Status
	seen   map[region]int
	full   bool  // the limit of members was reached
	dirAt  int64 // where the first directory begins; 0 if there is none
}

func (z *reader) fail(err error) {
	if len(z.unread) < 100 {
		z.unread = append(z.unread, detect.Status{Detector: "read/zip", State: detect.StateOf(err), Err: err})
	}
}

func (z *reader) differ(name string, off int64, format string, args ...any) {
	if len(z.a.Differences) < maxDiffs {
		z.a.Differences = append(z.a.Differences, Difference{name, off, fmt.Sprintf(format, args...)})
	}
}

// add records e for examination if its data is new.
func (z *reader) add(e Entry) {
	k := region{e.Data, e.Packed, e.Method}
	if _, ok := z.seen[k]; ok || z.full {
		return
	}
	if len(z.a.Entries) >= z.lim.Members {
		z.full = true
		z.fail(fmt.Errorf("more than %d members: %w", z.lim.Members, detect.ErrLimit))
		return
	}
	z.seen[k] = len(z.a.Entries)
	z.a.Entries = append(z.a.Entries, e)
}

func (z *reader) read(ctx context.Context) {
	tailAt := max(0, z.size-tailBytes)
	tail := make([]byte, z.size-tailAt)
	if n, err := z.r.ReadAt(tail, tailAt); n < len(tail) {
		z.fail(fmt.Errorf("read at %d: %w", tailAt+int64(n), err))
		tail = tail[:n]
	}
	head := make([]byte, min(4, z.size))
	if n, err := z.r.ReadAt(head, 0); n < len(head) {
		z.fail(fmt.Errorf("read at 0: %w", err))
		return
	}
	z.a.Prefixed = len(head) < 4 || le32(head) != sigLocal

	var python, torch []Entry
	end := lastEnd(tail)
	if end < 0 {
		z.fail(errors.New("no end record: the directory is missing or cut off"))
	} else {
		at := tailAt + int64(end)
		rec := tail[end:]
		z.a.Trailing = max(0, int64(len(rec))-endBytes-int64(le16(rec[20:])))
		dp, errP := z.locate(rec, at, Python)
		dt, errT := z.locate(rec, at, Torch)
		if errP != nil {
			z.fail(errP)
		} else {
			python = z.directory(ctx, dp, Python)
		}
		switch {
		case errT == nil && errP == nil && dt == dp:
			torch = python
		case errT == nil && !z.a.Prefixed:
			torch = z.directory(ctx, dt, Torch)
		}
		if !z.a.Prefixed && (errP == nil) == (errT == nil) {
			z.compare(python, torch)
		} else if !z.a.Prefixed {
			z.differ("", at, "one loader finds the directory, the other does not")
		}
	}
	z.a.Directory = python
	z.checkNames(python)
	for _, list := range [][]Entry{python, torch} {
		for _, e := range list {
			z.add(e)
		}
	}
	z.earlier(ctx, tail, tailAt, end)
	if !z.a.Prefixed {
		z.walk(ctx, python, torch)
	}
}

// lastEnd returns where the last end record begins in tail, or -1.
func lastEnd(tail []byte) int {
	for i := len(tail) - endBytes; i >= 0; i-- {
		if tail[i] == 'P' && le32(tail[i:]) == sigEnd {
			return i
		}
	}
	return -1
}

// place is where a directory lies.
type place struct {
	off, size, shift int64
	count            uint64
}

// locate finds the directory that the end record rec at offset at names. Python
// lets the directory end where the end record begins and shifts all offsets by
// what is missing; miniz takes them as they are. Both follow a zip64 record,
// but Python looks for it just before its locator, miniz where that points.
func (z *reader) locate(rec []byte, at int64, view View) (place, error) {
	p := place{count: uint64(le16(rec[10:])), size: int64(le32(rec[12:])), off: int64(le32(rec[16:]))}
	dirEnd := at
	if at >= locatorBytes {
		var loc [locatorBytes]byte
		if _, err := z.r.ReadAt(loc[:], at-locatorBytes); err != nil {
			return p, fmt.Errorf("zip64 locator at %d: %w", at-locatorBytes, err)
		}
		if le32(loc[:]) == sigLocator {
			where := int64(le64(loc[8:]))
			if view == Python {
				where = at - locatorBytes - end64Bytes
			}
			var e64 [end64Bytes]byte
			if where >= 0 && where <= z.size-end64Bytes {
				if _, err := z.r.ReadAt(e64[:], where); err != nil {
					return p, fmt.Errorf("zip64 end record at %d: %w", where, err)
				}
			}
			if le32(e64[:]) == sigEnd64 {
				p.count, p.size, p.off = le64(e64[32:]), int64(le64(e64[40:])), int64(le64(e64[48:]))
				dirEnd = where
			} else if p.off == 0xffffffff || p.size == 0xffffffff {
				return p, fmt.Errorf("zip64 end record is missing at %d", where)
			}
		}
	}
	if p.size < 0 || p.off < 0 || p.size > dirEnd || p.off > z.size-p.size {
		return p, fmt.Errorf("directory of %d bytes at %d lies outside the %d bytes of the archive", p.size, p.off, z.size)
	}
	if view == Python {
		p.shift = dirEnd - p.size - p.off
		p.off += p.shift
	}
	return p, nil
}

// directory reads the entries of one directory. The declared count is not
// trusted; entries end with the declared size.
func (z *reader) directory(ctx context.Context, p place, view View) (list []Entry) {
	if p.size > z.lim.Header {
		z.fail(fmt.Errorf("directory of %d bytes, at most %d: %w", p.size, z.lim.Header, detect.ErrLimit))
		return nil
	}
	if z.dirAt == 0 || p.off < z.dirAt {
		z.dirAt = p.off
	}
	src := bufio.NewReaderSize(io.NewSectionReader(z.r, p.off, p.size), 64<<10)
	var b [centralBytes]byte
	for at := int64(0); at < p.size; {
		if len(list)%1024 == 0 && ctx.Err() != nil {
			z.fail(fmt.Errorf("directory entry %d: %w", len(list), ctx.Err()))
			return list
		}
		if _, err := io.ReadFull(src, b[:]); err != nil || le32(b[:]) != sigCentral {
			z.fail(fmt.Errorf("directory entry %d at %d is damaged", len(list), p.off+at))
			return list
		}
		n, x, c := int(le16(b[28:])), int(le16(b[30:])), int(le16(b[32:]))
		rest := make([]byte, n+x+c) // at most 192 KiB
		if _, err := io.ReadFull(src, rest); err != nil {
			z.fail(fmt.Errorf("directory entry %d at %d is cut off", len(list), p.off+at))
			return list
		}
		e := Entry{
			Name: string(rest[:n]), View: view,
			Flags: le16(b[8:]), Method: le16(b[10:]), CRC: le32(b[16:]),
			Packed: int64(le32(b[20:])), Size: int64(le32(b[24:])), Header: int64(le32(b[42:])), Mode: le32(b[38:]),
		}
		zip64(rest[n:n+x], &e.Size, &e.Packed, &e.Header)
		e.Header += p.shift
		if len(list) >= z.lim.Members {
			z.fail(fmt.Errorf("more than %d members: %w", z.lim.Members, detect.ErrLimit))
			return list
		}
		z.attach(&e)
		list = append(list, e)
		at += int64(centralBytes + n + x + c)
	}
	if p.count != uint64(len(list)) && p.count&0xffff != uint64(len(list))&0xffff {
		z.differ("", p.off, "the end record declares %d members, the directory holds %d", p.count, len(list))
	}
	return list
}

// zip64 replaces the values that a header leaves to its extra field.
func zip64(extra []byte, values ...*int64) {
	for len(extra) >= 4 {
		id, n := le16(extra), int(le16(extra[2:]))
		if n > len(extra)-4 {
			return
		}
		if id == 1 {
			field := extra[4 : 4+n]
			for _, v := range values {
				if *v == 0xffffffff && len(field) >= 8 {
					*v, field = int64(le64(field)), field[8:]
				}
			}
			return
		}
		extra = extra[4+n:]
	}
}

func le16(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }
func le32(b []byte) uint32 { return uint32(le16(b)) | uint32(le16(b[2:]))<<16 }
func le64(b []byte) uint64 { return uint64(le32(b)) | uint64(le32(b[4:]))<<32 }
