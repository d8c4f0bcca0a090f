package monitor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
)

// An Exchange is what is remembered of one request: its last record, completed
// by the first.
type Exchange struct {
	Record
	Entry   uint64 `json:"entry"` // of the audit log, that proves it
	Replica string `json:"replica"`
	Running bool   `json:"running"` // it was admitted, and no end is known
}

// A Cursor is a place among the records, from the newest to the oldest.
type Cursor struct {
	Entry uint64 // of the audit log
	Line  int    // of its batch: older ones are below
}

// A Query selects exchanges. Empty fields select all.
type Query struct {
	From, Until      time.Time
	Route, Principal string
	Request          string // beginning of an id
	Blocked          bool   // refused, or denied or changed by a guard
	Kind             Kind   // "": every one
	Limit            int
	Before           Cursor // older ones only; zero: the newest
}

// A Kind says how an exchange went, as the minutes of a [Window] count.
type Kind string

// The kinds.
const (
	Passed   Kind = "passed"
	Redacts  Kind = "redacted" // changed by a guard
	Denies   Kind = "denied"   // by a guard
	Refusals Kind = "refused"  // by anything else
)

func (r Record) kind() Kind {
	switch {
	case r.Guard == warden.Deny:
		return Denies
	case r.Step == Refused:
		return Refusals
	case r.Guard == warden.Redact:
		return Redacts
	default:
		return Passed
	}
}

// Bounds of a query.
const (
	MaxExchanges = 1000
	batchesRead  = 200  // at once
	batchesMost  = 2000 // for one answer
)

// errStop ends a walk over batches.
var errStop = errors.New("enough")

// batches calls do for the batches of a time, newest first, from an entry down.
// At most so many are read.
func (s *Service) batches(ctx context.Context, from, until time.Time, before uint64, most int, do func(b Batch, lines [][]byte) error) (all bool, err error) {
	for n := 0; n < most; {
		bs, err := s.cfg.Store.Batches(ctx, from, until, before, batchesRead)
		if err != nil {
			return false, err
		}
		for _, b := range bs {
			lines, err := s.unpack(b)
			if err == nil {
				err = do(b, lines)
			}
			if errors.Is(err, errStop) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			before = b.Entry
		}
		if n += len(bs); len(bs) < batchesRead {
			return true, nil
		}
	}
	return false, nil
}

func (b Batch) record(line []byte) (r Record, err error) {
	if err = json.Unmarshal(line, &r); err != nil {
		err = fmt.Errorf("records of audit entry %d: %w", b.Entry, err)
	}
	return r, err
}

// Exchanges returns what a query selects, newest first, and where older ones go
// on; zero: there are none. Exchanges that are not known to have ended are told
// on the first page only: there all ends are at hand.
func (s *Service) Exchanges(ctx context.Context, q Query) (out []Exchange, next Cursor, err error) {
	if q.Limit <= 0 || q.Limit > MaxExchanges {
		q.Limit = 100
	}
	if q.Until.IsZero() {
		q.Until = s.cfg.Now().Add(time.Minute)
	}
	needles := q.needles()
	before := q.Before.Entry
	if q.Before.Line > 0 {
		before++
	}
	var (
		first = map[string]int{}  // exchanges whose admission is still to be found
		ended = map[string]bool{} // those whose end was seen
		last  Cursor              // of the oldest record that was looked at
	)
	all, err := s.batches(ctx, q.From, q.Until, before, batchesMost, func(b Batch, lines [][]byte) error {
		for i, line := range slices.Backward(lines) {
			if q.Before != (Cursor{}) && b.Entry == q.Before.Entry && i >= q.Before.Line {
				continue
			}
			full := len(out) >= q.Limit
			if full && next == (Cursor{}) {
				next = last
			}
			if full && len(first) == 0 {
				return errStop
			}
			last = Cursor{b.Entry, i}
			if !q.mayWant(line, needles, len(first) > 0) {
				continue
			}
			r, err := b.record(line)
			if err != nil {
				return err
			}
			at, seen := first[r.Request]
			switch {
			case r.Step == Admitted && seen:
				out[at].complete(r)
				delete(first, r.Request)
			case r.Step == Admitted && (ended[r.Request] || q.Before != (Cursor{})), full, !q.selects(r):
			default:
				if r.Step == Finished {
					first[r.Request] = len(out)
				}
				out = append(out, Exchange{Record: r, Entry: b.Entry, Replica: b.Replica, Running: r.Step == Admitted})
			}
			if r.Step != Admitted {
				ended[r.Request] = true
			}
		}
		return nil
	})
	if !all && next == (Cursor{}) {
		next = last
	}
	return out, next, err
}

// needles are texts that every record has which a query selects, and the
// admissions of those: what lacks one is not decoded.
func (q Query) needles() (out [][]byte) {
	add := func(key, value, end string) {
		if value == "" {
			return
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if enc.Encode(value) == nil { // strings always encode
			text := strings.TrimSuffix(strings.TrimSpace(b.String()), `"`)
			out = append(out, []byte(`"`+key+`":`+text+end))
		}
	}
	add("route", q.Route, `"`)
	add("principal", q.Principal, `"`)
	add("request", q.Request, "")
	return out
}

// mayWant reports whether a record has to be decoded.
func (q Query) mayWant(line []byte, needles [][]byte, open bool) bool {
	for _, n := range needles {
		if !bytes.Contains(line, n) {
			return false
		}
	}
	if !q.Blocked && (q.Kind == "" || q.Kind == Passed) {
		return true
	}
	for _, n := range []string{`"step":"refuse"`, `"guard":"deny"`, `"guard":"redact"`} {
		if bytes.Contains(line, []byte(n)) {
			return true
		}
	}
	return open && bytes.Contains(line, []byte(`"step":"admit"`))
}

// complete adds what only the first record says.
func (e *Exchange) complete(r Record) {
	e.Because, e.Policies = r.Because, r.Policies
	e.Asked, e.Body = r.Asked, r.Body
}

func (q Query) selects(r Record) bool {
	switch {
	case r.At.Before(q.From) || r.At.After(q.Until):
	case q.Route != "" && r.Route != q.Route, q.Principal != "" && r.Principal != q.Principal, !strings.HasPrefix(r.Request, q.Request):
	case q.Kind != "" && (r.Step == Admitted || r.kind() != q.Kind):
	case q.Blocked && r.Step != Refused && r.Guard != warden.Deny && r.Guard != warden.Redact:
	default:
		return true
	}
	return false
}
