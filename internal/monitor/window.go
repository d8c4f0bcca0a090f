package monitor

import (
	"context"
	"math"
	"sync"
	"time"
)

// WindowLength is how far back [Service.Window] looks.
const WindowLength = time.Hour

// A Spread is how long half, and all but a hundredth, of the exchanges took at
// most: in microseconds, to a tenth.
type Spread struct {
	P50 int64 `json:"p50_us"`
	P99 int64 `json:"p99_us"`
}

// A Minute is what the gateways did in it. Times split what the platform took
// before the request was sent, what guards took, and what the upstream took
// until its first byte.
type Minute struct {
	At       time.Time `json:"at"`
	Requests int64     `json:"requests" doc:"that ended, or were refused"`
	Refused  int64     `json:"refused" doc:"of them, before they were sent, by anything but guards"`
	Denied   int64     `json:"denied" doc:"of them, by guards"`
	Redacted int64     `json:"redacted" doc:"of them, changed by guards"`
	Errors   int64     `json:"errors" doc:"of upstreams"`
	Tokens   int64     `json:"tokens"`
	Cost     int64     `json:"cost" doc:"millionths of the currency"`
	Own      Spread    `json:"own"`
	Guard    Spread    `json:"guard"`
	Upstream Spread    `json:"upstream"`

	own, guard, upstream histogram
}

// A Window is the last hour, minute by minute, and all of it.
type Window struct {
	Minutes []Minute
	All     Minute
	// Since is when what is counted begins: there may be more records than were
	// read.
	Since time.Time
}

// window keeps the last hour; the records of a batch are read once.
type window struct {
	mu      sync.Mutex
	seen    uint64 // newest audit entry whose batch is counted
	since   time.Time
	minutes map[int64]*Minute // by Unix minute
}

// Window returns the last hour.
func (s *Service) Window(ctx context.Context) (Window, error) {
	w := &s.window
	w.mu.Lock()
	defer w.mu.Unlock()
	now := s.cfg.Now().UTC()
	begin := now.Add(-WindowLength).Truncate(time.Minute).Add(time.Minute)
	if w.minutes == nil {
		w.minutes, w.since = map[int64]*Minute{}, begin
	}
	for m := range w.minutes {
		if m < begin.Unix()/60 {
			delete(w.minutes, m)
		}
	}
	newest, oldest, reached := w.seen, now, false
	all, err := s.batches(ctx, begin, now.Add(time.Minute), 0, batchesMost, func(b Batch, lines [][]byte) error {
		if reached = b.Entry <= w.seen; reached {
			return errStop
		}
		newest, oldest = max(newest, b.Entry), b.From
		for _, line := range lines {
			r, err := b.record(line)
			if err != nil {
				return err
			}
			if r.Step != Admitted && !r.At.Before(begin) {
				w.minute(r.At).add(r)
			}
		}
		return nil
	})
	if err != nil { // what was counted of it would be counted again
		w.minutes, w.seen = nil, 0
		return Window{}, err
	}
	if !all && !reached { // more came than is read at once
		w.since = oldest
	}
	w.seen = newest
	out := Window{Since: w.since}
	if out.Since.Before(begin) {
		out.Since = begin
	}
	for at := begin; !at.After(now); at = at.Add(time.Minute) {
		m := Minute{At: at}
		if x := w.minutes[at.Unix()/60]; x != nil {
			m = *x
		}
		out.All.merge(&m)
		m.spread()
		out.Minutes = append(out.Minutes, m)
	}
	out.All.At = begin
	out.All.spread()
	return out, nil
}

func (w *window) minute(at time.Time) *Minute {
	k := at.Unix() / 60
	m := w.minutes[k]
	if m == nil {
		m = &Minute{At: time.Unix(k*60, 0).UTC()}
		w.minutes[k] = m
	}
	return m
}

func (m *Minute) add(r Record) {
	m.Requests++
	switch r.kind() {
	case Denies:
		m.Denied++
	case Refusals:
		m.Refused++
	case Redacts:
		m.Redacted++
	default:
	}
	if r.Step == Refused {
		return
	}
	if r.End == "upstream_error" || r.End == "cut_upstream" {
		m.Errors++
	}
	m.Tokens += r.Input + r.Output
	m.Cost += r.Cost
	m.own.add(r.Own)
	m.guard.add(r.Guess)
	m.upstream.add(r.First * 1000)
}

func (m *Minute) merge(o *Minute) {
	m.Requests, m.Refused, m.Denied, m.Redacted = m.Requests+o.Requests, m.Refused+o.Refused, m.Denied+o.Denied, m.Redacted+o.Redacted
	m.Errors, m.Tokens, m.Cost = m.Errors+o.Errors, m.Tokens+o.Tokens, m.Cost+o.Cost
	m.own.merge(&o.own)
	m.guard.merge(&o.guard)
	m.upstream.merge(&o.upstream)
}

func (m *Minute) spread() {
	m.Own, m.Guard, m.Upstream = m.own.spread(), m.guard.spread(), m.upstream.spread()
}

// A histogram counts times in steps of an eighth of a doubling.
type histogram [perDoubling * 32]uint32

const perDoubling = 8

func (h *histogram) add(us int64) {
	i := 0
	if us > 1 {
		i = min(int(math.Ceil(math.Log2(float64(us))*perDoubling)), len(h)-1)
	}
	h[i]++
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o {
		h[i] += n
	}
}

func (h *histogram) spread() Spread {
	var all uint64
	for _, n := range h {
		all += uint64(n)
	}
	at := func(share float64) int64 {
		rank := uint64(math.Ceil(share * float64(all)))
		for i, n := range h {
			if rank <= uint64(n) && i == 0 { // a microsecond, or nothing
				return 0
			}
			if rank <= uint64(n) {
				return int64(math.Exp2(float64(i) / perDoubling))
			}
			rank -= uint64(n)
		}
		return 0
	}
	if all == 0 {
		return Spread{}
	}
	return Spread{at(.5), at(.99)}
}
