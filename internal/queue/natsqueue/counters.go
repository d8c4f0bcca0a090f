package natsqueue

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelwarden/warden"
)

// Counters count together with all processes of a cluster: one JetStream
// counter for each bucket of each name, in one stream for each length of
// window, whose messages end with it. An increment is atomic, and its
// acknowledgement carries the new total. It is safe for concurrent use.
type Counters struct {
	q *Queue

	mu      sync.Mutex // guards the fields below
	streams map[time.Duration]jetstream.Stream
	closed  map[string]map[int64]int64 // totals of buckets that change no more, by counter
}

// counterAnswer is how long a total is waited for. One that does not come is
// taken for counted.
const counterAnswer = 2 * time.Second

// countersKept bounds what is remembered of closed buckets.
const countersKept = 20_000

// settled is how many buckets back one must be to change no more: clocks of
// processes differ by less.
const settled = 2

// Counters returns the counters of the queue's servers.
func (q *Queue) Counters() *Counters {
	return &Counters{q: q, streams: map[time.Duration]jetstream.Stream{}, closed: map[string]map[int64]int64{}}
}

func (c *Counters) stream(ctx context.Context, window time.Duration) (jetstream.Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[window]; s != nil {
		return s, nil
	}
	seconds := strconv.FormatInt(int64(window/time.Second), 10)
	// Answers come from the leader only: those of others may be old.
	s, err := c.q.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "limits-" + seconds, Subjects: []string{"limit." + seconds + ".*.*"}, Storage: jetstream.FileStorage, Replicas: c.q.cfg.Replicas,
		MaxMsgsPerSubject: 1, MaxAge: 2 * window, AllowMsgCounter: true,
	})
	if err != nil {
		return nil, fmt.Errorf("prepare counters of %v: %w", window, err)
	}
	c.streams[window] = s
	return s, nil
}

func counterSubject(window time.Duration, counter string, bucket int64) string {
	sum := warden.Sum([]byte(counter))
	return fmt.Sprintf("limit.%d.%s.%d", int64(window/time.Second), hex.EncodeToString(sum[:16]), bucket)
}

// Take adds n to a bucket of a counter and returns the bucket's total.
func (c *Counters) Take(ctx context.Context, window time.Duration, counter string, bucket, n int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, counterAnswer)
	defer cancel()
	if _, err := c.stream(ctx, window); err != nil {
		return 0, err
	}
	msg := nats.NewMsg(counterSubject(window, counter, bucket))
	msg.Header.Set("Nats-Incr", fmt.Sprintf("%+d", n))
	ack, err := c.q.js.PublishMsg(ctx, msg)
	if err != nil {
		return 0, fmt.Errorf("count: %w", err)
	}
	total, err := strconv.ParseInt(ack.Value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("count: total %q", ack.Value)
	}
	return total, nil
}

// Sum returns the totals of the buckets [from, to), and of the one behind: a
// process whose clock is ahead counts there already.
func (c *Counters) Sum(ctx context.Context, window time.Duration, counter string, from, to int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, counterAnswer)
	defer cancel()
	s, err := c.stream(ctx, window)
	if err != nil {
		return 0, err
	}
	var ask []int64
	var sum int64
	c.mu.Lock()
	known := c.closed[counter]
	for b := from; b < to; b++ {
		if v, ok := known[b]; ok {
			sum += v
		} else {
			ask = append(ask, b)
		}
	}
	c.mu.Unlock()
	ask = append(ask, to+1)
	values := make([]int64, len(ask))
	errs := make([]error, len(ask))
	var wg sync.WaitGroup
	for i, b := range ask {
		wg.Go(func() { values[i], errs[i] = total(ctx, s, counterSubject(window, counter, b)) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, fmt.Errorf("read counters: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.closed) >= countersKept {
		clear(c.closed)
	}
	known = c.closed[counter]
	if known == nil {
		known = map[int64]int64{}
		c.closed[counter] = known
	}
	for i, b := range ask {
		sum += values[i]
		if b < to-settled {
			known[b] = values[i]
		}
	}
	for b := range known {
		if b < from {
			delete(known, b)
		}
	}
	return sum, nil
}

func total(ctx context.Context, s jetstream.Stream, subject string) (int64, error) {
	m, err := s.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var v struct {
		Val string `json:"val"`
	}
	if err := json.Unmarshal(m.Data, &v); err != nil {
		return 0, err
	}
	return strconv.ParseInt(v.Val, 10, 64)
}
