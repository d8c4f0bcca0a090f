package audit

import (
	"context"
	"fmt"
	"time"
)

// WitnessGrace is how old an entry may be before the required witnesses must
// have signed a checkpoint that covers it.
const WitnessGrace = 10 * time.Minute

// A Watch says whether enough witnesses have signed what they should have.
type Watch struct {
	Required int
	Signed   int    // witnesses that have signed all of the entries below Due
	Due      uint64 // entries older than [WitnessGrace]
}

// Problem says what is wrong, or "".
func (w Watch) Problem() string {
	if w.Required == 0 || w.Due == 0 || w.Signed >= w.Required {
		return ""
	}
	return fmt.Sprintf("%d of %d required witnesses have signed the audit log below entry %d, which is older than %v", w.Signed, w.Required, w.Due, WitnessGrace)
}

// Watch counts the witnesses whose newest cosignature, which is verified, covers
// every entry older than [WitnessGrace].
func (w *Witnesses) Watch(ctx context.Context) (Watch, error) {
	out := Watch{Required: w.cfg.Required}
	if w.cfg.Required == 0 {
		return out, nil
	}
	err := w.cfg.Store.ViewAudit(ctx, func(r Reader) (err error) {
		out.Due, err = before(ctx, r, w.cfg.Now().Add(-WitnessGrace))
		return err
	})
	if err != nil {
		return out, err
	}
	all, err := w.List(ctx)
	for _, x := range all {
		if x.Size > 0 && x.Size >= out.Due {
			out.Signed++
		}
	}
	return out, err
}

// before returns how many entries are older than t. Entries are in the order of
// their times but for what clocks of several processes differ.
func before(ctx context.Context, r Reader, t time.Time) (uint64, error) {
	head, err := r.AuditHead(ctx)
	if err != nil {
		return 0, err
	}
	low, high := uint64(0), head.Entries // those below low are older, those from high on are not
	for low < high {
		mid := low + (high-low)/2
		es, err := r.AuditEntries(ctx, mid, 1)
		if err != nil {
			return 0, err
		}
		if len(es) == 0 {
			return 0, fmt.Errorf("%w: entry %d is missing", ErrTampered, mid)
		}
		ev, err := ParseLeaf(es[0].Leaf)
		if err != nil {
			return 0, fmt.Errorf("%w: entry %d: %w", ErrTampered, mid, err)
		}
		if ev.Time.Before(t) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, nil
}
