package registry

import (
	"context"
	"sync"
	"time"
)

// totalsAge is how old an answer may be while somebody else counts anew.
const totalsAge = time.Second

// counted are totals as they were when the log had so many entries. Every change
// appends to the log in its own transaction, so as long as the log is as long as
// then they are true.
type counted struct {
	totals  Totals
	entries uint64
	at      time.Time
}

// totals keeps the last count and lets one caller at a time count anew.
type totals struct {
	mu      sync.Mutex // guards the fields below
	last    counted
	running chan struct{} // closed when whoever counts is done; nil: nobody does
}

// Totals returns the numbers of the first page and the length of the audit log.
// They are counted only if something changed since they last were; who asks
// while another counts gets the last answer if it is younger than a second.
func (s *Service) Totals(ctx context.Context) (Totals, uint64, error) {
	for {
		var entries uint64
		err := s.View(ctx, func(r Reader) error {
			head, err := r.AuditHead(ctx)
			entries = head.Entries
			return err
		})
		if err != nil {
			return Totals{}, 0, s.explain("count what there is", err)
		}
		s.totals.mu.Lock()
		last, running := s.totals.last, s.totals.running
		if running == nil && (last.at.IsZero() || last.entries != entries) {
			s.totals.running = make(chan struct{})
		}
		s.totals.mu.Unlock()
		switch {
		case !last.at.IsZero() && (last.entries == entries || running != nil && s.cfg.Now().Sub(last.at) < totalsAge):
			return last.totals, last.entries, nil
		case running == nil:
			return s.count(ctx)
		}
		select {
		case <-running:
		case <-ctx.Done():
			return Totals{}, 0, s.explain("count what there is", ctx.Err())
		}
	}
}

// count counts anew, and wakes those who wait for it whatever comes of it.
func (s *Service) count(ctx context.Context) (Totals, uint64, error) {
	next := counted{at: s.cfg.Now()}
	err := s.View(ctx, func(r Reader) error {
		head, err := r.AuditHead(ctx)
		if err != nil {
			return err
		}
		next.entries = head.Entries
		next.totals, err = r.Totals(ctx)
		return err
	})
	s.totals.mu.Lock()
	defer s.totals.mu.Unlock()
	close(s.totals.running)
	s.totals.running = nil
	if err != nil {
		return Totals{}, 0, s.explain("count what there is", err)
	}
	s.totals.last = next
	return next.totals, next.entries, nil
}
