package natsqueue_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/queue/natsqueue"
)

func TestCounters(t *testing.T) {
	q, err := natsqueue.Open(t.Context(), natsqueue.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	a, b := q.Counters(), q.Counters()
	const window = time.Minute
	for _, step := range []struct {
		c      *natsqueue.Counters
		bucket int64
		n      int64
		total  int64
	}{{a, 100, 5, 5}, {b, 100, 7, 12}, {a, 100, -2, 10}, {b, 103, 1, 1}, {a, 104, 3, 3}} {
		total, err := step.c.Take(t.Context(), window, "x", step.bucket, step.n)
		if err != nil || total != step.total {
			t.Errorf("Take(%d, %+d) = %d, %v; want %d", step.bucket, step.n, total, err, step.total)
		}
	}
	for range 2 { // asked, then remembered
		sum, err := a.Sum(t.Context(), window, "x", 43, 103)
		if err != nil || sum != 10+3 { // 104 is counted by somebody whose clock is ahead
			t.Errorf("Sum = %d, %v; want 13", sum, err)
		}
	}
	if sum, err := b.Sum(t.Context(), window, "other", 43, 103); err != nil || sum != 0 {
		t.Errorf("sum of another counter = %d, %v", sum, err)
	}
}

// Three processes on three nodes count to the same total, also when the node
// that leads dies.
func TestClusterCounters(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three servers")
	}
	c := newCluster(t)
	var counters []*natsqueue.Counters
	for range 3 {
		counters = append(counters, join(t, c.url()).Counters())
	}
	var counted, unknown atomic.Int64
	var most atomic.Int64
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			total, err := counters[i%3].Take(ctx, time.Hour, "x", 7, 1)
			if err != nil {
				unknown.Add(1)
				return
			}
			counted.Add(1)
			for {
				m := most.Load()
				if total <= m || most.CompareAndSwap(m, total) {
					break
				}
			}
		})
	}
	wg.Wait()
	sum, err := counters[0].Sum(t.Context(), time.Hour, "x", 0, 8)
	if err != nil || sum < counted.Load() || sum > counted.Load()+unknown.Load() || most.Load() > sum {
		t.Errorf("sum %d, %v; %d counted, %d unknown, greatest total %d", sum, err, counted.Load(), unknown.Load(), most.Load())
	}
}
