package gateway

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/modelwarden/warden/internal/monitor"
)

// A recorder takes records off the request path and writes them in batches.
// Places are reserved before a request is served, so that a running exchange
// never waits for the database; when none is left, new requests are refused.
// Records are never dropped; a killed process loses at most those of the last
// flushEvery, and their numbers are missing.
type recorder struct {
	keep    *monitor.Service
	log     *slog.Logger
	replica string
	number  atomic.Int64
	places  chan struct{}
	queue   chan monitor.Record
}

const (
	recordPlaces = 16 << 10
	recordBatch  = 2048
	flushEvery   = 50 * time.Millisecond
	retryEvery   = 500 * time.Millisecond
	lastRecords  = 2 * time.Second // wait for exchanges that are still ending
)

func newRecorder(keep *monitor.Service, log *slog.Logger, replica string, places int) *recorder {
	return &recorder{keep: keep, log: log, replica: replica, places: make(chan struct{}, places), queue: make(chan monitor.Record, places)}
}

// reserve takes a place for one record, and reports false if there is none.
func (r *recorder) reserve() bool {
	select {
	case r.places <- struct{}{}:
		return true
	default:
		return false
	}
}

// put hands over a record for which a place was reserved. It never blocks.
func (r *recorder) put(rec monitor.Record) {
	rec.Number = r.number.Add(1)
	r.queue <- rec
}

// run writes until ctx ends and every place is free: exchanges that are cut off
// at the end have records too.
func (r *recorder) run(ctx context.Context) {
	alive := context.WithoutCancel(ctx)
	var batch []monitor.Record
	flush := func(last bool) {
		for len(batch) > 0 {
			err := r.keep.Keep(alive, r.replica, batch)
			if err == nil {
				for range batch {
					<-r.places
				}
				batch = batch[:0]
				return
			}
			r.log.ErrorContext(ctx, "audit records cannot be written", slog.Any("error", err), slog.Int("waiting", len(batch)))
			if last {
				return
			}
			select {
			case <-ctx.Done():
				last = true
			case <-time.After(retryEvery):
			}
		}
	}
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case rec := <-r.queue:
			if batch = append(batch, rec); len(batch) >= recordBatch {
				flush(false)
			}
		case <-tick.C:
			flush(false)
		case <-ctx.Done():
			end := time.NewTimer(lastRecords)
			defer end.Stop()
			for len(r.places) > len(batch) {
				if len(batch) >= recordBatch {
					flush(true)
				}
				select {
				case rec := <-r.queue:
					batch = append(batch, rec)
					continue
				case <-end.C:
					r.log.ErrorContext(ctx, "exchanges did not end in time: their last records are missing", slog.Int("exchanges", len(r.places)-len(batch)))
				}
				break
			}
			flush(true)
			return
		}
	}
}
