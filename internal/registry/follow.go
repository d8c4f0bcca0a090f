package registry

import (
	"context"
	"time"
)

// Follow tells the listeners of this process about changes that other processes
// commit. It looks whenever wake has a value, and at intervals of every in case
// that a wake was lost. It returns when ctx ends. While the database cannot be
// asked nobody is told anything: enforcement points must notice the silence
// themselves.
func (s *Service) Follow(ctx context.Context, every time.Duration, wake <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var (
		last  uint64
		known bool // last is what the database said
	)
	for {
		if next, ok := s.catchUp(ctx, last, known); ok {
			last, known = next, true
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-tick.C:
		}
	}
}

// catchUp tells what changed after an epoch and returns the present one.
func (s *Service) catchUp(ctx context.Context, last uint64, known bool) (now uint64, ok bool) {
	var changed []Artifact
	err := s.cfg.Store.View(ctx, func(r Reader) (err error) {
		if now, err = r.Epoch(ctx); err != nil || !known || now <= last {
			return err
		}
		changed, err = r.ChangedSince(ctx, last, changeBuffer)
		return err
	})
	switch {
	case err != nil:
		return last, false
	case !known || now == last:
	case now < last || len(changed) == 0 || len(changed) == changeBuffer: // restored, removed, or too many
		s.tell(Change{Epoch: now, All: true})
	default:
		for _, a := range changed {
			s.tell(Change{Epoch: a.Epoch, Artifact: a.Digest, State: a.State()})
		}
	}
	return now, true
}
