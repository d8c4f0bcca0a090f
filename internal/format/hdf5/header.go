package hdf5

import (
	"fmt"
	"strings"

	"github.com/modelwarden/warden/detect"
)

// The header messages that matter.
const (
	msgLinkInfo     = 0x02
	msgLink         = 0x06
	msgExternal     = 0x07
	msgLayout       = 0x08
	msgAttribute    = 0x0c
	msgContinuation = 0x10
	msgSymbols      = 0x11
	msgAttrInfo     = 0x15
)

const maxBlocks = 10_000 // continuation blocks of one header

type chunk struct{ addr, size int64 }

// header reads the messages of one object in all its blocks.
func (r *reader) header(o object) error {
	b, err := r.bytes(o.addr, min(64, r.size-r.base-o.addr))
	if err != nil {
		return err
	}
	c := r.cursor(b, o.addr)
	var blocks []chunk
	second, order := len(b) >= 4 && string(b[:4]) == "OHDR", false
	if second {
		c.take(4)
		version, flags := c.uint(1), c.uint(1)
		if version != 2 {
			return fmt.Errorf("header version %d: %w", version, errDamaged)
		}
		if flags&0x20 != 0 {
			c.take(16)
		}
		if flags&0x10 != 0 {
			c.take(4)
		}
		order = flags&4 != 0
		size := int64(c.uint(1 << (flags & 3)))
		blocks = append(blocks, chunk{c.at, size})
	} else {
		version := c.uint(1)
		if version != 1 {
			return fmt.Errorf("no object header: %w", errDamaged)
		}
		c.take(1 + 2 + 4)
		size := int64(c.uint(4))
		blocks = append(blocks, chunk{o.addr + 16, size})
	}
	if err := c.err("object header"); err != nil {
		return err
	}
	seen := map[int64]bool{}
	for i := 0; i < len(blocks); i++ {
		if i > maxBlocks || seen[blocks[i].addr] {
			return fmt.Errorf("continuation block at %d comes again: %w", blocks[i].addr, errDamaged)
		}
		seen[blocks[i].addr] = true
		more, err := r.block(o, blocks[i], second, order)
		blocks = append(blocks, more...)
		if err != nil {
			return err
		}
	}
	return nil
}

// block reads the messages of one block and returns where more are.
func (r *reader) block(o object, k chunk, second, order bool) (more []chunk, err error) {
	if second && k.size > r.size-r.base-k.addr-4 {
		return nil, fmt.Errorf("block of %d bytes at %d lies outside the file: %w", k.size, k.addr, errDamaged)
	}
	b, err := r.bytes(k.addr, k.size)
	if err != nil {
		return nil, err
	}
	c := r.cursor(b, k.addr)
	head := 8
	if second {
		if head = 4; order {
			head = 6
		}
	}
	for len(c.b) >= head {
		var typ, size, flags uint64
		if second {
			typ, size, flags = c.uint(1), c.uint(2), c.uint(1)
			if order {
				c.take(2)
			}
		} else {
			typ, size, flags = c.uint(2), c.uint(2), c.uint(1)
			c.take(3)
		}
		if int(size) > len(c.b) {
			return more, fmt.Errorf("message of type %#x at %d has %d bytes, %d remain: %w", typ, c.at, size, len(c.b), errDamaged)
		}
		body := r.cursor(c.b[:size:size], c.at)
		c.take(int(size))
		if typ == msgContinuation {
			addr, n := body.offset(), body.length()
			if second { // signature before, checksum behind
				addr, n = addr+4, n-8
			}
			more = append(more, chunk{addr, n})
			continue
		}
		if err := r.message(o, typ, flags, body); err != nil {
			r.fail(fmt.Errorf("object %.80s: %w", o.path, err))
		}
	}
	return more, nil
}

