package pickle

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// Errors that a loader raises.
var (
	errUnderflow = errors.New("stack underflow")
	errNoMark    = errors.New("no mark on the stack")
	errMemo      = errors.New("unknown memo key")
	errOpcode    = errors.New("not an opcode")
	errOperand   = errors.New("operand of a wrong type")
	errBuffer    = errors.New("out-of-band buffer without buffers")
	errProtocol  = errors.New("unsupported protocol")
)

// errStop ends a run as the STOP opcode does.
var errStop = errors.New("stop")

// A machine runs one stream.
type machine struct {
	cur       cursor
	job       job
	s         *Stream
	a         *arena
	stack     []uint32
	marks     []int
	memo      []uint32          // dense part; noValue means unset
	sparse    map[uint64]uint32 // the rest
	memoUsed  int
	proto     int
	declared  bool // a PROTO opcode was seen
	trial     bool // no inner streams
	charged   bool // its steps count against the shared work
	straddled bool // an opcode began in a frame and ended behind it
	folds     int  // depth of folding
	arrays    int  // joblib arrays skipped
	opStart   int64
	ext       map[uint64]uint32 // extension codes registered by this stream
	statuses  []detect.Status
	states    map[uint32]uint32 // of numpy.dtype objects: what BUILD gave them
}

// A job is the bytes that streams are read from, and what may be spent on them.
type job struct {
	r     io.ReaderAt
	size  int64
	lim   bound.Limits
	depth int
	data  bool  // the bytes are data that nothing loads
	work  *work // shared by all jobs of one file
}

// Work is what inner streams, other views and restarts may cost together, so
// that streams inside streams do not multiply.
type work struct{ left int64 }

const (
	runCost  = 256 // steps that a run is charged at least
	byteCost = 64  // bytes of a sweep for one step
)

// spend takes n steps and reports whether there were any left.
func (w *work) spend(n int64) bool {
	w.left -= n
	return w.left > 0
}

func (w *work) err() error {
	return fmt.Errorf("inner streams take too many steps together: %w", detect.ErrLimit)
}

// inside is the job of bytes that m hands on.
func (m *machine) inside(r io.ReaderAt, size int64) job {
	j := m.job
	j.r, j.size, j.depth = r, size, j.depth+1
	return j
}

func newMachine(j job, pos int64, v view) *machine {
	m := &machine{cur: newCursor(j.r, j.size, pos), job: j, a: &arena{}, s: &Stream{Start: pos}, charged: j.depth > 0}
	m.cur.view = v
	m.a.reset()
	return m
}

// restart makes m ready for the stream at pos; values of the last are dropped.
func (m *machine) restart(pos int64) {
	m.a.reset()
	clear(m.memo)
	m.cur.pos, m.cur.frameEnd, m.cur.odd = pos, 0, false
	*m = machine{
		cur: m.cur, job: m.job, a: m.a, s: &Stream{Start: pos}, charged: m.charged,
		stack: m.stack[:0], marks: m.marks[:0], memo: m.memo[:0],
	}
}

// run runs the stream to STOP, an error or a limit; m.s says which.
func (m *machine) run(ctx context.Context) {
	var err error
	if m.charged && !m.job.work.spend(runCost) {
		err = m.job.work.err()
	} else {
		err = m.loop(ctx)
	}
	if m.charged {
		m.job.work.spend(int64(m.s.Ops))
	}
	m.s.End = m.cur.pos
	switch {
	case errors.Is(err, errStop):
		m.s.Stopped = true
	case fatal(err):
		m.s.Err = fmt.Errorf("stopped after %d opcodes at byte %d: %w", m.s.Ops, m.opStart, err)
	default:
		m.s.Err = fmt.Errorf("broken at byte %d: %w", m.opStart, err)
	}
	if !m.trial && m.cur.view == viewMemory {
		m.data(ctx)
	}
}

func (m *machine) loop(ctx context.Context) error {
	for {
		if m.s.Ops&0xfff == 0 {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			if err := m.budget(); err != nil {
				return err
			}
		}
		m.opStart = m.cur.pos
		op, err := m.cur.byte(ctx)
		if err != nil {
			return err
		}
		m.s.Ops++
		frame, arrays := m.cur.frameEnd, m.arrays
		if err := m.step(ctx, op); err != nil {
			return err
		}
		if frame != 0 && m.opStart < frame && m.cur.pos > frame && op != opFrame && m.arrays == arrays {
			m.straddled = true
		}
	}
}

