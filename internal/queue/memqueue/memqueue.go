// Package memqueue is the trivial queue: it lives in this process and forgets
// everything at its end, which the registry's sweep makes good.
package memqueue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/modelwarden/warden/internal/queue"
)

// A Queue implements [queue.Work] and [queue.Events].
type Queue struct {
	hold time.Duration // how long a receiver holds a job
	max  int           // outstanding jobs

	mu     sync.Mutex // guards the fields below
	jobs   map[string]*job
	order  []*job        // as enqueued; those done stay until they are reached
	given  int           // deliveries so far
	bell   chan struct{} // closed when a job may be ready; replaced then
	closed bool
	subs   map[*subscription]struct{}
}

type job struct {
	queue.Job
	ready time.Time // not before
	held  int       // number of the delivery that holds it; 0 if none
	done  bool
}

// New returns a queue of at most max outstanding jobs that are delivered again
// if they are held longer than hold.
func New(hold time.Duration, max int) *Queue {
	return &Queue{hold: hold, max: max, jobs: map[string]*job{}, bell: make(chan struct{}), subs: map[*subscription]struct{}{}}
}

// Close ends all waiting. Jobs are lost.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.closed = true
	q.ring()
	for s := range q.subs {
		delete(q.subs, s)
		close(s.c)
	}
}

// ring wakes all that wait; the caller holds mu.
func (q *Queue) ring() {
	close(q.bell)
	q.bell = make(chan struct{})
}

// Enqueue implements [queue.Work].
func (q *Queue) Enqueue(ctx context.Context, class queue.Class, key string, body []byte) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	name := string(class) + "/" + key
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case q.closed:
		return false, queue.ErrClosed
	case q.jobs[name] != nil:
		return false, nil
	case len(q.jobs) >= q.max:
		return false, fmt.Errorf("%w: %d jobs", queue.ErrFull, q.max)
	}
	j := &job{Job: queue.Job{Class: class, Key: key, Body: body}}
	q.jobs[name] = j
	q.order = append(q.order, j)
	q.ring()
	return true, nil
}

// Outstanding implements [queue.Work].
func (q *Queue) Outstanding(context.Context) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.jobs), nil
}

// Receive implements [queue.Work].
func (q *Queue) Receive(ctx context.Context) (queue.Delivery, error) {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return nil, queue.ErrClosed
		}
		if err := ctx.Err(); err != nil {
			q.mu.Unlock()
			return nil, err
		}
		j, wait := q.next(time.Now())
		bell := q.bell
		if j != nil {
			q.given++
			j.Attempt, j.held, j.ready = j.Attempt+1, q.given, time.Now().Add(q.hold)
			d := &delivery{q, j, j.Job, q.given}
			q.mu.Unlock()
			return d, nil
		}
		q.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-bell:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// next returns the job to deliver now, or how long to wait for one; the caller
// holds mu.
func (q *Queue) next(now time.Time) (*job, time.Duration) {
	classes := queue.Classes()
	if (q.given+1)%queue.Fairness == 0 { // the turn of those below
		classes = append(classes[1:], classes[0])
	}
	live := q.order[:0]
	first, wait := map[queue.Class]*job{}, time.Hour
	for _, j := range q.order {
		if j.done {
			continue
		}
		live = append(live, j)
		if left := j.ready.Sub(now); left > 0 {
			wait = min(wait, left)
		} else if first[j.Class] == nil {
			first[j.Class] = j
		}
	}
	q.order = live
	for _, c := range classes {
		if first[c] != nil {
			return first[c], 0
		}
	}
	return nil, wait
}

type delivery struct {
	q   *Queue
	j   *job
	job queue.Job
	no  int
}

// Job implements [queue.Delivery].
func (d *delivery) Job() queue.Job { return d.job }

// with runs fn if the delivery still holds its job.
func (d *delivery) with(fn func()) error {
	d.q.mu.Lock()
	defer d.q.mu.Unlock()
	if d.j.done || d.j.held != d.no {
		return fmt.Errorf("%w: %s", queue.ErrTaken, d.job.Key)
	}
	fn()
	d.q.ring()
	return nil
}

// Ack implements [queue.Delivery].
func (d *delivery) Ack(context.Context) error {
	return d.with(func() {
		d.j.done = true
		delete(d.q.jobs, string(d.job.Class)+"/"+d.job.Key)
	})
}

// Retry implements [queue.Delivery].
func (d *delivery) Retry(_ context.Context, delay time.Duration) error {
	return d.with(func() { d.j.held, d.j.ready = 0, time.Now().Add(delay) })
}

// Extend implements [queue.Delivery].
func (d *delivery) Extend(context.Context) error {
	return d.with(func() { d.j.ready = time.Now().Add(d.q.hold) })
}

type subscription struct {
	q       *Queue
	topic   string
	c       chan queue.Event
	dropped uint64 // guarded by q.mu
}

// Publish implements [queue.Events].
func (q *Queue) Publish(_ context.Context, e queue.Event) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return queue.ErrClosed
	}
	for s := range q.subs {
		for s.topic == e.Topic {
			select {
			case s.c <- e:
			default:
				select {
				case <-s.c:
					s.dropped++
				default: // its receiver was faster
				}
				continue
			}
			break
		}
	}
	return nil
}

// Subscribe implements [queue.Events].
func (q *Queue) Subscribe(_ context.Context, topic string, buffer int) (queue.Subscription, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, queue.ErrClosed
	}
	s := &subscription{q: q, topic: topic, c: make(chan queue.Event, max(buffer, 1))}
	q.subs[s] = struct{}{}
	return s, nil
}

// C implements [queue.Subscription].
func (s *subscription) C() <-chan queue.Event { return s.c }

// Dropped implements [queue.Subscription].
func (s *subscription) Dropped() uint64 {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	return s.dropped
}

// Close implements [queue.Subscription].
func (s *subscription) Close() {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	if _, ok := s.q.subs[s]; ok {
		delete(s.q.subs, s)
		close(s.c)
	}
}
