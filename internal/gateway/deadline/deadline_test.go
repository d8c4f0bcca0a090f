package deadline_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/gateway/deadline"
)

func pair(t *testing.T) (watched, other net.Conn) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l = deadline.New().Listener(l)
	defer l.Close()
	other, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	watched, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { watched.Close(); other.Close() })
	return watched, other
}

// TestPasses: a deadline ends a read that waits, at most Every late, and one in
// the past at once.
func TestPasses(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]time.Duration{"past": -time.Hour, "near": 50 * time.Millisecond, "kept": 2*deadline.Every + 100*time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := pair(t)
			begun := time.Now()
			if err := c.SetReadDeadline(begun.Add(wait)); err != nil {
				t.Fatal(err)
			}
			_, err := c.Read(make([]byte, 1))
			if took := time.Since(begun); !errors.Is(err, os.ErrDeadlineExceeded) || took < wait || took > max(wait, 0)+2*deadline.Every {
				t.Errorf("after %v: %v", took, err)
			}
		})
	}
}

// TestWritePasses: a write that nobody reads ends.
func TestWritePasses(t *testing.T) {
	t.Parallel()
	c, _ := pair(t)
	if err := c.SetDeadline(time.Now().Add(2*deadline.Every + 50*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var err error
	for b := make([]byte, 1<<20); err == nil; {
		_, err = c.Write(b)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// TestMoves: what counts is the deadline that was set last, also after one that
// passed.
func TestMoves(t *testing.T) {
	t.Parallel()
	c, other := pair(t)
	for _, at := range []time.Time{time.Unix(1, 0), time.Now().Add(time.Hour), time.Unix(1, 0), {}} {
		if err := c.SetReadDeadline(at); err != nil {
			t.Fatal(err)
		}
		if at.Equal(time.Unix(1, 0)) {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			continue
		}
		if _, err := other.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatalf("deadline %v: %v", at, err)
		}
	}
}

func TestAfter(t *testing.T) {
	t.Parallel()
	w := deadline.New()
	came := make(chan string, 2)
	w.After(0, func() { came <- "late" })
	w.After(0, func() { came <- "stopped" }).Stop()
	select {
	case got := <-came:
		if got != "late" {
			t.Error(got)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
	}
	select {
	case got := <-came:
		t.Error(got)
	case <-time.After(2 * deadline.Every):
	}
}
