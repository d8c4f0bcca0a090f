package limit

import (
	"context"
	"fmt"
	"time"
)

// An adjustment is a difference to what was counted with the other replicas.
type adjustment struct {
	window  time.Duration
	counter string
	bucket  int64
	n       int64
}

// budgetBucket names the bucket of a calendar window: the days since 1970 of
// its first day.
func budgetBucket(calendar string, t time.Time) int64 {
	u := t.UTC()
	first := time.Date(u.Year(), u.Month(), u.Day(), 0, 0, 0, 0, time.UTC)
	if calendar == Month {
		first = time.Date(u.Year(), u.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	return first.Unix() / (24 * 60 * 60)
}

// counter returns where t is counted together: the window whose counts must be
// kept, the counter's name and the bucket.
func (t taken) counter(now time.Time) (window time.Duration, name string, bucket int64) {
	name = t.key.rule + "|" + t.key.subject
	switch t.rule.Calendar {
	case Day:
		return 24 * time.Hour, name, budgetBucket(Day, now)
	case Month:
		return 31 * 24 * time.Hour, name, budgetBucket(Month, now)
	default:
		return t.rule.Window, name, bucketOf(now, t.rule.Window)
	}
}

// shareable reports whether a rule is counted with the other replicas: streams
// that run at once are each replica's own.
func (r Rule) shareable() bool { return r.Unit != Streams }

// together takes from the counters that all replicas share what res took here.
// Each is taken before it is spent, so that no interval is over the limit,
// however many replicas there are. Requests with a burst are counted in a
// sliding window there, of their amount and burst together.
func (l *Limiter) together(ctx context.Context, res *Reservation, now time.Time) error {
	for i := range res.taken {
		t := &res.taken[i]
		if !t.rule.shareable() || t.amount == 0 {
			continue
		}
		window, name, bucket := t.counter(now)
		total, err := l.shared.Take(ctx, window, name, bucket, t.amount)
		if err == nil && t.rule.Calendar == "" {
			var before int64
			before, err = l.shared.Sum(ctx, window, name, bucket-buckets, bucket)
			total += before
		}
		switch {
		case err != nil && t.rule.Soft && l.locally(t, now):
			continue
		case err != nil: // what was taken stays taken: it is not known
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		t.shared, t.bucket = true, t.localBucket(bucket)
		if total > t.rule.Amount+t.rule.Burst {
			return &ReachedError{Rule: t.rule, Retry: retryShared(t.rule, now)}
		}
	}
	return nil
}

// localBucket keeps the bucket that was counted here where there is one.
func (t *taken) localBucket(bucket int64) int64 {
	if t.bucket != 0 {
		return t.bucket
	}
	return bucket
}

func retryShared(r Rule, now time.Time) time.Duration {
	if r.Calendar != "" {
		return ends(r.Calendar, now)
	}
	return max(r.Window/buckets, time.Second)
}

// locally reports whether t has room in this replica's own share of a rule.
func (l *Limiter) locally(t *taken, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.states[t.key]
	return st != nil && t.rule.Amount-st.left(t.rule, now) <= t.rule.Amount/3
}

// maxOwed bounds the adjustments that wait. When the counters cannot be reached
// for so long, what was too much stays taken.
const maxOwed = 100_000

// owe notes that the other replicas must hear of a difference. The caller holds
// l.mu.
func (l *Limiter) owe(t taken, n int64, now time.Time) {
	window, name, bucket := t.counter(now)
	if n < 0 { // it goes back to where it was taken from
		bucket = t.sharedBucket(bucket)
	}
	if len(l.owed) < maxOwed {
		l.owed = append(l.owed, adjustment{window, name, bucket, n})
	}
}

func (t taken) sharedBucket(now int64) int64 {
	if t.rule.Calendar != "" || t.bucket == 0 {
		return now
	}
	return t.bucket
}

// payEvery is how late the other replicas hear that an exchange used less, or
// more, than it had taken.
const payEvery = 50 * time.Millisecond

// Serve tells the other replicas what was settled, until ctx ends and all is
// told. With one replica there is nothing to do.
func (l *Limiter) Serve(ctx context.Context) error {
	if l.shared == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(payEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.pay(context.WithoutCancel(ctx))
			return nil
		case <-tick.C:
			l.pay(ctx)
		}
	}
}

func (l *Limiter) pay(ctx context.Context) {
	l.mu.Lock()
	owed := l.owed
	l.owed = nil
	l.mu.Unlock()
	for i, a := range owed {
		if _, err := l.shared.Take(ctx, a.window, a.counter, a.bucket, a.n); err != nil {
			// Whether it was counted is not known: a surplus is given up, a debt
			// is told again.
			l.mu.Lock()
			for _, a := range owed[i:] {
				if a.n > 0 && len(l.owed) < maxOwed {
					l.owed = append(l.owed, a)
				}
			}
			l.mu.Unlock()
			return
		}
	}
}
