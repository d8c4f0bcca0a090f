package gateway

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelwarden/warden/internal/monitor"
)

// A recorder takes records off the request path and writes them in batches.
// Places are reserved before a request is served, so that a running exchange
// never waits for the database; when none is left, new requests are refused.
// Records are never dropped; a killed process loses at most those of the last
// flushEvery, and their numbers are missing. Handing over a record wakes nobody:
// the writer looks by itself, or is rung when a batch is full.
type recorder struct {
	keep    *monitor.Service
	log     *slog.Logger
	replica string
	places  int64
	taken   atomic.Int64 // of places: reserved, or with a record that is not yet written
	bell    chan struct{}

	mu      sync.Mutex // guards the fields below
	number  int64
	waiting []monitor.Record

	batch []monitor.Record // of the writer
}

const (
	recordPlaces = 16 << 10
	recordBatch  = 2048
	flushEvery   = 50 * time.Millisecond
	retryEvery   = 500 * time.Millisecond
	lastRecords  = 2 * time.Second // wait for exchanges that are still ending
)

func newRecorder(keep *monitor.Service, log *slog.Logger, replica string, places int) *recorder {
	return &recorder{keep: keep, log: log, replica: replica, places: int64(places), bell: make(chan struct{}, 1)}
}

// reserve takes a place for one record, and reports false if there is none.
func (r *recorder) reserve() bool {
	if r.taken.Add(1) <= r.places {
		return true
	}
	r.taken.Add(-1)
	return false
}

// full reports whether no place is left.
func (r *recorder) full() bool { return r.taken.Load() >= r.places }

// put hands over a record for which a place was reserved. It never blocks.
func (r *recorder) put(rec monitor.Record) {
	r.mu.Lock()
	r.number++
	rec.Number = r.number
	r.waiting = append(r.waiting, rec)
	full := len(r.waiting) == recordBatch
	r.mu.Unlock()
	if full {
		select {
		case r.bell <- struct{}{}:
		default:
		}
	}
}

// take returns the oldest records that wait, at most a batch. They are in the same
// memory each time.
func (r *recorder) take() []monitor.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.waiting), recordBatch)
	clear(r.batch)
	batch := append(r.batch[:0], r.waiting[:n]...)
	r.batch = batch
	rest := copy(r.waiting, r.waiting[n:])
	clear(r.waiting[rest:])
	r.waiting = r.waiting[:rest]
	return batch
}

// run writes until ctx ends and every place is free: exchanges that are cut off
// at the end have records too.
func (r *recorder) run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-r.bell:
			r.write(ctx)
		case <-tick.C:
			r.write(ctx)
		}
	}
	for end := time.Now().Add(lastRecords); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !r.write(ctx) {
			return
		}
		if r.taken.Load() == 0 {
			return
		}
	}
	r.log.ErrorContext(ctx, "exchanges did not end in time: their last records are missing", slog.Int64("records", r.taken.Load()))
}

// write writes what waits: full batches, and one of what is left of them. What
// comes meanwhile waits for the next time; it would else be written in pieces of
// a few records, one commit after the other. What cannot be written is tried
// again until it can; when ctx has ended, once.
func (r *recorder) write(ctx context.Context) bool {
	for more := true; more; {
		batch := r.take()
		if len(batch) == 0 {
			return true
		}
		more = len(batch) == recordBatch
		for {
			err := r.keep.Keep(context.WithoutCancel(ctx), r.replica, batch)
			if err == nil {
				break
			}
			r.log.ErrorContext(ctx, "audit records cannot be written", slog.Any("error", err), slog.Int("waiting", len(batch)))
			if ctx.Err() != nil {
				return false
			}
			select {
			case <-ctx.Done():
			case <-time.After(retryEvery):
			}
		}
		r.taken.Add(-int64(len(batch)))
	}
	return true
}
