package limit_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/access/limit"
	"github.com/modelwarden/warden/internal/queue/natsqueue"
)

// A03: a limit holds over replicas that count by JetStream, whose clocks differ,
// and what was given back can be used by another one.
func TestReplicasOverJetStream(t *testing.T) {
	q, err := natsqueue.Open(t.Context(), natsqueue.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	ctx, stop := context.WithCancel(t.Context())
	var served sync.WaitGroup
	var ls []*limit.Limiter
	for i := range 3 {
		skew := time.Duration(i-1) * 400 * time.Millisecond
		l, err := limit.New(limit.Config{
			Rules:  []limit.Rule{{Per: limit.PerIdentity, Unit: limit.Tokens, Amount: 100, Window: time.Minute}},
			Now:    func() time.Time { return time.Now().Add(skew) },
			Shared: q.Counters(),
		})
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l)
		served.Go(func() { l.Serve(ctx) })
	}
	var admitted atomic.Int64
	var mu sync.Mutex
	var taken []*limit.Reservation
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			r, err := ls[i%3].Reserve(t.Context(), alice, limit.Ask{Tokens: 13})
			if _, reached := errors.AsType[*limit.ReachedError](err); err != nil && !reached {
				t.Error(err)
			}
			if err == nil {
				admitted.Add(13)
				mu.Lock()
				taken = append(taken, r)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if n := admitted.Load(); n > 100 {
		t.Errorf("%d tokens of 100 admitted", n)
	}
	for _, r := range taken {
		r.Settle(limit.Use{Tokens: 1})
	}
	var rest *limit.Reservation
	for end := time.Now().Add(5 * time.Second); rest == nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		rest, _ = ls[0].Reserve(t.Context(), alice, limit.Ask{Tokens: 100 - int64(len(taken))})
	}
	if rest == nil {
		t.Error("what was given back cannot be used by another replica")
	}
	stop()
	served.Wait()
}