func (r *reader) message(o object, typ, flags uint64, c *cursor) error {
	switch typ {
	case msgAttribute, msgLink, msgExternal, msgSymbols, msgLinkInfo, msgAttrInfo, msgLayout:
		if flags&2 != 0 {
			return fmt.Errorf("shared message of type %#x is not read: %w", typ, detect.ErrLimit)
		}
	}
	switch typ {
	case msgAttribute:
		return r.attribute(o, c)
	case msgLink:
		return r.link(o, c)
	case msgExternal:
		return r.external(o, c)
	case msgLayout:
		return r.layout(o, c)
	case msgSymbols:
		tree, heap := c.offset(), c.offset()
		if err := c.err("symbol table message"); err != nil {
			return err
		}
		return r.symbols(o, tree, heap)
	case msgLinkInfo:
		c.take(1)
		if f := c.uint(1); f&1 != 0 {
			c.take(8)
		}
		heap, tree := c.offset(), c.offset()
		if heap == undefined || c.bad {
			return c.err("link info")
		}
		return r.dense(o, heap, tree, msgLink)
	case msgAttrInfo:
		c.take(1)
		if f := c.uint(1); f&1 != 0 {
			c.take(2)
		}
		heap, tree := c.offset(), c.offset()
		if heap == undefined || c.bad {
			return c.err("attribute info")
		}
		return r.dense(o, heap, tree, msgAttribute)
	}
	return nil
}

// child queues an object below o.
func (r *reader) child(o object, name string, addr int64) error {
	if strings.Count(o.path, "/") > r.lim.Nesting || len(o.path) > 64<<10 {
		return fmt.Errorf("groups nested more than %d deep: %w", r.lim.Nesting, detect.ErrLimit)
	}
	if len(r.queue) > r.lim.Members {
		return fmt.Errorf("more than %d members: %w", r.lim.Members, detect.ErrLimit)
	}
	r.queue = append(r.queue, object{join(o.path, name), addr})
	return nil
}

func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

func (r *reader) addLink(l Link) error {
	if len(r.f.Links) >= r.lim.Members {
		return fmt.Errorf("more than %d links: %w", r.lim.Members, detect.ErrLimit)
	}
	r.f.Links = append(r.f.Links, l)
	return nil
}

// link reads a link message.
func (r *reader) link(o object, c *cursor) error {
	at := c.at
	if v := c.uint(1); v != 1 {
		return fmt.Errorf("link version %d: %w", v, errDamaged)
	}
	flags, kind := c.uint(1), uint64(0)
	if flags&8 != 0 {
		kind = c.uint(1)
	}
	if flags&4 != 0 {
		c.take(8)
	}
	if flags&0x10 != 0 {
		c.take(1)
	}
	name := string(c.take(int(min(c.uint(1<<(flags&3)), 1<<30))))
	if err := c.err("link"); err != nil {
		return err
	}
	l := Link{Path: join(o.path, name), At: r.base + at}
	switch kind {
	case 0:
		addr := c.offset()
		if err := c.err("hard link"); err != nil {
			return err
		}
		return r.child(o, name, addr)
	case 1:
		l.Kind, l.Target = Soft, string(c.take(int(c.uint(2))))
	case 64:
		c.take(2 + 1)
		l.Kind, l.File, l.Target = External, c.text(), c.text()
	default:
		l.Kind, l.Target = Defined, fmt.Sprintf("type %d", kind)
	}
	if err := c.err("link"); err != nil {
		return err
	}
	return r.addLink(l)
}

// external reads the list of files that hold the data of a dataset.
func (r *reader) external(o object, c *cursor) error {
	at := c.at
	c.take(4 + 2)
	used, heap := c.uint(2), c.offset()
	if err := c.err("external file list"); err != nil {
		return err
	}
	names, err := r.localHeap(heap)
	if err != nil {
		return err
	}
	for range used {
		off := c.length()
		c.take(2 * r.l)
		if err := c.err("external file list"); err != nil {
			return err
		}
		if err := r.addLink(Link{Path: o.path, Kind: Raw, File: names.text(off), At: r.base + at}); err != nil {
			return err
		}
	}
	return nil
}

