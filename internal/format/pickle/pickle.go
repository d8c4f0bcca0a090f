// Package pickle simulates the pickle machine of CPython symbolically. It
// executes nothing, imports nothing and has no opinion: it tells what a loader
// would look up, call, patch and build, each with the bytes that cause it.
//
// [Open] runs every stream of a file and gives the effects of each in order.
// Values are symbolic: a call that is known to be pure is computed, anything
// else stays an expression. The source of the semantics is CPython 3.11,
// Modules/_pickle.c and Lib/pickle.py, and the comments of Lib/pickletools.py.
package pickle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// A Via says how a stream comes to be loaded.
type Via uint8

// The ways to a stream.
const (
	Direct Via = iota // by opening the file
	Loaded            // an outer stream hands it to a loader
	Data              // it merely lies in the data of an outer stream
)

// A Stream is what one pickle stream does when it is loaded.
type Stream struct {
	Path       string // "" for a top-level stream, "#2" for the second of a stack, "@512" for a folded inner one
	Start, End int64  // half-open, in the innermost file; of a folded stream in its own bytes
	Protocol   int    // the highest declared
	Stopped    bool   // the STOP opcode was reached
	Via        Via
	Err        error    // why a stream ended without STOP: what its loader would raise, or a limit
	Effects    []Effect // in the order in which they happen
	Ops        int      // opcodes run
	Result     Value    // what STOP returns

	inner []*Stream
}

// An EffectKind is what sort of thing an [Effect] is.
type EffectKind uint8

// The kinds of effects.
const (
	Import     EffectKind = iota // a name is looked up: Value is a Global
	Invoke                       // Value is a Call
	Build                        // BUILD: Value is the object, State its state
	Mutate                       // items set or added to what is not a plain container: Value is the object, State the items
	Nested                       // Value is the Call of a loader; Inner are its streams, none if they are not pickle
	Code                         // Value is a code object or marshalled code
	Identifier                   // Value is a Persistent
	Extension                    // Value is Unknown: an extension code that nothing registers
	Expansion                    // the value doubles itself: Value is the container
	Reserve                      // a memo index makes the loader reserve memory for all below it: Value is what is memoized
)

// An Effect is one thing that happens while a stream is loaded.
type Effect struct {
	Kind       EffectKind
	Swept      bool // found by the tail sweep, behind an error or a limit
	Start, End int64
	Value      Value
	State      Value
	Inner      []*Stream // of Nested
	Names      []string  // of Code: names and texts that the code uses
}

const (
	statusName    = "format/pickle"
	keptStreams   = 10_000
	quietStreams  = 16 // streams without effects that are kept
	sniffBytes    = 64 << 10
	sniffOps      = 10_000
	sweepRestarts = 64
)

// errDisagree is the reason of a status: what one loader accepts another
// refuses or reads differently. Effects of all of them are told.
var errDisagree = errors.New("frames that loaders read differently")

// Sniff reports whether the bytes are one or more pickles: a PROTO opcode, or a
// trial run that reaches a stack effect or STOP.
func Sniff(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) bool {
	return sniff(ctx, job{r: r, size: size, lim: lim, work: &work{left: sniffOps}})
}

func sniff(ctx context.Context, j job) bool {
	r, size := j.r, j.size
	var head [3]byte
	n, _ := r.ReadAt(head[:min(size, 3)], 0)
	if n >= 2 && head[0] == opProto && head[1] <= highestProtocol {
		return n == 2 || known[head[2]]
	}
	if n == 0 || !known[head[0]] {
		return false
	}
	j.lim.Ops, j.lim.Streams = min(j.lim.Ops, sniffOps), 0
	m := newMachine(j, 0, viewMemory)
	m.trial = true
	m.run(ctx)
	if m.s.Stopped || errors.Is(m.s.Err, detect.ErrLimit) {
		return true
	}
	var text [512]byte
	n, _ = r.ReadAt(text[:min(size, int64(len(text)))], 0)
	lines := printable(string(text[:n])) // a list of words can look like GLOBAL
	for _, e := range m.s.Effects {
		if e.Kind != Import {
			return true
		}
		g, _ := m.a.global(e.Value.id)
		if identifiers(g.module) && identifiers(g.path) && (!lines || m.s.Ops > 2) && !errors.Is(m.s.Err, errOpcode) {
			return true
		}
	}
	return false
}

// identifiers reports whether s is a dotted path of Python identifiers.
func identifiers(s string) bool {
	for part := range bytes.SplitSeq([]byte(s), []byte(".")) {
		for i, c := range part {
			if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && c < 0x80 && (i == 0 || c < '0' || c > '9') {
				return false
			}
		}
		if len(part) == 0 {
			return false
		}
	}
	return true
}

// Open runs every stream of a file: stacked ones, the five of a legacy torch
// file, those that a stream itself would load. What could not be read is in the
// statuses; streams before it are valid.
//
// Bytes behind a complete stream that are no stream themselves (tensor
// storages, padding) are not an error: no loader gets past them.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) ([]*Stream, []detect.Status) {
	return open(ctx, job{r: r, size: size, lim: lim, work: &work{left: int64(lim.Ops)}})
}

