package limit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/modelwarden/warden/internal/access/limit"
)

type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ns.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	return c
}
func (c *clock) now() time.Time       { return time.Unix(0, c.ns.Load()).UTC() }
func (c *clock) skip(d time.Duration) { c.ns.Add(int64(d)) }

func limiter(t testing.TB, c *clock, shared limit.Shared, rules ...limit.Rule) *limit.Limiter {
	t.Helper()
	l, err := limit.New(limit.Config{Rules: rules, Now: c.now, Shared: shared})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func tokens(n int64, w time.Duration) limit.Rule {
	return limit.Rule{Per: limit.PerIdentity, Unit: limit.Tokens, Amount: n, Window: w}
}

var alice = limit.Caller{Identity: "user:alice", Groups: []string{"a", "b"}, Key: "k1", Route: "r"}

// However requests come and however they are settled, no interval as long as
// the window holds more than the limit.
func TestNoIntervalIsOver(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		const amount, window = 100, time.Minute
		l, err := limit.New(limit.Config{Rules: []limit.Rule{tokens(amount, window)}, Now: c.now})
		if err != nil {
			t.Fatal(err)
		}
		type use struct {
			at time.Time
			n  int64
		}
		var used []use
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			c.skip(time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "wait")))
			want := rapid.Int64Range(1, 60).Draw(t, "want")
			res, err := l.Reserve(t.Context(), alice, limit.Ask{Tokens: want})
			if err != nil {
				if _, ok := errors.AsType[*limit.ReachedError](err); !ok {
					t.Fatal(err)
				}
				continue
			}
			at := c.now()
			n := rapid.Int64Range(0, want).Draw(t, "used")
			c.skip(time.Duration(rapid.Int64Range(0, int64(5*time.Second)).Draw(t, "run")))
			res.Settle(limit.Use{Tokens: n})
			res.Settle(limit.Use{Tokens: 0}) // a second time changes nothing
			res.Release()
			used = append(used, use{at, n})
		}
		for i := range used {
			var sum int64
			for j := i; j < len(used) && used[j].at.Sub(used[i].at) < window; j++ {
				sum += used[j].n
			}
			if sum > amount {
				t.Fatalf("%d tokens in %v from %v", sum, window, used[i].at)
			}
		}
	})
}

// A01: many at once never take more than there is.
func TestConcurrentReservations(t *testing.T) {
	c := newClock()
	l := limiter(t, c, nil, tokens(100, time.Minute))
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := l.Reserve(t.Context(), alice, limit.Ask{Tokens: 13}); err == nil {
				admitted.Add(13)
			}
		})
	}
	wg.Wait()
	if n := admitted.Load(); n != 91 {
		t.Errorf("%d tokens admitted, want 91", n)
	}
}

func TestAllOrNone(t *testing.T) {
	c := newClock()
	l := limiter(t, c, nil,
		limit.Rule{Per: limit.PerIdentity, Unit: limit.Streams, Amount: 1},
		limit.Rule{Per: limit.PerAll, Unit: limit.Requests, Amount: 10, Window: time.Minute, Burst: 5},
		limit.Rule{Per: limit.PerGroup, Only: "b", Unit: limit.Tokens, Amount: 50, Window: time.Minute},
		limit.Rule{Per: limit.PerRoute, Route: "r", Unit: limit.Money, Amount: 30, Calendar: limit.Day},
	)
	price := func(n int64) int64 { return n }
	for range 20 { // a refusal takes nothing
		_, err := l.Reserve(t.Context(), alice, limit.Ask{Tokens: 40, Price: price})
		var ref *limit.ReachedError
		if !errors.As(err, &ref) || ref.Rule.Unit != limit.Money || ref.Retry != 20*time.Hour+55*time.Minute+55*time.Second {
			t.Fatalf("err = %v, %+v", err, ref)
		}
	}
	res, err := l.Reserve(t.Context(), alice, limit.Ask{Tokens: 20, Price: price})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reserve(t.Context(), alice, limit.Ask{Tokens: 1}); err == nil || !strings.Contains(err.Error(), "streams") {
		t.Errorf("second stream: %v", err)
	}
	res.Settle(limit.Use{Tokens: 5, Money: 7})
	left := map[limit.Unit]int64{}
	for _, s := range res.Standing {
		left[s.Rule.Unit] = s.Left
	}
	if left[limit.Requests] != 4 || left[limit.Tokens] != 30 || left[limit.Money] != 10 {
		t.Errorf("standing at admission: %v", left)
	}
	for _, a := range l.Accounts(10) {
		want := map[limit.Unit]int64{limit.Streams: 0, limit.Requests: 1, limit.Tokens: 5, limit.Money: 7}[a.Rule.Unit]
		if a.Used != want {
			t.Errorf("%s of %s: %d used, want %d", a.Rule.Text(), a.Subject, a.Used, want)
		}
	}
}