// layout looks for virtual datasets, whose sources are other files.
func (r *reader) layout(o object, c *cursor) error {
	at := c.at
	if v, class := c.uint(1), c.uint(1); v < 4 || class != 3 {
		return nil
	}
	heap, index := c.offset(), c.uint(4)
	if err := c.err("virtual layout"); err != nil {
		return err
	}
	b, _, err := r.globalObject(heap, index)
	if err != nil {
		return err
	}
	l := Link{Path: o.path, Kind: Virtual, At: r.base + at}
	v := r.cursor(b, 0)
	v.take(1 + r.l)
	l.File, l.Target = v.text(), v.text()
	if v.bad {
		l.File = "(not readable)"
	}
	if l.File == "." {
		return nil
	}
	return r.addLink(l)
}

// heapText is the data of a local heap.
type heapText []byte

func (h heapText) text(off int64) string {
	if off < 0 || off >= int64(len(h)) {
		return ""
	}
	s, _, _ := strings.Cut(string(h[off:min(int64(len(h)), off+64<<10)]), "\x00")
	return s
}

func (r *reader) localHeap(addr int64) (heapText, error) {
	b, err := r.bytes(addr, int64(8+2*r.l+r.o))
	if err != nil {
		return nil, err
	}
	c := r.cursor(b, addr)
	if string(c.take(4)) != "HEAP" {
		return nil, fmt.Errorf("no local heap at %d: %w", addr, errDamaged)
	}
	c.take(4)
	size := c.length()
	c.length()
	return r.bytes(c.offset(), size)
}

// symbols walks the B-tree of an old group.
func (r *reader) symbols(o object, tree, heap int64) error {
	names, err := r.localHeap(heap)
	if err != nil {
		return err
	}
	todo, seen := []int64{tree}, map[int64]bool{}
	for len(todo) > 0 {
		addr := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[addr] {
			return fmt.Errorf("b-tree node at %d comes again: %w", addr, errDamaged)
		}
		seen[addr] = true
		b, err := r.bytes(addr, int64(8+2*r.o))
		if err != nil {
			return err
		}
		c := r.cursor(b, addr)
		switch string(c.take(4)) {
		case "SNOD":
			c.take(2)
			if err := r.symbolNode(o, addr+8, int(c.uint(2)), names); err != nil {
				return err
			}
		case "TREE":
			c.take(2)
			n := int64(c.uint(2))
			b, err := r.bytes(addr+int64(8+2*r.o), n*int64(r.l+r.o))
			if err != nil {
				return err
			}
			k := r.cursor(b, addr)
			for range n {
				k.length()
				todo = append(todo, k.offset())
			}
		default:
			return fmt.Errorf("no group node at %d: %w", addr, errDamaged)
		}
	}
	return nil
}

func (r *reader) symbolNode(o object, addr int64, n int, names heapText) error {
	b, err := r.bytes(addr, int64(n)*int64(2*r.o+24))
	if err != nil {
		return err
	}
	c := r.cursor(b, addr)
	for range n {
		at := c.at
		name, header, cache := names.text(c.length2()), c.offset(), c.uint(4)
		c.take(4)
		scratch := c.take(16)
		if cache == 2 {
			target := names.text(int64(scratch[0]) | int64(scratch[1])<<8 | int64(scratch[2])<<16 | int64(scratch[3])<<24)
			if err := r.addLink(Link{Path: join(o.path, name), Kind: Soft, Target: target, At: r.base + at}); err != nil {
				return err
			}
			continue
		}
		if err := r.child(o, name, header); err != nil {
			return err
		}
	}
	return nil
}

// length2 reads an offset into a heap, which has the width of an address.
func (c *cursor) length2() int64 {
	if v := c.uint(c.o); v <= 1<<62 {
		return int64(v)
	}
	return -1
}
