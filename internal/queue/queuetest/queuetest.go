// Package queuetest is the conformance suite of queues.
package queuetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/queue"
)

// Hold is how long the queues under test let a receiver hold a job.
const Hold = 300 * time.Millisecond

// A Queue is what the suite tests.
type Queue interface {
	queue.Work
	queue.Events
}

// TestQueue runs the suite on queues that open returns, each empty and with the
// hold time [Hold].
func TestQueue(t *testing.T, open func(t *testing.T) Queue) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Queue){
		"ack": testAck, "same_key": testSameKey, "retry": testRetry, "redelivery": testRedelivery, "extend": testExtend,
		"dead": testDead, "classes": testClasses, "fairness": testFairness, "many_receivers": testMany,
		"context": testContext, "events": testEvents, "slow_subscriber": testSlow,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func add(t *testing.T, q queue.Work, class queue.Class, key string) bool {
	t.Helper()
	added, err := q.Enqueue(t.Context(), class, key, []byte("body of "+key))
	if err != nil {
		t.Fatalf("Enqueue(%s) = %v", key, err)
	}
	return added
}

func take(t *testing.T, q queue.Work) queue.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	d, err := q.Receive(ctx)
	if err != nil {
		t.Fatalf("Receive = %v", err)
	}
	return d
}

func none(t *testing.T, q queue.Work, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if d, err := q.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Receive = %v, %v; want nothing", d, err)
	}
}

func ack(t *testing.T, d queue.Delivery) {
	t.Helper()
	if err := d.Ack(t.Context()); err != nil {
		t.Fatalf("Ack(%s) = %v", d.Job().Key, err)
	}
}

