package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A Report says what [Verify] looked at.
type Report struct {
	Size        uint64    // entries recomputed
	Root        tlog.Hash // of all of them
	Checkpoints int       // stored checkpoints that agree
	Sealed      uint64    // entries below are covered by a stored checkpoint
	Witnessed   uint64    // entries below are covered by an outside checkpoint
	Erased      uint64    // entries whose details were erased
	Fault       *Fault    // the first one; nil if nothing is wrong
}

// String returns the report in one line.
func (r Report) String() string {
	state := "whole"
	if r.Fault != nil {
		state = fmt.Sprintf("TAMPERED at entry %d: %s", r.Fault.Index, r.Fault.What)
	}
	witness := fmt.Sprintf("witnessed below %d", r.Witnessed)
	if r.Witnessed < r.Size {
		witness = fmt.Sprintf("no checkpoint kept outside covers entry %d and later", r.Witnessed)
	}
	return fmt.Sprintf("audit log %s: %d entries, %d checkpoints, sealed below %d, %s, %d erased", state, r.Size, r.Checkpoints, r.Sealed, witness, r.Erased)
}

// A Fault is the first place where the log is not what was written.
type Fault struct {
	Index uint64 // of the entry; of the log's end for what is missing there
	What  string
}

// pageEntries is how many entries Verify holds at once.
const pageEntries = 1024

// Verify recomputes every leaf and node of the log, and checks the sequence,
// the commitments to details that still exist, every stored checkpoint and
// every checkpoint the caller kept outside the database. An error wrapping
// [ErrTampered] means that the log is not what was written: the report names
// the first bad index. Any other error means that it could not look.
//
// Without an outside checkpoint, whoever owns the database and the signing key
// can rewrite it all, and whoever owns the database can cut it back to an
// earlier checkpoint: [Report.Witnessed] says from where on this is so.
func Verify(ctx context.Context, r Reader, v note.Verifier, outside ...Checkpoint) (Report, error) {
	w := &walk{r: r, verifier: v}
	for _, c := range outside {
		t, err := OpenCheckpoint(c.Note, v)
		if err != nil {
			w.fault(0, "outside checkpoint: %v", err)
			continue
		}
		w.outside = append(w.outside, t)
	}
	slices.SortFunc(w.outside, func(a, b Tree) int {
		if a.Size != b.Size {
			return int(min(max(int64(a.Size)-int64(b.Size), -1), 1))
		}
		return bytes.Compare(a.Root[:], b.Root[:])
	})
	if err := w.run(ctx); err != nil {
		return w.report, fmt.Errorf("verify audit log: %w", err)
	}
	if f := w.report.Fault; f != nil {
		return w.report, fmt.Errorf("%w: entry %d: %s", ErrTampered, f.Index, f.What)
	}
	return w.report, nil
}

// walk streams the log once, keeping the perfect subtrees to the left of the
// next leaf (at most one per level), from which every node and root follows.
type walk struct {
	r        Reader
	verifier note.Verifier
	outside  []Tree // sorted by size; those seen are cut off
	stored   []Checkpoint
	last     uint64 // greatest size of a stored checkpoint read
	done     bool   // all stored checkpoints were read
	left     []tlog.Hash
	levels   []int
	report   Report
}

func (w *walk) fault(i uint64, format string, args ...any) {
	if w.report.Fault == nil || i < w.report.Fault.Index {
		w.report.Fault = &Fault{i, fmt.Sprintf(format, args...)}
	}
}

func (w *walk) run(ctx context.Context) error {
	head, err := w.r.AuditHead(ctx)
	if err != nil {
		return err
	}
	if err := w.checkpoints(ctx, 0); err != nil {
		return err
	}
	for at := uint64(0); at < head.Entries && w.report.Fault == nil; {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := w.r.AuditEntries(ctx, at, int(min(pageEntries, head.Entries-at)))
		if err != nil {
			return err
		}
		if len(page) == 0 {
			w.fault(at, "entry is missing")
			break
		}
		hs, err := w.pageHashes(ctx, at, len(page))
		if err != nil {
			return err
		}
		for _, e := range page {
			if w.entry(at, e, hs); w.report.Fault != nil {
				break
			}
			at++
			w.report.Size = at
			if err := w.checkpoints(ctx, at); err != nil {
				return err
			}
		}
	}
	w.report.Root = w.root()
	if w.report.Fault != nil {
		return nil
	}
	if want := tlog.StoredHashCount(int64(head.Entries)); head.Hashes != want {
		w.fault(head.Entries, "log ends here but %d hashes are stored, want %d: entries were removed", head.Hashes, want)
	}
	return w.rest(ctx, head)
}

