package pickle

import (
	"math"
	"strconv"
)

// A Kind is what sort of thing a [Value] is.
type Kind uint8

// The kinds of values.
const (
	Unknown    Kind = iota // not known: the argument of a loader, a cut-off value
	None                   // also NoneType's only value
	Bool                   // Int is 0 or 1
	Int                    // Int, or Text in decimal if it does not fit
	Float                  // Text
	Str                    // Text
	Bytes                  // Text
	List                   // Items
	Tuple                  // Items
	Dict                   // Items: key, value, key, value…
	Set                    // Items
	FrozenSet              // Items
	Global                 // Module, Path
	Call                   // Callee, Args, Keywords, How: a result, or an instance
	Attr                   // Callee is the owner, Text the name
	Item                   // Callee is the container, Args the key
	Persistent             // Args is the identifier
)

// A How is the way in which something is called.
type How uint8

// The ways of calling.
const (
	Reduce   How = iota // f(*args)
	New                 // cls.__new__(cls, *args, **kw)
	Inst                // INST opcode: cls(*args)
	Obj                 // OBJ opcode: cls(*args)
	Through             // called by what an opcode calls: reduce, partial, methodcaller
	Lazy                // called when a lazy iterator is consumed
	SetState            // obj.__setstate__(state)
	Method              // obj.append, extend, add, __setitem__
)

// noValue is the index of the value that stands for everything unknown.
const noValue = 0

// Small constants share fixed places in every arena, so that padding costs
// nothing.
const (
	valNone = iota + 1
	valTrue
	valFalse
	valEmptyTuple
	valByte0 // 256 of them
	valFree  = valByte0 + 256
)

const (
	flagShared = 1 << iota // something may refer to it besides the stack
	flagCut                // text or items are not complete
	flagPlain              // container: holds only plain data so far
	flagState              // BUILD was applied
)

// A node is one value. Nodes are in one arena and refer to each other by
// index. num is the integer, the index of text or items, or of the global.
type node struct {
	kind    Kind
	how     How
	flags   uint8
	a, b, c uint32
	size    uint32 // bytes of the stream that made it
	start   int64
	num     int64
}

type global struct{ module, path string }

// An arena holds the values of one stream.
type arena struct {
	nodes   []node
	texts   []string
	lists   [][]uint32
	globals []global
	names   map[global]uint32 // index of the Global node
	long    map[uint32]int64  // full length of texts that were cut
	used    int64             // bytes, approximately
}

const (
	nodeBytes   = 48
	entryBytes  = 16
	effectBytes = 64
)

func (a *arena) reset() {
	*a = arena{nodes: append(a.nodes[:0], fixedNodes[:]...), texts: a.texts[:0], lists: a.lists[:0], globals: a.globals[:0]}
	a.lists = append(a.lists, nil)
}

// fixedNodes are the first nodes of every arena.
var fixedNodes = func() (ns [valFree]node) {
	ns[valNone].kind = None
	ns[valTrue] = node{kind: Bool, num: 1}
	ns[valFalse] = node{kind: Bool}
	ns[valEmptyTuple] = node{kind: Tuple, flags: flagPlain}
	for i := range 256 {
		ns[valByte0+i] = node{kind: Int, num: int64(i)}
	}
	for i := range ns {
		ns[i].flags |= flagShared
	}
	return ns
}()

func (a *arena) add(n node) uint32 {
	a.nodes = append(a.nodes, n)
	a.used += nodeBytes
	return uint32(len(a.nodes) - 1)
}

func (a *arena) addText(k Kind, s string, start, end int64) uint32 {
	a.texts = append(a.texts, s)
	a.used += int64(len(s)) + entryBytes
	return a.add(node{kind: k, num: int64(len(a.texts) - 1), start: start, size: span32(start, end)})
}

func (a *arena) addList(k Kind, items []uint32, start, end int64) uint32 {
	n := node{kind: k, start: start, size: span32(start, end)}
	if len(items) > 0 {
		a.lists = append(a.lists, items)
		n.num = int64(len(a.lists) - 1)
		a.used += int64(cap(items))*4 + 24
	}
	if a.plain(items) {
		n.flags |= flagPlain
	}
	return a.add(n)
}

// plain reports whether all items are constants or containers of constants.
func (a *arena) plain(items []uint32) bool {
	for _, it := range items {
		switch n := &a.nodes[it]; {
		case n.kind >= None && n.kind <= Bytes:
		case n.kind >= List && n.kind <= FrozenSet && n.flags&flagPlain != 0:
		default:
			return false
		}
	}
	return true
}