func outstanding(t *testing.T, q queue.Work, want int) {
	t.Helper()
	var n int
	for range 40 { // an acknowledgement may take a moment
		var err error
		if n, err = q.Outstanding(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n == want {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("Outstanding = %d, want %d", n, want)
}

func testAck(t *testing.T, q Queue) {
	outstanding(t, q, 0)
	add(t, q, queue.Admission, "sha256:ab/.* >")
	outstanding(t, q, 1)
	d := take(t, q)
	j := d.Job()
	if j.Key != "sha256:ab/.* >" || j.Class != queue.Admission || string(j.Body) != "body of "+j.Key || j.Attempt != 1 || j.Dead() {
		t.Errorf("Job = %+v", j)
	}
	ack(t, d)
	outstanding(t, q, 0)
	none(t, q, 2*Hold)
}

func testSameKey(t *testing.T, q Queue) {
	if !add(t, q, queue.Sweep, "a") || add(t, q, queue.Sweep, "a") {
		t.Error("second job of one key: want refused")
	}
	if !add(t, q, queue.Interactive, "a") {
		t.Error("same key in another class: want added")
	}
	ack(t, take(t, q))
	d := take(t, q)
	if add(t, q, queue.Sweep, "a") {
		t.Error("job of a key that is being worked: want refused")
	}
	ack(t, d)
	outstanding(t, q, 0)
	if !add(t, q, queue.Sweep, "a") {
		t.Error("job of a key that is done: want added")
	}
}

func testRetry(t *testing.T, q Queue) {
	add(t, q, queue.Admission, "a")
	if err := take(t, q).Retry(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	d := take(t, q)
	if d.Job().Attempt != 2 {
		t.Errorf("Attempt = %d, want 2", d.Job().Attempt)
	}
	ack(t, d)
	none(t, q, 2*Hold)
}

func testRedelivery(t *testing.T, q Queue) {
	add(t, q, queue.Admission, "a")
	take(t, q) // and die
	start := time.Now()
	d := take(t, q)
	if d.Job().Attempt != 2 || time.Since(start) < Hold/2 {
		t.Errorf("Attempt %d after %v, want 2 after %v", d.Job().Attempt, time.Since(start), Hold)
	}
	ack(t, d)
}

func testExtend(t *testing.T, q Queue) {
	add(t, q, queue.Admission, "a")
	d := take(t, q)
	for range 4 {
		time.Sleep(Hold / 2)
		if err := d.Extend(t.Context()); err != nil {
			t.Fatalf("Extend = %v", err)
		}
	}
	none(t, q, Hold/3)
	ack(t, d)
	none(t, q, 2*Hold)
}

func testDead(t *testing.T, q Queue) {
	add(t, q, queue.Admission, "poison")
	for i := range queue.MaxAttempts {
		d := take(t, q)
		if d.Job().Dead() || d.Job().Attempt != i+1 {
			t.Fatalf("delivery %d: %+v", i+1, d.Job())
		}
		if err := d.Retry(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	d := take(t, q)
	if !d.Job().Dead() {
		t.Errorf("after %d attempts: %+v, want dead", queue.MaxAttempts, d.Job())
	}
	ack(t, d)
	outstanding(t, q, 0)
}

func testClasses(t *testing.T, q Queue) {
	add(t, q, queue.Sweep, "s")
	add(t, q, queue.Admission, "a")
	add(t, q, queue.Interactive, "i")
	var got strings.Builder
	for range 3 {
		d := take(t, q)
		got.WriteString(d.Job().Key)
		ack(t, d)
	}
	if got.String() != "ias" {
		t.Errorf("order %q, want %q", got.String(), "ias")
	}
}

func testFairness(t *testing.T, q Queue) {
	add(t, q, queue.Sweep, "sweep")
	for i := range 3 * queue.Fairness {
		add(t, q, queue.Interactive, fmt.Sprint("i", i))
	}
	for range 2 * queue.Fairness {
		d := take(t, q)
		ack(t, d)
		if d.Job().Class == queue.Sweep {
			return
		}
	}
	t.Error("work below starves")
}

func testMany(t *testing.T, q Queue) {
	const jobs, workers = 100, 8
	var (
		mu   sync.Mutex
		seen = map[string]int{}
		wg   sync.WaitGroup
	)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range workers {
		wg.Go(func() {
			for {
				d, err := q.Receive(ctx)
				if err != nil {
					return
				}
				if err := d.Ack(ctx); err != nil {
					t.Errorf("Ack = %v", err)
				}
				mu.Lock()
				seen[d.Job().Key]++
				if len(seen) == jobs {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	for i := range jobs {
		add(t, q, queue.Admission, fmt.Sprint(i))
	}
	wg.Wait()
	if len(seen) != jobs {
		t.Errorf("%d of %d jobs were delivered", len(seen), jobs)
	}
	for key, n := range seen {
		if n != 1 {
			t.Errorf("job %s was delivered %d times", key, n)
		}
	}
}

func testContext(t *testing.T, q Queue) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := q.Receive(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Receive = %v, want context.Canceled", err)
	}
}

func receive(t *testing.T, s queue.Subscription) queue.Event {
	t.Helper()
	select {
	case e, ok := <-s.C():
		if !ok {
			t.Fatal("subscription is closed")
		}
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no event")
	}
	return queue.Event{}
}

func testEvents(t *testing.T, q Queue) {
	one, err := q.Subscribe(t.Context(), "registry.state", 10)
	if err != nil {
		t.Fatal(err)
	}
	two, err := q.Subscribe(t.Context(), "registry.state", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []queue.Event{{Topic: "gateway.exchange", Body: []byte("other")}, {Topic: "registry.state", Body: []byte("mine")}} {
		if err := q.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []queue.Subscription{one, two} {
		if e := receive(t, s); e.Topic != "registry.state" || string(e.Body) != "mine" {
			t.Errorf("event %+v", e)
		}
		s.Close()
		s.Close()
		if _, ok := <-s.C(); ok {
			t.Error("event after Close")
		}
	}
}

func testSlow(t *testing.T, q Queue) {
	s, err := q.Subscribe(t.Context(), "x", 3)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 10 {
		if err := q.Publish(t.Context(), queue.Event{Topic: "x", Body: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		if s.Dropped() == 7 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := s.Dropped(); n != 7 {
		t.Fatalf("Dropped = %d, want 7", n)
	}
	for i := 7; i < 10; i++ {
		if e := receive(t, s); string(e.Body) != fmt.Sprint(i) {
			t.Errorf("event %s, want %d", e.Body, i)
		}
	}
}
