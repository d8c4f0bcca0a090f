package natsqueue_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/modelwarden/warden/internal/queue"
	"github.com/modelwarden/warden/internal/queue/natsqueue"
	"github.com/modelwarden/warden/internal/queue/queuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *natsqueue.Queue {
	t.Helper()
	q, err := natsqueue.Open(t.Context(), natsqueue.Config{Dir: dir, Hold: queuetest.Hold, MaxJobs: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q
}

func TestQueue(t *testing.T) {
	queuetest.TestQueue(t, func(t *testing.T) queuetest.Queue { return open(t, t.TempDir()) })
}

func TestJobsSurviveRestart(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir)
	if added, err := q.Enqueue(t.Context(), queue.Sweep, "a", []byte("x")); !added || err != nil {
		t.Fatalf("Enqueue = %v, %v", added, err)
	}
	q.Close()
	if _, err := q.Receive(t.Context()); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Receive after Close = %v, want ErrClosed", err)
	}
	if _, err := q.Enqueue(t.Context(), queue.Sweep, "b", nil); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Enqueue after Close = %v, want ErrClosed", err)
	}
	q = open(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	d, err := q.Receive(ctx)
	if err != nil || d.Job().Key != "a" || string(d.Job().Body) != "x" {
		t.Fatalf("Receive = %v, %v", d, err)
	}
	if added, err := q.Enqueue(t.Context(), queue.Sweep, "a", nil); added || err != nil {
		t.Errorf("Enqueue of an outstanding key = %v, %v", added, err)
	}
}

func TestFull(t *testing.T) {
	q, err := natsqueue.Open(t.Context(), natsqueue.Config{Dir: t.TempDir(), MaxJobs: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for _, key := range []string{"a", "b"} {
		if added, err := q.Enqueue(t.Context(), queue.Sweep, key, nil); !added || err != nil {
			t.Fatalf("Enqueue = %v, %v", added, err)
		}
	}
	if _, err := q.Enqueue(t.Context(), queue.Sweep, "c", nil); !errors.Is(err, queue.ErrFull) {
		t.Errorf("Enqueue = %v, want ErrFull", err)
	}
}

// Close wakes those who wait.
func TestCloseWakes(t *testing.T) {
	q := open(t, t.TempDir())
	done := make(chan error)
	go func() {
		_, err := q.Receive(t.Context())
		done <- err
	}()
	time.Sleep(50 * time.Millisecond)
	q.Close()
	select {
	case err := <-done:
		if !errors.Is(err, queue.ErrClosed) {
			t.Errorf("Receive = %v, want ErrClosed", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Receive still waits")
	}
}
