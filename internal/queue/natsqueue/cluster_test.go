package natsqueue_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/modelwarden/warden/internal/queue"
	"github.com/modelwarden/warden/internal/queue/natsqueue"
	"github.com/modelwarden/warden/internal/queue/queuetest"
)

// A cluster is three NATS servers in this process, on free ports of loopback.
type cluster struct {
	nodes  []*server.Server
	routes []*url.URL
	dirs   []string
	ports  []int
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{}
	var held []net.Listener
	for range 6 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
		c.ports = append(c.ports, l.Addr().(*net.TCPAddr).Port)
	}
	for _, l := range held {
		l.Close()
	}
	for i := range 3 {
		c.routes = append(c.routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", c.ports[3+i])})
		c.dirs = append(c.dirs, t.TempDir())
	}
	for i := range 3 {
		c.nodes = append(c.nodes, c.start(t, i))
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.Shutdown()
			n.WaitForShutdown()
		}
	})
	return c
}

func (c *cluster) start(t *testing.T, i int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: fmt.Sprint("node", i), Host: "127.0.0.1", Port: c.ports[i], NoLog: true, NoSigs: true, JetStream: true, StoreDir: c.dirs[i],
		Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: c.ports[3+i]}, Routes: c.routes,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	return s
}

func (c *cluster) url() string {
	var us []string
	for _, p := range c.ports[:3] {
		us = append(us, fmt.Sprintf("nats://127.0.0.1:%d", p))
	}
	return strings.Join(us, ",")
}

// join opens a queue on the cluster, which needs a while to choose leaders.
func join(t *testing.T, url string) *natsqueue.Queue {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		var q *natsqueue.Queue
		if q, err = natsqueue.Open(t.Context(), natsqueue.Config{URL: url, Hold: queuetest.Hold, MaxJobs: 1000, Replicas: 3}); err == nil {
			t.Cleanup(q.Close)
			return q
		}
	}
	t.Fatal(err)
	return nil
}

// emptied reports whether no job is outstanding.
func emptied(ctx context.Context, q *natsqueue.Queue) bool {
	n, err := q.Outstanding(ctx)
	return err == nil && n == 0
}

// Two processes share a cluster of three nodes. The node that leads is killed
// and work goes on: every job is delivered, and none stays behind.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three servers")
	}
	c := newCluster(t)
	a, b := join(t, c.url()), join(t, c.url())
	const jobs = 200
	var (
		mu   sync.Mutex
		done = map[string]int{}
		wg   sync.WaitGroup
	)
	ctx, stop := context.WithTimeout(t.Context(), 90*time.Second)
	defer stop()
	for _, q := range []*natsqueue.Queue{a, b} {
		wg.Go(func() {
			for ctx.Err() == nil {
				d, err := q.Receive(ctx)
				if err != nil {
					time.Sleep(50 * time.Millisecond) // as a worker does
					continue
				}
				mu.Lock() // the work is done now, whatever becomes of the acknowledgement
				done[d.Job().Key]++
				mu.Unlock()
				// An acknowledgement that fails may have been stored by a leader that
				// died before its answer, or not: then the job comes again.
				_ = d.Ack(ctx)
			}
		})
	}
	killed := false
	for i := range jobs {
		q := []*natsqueue.Queue{a, b}[i%2]
		for {
			_, err := q.Enqueue(ctx, queue.Sweep, fmt.Sprint("job", i), nil)
			if err == nil || ctx.Err() != nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if i == jobs/2 {
			for _, n := range c.nodes {
				if n.JetStreamIsStreamLeader("$G", "work") {
					killed = true
					n.Shutdown()
					break // the next node leads by now
				}
			}
		}
	}
	for ctx.Err() == nil { // the last acknowledgement may be the one that was lost
		mu.Lock()
		all := len(done) == jobs
		mu.Unlock()
		if all && emptied(ctx, a) {
			stop()
		}
		time.Sleep(50 * time.Millisecond)
	}
	wg.Wait()
	left, err := a.Outstanding(t.Context())
	if !killed || len(done) != jobs || left != 0 || err != nil {
		t.Errorf("leader killed: %v; %d jobs were done, want %d; %d outstanding, %v", killed, len(done), jobs, left, err)
	}
}

// An event reaches subscribers of other processes.
func TestClusterEvents(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three servers")
	}
	c := newCluster(t)
	a, b := join(t, c.url()), join(t, c.url())
	sub, err := b.Subscribe(t.Context(), "registry.changed", 8)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if err := a.Publish(t.Context(), queue.Event{Topic: "registry.changed", Body: []byte("7")}); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-sub.C():
		if string(e.Body) != "7" {
			t.Errorf("event = %q", e.Body)
		}
	case <-time.After(5 * time.Second):
		t.Error("the event did not arrive")
	}
}