// budget is tested every 4,096 opcodes, so that limits may be passed by what
// that many opcodes can make.
func (m *machine) budget() error {
	switch {
	case m.s.Ops >= m.job.lim.Ops:
		return fmt.Errorf("more than %d opcodes: %w", m.job.lim.Ops, detect.ErrLimit)
	case len(m.stack)+len(m.marks) > m.job.lim.Stack:
		return fmt.Errorf("more than %d stack slots: %w", m.job.lim.Stack, detect.ErrLimit)
	case m.memoUsed > m.job.lim.Memo:
		return fmt.Errorf("more than %d memo entries: %w", m.job.lim.Memo, detect.ErrLimit)
	case m.a.used+int64(len(m.s.Effects))*effectBytes > m.job.lim.Arena:
		return fmt.Errorf("more than %d bytes of values: %w", m.job.lim.Arena, detect.ErrLimit)
	}
	return nil
}

func (m *machine) push(id uint32) { m.stack = append(m.stack, id) }

// floor is the lowest stack slot that an opcode may reach: above the last mark.
func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

func (m *machine) pop() (uint32, error) {
	n := len(m.stack)
	if n <= m.floor() {
		return 0, errUnderflow
	}
	id := m.stack[n-1]
	m.stack = m.stack[:n-1]
	return id, nil
}

func (m *machine) top() (uint32, error) {
	if len(m.stack) <= m.floor() {
		return 0, errUnderflow
	}
	return m.stack[len(m.stack)-1], nil
}

// popMark returns a copy of the items above the last mark.
func (m *machine) popMark() ([]uint32, error) {
	if len(m.marks) == 0 {
		return nil, errNoMark
	}
	at := m.floor()
	m.marks = m.marks[:len(m.marks)-1]
	items := m.stack[at:]
	m.stack = m.stack[:at]
	if len(items) == 0 {
		return nil, nil
	}
	return append(make([]uint32, 0, len(items)), items...), nil
}

// drop releases a value that was popped, if nothing else can refer to it, so
// that padding does not fill the arena.
func (m *machine) drop(id uint32) {
	last := len(m.a.nodes) - 1
	if int(id) != last || id < valFree {
		return
	}
	n := m.a.nodes[id]
	if n.flags&flagShared != 0 {
		return
	}
	switch n.kind {
	case Int, Bool, None:
		if n.b != 0 {
			return
		}
	case Float, Str, Bytes:
		if n.kind == Float && n.b != 0 {
			break
		}
		if int(n.num) != len(m.a.texts)-1 || n.flags&flagCut != 0 {
			return
		}
		if n.kind != Float && len(m.a.texts[n.num]) >= tryBytes {
			return // may be tried as a stream
		}
		m.a.used -= int64(len(m.a.texts[n.num])) + entryBytes
		m.a.texts = m.a.texts[:n.num]
	case List, Tuple, Dict, Set, FrozenSet:
		if n.num != 0 {
			return
		}
	default:
		return
	}
	m.a.nodes = m.a.nodes[:last]
	m.a.used -= nodeBytes
}

func (m *machine) share(id uint32) { m.a.nodes[id].flags |= flagShared }

const denseMemo = 1 << 12 // indices below this, or below twice the entries, are dense

func (m *machine) memoPut(key uint64, id uint32) {
	m.share(id)
	if key < denseMemo || key < 2*uint64(len(m.memo)) {
		for uint64(len(m.memo)) <= key {
			m.memo = append(m.memo, noUnset)
		}
		if m.memo[key] == noUnset {
			m.memoUsed++
		}
		m.memo[key] = id + 1
		return
	}
	if m.sparse == nil {
		m.sparse = map[uint64]uint32{}
	}
	if _, ok := m.sparse[key]; !ok {
		m.memoUsed++
		m.a.used += 2 * entryBytes
	}
	m.sparse[key] = id
}

// noUnset marks an empty slot of the dense memo, whose entries are one above
// their value.
const noUnset = 0

func (m *machine) memoGet(key uint64) error {
	if id, ok := m.sparse[key]; ok {
		m.push(id)
		return nil
	}
	if key < uint64(len(m.memo)) && m.memo[key] != noUnset {
		m.push(m.memo[key] - 1)
		return nil
	}
	return fmt.Errorf("%w %d", errMemo, key)
}

func (m *machine) value(id uint32) Value { return Value{m.a, id} }

func (m *machine) effect(k EffectKind, id uint32) *Effect {
	m.s.Effects = append(m.s.Effects, Effect{Kind: k, Start: m.opStart, End: m.cur.pos, Value: m.value(id)})
	return &m.s.Effects[len(m.s.Effects)-1]
}