// A04: a floor above a small limit does not refuse everything.
func TestTakesWhatIsLeft(t *testing.T) {
	c := newClock()
	l := limiter(t, c, nil, tokens(100, time.Minute))
	res, err := l.Reserve(t.Context(), alice, limit.Ask{Tokens: 4096, Least: 20})
	if err != nil || res.Tokens != 100 {
		t.Fatalf("got %+v, %v", res, err)
	}
	res.Settle(limit.Use{Tokens: 130}) // more than was taken is a debt
	_, err = l.Reserve(t.Context(), alice, limit.Ask{Tokens: 1})
	var ref *limit.ReachedError
	if !errors.As(err, &ref) || ref.Retry <= 0 || ref.Retry > 62*time.Second {
		t.Fatalf("after a debt: %v", err)
	}
	c.skip(ref.Retry)
	if _, err := l.Reserve(t.Context(), alice, limit.Ask{Tokens: 1}); err != nil {
		t.Errorf("after the wait that was named: %v", err)
	}
	if _, err := l.Reserve(t.Context(), alice, limit.Ask{Tokens: 101}); !errors.As(err, &ref) || ref.Retry != 0 {
		t.Errorf("more than the limit can ever be: %v", err)
	}
}

func TestBurst(t *testing.T) {
	c := newClock()
	l := limiter(t, c, nil, limit.Rule{Per: limit.PerKey, Unit: limit.Requests, Amount: 60, Window: time.Minute, Burst: 3})
	ask := func() error { _, err := l.Reserve(t.Context(), alice, limit.Ask{}); return err }
	for i := range 3 {
		if err := ask(); err != nil {
			t.Errorf("request %d of the burst: %v", i, err)
		}
	}
	var ref *limit.ReachedError
	if err := ask(); !errors.As(err, &ref) || ref.Retry != time.Second {
		t.Errorf("beyond the burst: %v", err)
	}
	c.skip(time.Second)
	if err := ask(); err != nil {
		t.Errorf("a second later: %v", err)
	}
	if _, err := l.Reserve(t.Context(), limit.Caller{Identity: "user:bob", Route: "r"}, limit.Ask{}); err != nil {
		t.Errorf("a caller without a key: %v", err)
	}
}

// counters is a Shared in memory, with a switch to break it.
type counters struct {
	mu     sync.Mutex
	n      map[string]int64
	broken atomic.Bool
}

