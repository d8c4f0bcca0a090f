package hdf5

import (
	"fmt"
	"math/bits"

	"github.com/modelwarden/warden/detect"
)

// fractal is a fractal heap, where new files keep many links or attributes.
type fractal struct {
	addr      int64
	idLen     int
	filtered  bool
	width     int64
	start     int64
	maxDirect int64
	maxBits   int
	offBytes  int
	lenBytes  int
	root      int64
	rows      int
}

func (r *reader) fractal(addr int64) (h fractal, err error) {
	b, err := r.bytes(addr, int64(22+12*r.l+3*r.o))
	if err != nil {
		return h, err
	}
	c := r.cursor(b, addr)
	if string(c.take(4)) != "FRHP" {
		return h, fmt.Errorf("no fractal heap at %d: %w", addr, errDamaged)
	}
	c.take(1)
	h.addr, h.idLen = addr, int(c.uint(2))
	h.filtered = c.uint(2) > 0
	c.take(1)
	managed := int64(c.uint(4))
	c.take(r.l + r.o + r.l + r.o + 8*r.l)
	h.width, h.start, h.maxDirect, h.maxBits = int64(c.uint(2)), c.length(), c.length(), int(c.uint(2))
	c.take(2)
	h.root, h.rows = c.offset(), int(c.uint(2))
	if err := c.err("fractal heap"); err != nil {
		return h, err
	}
	if h.width <= 0 || h.start <= 0 || h.maxDirect < h.start || h.maxBits <= 0 || h.maxBits > 64 || h.rows > 64 || h.width > 1<<16 || h.maxDirect > 1<<40 || h.idLen < 1 || h.idLen > 64 {
		return h, fmt.Errorf("fractal heap at %d: %w", addr, errDamaged)
	}
	if h.filtered {
		return h, fmt.Errorf("compressed fractal heap at %d is not read: %w", addr, detect.ErrLimit)
	}
	h.offBytes = (h.maxBits + 7) / 8
	h.lenBytes = min(bytesFor(uint64(h.maxDirect)), bytesFor(uint64(managed)))
	return h, nil
}

// bytesFor returns how many bytes hold v.
func bytesFor(v uint64) int { return max(1, (bits.Len64(v)+7)/8) }

// object returns the bytes that a heap ID names, and their address.
func (r *reader) object(h fractal, id []byte) ([]byte, int64, error) {
	if len(id) == 0 {
		return nil, 0, fmt.Errorf("empty heap ID: %w", errDamaged)
	}
	switch id[0] >> 4 & 3 {
	case 0:
	case 2:
		n := int(id[0]&15) + 1
		return id[1:min(len(id), 1+n)], h.addr, nil
	default:
		return nil, 0, fmt.Errorf("huge object of a fractal heap is not read: %w", detect.ErrLimit)
	}
	c := r.cursor(id[1:], 0)
	off, n := int64(c.uint(h.offBytes)), int64(c.uint(h.lenBytes))
	if err := c.err("heap ID"); err != nil {
		return nil, 0, err
	}
	at, err := r.locate(h, h.root, h.rows, off, 0)
	if err != nil {
		return nil, 0, err
	}
	b, err := r.bytes(at, n)
	return b, at, err
}

// rowSize is the size of each block in a row of the doubling table.
func (h fractal) rowSize(row int) int64 {
	if row <= 1 {
		return h.start
	}
	if row > 40 {
		return 1 << 62
	}
	return h.start << (row - 1)
}

// locate returns the address of an offset of the heap's space.
func (r *reader) locate(h fractal, block int64, rows int, off int64, depth int) (int64, error) {
	if rows == 0 {
		return block + off, nil // direct blocks count their own header
	}
	if depth > 8 || off < 0 {
		return 0, fmt.Errorf("fractal heap at %d: %w", h.addr, errDamaged)
	}
	entry, base := int64(0), int64(0)
	for row := range rows {
		size := h.rowSize(row)
		if span := size * h.width; off-base >= span {
			base += span
			entry += h.width
			continue
		}
		col := (off - base) / size
		base += col * size
		entry += col
		b, err := r.bytes(block+int64(5+r.o+h.offBytes)+entry*int64(r.o), int64(r.o))
		if err != nil {
			return 0, err
		}
		child := r.cursor(b, 0).offset()
		if child == undefined {
			break
		}
		if size <= h.maxDirect {
			return child + off - base, nil
		}
		below := 1
		for h.start*h.width<<(below-1) < size && below < 40 {
			below++
		}
		return r.locate(h, child, below, off-base, depth+1)
	}
	return 0, fmt.Errorf("offset %d is not in the fractal heap at %d: %w", off, h.addr, errDamaged)
}

