// Package queue moves work and events between the parts of the platform. What
// it holds is never the only copy of anything: jobs are a hint at rows that the
// registry keeps and enqueues again, events may be dropped and are then counted.
//
// Drivers are leaves: natsqueue (JetStream in process), memqueue (tests and
// single processes without a data folder). All pass queuetest.
package queue

import (
	"context"
	"errors"
	"time"
)

// MaxAttempts is how often a job is delivered for work. After that it is
// delivered only to be written off, see [Job.Dead].
const MaxAttempts = 5

// Errors to branch on.
var (
	ErrClosed = errors.New("queue is closed")
	ErrFull   = errors.New("queue is full") // the registry keeps the job and offers it later
	ErrTaken  = errors.New("job is not held any more")
)

// A Class says how urgent a job is.
type Class string

// The classes, most urgent first. Work of a lower class is given out when there
// is none above it, and one time in [Fairness] also when there is.
const (
	Interactive Class = "interactive" // a person waits
	Admission   Class = "admission"   // a push or pull waits
	Sweep       Class = "sweep"       // rescans
)

// Fairness is how many deliveries a lower class waits at most while a higher
// one has work.
const Fairness = 8

// Classes returns the classes, most urgent first.
func Classes() []Class { return []Class{Interactive, Admission, Sweep} }

// A Job is one piece of work. Working it twice must change nothing.
type Job struct {
	Class   Class
	Key     string // at most one outstanding job of a class has this key
	Body    []byte
	Attempt int // 1 at the first delivery
}

// Dead reports whether the job was given out MaxAttempts times and came back
// each time. Whoever receives it must not work it: record that it could not be
// done, and acknowledge it.
func (j Job) Dead() bool { return j.Attempt > MaxAttempts }

// A Delivery is a job that its receiver holds until it says otherwise or the
// queue's hold time is over; then the job is delivered again.
type Delivery interface {
	Job() Job
	// Ack removes the job.
	Ack(ctx context.Context) error
	// Retry gives the job back, to be delivered again after delay.
	Retry(ctx context.Context, delay time.Duration) error
	// Extend starts the hold time anew. It returns an error wrapping ErrTaken
	// if that is too late.
	Extend(ctx context.Context) error
}

// Work is a queue of jobs. It may be used concurrently.
type Work interface {
	// Enqueue adds a job unless one of that class and key is outstanding, and
	// reports whether it did.
	Enqueue(ctx context.Context, class Class, key string, body []byte) (added bool, err error)
	// Receive waits for a job. It returns ctx's error when ctx ends, and one
	// wrapping ErrClosed when the queue is closed.
	Receive(ctx context.Context) (Delivery, error)
	// Outstanding returns the number of jobs that were not acknowledged.
	Outstanding(ctx context.Context) (int, error)
}

// An Event is something that happened, for whoever listens now.
type Event struct {
	Topic string // "registry.state"; letters, digits and dots
	Body  []byte
}

// Events are sent to all present subscribers and not kept.
type Events interface {
	Publish(ctx context.Context, e Event) error
	// Subscribe returns a subscription to a topic that holds up to buffer
	// events. Close it.
	Subscribe(ctx context.Context, topic string, buffer int) (Subscription, error)
}

// A Subscription receives events. When its buffer is full the oldest event is
// dropped and counted, so a slow subscriber never delays a publisher.
type Subscription interface {
	C() <-chan Event // closed by Close and by the end of the queue
	Dropped() uint64
	Close()
}