// pageHashes returns the stored hashes that n entries from at on made.
func (w *walk) pageHashes(ctx context.Context, at uint64, n int) (map[int64]tlog.Hash, error) {
	first, end := tlog.StoredHashCount(int64(at)), tlog.StoredHashCount(int64(at)+int64(n))
	indexes := make([]int64, 0, end-first)
	for i := first; i < end; i++ {
		indexes = append(indexes, i)
	}
	found := make(map[int64]tlog.Hash, len(indexes))
	hs, err := w.r.AuditHashes(ctx, indexes)
	if errors.Is(err, ErrMissing) { // find out which, one by one
		for _, i := range indexes {
			one, err := w.r.AuditHashes(ctx, []int64{i})
			if errors.Is(err, ErrMissing) {
				continue
			}
			if err != nil {
				return nil, err
			}
			found[i] = one[0]
		}
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	for i, h := range hs {
		found[indexes[i]] = h
	}
	return found, nil
}

// entry checks one row and pushes it onto the tree.
func (w *walk) entry(at uint64, e Entry, stored map[int64]tlog.Hash) {
	if e.Seq != at {
		w.fault(at, "entry is missing; the next is %d", e.Seq)
		return
	}
	ev, err := ParseLeaf(e.Leaf)
	if err != nil {
		w.fault(at, "leaf is malformed: %v", err)
		return
	}
	committed := ev.Payload != [32]byte{}
	switch {
	case ev.Index != at:
		w.fault(at, "leaf says it is entry %d", ev.Index)
		return
	case (e.Salt == nil) != (e.Payload == nil):
		w.fault(at, "details without salt, or salt without details")
		return
	case e.Salt != nil && !committed:
		w.fault(at, "details that the leaf does not commit to")
		return
	case e.Salt != nil && commit(e.Salt, e.Payload) != ev.Payload:
		w.fault(at, "details were changed")
		return
	case e.Salt == nil && committed:
		w.report.Erased++
	}
	h, level, n := tlog.RecordHash(e.Leaf), 0, int64(at)
	for {
		i := tlog.StoredHashIndex(level, n)
		got, ok := stored[i]
		switch {
		case !ok:
			w.fault(at, "hash %d (level %d) is missing", i, level)
			return
		case got != h && level == 0:
			w.fault(at, "leaf does not match its hash: one of them was changed")
			return
		case got != h:
			w.fault(at, "hash %d (level %d) was changed", i, level)
			return
		}
		top := len(w.left) - 1
		if top < 0 || w.levels[top] != level {
			break
		}
		h = tlog.NodeHash(w.left[top], h)
		w.left, w.levels = w.left[:top], w.levels[:top]
		level, n = level+1, n/2
	}
	w.left, w.levels = append(w.left, h), append(w.levels, level)
}

// root returns the hash of the tree of all entries pushed so far.
func (w *walk) root() tlog.Hash {
	if len(w.left) == 0 {
		h, _ := tlog.TreeHash(0, nil) // of the empty tree; reads nothing
		return h
	}
	h := w.left[len(w.left)-1]
	for i := len(w.left) - 2; i >= 0; i-- {
		h = tlog.NodeHash(w.left[i], h)
	}
	return h
}

// checkpoints compares the tree of size entries with every checkpoint of it.
func (w *walk) checkpoints(ctx context.Context, size uint64) error {
	for len(w.outside) > 0 && w.outside[0].Size == size {
		t := w.outside[0]
		w.outside = w.outside[1:]
		if t.Root != w.root() {
			w.fault(w.report.Witnessed, "the outside checkpoint of %d entries has root %s, the log has %s: history was rewritten", size, t.Root, w.root())
			continue
		}
		w.report.Witnessed = size
	}
	for {
		if len(w.stored) == 0 && !w.done {
			var err error
			if w.stored, err = w.r.AuditCheckpoints(ctx, w.last, pageEntries); err != nil {
				return err
			}
			if w.done = len(w.stored) == 0; !w.done {
				w.last = w.stored[len(w.stored)-1].Size + 1
			}
		}
		if len(w.stored) == 0 || w.stored[0].Size > size {
			return nil
		}
		c := w.stored[0]
		w.stored = w.stored[1:]
		t, err := OpenCheckpoint(c.Note, w.verifier)
		switch {
		case err != nil:
			w.fault(w.report.Sealed, "stored checkpoint of %d entries: %v", c.Size, err)
		case t.Size != c.Size || c.Size != size:
			w.fault(w.report.Sealed, "stored checkpoint of %d entries is filed under %d", t.Size, c.Size)
		case t.Root != w.root():
			w.fault(w.report.Sealed, "checkpoint of %d entries has root %s, the log has %s: history was rewritten", size, t.Root, w.root())
		default:
			w.report.Sealed, w.report.Checkpoints = size, w.report.Checkpoints+1
		}
	}
}

// rest finds checkpoints of entries that the log does not have (any more).
func (w *walk) rest(ctx context.Context, head Head) error {
	if len(w.outside) > 0 {
		w.fault(head.Entries, "log ends here but an outside checkpoint covers %d entries: it was rolled back", w.outside[len(w.outside)-1].Size)
	}
	if len(w.stored) == 0 {
		return nil
	}
	// The log may have grown and been sealed since head was read.
	now, err := w.r.AuditHead(ctx)
	if err != nil {
		return err
	}
	if c := w.stored[0]; c.Size > now.Entries {
		w.fault(head.Entries, "log ends here but a stored checkpoint covers %d entries: entries were removed", c.Size)
	}
	return nil
}