func open(ctx context.Context, jb job) ([]*Stream, []detect.Status) {
	var all []*Stream
	var sts []detect.Status
	pos, quiet := int64(0), 0
	var reuse *machine
	for i := 1; pos < jb.size; i++ {
		if err := ctx.Err(); err != nil {
			return all, append(sts, status(fmt.Errorf("stopped before stream %d at byte %d: %w", i, pos, context.Cause(ctx))))
		}
		name := ""
		if i > 1 {
			name = fmt.Sprintf("#%d", i)
		}
		m := runViews(ctx, jb, pos, reuse)
		s := m.s
		s.Path = name
		idle := len(s.Effects) == 0 && len(s.inner) == 0
		if i > 1 && idle && !s.Stopped && (!m.declared || s.Ops < 3 || s.Protocol < 2) && !fatal(s.Err) {
			return all, sts // not a stream
		}
		if idle && s.Stopped && quiet >= quietStreams {
			reuse = m // its values are dropped
		} else {
			reuse = nil
			if idle {
				quiet++
			}
			all = append(all, s)
			all = append(all, nameInner(s)...)
		}
		sts = append(sts, m.statuses...)
		if !s.Stopped {
			sts = append(sts, status(fmt.Errorf("stream %d, %w", i, s.Err)))
			if jb.data {
				return all, sts
			}
			more, err := sweep(ctx, jb, s)
			if err != nil {
				sts = append(sts, status(err))
			}
			return append(all, more...), sts
		}
		if len(all) > keptStreams {
			return all, append(sts, status(fmt.Errorf("more than %d streams, at byte %d: %w", keptStreams, s.End, detect.ErrLimit)))
		}
		pos = s.End
	}
	if len(all) == 0 {
		sts = append(sts, status(fmt.Errorf("no pickle stream: %w", errEnd)))
	}
	return all, sts
}

// fatal reports whether err comes from the source or from a limit, not from
// the bytes.
func fatal(err error) bool {
	var re readError
	return errors.As(err, &re) || errors.Is(err, detect.ErrLimit) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func status(err error) detect.Status {
	st := detect.Status{Detector: statusName, State: detect.Failed, Err: err}
	if errors.Is(err, detect.ErrLimit) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		st.State = detect.Skipped
	}
	return st
}

// nameInner gives the inner streams of s their full paths and returns them.
func nameInner(s *Stream) []*Stream {
	if s.Path != "" {
		for _, in := range s.inner {
			in.Path = s.Path + "!" + in.Path
		}
	}
	return s.inner
}

// runViews runs one stream as the usual loader does and, where frames or array
// bytes make loaders differ, as the others do; their effects are added.
func runViews(ctx context.Context, j job, pos int64, reuse *machine) *machine {
	m := reuse
	if m == nil {
		m = newMachine(j, pos, viewMemory)
	} else {
		m.restart(pos)
	}
	m.run(ctx)
	if m.cur.odd {
		m.union(ctx, viewStream)
		m.union(ctx, viewPure)
	}
	if m.straddled {
		m.statuses = append(m.statuses, status(fmt.Errorf("stream at byte %d: an opcode reaches over the end of its frame, which no pickler writes: %w", m.s.Start, errDisagree)))
	}
	if m.arrays > 0 {
		m.union(ctx, viewPlain)
	}
	return m
}

// union runs the stream again in another view and keeps what is new in it. A
// stream that stops in any view has stopped.
func (m *machine) union(ctx context.Context, v view) {
	if fatal(m.s.Err) {
		return
	}
	alt := newMachine(m.job, m.s.Start, v)
	alt.charged = true
	alt.run(ctx)
	type key struct {
		kind       EffectKind
		start, end int64
		expr       string
	}
	of := func(e Effect) key { return key{e.Kind, e.Start, e.End, e.Value.Expr()} }
	seen := make(map[key]bool, len(m.s.Effects))
	for _, e := range m.s.Effects {
		seen[of(e)] = true
	}
	for _, e := range alt.s.Effects {
		if !seen[of(e)] {
			m.s.Effects = append(m.s.Effects, e)
			m.s.inner = append(m.s.inner, e.Inner...)
		}
	}
	if v != viewPlain && (m.s.Stopped != alt.s.Stopped || m.s.End != alt.s.End) {
		m.statuses = append(m.statuses, status(fmt.Errorf("stream at byte %d: %w", m.s.Start, errDisagree)))
	}
	if v == viewPlain && !m.s.Stopped && alt.s.Stopped {
		m.statuses = append(m.statuses, status(fmt.Errorf("stream at byte %d, %w", m.s.Start, m.s.Err)))
	}
	if !m.s.Stopped && alt.s.Stopped {
		m.s.Stopped, m.s.End, m.s.Err, m.s.Result = true, alt.s.End, nil, alt.s.Result
	}
	if fatal(alt.s.Err) {
		m.statuses = append(m.statuses, status(alt.s.Err))
	}
}

// Callables returns the globals that v holds, at most limit of them, looking
// into containers and into the arguments of calls.
func (v Value) Callables(limit int) []Value {
	if v.a == nil {
		return nil
	}
	var out []Value
	todo := []uint32{v.id}
	seen := map[uint32]bool{}
	const steps = 4096
	for n := 0; len(todo) > 0 && len(out) < limit && n < steps; n++ {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[id] {
			continue
		}
		seen[id] = true
		switch nd := v.a.nodes[id]; nd.kind {
		case Global:
			out = append(out, Value{v.a, id})
		case List, Tuple, Dict, Set, FrozenSet:
			if nd.flags&flagPlain == 0 {
				items := v.a.items(id)
				todo = append(todo, items[:min(len(items), steps)]...)
				slices.Reverse(todo[len(todo)-min(len(items), steps):])
			}
		case Call, Attr, Item:
			todo = append(todo, nd.a, nd.b, nd.c)
		default:
		}
	}
	return out
}
