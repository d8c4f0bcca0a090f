package pickle

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

const (
	keptItems = 1 << 14 // items of a list or dict of plain data that are kept
	bombSteps = 1e8     // a traversal of more steps than this …
	bombRatio = 1 << 10 // … and than this for each byte read so far is an expansion
)

func (m *machine) opContainer(op byte) error {
	var items []uint32
	var err error
	switch op {
	case opList, opTuple, opDict, opFrozenSet:
		items, err = m.popMark()
	case opTuple1, opTuple2, opTuple3:
		n := int(op-opTuple1) + 1
		if len(m.stack)-m.floor() < n {
			return errUnderflow
		}
		at := len(m.stack) - n
		items = append(make([]uint32, 0, n), m.stack[at:]...)
		m.stack = m.stack[:at]
	}
	if err != nil {
		return err
	}
	kind := Tuple
	switch op {
	case opEmptyList, opList:
		kind = List
	case opEmptyDict, opDict:
		kind = Dict
		if len(items)%2 != 0 {
			return fmt.Errorf("dict of an odd number of items: %w", errOperand)
		}
	case opEmptySet:
		kind = Set
	case opFrozenSet:
		kind = FrozenSet
	}
	m.shareAll(items)
	id := m.a.addList(kind, items, m.opStart, m.cur.pos)
	m.weigh(id, items)
	m.push(id)
	return nil
}

// shareAll marks the containers among items: they live on in another one.
func (m *machine) shareAll(items []uint32) {
	for _, it := range items {
		m.share(it)
	}
}

// weigh adds up how many steps a traversal of id takes that visits shared parts
// every time, and reports values that multiply themselves (billion laughs). The
// weight of a container is kept in the field c of its node as a float32.
func (m *machine) weigh(id uint32, items []uint32) {
	n := &m.a.nodes[id]
	was := math.Float32frombits(n.c)
	now := was
	for _, it := range items {
		now++
		if c := &m.a.nodes[it]; c.kind >= List && c.kind <= FrozenSet {
			now += math.Float32frombits(c.c)
		}
	}
	n.c = math.Float32bits(now)
	limit := float32(max(bombSteps, bombRatio*(m.cur.pos-m.s.Start)))
	if was < limit && now >= limit {
		m.effect(Expansion, id)
	}
}

func (m *machine) opAdd(op byte) error {
	var items []uint32
	var err error
	switch op {
	case opAppend:
		var v uint32
		if v, err = m.pop(); err == nil {
			items = []uint32{v}
		}
	case opSetItem:
		if len(m.stack)-m.floor() < 3 {
			return errUnderflow
		}
		items = append([]uint32(nil), m.stack[len(m.stack)-2:]...)
		m.stack = m.stack[:len(m.stack)-2]
	default:
		items, err = m.popMark()
	}
	if err != nil {
		return err
	}
	to, err := m.top()
	if err != nil {
		return err
	}
	if op == opSetItems && len(items)%2 != 0 {
		return fmt.Errorf("odd number of items for a dict: %w", errOperand)
	}
	if len(items) == 0 && op != opAppend {
		return nil
	}
	if err := m.hashable(op, to, items); err != nil {
		return err
	}
	m.add(op, to, items)
	return nil
}

// hashable refuses keys that a loader cannot hash.
func (m *machine) hashable(op byte, to uint32, items []uint32) error {
	step := 1
	switch k := m.a.nodes[to].kind; {
	case k == Dict && (op == opSetItem || op == opSetItems):
		step = 2
	case k != Set || op != opAddItems:
		return nil
	}
	for i := 0; i < len(items); i += step {
		if k := m.a.nodes[items[i]].kind; k == List || k == Dict || k == Set {
			return fmt.Errorf("key that cannot be hashed: %w", errOperand)
		}
	}
	return nil
}