// step runs one opcode.
func (m *machine) step(ctx context.Context, op byte) error {
	switch op {
	case opMark:
		m.marks = append(m.marks, len(m.stack))
	case opStop:
		id, err := m.pop()
		if err != nil {
			return err
		}
		m.s.Result = m.value(id)
		return errStop
	case opPop:
		if len(m.marks) > 0 && m.floor() == len(m.stack) {
			m.marks = m.marks[:len(m.marks)-1]
			return nil
		}
		id, err := m.pop()
		if err != nil {
			return err
		}
		m.drop(id)
	case opPopMark:
		_, err := m.popMark()
		return err
	case opDup:
		id, err := m.top()
		if err != nil {
			return err
		}
		m.share(id)
		m.push(id)
	case opNone:
		m.push(valNone)
	case opNewTrue:
		m.push(valTrue)
	case opNewFalse:
		m.push(valFalse)
	case opEmptyTuple:
		m.push(valEmptyTuple)
	case opProto:
		return m.opProto(ctx)
	case opFrame:
		n, err := m.cur.little(ctx, 8)
		if err != nil {
			return err
		}
		return m.cur.frame(n)
	case opMemoize, opPut, opBinPut, opLongBinPut, opGet, opBinGet, opLongBinGet:
		return m.opMemo(ctx, op)
	case opInt, opBinInt, opBinInt1, opBinInt2, opLong, opLong1, opLong4, opFloat, opBinFloat:
		return m.opNumber(ctx, op)
	case opString, opBinString, opShortBinString, opUnicode, opBinUnicode, opShortBinUnicode, opBinUnicode8,
		opBinBytes, opShortBinBytes, opBinBytes8, opByteArray8:
		return m.opText(ctx, op)
	case opEmptyList, opEmptyDict, opEmptySet, opList, opTuple, opTuple1, opTuple2, opTuple3, opDict, opFrozenSet:
		return m.opContainer(op)
	case opAppend, opAppends, opAddItems, opSetItem, opSetItems:
		return m.opAdd(op)
	case opGlobal, opStackGlobal, opExt1, opExt2, opExt4:
		return m.opName(ctx, op)
	case opReduce, opInst, opObj, opNewObj, opNewObjEx:
		return m.opCall(ctx, op)
	case opBuild:
		return m.opBuild(ctx)
	case opPersID, opBinPersID:
		return m.opPersistent(ctx, op)
	case opNextBuffer:
		return errBuffer
	case opReadonlyBuffer:
		_, err := m.top()
		return err
	default:
		return fmt.Errorf("%w: 0x%02x", errOpcode, op)
	}
	return nil
}

func (m *machine) opProto(ctx context.Context) error {
	b, err := m.cur.byte(ctx)
	if err != nil {
		return err
	}
	if b > highestProtocol {
		return fmt.Errorf("%w %d", errProtocol, b)
	}
	m.proto, m.declared = int(b), true
	m.s.Protocol = max(m.s.Protocol, m.proto)
	return nil
}

func (m *machine) opMemo(ctx context.Context, op byte) error {
	var key uint64
	var err error
	switch op {
	case opMemoize:
		key = uint64(m.memoUsed)
	case opPut, opGet:
		key, err = m.memoKey(ctx)
	case opBinPut, opBinGet:
		key, err = m.cur.little(ctx, 1)
	default:
		key, err = m.cur.little(ctx, 4)
	}
	if err != nil {
		return err
	}
	switch op {
	case opGet, opBinGet, opLongBinGet:
		return m.memoGet(key)
	}
	id, err := m.top()
	if err != nil {
		return err
	}
	// CPython's loader keeps the memo in a list of twice the greatest index.
	if _, told := m.sparse[key]; key >= reserved && key > uint64(m.cur.pos-m.s.Start) && !told {
		m.effect(Reserve, id)
	}
	m.memoPut(key, id)
	return nil
}

// reserved is the memo index from which on it matters how much memory a loader
// reserves: 256 MiB of pointers.
const reserved = 1 << 24

func (m *machine) memoKey(ctx context.Context) (uint64, error) {
	text, _, err := m.cur.line(ctx, lineRule{keep: maxDigits, only: inNumber})
	if err != nil {
		return 0, err
	}
	n, ok := parseInt(text)
	if !ok || n < 0 {
		return 0, fmt.Errorf("%w %q", errMemo, text)
	}
	return uint64(n), nil
}

// adopt takes over inner streams that were found at a byte of this one; those
// inside them come along.
func (m *machine) adopt(streams []*Stream, via Via, at int64) {
	for _, s := range streams {
		s.Via = max(s.Via, via)
		if s.Path != "" && s.Path[0] == '@' {
			s.Path = "!" + s.Path
		}
		s.Path = fmt.Sprintf("@%d%s", at, s.Path)
		m.s.inner = append(m.s.inner, s)
	}
}
