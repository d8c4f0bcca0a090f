package audit

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/modelwarden/warden"
)

// A Proof shows that one entry is in the log of a checkpoint, to somebody who
// has neither the log nor trust in its owner. It marshals to JSON as it is.
type Proof struct {
	Index      uint64      `json:"index"`
	Leaf       string      `json:"leaf"`       // canonical JSON of the event
	Checkpoint string      `json:"checkpoint"` // signed note
	Hashes     []tlog.Hash `json:"hashes"`     // from the leaf up
}

// Prove returns the proof of entry index in the newest stored checkpoint. The
// error wraps [ErrMissing] if there is no such entry and [ErrUnsealed] if no
// checkpoint covers it yet; the platform seals every second.
func Prove(ctx context.Context, r Reader, index uint64) (Proof, error) {
	es, err := r.AuditEntries(ctx, index, 1)
	if err != nil {
		return Proof{}, fmt.Errorf("prove audit entry %d: %w", index, err)
	}
	if len(es) == 0 || es[0].Seq != index {
		return Proof{}, fmt.Errorf("prove audit entry %d: %w", index, ErrMissing)
	}
	c, ok, err := Latest(ctx, r)
	if err != nil {
		return Proof{}, fmt.Errorf("prove audit entry %d: %w", index, err)
	}
	if !ok || c.Size <= index {
		return Proof{}, fmt.Errorf("prove audit entry %d: %w", index, ErrUnsealed)
	}
	hs, err := tlog.ProveRecord(int64(c.Size), int64(index), reader(ctx, r))
	if err != nil {
		return Proof{}, fmt.Errorf("prove audit entry %d: %w", index, err)
	}
	return Proof{index, string(es[0].Leaf), string(c.Note), hs}, nil
}

// Check returns nil if leaf is entry p.Index of the log that checkpoint, signed
// by v's key, describes. The leaf and checkpoint to check against are the
// caller's own; use those of the proof if there are no others. The error wraps
// [ErrTampered].
func (p Proof) Check(leaf []byte, c Checkpoint, v note.Verifier) error {
	t, err := OpenCheckpoint(c.Note, v)
	if err != nil {
		return err
	}
	if p.Index >= t.Size {
		return fmt.Errorf("%w: entry %d is not below the checkpoint's %d", ErrTampered, p.Index, t.Size)
	}
	ev, err := ParseLeaf(leaf)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTampered, err)
	}
	if ev.Index != p.Index {
		return fmt.Errorf("%w: leaf says it is entry %d, the proof is for %d", ErrTampered, ev.Index, p.Index)
	}
	if err := tlog.CheckRecord(p.Hashes, int64(t.Size), t.Root, int64(p.Index), tlog.RecordHash(leaf)); err != nil {
		return fmt.Errorf("%w: entry %d: %w", ErrTampered, p.Index, err)
	}
	return nil
}

// ProveGrowth returns the hashes that show that the log of size old is a prefix
// of that of size now (RFC 6962 consistency proof); check with [CheckGrowth].
func ProveGrowth(ctx context.Context, r Reader, old, now uint64) ([]tlog.Hash, error) {
	if old == 0 || old > now {
		return nil, fmt.Errorf("prove growth of audit log from %d to %d entries: want 1 or more, and not fewer than before", old, now)
	}
	hs, err := tlog.ProveTree(int64(now), int64(old), reader(ctx, r))
	if err != nil {
		return nil, fmt.Errorf("prove growth of audit log from %d to %d entries: %w", old, now, err)
	}
	return hs, nil
}

// CheckGrowth returns nil if the log of checkpoint now continues that of old.
// The error wraps [ErrTampered].
func CheckGrowth(proof []tlog.Hash, old, now Checkpoint, v note.Verifier) error {
	from, err := OpenCheckpoint(old.Note, v)
	if err != nil {
		return err
	}
	to, err := OpenCheckpoint(now.Note, v)
	if err != nil {
		return err
	}
	if from.Size == 0 {
		return nil // everything continues the empty log
	}
	if to.Size < from.Size {
		return fmt.Errorf("%w: log shrank from %d to %d entries", ErrTampered, from.Size, to.Size)
	}
	if err := tlog.CheckTree(proof, int64(to.Size), to.Root, int64(from.Size), from.Root); err != nil {
		return fmt.Errorf("%w: log of %d entries does not continue that of %d: %w", ErrTampered, to.Size, from.Size, err)
	}
	return nil
}

// Latest returns the stored checkpoint of the greatest size, or false if the
// log was never sealed.
func Latest(ctx context.Context, r Reader) (Checkpoint, bool, error) {
	// A checkpoint is at most as large as the log; the log is sealed often, so
	// the newest is found by a binary search over sizes in few steps.
	head, err := r.AuditHead(ctx)
	if err != nil {
		return Checkpoint{}, false, err
	}
	var best Checkpoint
	found := false
	for lo, hi := uint64(0), head.Entries+1; lo < hi; {
		mid := lo + (hi-lo)/2
		cs, err := r.AuditCheckpoints(ctx, mid, 1)
		if err != nil {
			return Checkpoint{}, false, err
		}
		if len(cs) == 0 || cs[0].Size > head.Entries {
			hi = mid
			continue
		}
		best, found, lo = cs[0], true, cs[0].Size+1
	}
	return best, found, nil
}

// Tile returns the bytes served under a tlog tile path ("tile/8/0/000"), so
// that other programs can follow the log.
func Tile(ctx context.Context, r Reader, path string) ([]byte, error) {
	t, err := tlog.ParseTilePath(path)
	if err != nil || t.L < 0 {
		return nil, fmt.Errorf("audit tile %q: %w", path, ErrMissing)
	}
	head, err := r.AuditHead(ctx)
	if err != nil {
		return nil, err
	}
	// The last leaf below the tile must exist.
	if end := (t.N<<uint(t.H) + int64(t.W)) << uint(t.L*t.H); t.L*t.H > 50 || end > int64(head.Entries) {
		return nil, fmt.Errorf("audit tile %q: %w", path, ErrMissing)
	}
	b, err := tlog.ReadTileData(t, reader(ctx, r))
	if err != nil {
		return nil, fmt.Errorf("audit tile %q: %w", path, err)
	}
	return b, nil
}

// CheckDetails returns nil if these are the details of the entry with this leaf.
// The error wraps [ErrTampered].
func CheckDetails(leaf, salt, payload []byte) error {
	ev, err := ParseLeaf(leaf)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTampered, err)
	}
	if ev.Payload == (warden.Digest{}) || commit(salt, payload) != ev.Payload {
		return fmt.Errorf("%w: the details are not those of entry %d", ErrTampered, ev.Index)
	}
	return nil
}