func (m *machine) add(op byte, to uint32, items []uint32) {
	n := &m.a.nodes[to]
	own := n.kind == Dict && (op == opSetItem || op == opSetItems) ||
		n.kind == List && (op == opAppend || op == opAppends) || n.kind == Set && op == opAddItems
	if !own {
		e := m.effect(Mutate, to)
		e.State = m.value(m.a.addList(Tuple, items, m.opStart, m.cur.pos))
		m.shareAll(items)
		m.extension(to, items)
		return
	}
	plain := m.a.plain(items)
	if have := len(m.a.items(to)); have >= keptItems && plain && n.flags&flagPlain != 0 && !m.texts(items) {
		n.flags |= flagCut
		for _, item := range slices.Backward(items) {
			m.drop(item)
		}
		return
	}
	m.shareAll(items)
	if n.num == 0 {
		m.a.lists = append(m.a.lists, items)
		n.num = int64(len(m.a.lists) - 1)
		if len(m.a.items(to)) == len(items) && !plain {
			n.flags &^= flagPlain
		}
		m.a.used += 24
	} else {
		m.a.lists[n.num] = append(m.a.lists[n.num], items...)
	}
	m.a.used += int64(len(items)) * 4
	if !plain {
		n.flags &^= flagPlain
	}
	m.weigh(to, items)
}

// texts reports whether an item is more than a number, so that it must be kept
// for what it may hide.
func (m *machine) texts(items []uint32) bool {
	for _, it := range items {
		if k := m.a.nodes[it].kind; k != None && k != Bool && k != Int && k != Float {
			return true
		}
	}
	return false
}

// opName looks a name up.
func (m *machine) opName(ctx context.Context, op byte) error {
	switch op {
	case opGlobal:
		module, path, cut, err := m.names(ctx)
		if err != nil {
			return err
		}
		m.push(m.lookup(module, path))
		return cut
	case opStackGlobal:
		name, err := m.pop()
		if err != nil {
			return err
		}
		module, err := m.pop()
		if err != nil {
			return err
		}
		if m.a.nodes[name].kind == Bytes || m.a.nodes[module].kind == Bytes {
			return fmt.Errorf("STACK_GLOBAL needs text: %w", errOperand)
		}
		if m.a.nodes[name].kind != Str || m.a.nodes[module].kind != Str {
			if m.concrete(name) && m.concrete(module) {
				return fmt.Errorf("STACK_GLOBAL needs text: %w", errOperand)
			}
			m.push(m.dynamic(module, name))
			return nil
		}
		m.push(m.lookup(m.a.text(module), m.a.text(name)))
		m.s.Effects[len(m.s.Effects)-1].Start = m.exprStart(name, module)
	default:
		return m.opExtension(ctx, op)
	}
	return nil
}

// concrete reports whether id is certainly not text.
func (m *machine) concrete(id uint32) bool {
	switch m.a.nodes[id].kind {
	case Unknown, Call, Attr, Item, Persistent:
		return false
	default:
		return true
	}
}

// dynamic is a lookup of a name that the stream computes in a way that the
// machine does not follow.
func (m *machine) dynamic(module, name uint32) uint32 {
	owner := m.a.add(node{kind: Call, a: m.a.addGlobal("importlib", "import_module", m.opStart, m.cur.pos), b: m.tuple(module), start: m.opStart, size: 1})
	f := m.a.addGlobal("builtins", "getattr", m.opStart, m.cur.pos)
	id := m.a.add(node{kind: Call, a: f, b: m.tuple(owner, name), start: m.opStart, size: 1})
	m.effect(Invoke, id)
	return id
}

func (m *machine) tuple(items ...uint32) uint32 {
	return m.a.addList(Tuple, items, m.opStart, m.cur.pos)
}

// names reads the two lines of a GLOBAL or INST opcode. Where the stream ends
// inside them, cut is how it ends: the pure Python unpickler takes what is there
// less its last byte for the line, an empty one for a missing second one, and
// looks it up, and for INST calls it, before it notices.
func (m *machine) names(ctx context.Context) (module, path string, cut, err error) {
	if module, err = m.name(ctx); err == nil {
		path, err = m.name(ctx)
		if errors.Is(err, errEnd) {
			return module, shortened(path), err, nil
		}
		return module, path, nil, err
	}
	if errors.Is(err, errEnd) && len(module) > 1 {
		return shortened(module), "", err, nil
	}
	return "", "", nil, err
}