// addGlobal returns the one node of a global; the first place it is named stays.
func (a *arena) addGlobal(module, path string, start, end int64) uint32 {
	g := global{module, path}
	if a.names == nil {
		a.names = map[global]uint32{}
	}
	if id, ok := a.names[g]; ok {
		return id
	}
	a.globals = append(a.globals, g)
	a.used += int64(len(module)+len(path)) + 2*entryBytes + 64
	id := a.add(node{kind: Global, flags: flagShared, num: int64(len(a.globals) - 1), start: start, size: span32(start, end)})
	a.names[g] = id
	return id
}

func span32(start, end int64) uint32 { return uint32(min(max(end-start, 0), 1<<32-1)) }

func (a *arena) text(id uint32) string {
	switch n := &a.nodes[id]; n.kind {
	case Float:
		if n.b != 0 {
			return strconv.FormatFloat(math.Float64frombits(uint64(n.num)), 'g', -1, 64)
		}
		return a.texts[n.num]
	case Str, Bytes, Attr:
		return a.texts[n.num]
	case Int:
		if n.b != 0 {
			return a.texts[n.b-1]
		}
		return ""
	default:
		return ""
	}
}

func (a *arena) items(id uint32) []uint32 {
	switch n := &a.nodes[id]; n.kind {
	case List, Tuple, Dict, Set, FrozenSet:
		return a.lists[n.num]
	default:
		return nil
	}
}

func (a *arena) global(id uint32) (global, bool) {
	if n := &a.nodes[id]; n.kind == Global {
		return a.globals[n.num], true
	}
	return global{}, false
}

// A Value is one value that a stream makes. It is valid as long as its Stream.
type Value struct {
	a  *arena
	id uint32
}

func (v Value) node() node {
	if v.a == nil {
		return node{}
	}
	return v.a.nodes[v.id]
}

// Kind returns what sort of value v is.
func (v Value) Kind() Kind { return v.node().kind }

// ID tells values of one stream apart: equal only for the same object.
func (v Value) ID() uint32 { return v.id }

// How returns the way in which a [Call] was made.
func (v Value) How() How { return v.node().how }

// Span returns the half-open range of bytes that made v, or 0, 0.
func (v Value) Span() (start, end int64) {
	n := v.node()
	return n.start, n.start + int64(n.size)
}

// Int returns the number of an Int or Bool, if it fits.
func (v Value) Int() (int64, bool) {
	n := v.node()
	return n.num, n.kind == Bool || n.kind == Int && n.b == 0
}

// Text returns the content of a Str or Bytes, the name of an Attr, or the
// digits of a number. Long literals are cut: see Len.
func (v Value) Text() string {
	if v.a == nil {
		return ""
	}
	return v.a.text(v.id)
}

// Len returns the full length of a Str or Bytes in bytes, or the number of
// items, where dropped ones of a long list of plain data do not count.
func (v Value) Len() int64 {
	if v.a == nil {
		return 0
	}
	if n, ok := v.a.long[v.id]; ok {
		return n
	}
	if k := v.Kind(); k == Str || k == Bytes {
		return int64(len(v.Text()))
	}
	return int64(len(v.a.items(v.id)))
}

// Items returns the items of a container; of a Dict keys and values alternate.
func (v Value) Items() []Value {
	if v.a == nil {
		return nil
	}
	ids := v.a.items(v.id)
	vs := make([]Value, len(ids))
	for i, id := range ids {
		vs[i] = Value{v.a, id}
	}
	return vs
}

// Global returns the module and the dotted path of a Global; the path of a
// module object is empty.
func (v Value) Global() (module, path string, ok bool) {
	if v.a == nil {
		return "", "", false
	}
	g, ok := v.a.global(v.id)
	return g.module, g.path, ok
}

// Callee returns what a Call calls, the owner of an Attr, or the container of
// an Item.
func (v Value) Callee() Value { return Value{v.a, v.node().a} }

// Args returns the positional arguments of a Call as a Tuple, the key of an
// Item, or the identifier of a Persistent.
func (v Value) Args() Value { return Value{v.a, v.node().b} }

// Keywords returns the keyword arguments of a Call as a Dict, or Unknown.
func (v Value) Keywords() Value { return Value{v.a, v.node().c} }

// Plain reports whether v is data through and through: constants and
// containers of constants.
func (v Value) Plain() bool { return v.a != nil && v.a.plain([]uint32{v.id}) }

// Expr renders v as a Python expression of at most 256 bytes.
func (v Value) Expr() string {
	if v.a == nil {
		return "?"
	}
	return v.a.expr(v.id)
}
