package hdf5

import (
	"fmt"
	"strings"

	"github.com/modelwarden/warden/detect"
)

// attribute reads an attribute message and keeps its text.
func (r *reader) attribute(o object, c *cursor) error {
	version, flags := c.uint(1), c.uint(1)
	nameSize, typeSize, spaceSize := int(c.uint(2)), int(c.uint(2)), int(c.uint(2))
	pad := func(n int) int { return n }
	switch version {
	case 1:
		pad = func(n int) int { return (n + 7) &^ 7 }
		flags = 0 // reserved
	case 2:
	case 3:
		c.take(1)
	default:
		return fmt.Errorf("attribute version %d: %w", version, errDamaged)
	}
	name, _, _ := strings.Cut(string(c.take(pad(nameSize))), "\x00")
	typ := r.cursor(c.take(pad(typeSize)), c.at)
	space := r.cursor(c.take(pad(spaceSize)), c.at)
	if err := c.err(fmt.Sprintf("attribute %.80q", name)); err != nil {
		return err
	}
	if flags&3 != 0 {
		if flags&1 != 0 {
			var err error
			if typ, err = r.sharedType(typ); err != nil {
				return fmt.Errorf("attribute %.80q: %w", name, err)
			}
		}
		if flags&2 != 0 {
			return fmt.Errorf("attribute %.80q has a shared dataspace, which is not read: %w", name, detect.ErrLimit)
		}
	}
	class := typ.uint(1) & 15
	bits := typ.uint(3)
	size := int64(typ.uint(4))
	count, err := r.points(space)
	if err != nil {
		return fmt.Errorf("attribute %.80q: %w", name, err)
	}
	switch class {
	case 3: // fixed text
		if size <= 0 || count > int64(len(c.b))/size {
			return fmt.Errorf("attribute %.80q: %d texts of %d bytes, %d bytes are there: %w", name, count, size, len(c.b), errDamaged)
		}
		for range count {
			at := c.at
			if err := r.addAttr(o, name, string(c.take(int(size))), at); err != nil {
				return err
			}
		}
	case 9: // variable length, in a global heap
		one := int64(4 + r.o + 4)
		if count > int64(len(c.b))/one {
			return fmt.Errorf("attribute %.80q: %d references, %d bytes are there: %w", name, count, len(c.b), errDamaged)
		}
		if bits&15 != 1 && (typ.uint(1)&15) > 1 {
			return nil // sequences of numbers and of structures hold no text; bytes are kept
		}
		for range count {
			n, heap, index := int64(c.uint(4)), c.offset(), c.uint(4)
			if n == 0 || heap == undefined || heap == 0 {
				continue
			}
			b, at, err := r.globalObject(heap, index)
			if err != nil {
				return fmt.Errorf("attribute %.80q: %w", name, err)
			}
			if err := r.addAttr(o, name, string(b[:min(n, int64(len(b)))]), at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) addAttr(o object, name, value string, at int64) error {
	value = strings.TrimRight(value, "\x00")
	if err := r.keep(len(value) + len(name)); err != nil {
		return err
	}
	if len(r.f.Attrs) >= r.lim.Members {
		return fmt.Errorf("more than %d attributes: %w", r.lim.Members, detect.ErrLimit)
	}
	r.f.Attrs = append(r.f.Attrs, Attr{o.path, name, value, r.base + at})
	return nil
}

// sharedType reads a datatype that lies in the header of another object.
func (r *reader) sharedType(c *cursor) (*cursor, error) {
	version, kind := c.uint(1), c.uint(1)
	if version == 1 {
		c.take(6)
	}
	if version == 3 && kind == 1 {
		return nil, fmt.Errorf("datatype in a shared message heap is not read: %w", detect.ErrLimit)
	}
	addr := c.offset()
	if err := c.err("shared datatype"); err != nil {
		return nil, err
	}
	b, err := r.bytes(addr, min(256, max(0, r.size-r.base-addr)))
	if err != nil {
		return nil, err
	}
	h := r.cursor(b, addr)
	second := len(b) >= 4 && string(b[:4]) == "OHDR"
	if second {
		h.take(5)
		flags := h.uint(1)
		if flags&0x20 != 0 {
			h.take(16)
		}
		if flags&0x10 != 0 {
			h.take(4)
		}
		h.take(1 << (flags & 3))
		typ, size := h.uint(1), h.uint(2)
		if h.take(1); flags&4 != 0 {
			h.take(2)
		}
		if typ == 3 && !h.bad {
			return r.cursor(h.take(min(int(size), len(h.b))), addr), nil
		}
	} else {
		h.take(16)
		typ, size := h.uint(2), h.uint(2)
		h.take(4)
		if typ == 3 && !h.bad {
			return r.cursor(h.take(min(int(size), len(h.b))), addr), nil
		}
	}
	return nil, fmt.Errorf("no committed datatype at %d: %w", addr, detect.ErrLimit)
}

// points returns the number of elements of a dataspace.
func (r *reader) points(c *cursor) (int64, error) {
	version, rank, flags := c.uint(1), int(c.uint(1)), c.uint(1)
	switch version {
	case 1:
		c.take(5)
	case 2:
		if c.uint(1) == 2 {
			return 0, nil // null space
		}
	default:
		return 0, fmt.Errorf("dataspace version %d: %w", version, errDamaged)
	}
	_ = flags // maximum sizes behind the sizes do not matter
	n := int64(1)
	for range rank {
		d := c.length()
		if d < 0 || d > 0 && n > (1<<40)/d {
			return 0, fmt.Errorf("dataspace is too large: %w", errDamaged)
		}
		n *= d
	}
	return n, c.err("dataspace")
}

// globalObject returns one object of a global heap and its address.
func (r *reader) globalObject(heap int64, index uint64) ([]byte, int64, error) {
	b, err := r.bytes(heap, int64(8+r.l))
	if err != nil {
		return nil, 0, err
	}
	c := r.cursor(b, heap)
	if string(c.take(4)) != "GCOL" {
		return nil, 0, fmt.Errorf("no global heap at %d: %w", heap, errDamaged)
	}
	c.take(4)
	size := c.length()
	if size < 0 || size > r.size-r.base-heap {
		return nil, 0, fmt.Errorf("global heap of %d bytes at %d: %w", size, heap, errDamaged)
	}
	for at := heap + int64(8+r.l); at+int64(8+r.l) <= heap+size; {
		h, err := r.bytes(at, int64(8+r.l))
		if err != nil {
			return nil, 0, err
		}
		c := r.cursor(h, at)
		i := c.uint(2)
		c.take(6)
		n := c.length()
		if i == index && i != 0 {
			b, err := r.bytes(c.at, n)
			return b, c.at, err
		}
		if i == 0 || n < 0 || n > r.size {
			break
		}
		at = c.at + (n+7)&^7
	}
	return nil, 0, fmt.Errorf("no object %d in the global heap at %d: %w", index, heap, errDamaged)
}
