package zipfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sort"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/expand"
)

// local reads the local header at off and where its data begins.
func (z *reader) local(off int64) (e Entry, ok bool) {
	var b [localBytes]byte
	if off < 0 || off > z.size-localBytes {
		return e, false
	}
	if _, err := z.r.ReadAt(b[:], off); err != nil || le32(b[:]) != sigLocal {
		return e, false
	}
	n, x := int64(le16(b[26:])), int64(le16(b[28:]))
	if off+localBytes+n+x > z.size {
		return e, false
	}
	rest := make([]byte, n+x) // at most 128 KiB
	if _, err := z.r.ReadAt(rest, off+localBytes); err != nil && len(rest) > 0 && !errors.Is(err, io.EOF) {
		return e, false
	}
	e = Entry{
		Name: string(rest[:n]), View: Physical, Header: off, Data: off + localBytes + n + x,
		Flags: le16(b[6:]), Method: le16(b[8:]), CRC: le32(b[14:]), Packed: int64(le32(b[18:])), Size: int64(le32(b[22:])),
	}
	zip64(rest[n:], &e.Size, &e.Packed)
	return e, true
}

// attach finds the data of a directory entry and compares it with its local header.
func (z *reader) attach(e *Entry) {
	l, ok := z.local(e.Header)
	if !ok {
		e.Data = -1
		z.differ(e.Name, e.Header, "the directory names a member that has no local header")
		z.fail(fmt.Errorf("member %q: no local header at %d", e.Name, e.Header))
		return
	}
	e.Data = l.Data
	switch {
	case l.Name != e.Name:
		z.differ(e.Name, e.Header, "the directory calls a member %q, its local header calls it %q", e.Name, l.Name)
	case l.Method != e.Method:
		z.differ(e.Name, e.Header, "the directory says compression method %d, the local header says %d", e.Method, l.Method)
	case l.Flags&flagDescriptor == 0 && (l.Packed != e.Packed || l.Size != e.Size),
		l.Flags&flagDescriptor != 0 && l.Packed != 0 && l.Packed != 0xffffffff && l.Packed != e.Packed:
		z.differ(e.Name, e.Header, "the directory says %d bytes stored as %d, the local header says %d stored as %d", e.Size, e.Packed, l.Size, l.Packed)
	case e.Method == Stored && e.Size != e.Packed && e.Flags&FlagEncrypted == 0:
		z.differ(e.Name, e.Header, "a stored member declares %d bytes and occupies %d", e.Size, e.Packed)
	}
	if e.Packed < 0 || e.Size < 0 || e.Packed > z.size-e.Data {
		z.fail(fmt.Errorf("member %q: %d bytes at %d do not lie inside the archive of %d bytes", e.Name, e.Packed, e.Data, z.size))
		e.Packed = z.size - e.Data
	}
	sized := l.Flags&flagDescriptor == 0
	if l.Method != e.Method || sized && l.Packed != e.Packed { // a streaming reader follows the local header
		if !sized {
			l.Packed = e.Packed
		}
		l.Packed = max(0, min(l.Packed, z.size-l.Data))
		z.add(l)
	}
}

// compare reports where the views of Python and torch differ.
func (z *reader) compare(python, torch []Entry) {
	if len(python) != len(torch) {
		z.differ("", 0, "Python lists %d members, torch lists %d", len(python), len(torch))
		return
	}
	for i, p := range python {
		if t := torch[i]; p.Name != t.Name || p.Data != t.Data || p.Size != t.Size || p.Method != t.Method {
			z.differ(p.Name, p.Header, "Python reads member %q at %d, torch reads %q at %d", p.Name, p.Data, t.Name, t.Data)
		}
	}
}

