package wire

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// ErrEdit is wrapped when edits contradict each other or miss their place.
var ErrEdit = errors.New("the body cannot be edited so")

// Edits are changes to one body that are made together: everything they do not
// name stays byte for byte. The zero value is not usable; see [Doc.Edit].
type Edits struct {
	d       *Doc
	ranges  []change
	removed map[int32][]int32 // of a container: the children that go
	err     error
}

type change struct {
	start, end int
	raw        []byte
}

// Edit returns an empty set of changes to d.
func (d *Doc) Edit() *Edits { return &Edits{d: d} }

// Clone returns a copy that can go another way.
func (e *Edits) Clone() *Edits {
	c := &Edits{d: e.d, ranges: slices.Clone(e.ranges), err: e.err}
	if e.removed != nil {
		c.removed = maps.Clone(e.removed)
		for k, v := range c.removed {
			c.removed[k] = slices.Clone(v)
		}
	}
	return c
}

// Empty reports whether nothing changes.
func (e *Edits) Empty() bool { return len(e.ranges) == 0 && len(e.removed) == 0 && e.err == nil }

func (e *Edits) fail(what string) {
	if e.err == nil {
		e.err = fmt.Errorf("%w: %s", ErrEdit, what)
	}
}

func (e *Edits) add(start, end int, raw []byte) {
	e.ranges = append(e.ranges, change{start, end, raw})
}

// Range puts raw in place of the bytes [start, end) of the body.
func (e *Edits) Range(start, end int, raw []byte) {
	if start < 0 || end < start || end > len(e.d.body) {
		e.fail("a range outside the body")
		return
	}
	e.add(start, end, raw)
}

// Replace puts raw, which must be JSON, in place of v.
func (e *Edits) Replace(v Value, raw []byte) {
	if v.d != e.d {
		e.fail("a value of another body")
		return
	}
	s, t := v.Span()
	e.add(s, t, raw)
}

// ReplaceText puts text in place of the bytes [start, end) of the decoded text
// of the string v. The rest of the string stays as it was written.
func (e *Edits) ReplaceText(v Value, start, end int, text []byte) {
	if v.d != e.d || v.Kind() != String {
		e.fail("no string there")
		return
	}
	from, ok1 := v.offset(start)
	to, ok2 := v.offset(end)
	if !ok1 || !ok2 || from > to {
		e.fail("a range that is not of whole characters of the text")
		return
	}
	quoted := AppendString(nil, text)
	e.add(from, to, quoted[1:len(quoted)-1])
}

// offset returns where the byte at of the decoded text stands in the body.
func (v Value) offset(at int) (int, bool) {
	n := &v.d.nodes[v.i]
	pos, end := int(n.start)+1, int(n.end)-1
	if !n.slashed {
		return pos + at, at >= 0 && pos+at <= end
	}
	for got := 0; ; {
		if got == at {
			return pos, true
		}
		if pos >= end || got > at {
			return 0, false
		}
		if v.d.body[pos] != '\\' {
			pos++
			got++
			continue
		}
		r, size := escapeAt(v.d.body[pos:end])
		pos += size
		got += utf8.RuneLen(r)
	}
}

// Remove takes the member or item v out of its container.
func (e *Edits) Remove(container, v Value) {
	if v.d != e.d || container.d != e.d || v.i <= container.i || v.i >= e.d.nodes[container.i].next {
		e.fail("a value that is not in its container")
		return
	}
	if slices.Contains(e.removed[container.i], v.i) {
		return
	}
	if e.removed == nil {
		e.removed = map[int32][]int32{}
	}
	e.removed[container.i] = append(e.removed[container.i], v.i)
}

// Set gives the member of that name of an object the value raw: in place of the
// one it has, or as its last.
func (e *Edits) Set(object Value, name string, raw []byte) {
	if object.d != e.d || object.Kind() != Object {
		e.fail("no object there")
		return
	}
	if v := object.Get(name); v.Kind() != Missing {
		e.Replace(v, raw)
		return
	}
	e.push(object, append(append(AppendString(nil, []byte(name)), ':'), raw...))
}

