// Package hdf5 reads the structure of HDF5 files: object headers, text
// attributes, links and references to other files. The contents of datasets are
// not read. Every address is compared with the file, every object is visited
// once, and no count is believed.
//
// Source: the HDF5 File Format Specification, version 3.0.
package hdf5

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// Signature begins a file, at offset 0, 512, 1024, 2048 and so on.
const Signature = "\x89HDF\r\n\x1a\n"

// An Attr is a text attribute of an object.
type Attr struct {
	Object string // path of the object, "/" for the root
	Name   string
	Value  string
	At     int64 // of the text in the file
}

// A LinkKind is the sort of a [Link].
type LinkKind string

// The kinds of link.
const (
	Soft     LinkKind = "soft"     // a path in the same file
	External LinkKind = "external" // an object of another file
	Raw      LinkKind = "raw"      // the data of a dataset lies in another file
	Virtual  LinkKind = "virtual"  // a dataset made of parts of other files
	Defined  LinkKind = "defined"  // a link of a type that a plug-in defines
)

// A Link is a reference that a loader follows.
type Link struct {
	Path   string
	Kind   LinkKind
	File   string
	Target string
	At     int64
}

// A File is the structure of one file.
type File struct {
	Superblock int // version
	Objects    int
	Attrs      []Attr
	Links      []Link
}

// Find returns where the signature lies, or -1.
func Find(r io.ReaderAt, size int64) int64 {
	var b [8]byte
	for off := int64(0); off+8 <= size && off < 1<<30; off = max(512, 2*off) {
		if n, _ := r.ReadAt(b[:], off); n == 8 && string(b[:]) == Signature {
			return off
		}
	}
	return -1
}

// undefined is the address that names nothing.
const undefined = int64(-1)

// errDamaged says that a structure is not what its address promises.
var errDamaged = errors.New("damaged")

type reader struct {
	ctx     func() error
	r       io.ReaderAt
	size    int64
	base    int64
	lim     bound.Limits
	f       *File
	o, l    int // bytes of offsets and of lengths
	visited map[int64]bool
	kept    int64
	queue   []object
	unread  []detect.Status
	steps   int
}

type object struct {
	path string
	addr int64
}

// Open reads the structure. The file is valid as far as it goes, whatever the
// statuses say.
func Open(ctx context.Context, src io.ReaderAt, size int64, lim bound.Limits) (*File, []detect.Status) {
	r := &reader{ctx: ctx.Err, r: src, size: size, lim: lim, f: &File{}, visited: map[int64]bool{}}
	root, err := r.superblock(Find(src, size))
	if err != nil {
		r.fail(err)
		return r.f, r.unread
	}
	r.queue = append(r.queue, object{"/", root})
	for len(r.queue) > 0 {
		o := r.queue[len(r.queue)-1]
		r.queue = r.queue[:len(r.queue)-1]
		if r.visited[o.addr] {
			continue
		}
		if err := r.step(); err != nil {
			r.fail(err)
			break
		}
		if len(r.visited) >= lim.Members {
			r.fail(fmt.Errorf("more than %d objects: %w", lim.Members, detect.ErrLimit))
			break
		}
		r.visited[o.addr] = true
		r.f.Objects++
		if err := r.header(o); err != nil {
			r.fail(fmt.Errorf("object %.80s at %d: %w", o.path, o.addr, err))
		}
	}
	return r.f, r.unread
}

func (r *reader) fail(err error) {
	if len(r.unread) < 100 {
		r.unread = append(r.unread, detect.Status{Detector: "read/hdf5", State: detect.StateOf(err), Err: err})
	}
}

func (r *reader) step() error {
	if r.steps++; r.steps > 10*r.lim.Members {
		return fmt.Errorf("more than %d structures: %w", r.steps, detect.ErrLimit)
	}
	return r.ctx()
}