// dense reads the links or attributes that a version 2 B-tree lists.
func (r *reader) dense(o object, heap, tree int64, what uint64) error {
	h, err := r.fractal(heap)
	if err != nil {
		return err
	}
	b, err := r.bytes(tree, int64(16+r.o+2+r.l))
	if err != nil {
		return err
	}
	c := r.cursor(b, tree)
	if string(c.take(4)) != "BTHD" {
		return fmt.Errorf("no B-tree at %d: %w", tree, errDamaged)
	}
	c.take(1)
	t := btree{kind: int(c.uint(1)), node: int64(c.uint(4)), rec: int64(c.uint(2)), o: r.o}
	depth := int(c.uint(2))
	c.take(2)
	root, n := c.offset(), int64(c.uint(2))
	if err := c.err("B-tree"); err != nil {
		return err
	}
	skip := int64(0)
	switch t.kind {
	case 5: // links by name: hash, ID
		skip = 4
	case 6: // links by creation order
		skip = 8
	case 8, 9: // attributes
	default:
		return fmt.Errorf("tree of type %d at %d: %w", t.kind, tree, errDamaged)
	}
	if t.rec < skip+1 || t.node < 16 || depth > 16 {
		return fmt.Errorf("tree at %d: %w", tree, errDamaged)
	}
	idLen := h.idLen
	return r.records(t, root, n, depth, func(rec []byte) error {
		id := rec[min(skip, int64(len(rec))):]
		if len(id) > idLen {
			id = id[:idLen]
		}
		b, at, err := r.object(h, id)
		if err != nil {
			return err
		}
		if what == msgLink {
			return r.link(o, r.cursor(b, at))
		}
		return r.attribute(o, r.cursor(b, at))
	})
}

// btree is a version 2 B-tree.
type btree struct {
	kind      int
	node, rec int64
	o         int
}

// widths returns the bytes of the record counts in the child pointers of a node
// at depth: of the child, and of all below it.
func (t btree) widths(depth int) (own, all int) {
	most := (t.node - 10) / t.rec // of a leaf
	own = bytesFor(uint64(most))
	sum := most
	for d := 1; d < depth; d++ {
		ptr := int64(t.o + own)
		if d > 1 {
			ptr += int64(bytesFor(uint64(sum)))
		}
		n := max(0, (t.node-10-ptr)/(t.rec+ptr))
		if sum > 1<<50 {
			break
		}
		sum = (n+1)*sum + n
	}
	if depth > 1 {
		all = bytesFor(uint64(sum))
	}
	return own, all
}

// records calls visit for every record below the node at addr.
func (r *reader) records(t btree, addr, n int64, depth int, visit func([]byte) error) error {
	if n*t.rec > t.node {
		return fmt.Errorf("tree node at %d: %w", addr, errDamaged)
	}
	if n == 0 && depth == 0 {
		return nil
	}
	if r.visited[addr] {
		return fmt.Errorf("tree node at %d comes again: %w", addr, errDamaged)
	}
	r.visited[addr] = true
	b, err := r.bytes(addr, t.node)
	if err != nil {
		return err
	}
	c := r.cursor(b, addr)
	want := "BTLF"
	if depth > 0 {
		want = "BTIN"
	}
	if string(c.take(4)) != want {
		return fmt.Errorf("no B-tree node at %d: %w", addr, errDamaged)
	}
	c.take(2)
	for range n {
		if err := visit(c.take(int(t.rec))); err != nil {
			return err
		}
	}
	if depth == 0 {
		return c.err("B-tree leaf")
	}
	own, all := t.widths(depth)
	for range n + 1 {
		child, k := c.offset(), int64(c.uint(own))
		c.take(all)
		if err := c.err("B-tree node"); err != nil {
			return err
		}
		if err := r.records(t, child, k, depth-1, visit); err != nil {
			return err
		}
	}
	return nil
}