// checkNames reports names that loaders resolve differently: duplicates (first
// or last wins), names that are equal once cleaned, and names with a NUL, where
// Python stops and torch does not.
func (z *reader) checkNames(list []Entry) {
	byName := make(map[string]Entry, len(list))
	for _, e := range list {
		if i := strings.IndexByte(e.Name, 0); i >= 0 {
			z.differ(e.Name, e.Header, "the name of a member holds a NUL byte, so that Python reads it as %q", e.Name[:i])
		}
		clean := path.Clean("/" + strings.ReplaceAll(e.Name, `\`, "/"))
		if first, ok := byName[clean]; ok && !e.Dir() && !first.Dir() {
			z.differ(e.Name, e.Header, "two members are named %q and %q: some loaders use the first, others the last", first.Name, e.Name)
		}
		byName[clean] = e
	}
}

// earlier reads the directories of end records before the last one, except
// those inside a stored member, which is examined as an archive of its own.
func (z *reader) earlier(ctx context.Context, tail []byte, tailAt int64, last int) {
	inside := z.spans()
	for i, n := last-1, 0; i >= 0; i-- {
		i = bytes.LastIndex(tail[:i+4], []byte("PK\x05\x06"))
		if i < 0 || ctx.Err() != nil {
			return
		}
		at := tailAt + int64(i)
		if len(tail)-i < endBytes || covered(inside, at) {
			continue
		}
		p, err := z.locate(tail[i:], at, Python)
		if err != nil {
			continue // no loader uses it, and it names nothing that could be read
		}
		if n++; n > maxEnds {
			z.fail(fmt.Errorf("more than %d end records: %w", maxEnds, detect.ErrLimit))
			return
		}
		z.differ("", at, "a second end record names another directory")
		for _, e := range z.directory(ctx, p, Earlier) {
			z.add(e)
		}
	}
}

// maxEnds bounds the end records whose directories are read.
const maxEnds = 16

type span struct{ start, end int64 }

// spans returns the data of the entries so far, sorted.
func (z *reader) spans() []span {
	list := make([]span, 0, len(z.a.Entries))
	for _, e := range z.a.Entries {
		if e.Data >= 0 {
			list = append(list, span{e.Data, e.Data + e.Packed})
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].start < list[j].start })
	return list
}

func covered(list []span, at int64) bool {
	i := sort.Search(len(list), func(i int) bool { return list[i].start > at })
	return i > 0 && at < list[i-1].end
}

// walk follows the local headers from byte 0, as a streaming reader does. Sizes
// that a header leaves to a data descriptor come from the directory.
func (z *reader) walk(ctx context.Context, python, torch []Entry) {
	known := make(map[int64]Entry, len(python))
	for _, list := range [][]Entry{torch, python} {
		for _, e := range list {
			if e.Data >= 0 {
				known[e.Header] = e
			}
		}
	}
	visited := make(map[int64]bool, len(known))
	off := int64(0)
	for steps := 0; !z.full; steps++ {
		if ctx.Err() != nil {
			z.fail(fmt.Errorf("local header at %d: %w", off, ctx.Err()))
			return
		}
		if steps > 2*z.lim.Members {
			z.fail(fmt.Errorf("more than %d local headers: %w", steps, detect.ErrLimit))
			return
		}
		l, ok := z.local(off)
		if !ok {
			break
		}
		visited[off] = true
		end := z.end(ctx, &l, known)
		if _, ok := known[off]; !ok {
			z.differ(l.Name, off, "member %q is in the archive but in no directory", l.Name)
			z.add(l)
		}
		if end <= off {
			break
		}
		off = z.skipDescriptor(end)
	}
	z.gaps(ctx, known, visited)
}

// end returns where the data of l ends, and sets its size.
func (z *reader) end(ctx context.Context, l *Entry, known map[int64]Entry) int64 {
	if k, ok := known[l.Header]; ok {
		l.Packed, l.Size = k.Packed, k.Size
	} else if l.Flags&flagDescriptor != 0 && (l.Packed == 0 || l.Packed == 0xffffffff) {
		l.Packed, l.Size = z.measure(ctx, *l), -1
	}
	if l.Packed < 0 || l.Packed > z.size-l.Data {
		z.fail(fmt.Errorf("member %q: %d bytes at %d do not lie inside the archive", l.Name, l.Packed, l.Data))
		l.Packed = z.size - l.Data
	}
	return l.Data + l.Packed
}

// measure finds the length of data whose header does not tell it: the end of a
// deflate stream, else the next descriptor.
func (z *reader) measure(ctx context.Context, l Entry) int64 {
	src := io.NewSectionReader(z.r, l.Data, z.size-l.Data)
	if l.Method == Deflated {
		count := &counter{r: expand.Watch(ctx, src)}
		inflated := expand.DeflateExact(count)
		if n, err := io.Copy(io.Discard, io.LimitReader(inflated, z.lim.RatioFrom)); err == nil && n < z.lim.RatioFrom {
			return count.n
		}
		z.fail(fmt.Errorf("member %q: end of its data not found from %d: %w", l.Name, l.Data, detect.ErrLimit))
		return src.Size()
	}
	return z.find(ctx, l.Data, "PK\x07\x08")
}

// maxGap bounds how many bytes outside known members are searched.
const maxGap = 16 << 20

// find returns the distance from off to the next mark, or to the end.
func (z *reader) find(ctx context.Context, off int64, mark string) int64 {
	buf := make([]byte, 64<<10)
	for at := off; at < z.size; at += int64(len(buf) - len(mark) + 1) {
		if at-off > maxGap || ctx.Err() != nil {
			z.fail(fmt.Errorf("%d bytes at %d belong to no member and were not searched: %w", z.size-at, at, detect.ErrLimit))
			break
		}
		n, _ := z.r.ReadAt(buf[:min(int64(len(buf)), z.size-at)], at) // a short read is searched as far as it goes
		if i := bytes.Index(buf[:n], []byte(mark)); i >= 0 {
			return at + int64(i) - off
		}
		if n < len(buf) {
			break
		}
	}
	return z.size - off
}

// skipDescriptor returns off or the end of the data descriptor that lies there.
func (z *reader) skipDescriptor(off int64) int64 {
	var b [28]byte
	n, _ := z.r.ReadAt(b[:min(int64(len(b)), max(0, z.size-off))], off)
	for _, size := range []int{16, 24, 12, 20} {
		signed := size == 16 || size == 24
		if n >= size+2 && b[size] == 'P' && b[size+1] == 'K' && signed == (le32(b[:]) == sigSpan) && le32(b[:]) != sigLocal && le32(b[:]) != sigCentral {
			return off + int64(size)
		}
	}
	return off
}

// gaps looks for local headers in bytes that belong to no known member and that
// the walk did not reach.
func (z *reader) gaps(ctx context.Context, known map[int64]Entry, visited map[int64]bool) {
	type part struct{ start, end int64 }
	var parts []part
	for _, e := range z.a.Entries {
		if e.Data >= 0 {
			parts = append(parts, part{e.Header, e.Data + e.Packed})
		}
	}
	sort.Slice(parts, func(i, j int) bool { return parts[i].start < parts[j].start })
	for i := 1; i < len(parts); i++ {
		if parts[i].start < parts[i-1].end && parts[i-1].end-parts[i].start > 0 {
			z.differ("", parts[i].start, "two members overlap at %d", parts[i].start)
		}
		parts[i].end = max(parts[i].end, parts[i-1].end)
	}
	at, budget := int64(0), int64(maxGap)
	for _, p := range append(parts, part{start: z.directoryStart()}) {
		for at < p.start && budget > 0 && !z.full && ctx.Err() == nil {
			n := z.findWithin(at, p.start)
			budget -= n
			at += n
			if at >= p.start {
				break
			}
			if l, ok := z.local(at); ok && !visited[at] {
				if _, listed := known[at]; !listed {
					z.end(ctx, &l, known)
					z.differ(l.Name, at, "member %q is in the archive but in no directory", l.Name)
					z.add(l)
				}
			}
			at++
		}
		if at < p.start && !z.full {
			z.fail(fmt.Errorf("%d bytes at %d belong to no member and were not searched: %w", p.start-at, at, detect.ErrLimit))
		}
		at = max(at, p.end)
	}
}

// findWithin returns the distance from off to the next local header before end,
// or to end.
func (z *reader) findWithin(off, end int64) int64 {
	buf := make([]byte, 64<<10)
	for at := off; at < end; at += int64(len(buf) - 3) {
		if at-off > maxGap {
			return at - off
		}
		n, _ := z.r.ReadAt(buf[:min(int64(len(buf)), end-at)], at)
		if i := bytes.Index(buf[:n], []byte("PK\x03\x04")); i >= 0 {
			return at + int64(i) - off
		}
		if n < len(buf) {
			break
		}
	}
	return end - off
}

// directoryStart returns where the first directory begins, or the end of the
// archive where there is none.
func (z *reader) directoryStart() int64 {
	if z.dirAt > 0 {
		return z.dirAt
	}
	return z.size
}

// counter counts the bytes taken from a reader, one by one, so that a
// decompressor stops exactly at the end of its stream.
type counter struct {
	r   io.Reader
	buf []byte
	n   int64
}

// ReadByte implements [io.ByteReader].
func (c *counter) ReadByte() (byte, error) {
	if len(c.buf) == 0 {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	b := c.buf[0]
	c.buf = c.buf[1:]
	c.n++
	return b, nil
}

// Read implements [io.Reader].
func (c *counter) Read(p []byte) (int, error) {
	if len(c.buf) == 0 {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf)
	c.buf = c.buf[n:]
	c.n += int64(n)
	return n, nil
}

func (c *counter) fill() error {
	b := make([]byte, 32<<10)
	n, err := c.r.Read(b)
	c.buf = b[:n]
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}