func (c *counters) Take(_ context.Context, w time.Duration, name string, bucket, n int64) (int64, error) {
	if c.broken.Load() {
		return 0, errors.New("no answer")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := fmt.Sprint(w, name, bucket)
	c.n[k] += n
	return c.n[k], nil
}

func (c *counters) Sum(_ context.Context, w time.Duration, name string, from, to int64) (sum int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for b := from; b < to; b++ {
		sum += c.n[fmt.Sprint(w, name, b)]
	}
	return sum, nil
}

// Three replicas together give no more than one.
func TestReplicas(t *testing.T) {
	c, shared := newClock(), &counters{n: map[string]int64{}}
	rule := tokens(100, time.Minute)
	ctx, stop := context.WithCancel(t.Context())
	var served sync.WaitGroup
	var ls []*limit.Limiter
	for range 3 {
		l := limiter(t, c, shared, rule, limit.Rule{Per: limit.PerGroup, Unit: limit.Money, Amount: 1000, Calendar: limit.Month})
		ls = append(ls, l)
		served.Go(func() { l.Serve(ctx) })
	}
	var admitted atomic.Int64
	var wg sync.WaitGroup
	res := make(chan *limit.Reservation, 50)
	for i := range 50 {
		wg.Go(func() {
			if r, err := ls[i%3].Reserve(t.Context(), alice, limit.Ask{Tokens: 13}); err == nil {
				admitted.Add(13)
				res <- r
			}
		})
	}
	wg.Wait()
	if n := admitted.Load(); n > 100 || n == 0 {
		t.Errorf("%d tokens admitted by three replicas", n)
	}
	close(res)
	for r := range res {
		r.Settle(limit.Use{})
	}
	stop()
	served.Wait()
	if r, err := ls[1].Reserve(t.Context(), alice, limit.Ask{Tokens: 100}); err != nil {
		t.Errorf("after all was given back: %v", err)
	} else {
		r.Release()
	}
	shared.broken.Store(true)
	if _, err := ls[0].Reserve(t.Context(), alice, limit.Ask{Tokens: 1}); !errors.Is(err, limit.ErrUnavailable) {
		t.Errorf("counters cannot be reached: %v", err)
	}
	soft := rule
	soft.Soft = true
	l := limiter(t, c, shared, soft)
	if _, err := l.Reserve(t.Context(), alice, limit.Ask{Tokens: 33}); err != nil {
		t.Errorf("soft: %v", err)
	}
	if _, err := l.Reserve(t.Context(), alice, limit.Ask{Tokens: 1}); !errors.Is(err, limit.ErrUnavailable) {
		t.Errorf("soft, beyond the share: %v", err)
	}
}

func TestRules(t *testing.T) {
	for _, tt := range []struct {
		unit limit.Unit
		text string
		want string
	}{
		{limit.Requests, "600/1m", "per identity: 600 requests/1m0s"},
		{limit.Money, "5.5/day", "per identity: 5.5 money/day"},
		{limit.Streams, "20", "per identity: 20 streams"},
		{limit.Tokens, "1000000/month", "per identity: 1000000 tokens/month"},
		{limit.Tokens, "10", ""},
		{limit.Tokens, "1.5/1m", ""},
		{limit.Tokens, "-1/1m", ""},
		{limit.Tokens, "1/1ms", ""},
		{limit.Streams, "1/1m", ""},
		{limit.Money, "1.1234567/day", ""},
		{limit.Tokens, "1/week", ""},
		{"cows", "1/1m", ""},
		{limit.Tokens, "9999999999999999999/1m", ""},
	} {
		amount, window, calendar, err := limit.ParseAmount(tt.unit, tt.text)
		r := limit.Rule{Per: limit.PerIdentity, Unit: tt.unit, Amount: amount, Window: window, Calendar: calendar}
		if err == nil {
			_, err = limit.New(limit.Config{Rules: []limit.Rule{r}, Now: time.Now})
		}
		if (err != nil) != (tt.want == "") || err == nil && r.Text() != tt.want || err != nil && !errors.Is(err, limit.ErrRule) {
			t.Errorf("%s %q: %q, %v", tt.unit, tt.text, r.Text(), err)
		}
	}
	r := tokens(1, time.Minute)
	if _, err := limit.New(limit.Config{Rules: []limit.Rule{r, r}, Now: time.Now}); !errors.Is(err, limit.ErrRule) {
		t.Errorf("a rule twice: %v", err)
	}
}

func BenchmarkReserve(b *testing.B) {
	l := limiter(b, newClock(), nil, tokens(1<<60, time.Minute), limit.Rule{Per: limit.PerIdentity, Unit: limit.Requests, Amount: 1 << 30, Window: time.Minute, Burst: 1 << 30})
	for b.Loop() {
		r, err := l.Reserve(b.Context(), alice, limit.Ask{Tokens: 10})
		if err != nil {
			b.Fatal(err)
		}
		r.Settle(limit.Use{Tokens: 5})
	}
}

func TestRestore(t *testing.T) {
	c := newClock()
	l := limiter(t, c, nil, limit.Rule{Per: limit.PerIdentity, Unit: limit.Tokens, Amount: 100, Calendar: limit.Day}, tokens(1000, time.Minute))
	l.Restore(alice, 3, limit.Use{Tokens: 90}, c.now().Add(-time.Hour))
	l.Restore(alice, 3, limit.Use{Tokens: 90}, c.now().Add(-24*time.Hour)) // another day
	if _, err := l.Reserve(t.Context(), alice, limit.Ask{Tokens: 11}); err == nil {
		t.Error("a budget begins anew with a restart")
	}
	if _, err := l.Reserve(t.Context(), alice, limit.Ask{Tokens: 10}); err != nil {
		t.Error(err)
	}
}
