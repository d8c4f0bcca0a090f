package pickle

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A dtype is what the machine knows of a numpy.dtype value.
type dtype struct {
	size    int64
	objects bool
	fields  bool
	ok      bool
}

// dtype reads numpy.dtype('<f8', …) and the state that BUILD gave it.
func (m *machine) dtype(id uint32) dtype {
	d := m.scalar(id)
	if d.ok && d.fields {
		d.objects = m.objectFields(id)
	}
	return d
}

// scalar reads a dtype without looking into its fields; nested ones count as
// objects, so that no depth is needed.
func (m *machine) scalar(id uint32) dtype {
	n := m.a.nodes[id]
	args := m.a.items(n.b)
	if n.kind != Call || len(args) == 0 {
		return dtype{}
	}
	if g, _ := m.a.global(n.a); g.path != "dtype" {
		return dtype{}
	}
	spec := strings.TrimLeft(m.a.text(args[0]), "<>=|")
	if spec == "" {
		return dtype{}
	}
	width, err := strconv.ParseInt(spec[1:], 10, 32)
	if err != nil || width < 0 {
		if len(spec) > 1 && (spec[0] == 'M' || spec[0] == 'm') && strings.HasPrefix(spec[1:], "8") {
			width = 8
		} else if spec != "O" && spec != "?" {
			return dtype{}
		}
	}
	switch spec[0] {
	case 'O':
		return dtype{size: 8, objects: true, ok: true}
	case '?':
		return dtype{size: 1, ok: true}
	case 'U':
		return dtype{size: 4 * width, ok: true}
	case 'V':
		return dtype{size: width, fields: true, objects: len(m.a.items(m.states[id])) > 4 && m.a.nodes[m.a.items(m.states[id])[4]].kind == Dict, ok: true}
	default:
		return dtype{size: width, ok: true}
	}
}

// objectFields reports whether the state of a structured dtype names a field
// that holds objects; an unreadable state counts as one that does.
func (m *machine) objectFields(id uint32) bool {
	st := m.a.items(m.states[id])
	if len(st) < 8 {
		return false
	}
	for i, f := range m.a.items(st[4]) {
		if parts := m.a.items(f); i%2 == 1 && len(parts) > 0 {
			if d := m.scalar(parts[0]); !d.ok || d.objects {
				return true
			}
		}
	}
	return false
}

// skipArray follows joblib, which reads the bytes of an array right behind the
// BUILD of its wrapper: padding and numbers, or another pickle if the array
// holds objects.
func (m *machine) skipArray(ctx context.Context, _, state uint32) error {
	get := func(name string) (uint32, bool) {
		items := m.a.items(state)
		for i := 0; i+1 < len(items); i += 2 {
			if m.a.text(items[i]) == name {
				return items[i+1], true
			}
		}
		return 0, false
	}
	m.arrays++
	dt, _ := get("dtype")
	d := m.dtype(dt)
	if !d.ok {
		return fmt.Errorf("array of an unknown type: %w", errOperand)
	}
	if d.objects {
		return m.objectArray(ctx)
	}
	shape, ok := get("shape")
	if !ok {
		return fmt.Errorf("array without a shape: %w", errOperand)
	}
	count := int64(1)
	for _, it := range m.a.items(shape) {
		n := m.a.nodes[it]
		if n.kind != Int || n.b != 0 || n.num < 0 || n.num > 0 && count > math.MaxInt64/n.num {
			return fmt.Errorf("array of an impossible shape: %w", errOperand)
		}
		count *= n.num
	}
	if align, ok := get("numpy_array_alignment_bytes"); ok && m.a.nodes[align].kind == Int {
		pad, err := m.cur.byte(ctx)
		if err != nil {
			return err
		}
		if int64(pad) > m.cur.size-m.cur.pos {
			return errEnd
		}
		m.cur.pos += int64(pad)
	}
	if d.size > 0 && count > (m.cur.size-m.cur.pos)/d.size {
		return fmt.Errorf("array of %d items of %d bytes where %d bytes remain: %w", count, d.size, m.cur.size-m.cur.pos, errEnd)
	}
	m.cur.pos += count * d.size
	m.cur.frameEnd = 0
	return nil
}

// objectArray runs the pickle that lies inside this one.
func (m *machine) objectArray(ctx context.Context) error {
	at := m.cur.pos
	if m.job.depth >= m.job.lim.Streams {
		return m.tooDeep()
	}
	in := newMachine(m.inside(m.job.r, m.job.size), at, m.cur.view)
	if m.cur.view == viewMemory {
		in = runViews(ctx, m.inside(m.job.r, m.job.size), at, nil)
	} else {
		in.run(ctx)
	}
	m.adopt(append([]*Stream{in.s}, in.s.inner...), Loaded, at)
	m.statuses = append(m.statuses, in.statuses...)
	if in.s.Err != nil {
		return fmt.Errorf("array of objects, %w", in.s.Err)
	}
	m.cur.pos, m.cur.frameEnd = in.s.End, 0
	return nil
}