// Insert puts raw before the item at of an array, or behind all.
func (e *Edits) Insert(array Value, at int, raw []byte) {
	if array.d != e.d || array.Kind() != Array {
		e.fail("no array there")
		return
	}
	for v := range array.Items() {
		if at == 0 {
			s, _ := v.Span()
			e.add(s, s, append(slices.Clone(raw), ','))
			return
		}
		at--
	}
	e.push(array, raw)
}

// push adds raw behind the last child of a container that stays.
func (e *Edits) push(container Value, raw []byte) {
	e.ranges = append(e.ranges, change{start: -1 - int(container.i), raw: raw})
}

// children yields the nodes right inside i.
func (d *Doc) children(i int32) func(yield func(int32) bool) {
	return func(yield func(int32) bool) {
		for k := i + 1; k < d.nodes[i].next; k = d.nodes[k].next {
			if !yield(k) {
				return
			}
		}
	}
}

// Bytes returns the body with all changes made, not looked at again.
func (e *Edits) Bytes() ([]byte, error) {
	if e.err != nil {
		return nil, e.err
	}
	if e.Empty() {
		return e.d.body, nil
	}
	all := make([]change, 0, len(e.ranges)+len(e.removed))
	more := map[int32]bool{} // containers that something was pushed to
	for _, c := range e.ranges {
		if c.start >= 0 {
			all = append(all, c)
			continue
		}
		i := int32(-1 - c.start)
		at, some := e.last(i)
		raw := c.raw
		if some || more[i] {
			raw = append([]byte{','}, raw...)
		}
		more[i] = true
		all = append(all, change{at, at, raw})
	}
	for i, gone := range e.removed {
		all = e.cut(all, i, gone)
	}
	slices.SortStableFunc(all, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(min(a.end-a.start, 1), min(b.end-b.start, 1)))
	})
	out := make([]byte, 0, len(e.d.body)+256)
	pos, cutting := 0, false
	for _, c := range all {
		removal := c.raw == nil && c.end > c.start
		switch {
		case c.start < pos && (!removal || !cutting):
			return nil, fmt.Errorf("%w: two changes of the same bytes", ErrEdit)
		case c.start >= pos:
			out = append(out, e.d.body[pos:c.start]...)
		}
		out = append(out, c.raw...)
		if c.end >= pos {
			pos, cutting = c.end, removal
		}
	}
	return append(out, e.d.body[pos:]...), nil
}

// last returns where something can be added to container i, and whether
// anything that stays is before it.
func (e *Edits) last(i int32) (at int, some bool) {
	at = int(e.d.nodes[i].start) + 1
	for k := range e.d.children(i) {
		if !slices.Contains(e.removed[i], k) {
			at, some = int(e.d.nodes[k].end), true
		}
	}
	return at, some
}

// cut adds the removals of the children gone of container i: with the comma
// behind, and at the end with the one before.
func (e *Edits) cut(all []change, i int32, gone []int32) []change {
	stays := int(e.d.nodes[i].start) + 1 // the end of the last child that stays
	for k := range e.d.children(i) {
		n := &e.d.nodes[k]
		if !slices.Contains(gone, k) {
			stays = int(n.end)
			continue
		}
		if n.next < e.d.nodes[i].next {
			all = append(all, change{int(n.first), int(e.d.nodes[n.next].first), nil})
		} else {
			all = append(all, change{stays, int(n.end), nil})
		}
	}
	return all
}

// Apply makes the changes and reads the result as strictly as the body was
// read: what is sent is what was read. Without changes it returns the same Doc.
func (e *Edits) Apply(lim Limits) (*Doc, error) {
	if e.Empty() {
		return e.d, nil
	}
	b, err := e.Bytes()
	if err != nil {
		return nil, err
	}
	return Parse(b, lim)
}

// AppendString appends text as a JSON string to b. Bytes that are not UTF-8
// become U+FFFD.
func AppendString(b, text []byte) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for len(text) > 0 {
		c := text[0]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, size := utf8.DecodeRune(text)
			b = utf8.AppendRune(b, r)
			text = text[size:]
			continue
		}
		text = text[1:]
	}
	return append(b, '"')
}