// shortened is a line that has no end, as the pure Python unpickler takes it.
func shortened(text string) string { return text[:max(0, len(text)-1)] }

// name reads one line. It returns what there is of a line that has no end.
func (m *machine) name(ctx context.Context) (string, error) {
	text, n, err := m.cur.line(ctx, lineRule{keep: headBytes, most: nameBytes})
	switch {
	case errors.Is(err, errEnd) && !validUTF8(shortened(text)):
		text = ""
	case err == nil && n > headBytes:
		err = fmt.Errorf("name of %d bytes: %w", n, errOperand)
	case err == nil && !validUTF8(text):
		err = fmt.Errorf("name that is not UTF-8: %w", errOperand)
	}
	return text, err
}

// lookup is find_class. A dotted path is walked only from protocol 4 on; below
// it loaders end there with AttributeError, but a later PROTO in another view
// may not, so the path is kept as it is.
func (m *machine) lookup(module, path string) uint32 {
	g := global{module, path}
	if m.proto < 3 {
		g = python3(g)
	}
	m.a.used += effectBytes / 2
	id := m.a.addGlobal(g.module, trimPath(g.path), m.opStart, m.cur.pos)
	m.effect(Import, id)
	return id
}

// trimPath removes what leads from a callable to itself.
func trimPath(path string) string {
	for {
		cut := strings.TrimSuffix(path, ".__call__")
		if cut == path {
			return path
		}
		path = cut
	}
}

func (m *machine) opExtension(ctx context.Context, op byte) error {
	code, err := m.cur.little(ctx, 1<<(op-opExt1))
	if err != nil {
		return err
	}
	if code == 0 {
		return fmt.Errorf("extension code 0: %w", errOperand)
	}
	if id, ok := m.ext[code]; ok {
		m.effect(Import, id)
		m.push(id)
		return nil
	}
	id := m.a.add(node{kind: Unknown, start: m.opStart, size: uint32(m.cur.pos - m.opStart)})
	m.effect(Extension, id)
	m.push(id)
	return nil
}

// extension follows copyreg._inverted_registry[code] = (module, name).
func (m *machine) extension(to uint32, items []uint32) {
	g, ok := m.a.global(to)
	if !ok || g.module != "copyreg" || g.path != "_inverted_registry" {
		return
	}
	for i := 0; i+1 < len(items); i += 2 {
		if pair := m.a.items(items[i+1]); len(pair) == 2 {
			m.register(pair[0], pair[1], items[i])
		}
	}
}

// register follows copyreg.add_extension(module, name, code).
func (m *machine) register(module, name, code uint32) {
	n := m.a.nodes[code]
	if m.a.nodes[module].kind != Str || m.a.nodes[name].kind != Str || n.kind != Int || n.b != 0 {
		return
	}
	if m.ext == nil {
		m.ext = map[uint64]uint32{}
	}
	m.ext[uint64(n.num)] = m.a.addGlobal(m.a.text(module), m.a.text(name), m.opStart, m.cur.pos)
}

func (m *machine) opPersistent(ctx context.Context, op byte) error {
	var pid uint32
	if op == opPersID {
		text, _, err := m.cur.line(ctx, lineRule{keep: headBytes, most: nameBytes})
		if err != nil {
			return err
		}
		if strings.IndexFunc(text, func(r rune) bool { return r > 0x7e }) >= 0 {
			return fmt.Errorf("persistent identifier that is not ASCII: %w", errOperand)
		}
		pid = m.a.addText(Str, text, m.opStart, m.cur.pos)
	} else {
		var err error
		if pid, err = m.pop(); err != nil {
			return err
		}
	}
	m.share(pid)
	id := m.a.add(node{kind: Persistent, b: pid, start: m.opStart, size: uint32(m.cur.pos - m.opStart)})
	m.effect(Identifier, id)
	m.push(id)
	return nil
}
