package natsqueue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/modelwarden/warden/internal/queue"
)

// subject returns the subject of a topic. A topic is never a pattern.
func subject(topic string) (string, error) {
	if topic == "" || strings.ContainsAny(topic, "*> \t\r\n") || strings.HasPrefix(topic, ".") || strings.HasSuffix(topic, ".") || strings.Contains(topic, "..") {
		return "", fmt.Errorf("topic %q: want words with dots between them", topic)
	}
	return "event." + topic, nil
}

// Publish implements [queue.Events].
func (q *Queue) Publish(_ context.Context, e queue.Event) error {
	to, err := subject(e.Topic)
	if err != nil {
		return err
	}
	if err := q.conn.Publish(to, e.Body); err != nil {
		if errors.Is(err, nats.ErrConnectionClosed) {
			return queue.ErrClosed
		}
		return fmt.Errorf("publish on %s: %w", e.Topic, err)
	}
	return nil
}

type subscription struct {
	q     *Queue
	topic string
	sub   *nats.Subscription

	mu      sync.Mutex // guards sending on and closing c, and the fields below
	c       chan queue.Event
	dropped uint64
	closed  bool
}

// Subscribe implements [queue.Events].
func (q *Queue) Subscribe(_ context.Context, topic string, buffer int) (queue.Subscription, error) {
	from, err := subject(topic)
	if err != nil {
		return nil, err
	}
	s := &subscription{q: q, topic: topic, c: make(chan queue.Event, max(buffer, 1))}
	if s.sub, err = q.conn.Subscribe(from, s.deliver); err != nil {
		if errors.Is(err, nats.ErrConnectionClosed) {
			return nil, queue.ErrClosed
		}
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	if err := q.conn.Flush(); err != nil { // what is published from now on arrives
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		s.end()
		return nil, queue.ErrClosed
	}
	q.subs[s] = struct{}{}
	return s, nil
}

// deliver puts an event into the buffer, in place of the oldest if it is full.
func (s *subscription) deliver(m *nats.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		select {
		case s.c <- queue.Event{Topic: s.topic, Body: m.Data}:
			return
		default:
		}
		select {
		case <-s.c:
			s.dropped++
		default: // its receiver was faster
		}
	}
}

// C implements [queue.Subscription].
func (s *subscription) C() <-chan queue.Event { return s.c }

// Dropped implements [queue.Subscription].
func (s *subscription) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Close implements [queue.Subscription].
func (s *subscription) Close() {
	s.q.mu.Lock()
	delete(s.q.subs, s)
	s.q.mu.Unlock()
	_ = s.sub.Unsubscribe() // fails only if the connection is closed, which ends it too
	s.end()
}

func (s *subscription) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.c)
	}
}