// bytes reads n bytes at addr; a structure never has more than maxPart.
func (r *reader) bytes(addr, n int64) ([]byte, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	if addr < 0 || n < 0 || addr > r.size-r.base || n > r.size-r.base-addr {
		return nil, fmt.Errorf("%d bytes at %d lie outside the file: %w", n, addr, errDamaged)
	}
	if n > r.lim.Text {
		return nil, fmt.Errorf("a part of %d bytes at %d, at most %d: %w", n, addr, r.lim.Text, detect.ErrLimit)
	}
	b := make([]byte, n)
	if k, err := r.r.ReadAt(b, r.base+addr); int64(k) < n {
		return nil, fmt.Errorf("read at %d: %w", r.base+addr+int64(k), err)
	}
	return b, nil
}

// cursor takes fields from a structure. After a field that is not there, bad is
// set and everything is zero.
type cursor struct {
	b    []byte
	o, l int
	at   int64 // address of b[0]
	bad  bool
}

func (r *reader) cursor(b []byte, at int64) *cursor { return &cursor{b: b, o: r.o, l: r.l, at: at} }

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad, c.b = true, nil
		return make([]byte, min(max(n, 0), 64))
	}
	p := c.b[:n]
	c.b = c.b[n:]
	c.at += int64(n)
	return p
}

func (c *cursor) uint(n int) uint64 {
	var v [8]byte
	copy(v[:], c.take(min(n, 8)))
	return binary.LittleEndian.Uint64(v[:])
}

// offset reads an address.
func (c *cursor) offset() int64 {
	v := c.uint(c.o)
	if v == 1<<(8*c.o)-1 || c.o == 8 && v == 1<<64-1 || v > 1<<62 {
		return undefined
	}
	return int64(v)
}

// length reads a length; one that no file can have is -1, which fits nowhere.
func (c *cursor) length() int64 {
	if v := c.uint(c.l); v <= 1<<62 {
		return int64(v)
	}
	return -1
}

// text reads up to a NUL byte.
func (c *cursor) text() string {
	for i, b := range c.b {
		if b == 0 {
			return string(c.take(i + 1)[:i])
		}
	}
	c.bad = true
	return ""
}

func (c *cursor) err(what string) error {
	if c.bad {
		return fmt.Errorf("%s is cut off: %w", what, errDamaged)
	}
	return nil
}

// superblock returns the address of the root object.
func (r *reader) superblock(at int64) (root int64, err error) {
	if at < 0 {
		return 0, fmt.Errorf("no signature: %w", errDamaged)
	}
	r.base = at
	b, err := r.bytes(0, min(112, r.size-at))
	if err != nil {
		return 0, err
	}
	c := r.cursor(b[8:], 8)
	r.f.Superblock = int(c.uint(1))
	switch v := r.f.Superblock; v {
	case 0, 1:
		c.take(4)
		r.o, r.l = int(c.uint(1)), int(c.uint(1))
		c.take(1 + 4 + 4)
		if v == 1 {
			c.take(4)
		}
		c.o, c.l = r.o, r.l
		if !r.widths() {
			return 0, fmt.Errorf("offsets of %d and lengths of %d bytes: %w", r.o, r.l, errDamaged)
		}
		c.take(4*r.o + r.o)
	case 2, 3:
		r.o, r.l = int(c.uint(1)), int(c.uint(1))
		c.take(1)
		c.o, c.l = r.o, r.l
		if !r.widths() {
			return 0, fmt.Errorf("offsets of %d and lengths of %d bytes: %w", r.o, r.l, errDamaged)
		}
		c.take(3 * r.o)
	default:
		return 0, fmt.Errorf("superblock version %d is not read: %w", v, detect.ErrLimit)
	}
	root = c.offset()
	return root, c.err("superblock")
}

func (r *reader) widths() bool {
	ok := func(n int) bool { return n == 2 || n == 4 || n == 8 }
	return ok(r.o) && ok(r.l)
}

// keep counts the bytes of texts that are kept.
func (r *reader) keep(n int) error {
	if r.kept += int64(n); r.kept > r.lim.Text {
		return fmt.Errorf("attributes of more than %d bytes: %w", r.lim.Text, detect.ErrLimit)
	}
	return nil
}
