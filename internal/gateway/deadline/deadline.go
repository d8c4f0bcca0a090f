// Package deadline keeps deadlines that are moved often and pass seldom. A
// server moves those of a connection some ten times for each request, and each
// move of a timer of the runtime may wake a thread that then finds nothing to
// do. Here a move is a number that is stored; one timer for all looks at them.
package deadline

import (
	"net"
	"sync"
	"time"
)

// Every is how often deadlines are looked at: so much later than asked they may
// pass. Those that are nearer are left to the connection itself.
const Every = time.Second

// A Watch ends waits whose time has come. It is safe for concurrent use. Nothing
// runs while it has nothing to watch.
type Watch struct {
	base time.Time

	mu    sync.Mutex // guards the fields below; taken before that of a conn
	runs  bool       // the timer is set
	conns map[*conn]struct{}
	waits map[*Wait]struct{}
}

// New returns a Watch over nothing.
func New() *Watch {
	return &Watch{base: time.Now(), conns: map[*conn]struct{}{}, waits: map[*Wait]struct{}{}}
}

// A Wait is a call to come.
type Wait struct {
	watch *Watch
	by    time.Duration
	f     func()
}

// After calls f in a goroutine of its own when d has passed, unless it is
// stopped before. f must not wait.
func (w *Watch) After(d time.Duration, f func()) *Wait {
	x := &Wait{watch: w, by: time.Since(w.base) + d, f: f}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waits[x] = struct{}{}
	w.run()
	return x
}

// Stop makes the call not come, if it has not begun.
func (x *Wait) Stop() {
	x.watch.mu.Lock()
	defer x.watch.mu.Unlock()
	delete(x.watch.waits, x)
}

// run sets the timer if there is something to watch.
func (w *Watch) run() {
	if !w.runs && len(w.conns)+len(w.waits) > 0 {
		w.runs = true
		time.AfterFunc(Every, w.look)
	}
}

// look ends what is over.
func (w *Watch) look() {
	w.mu.Lock()
	now := time.Since(w.base)
	var over []*Wait
	for x := range w.waits {
		if x.by <= now {
			over = append(over, x)
			delete(w.waits, x)
		}
	}
	for c := range w.conns {
		c.look(now)
	}
	w.runs = false
	w.run()
	w.mu.Unlock()
	for _, x := range over {
		x.f()
	}
}

// Listener returns l with connections whose deadlines w keeps. TLS goes around
// it.
func (w *Watch) Listener(l net.Listener) net.Listener { return listener{l, w} }

type listener struct {
	net.Listener
	watch *Watch
}

// Accept implements [net.Listener].
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.watch.Conn(c), nil
}

// Conn returns c with deadlines that w keeps until it is closed.
func (w *Watch) Conn(c net.Conn) net.Conn {
	out := &conn{Conn: c, watch: w}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[out] = struct{}{}
	w.run()
	return out
}

// A conn is a connection whose deadlines are kept here.
type conn struct {
	net.Conn
	watch *Watch

	mu          sync.Mutex // guards the fields below, and the deadlines of Conn
	read, write side
}

// A side is reading or writing.
type side struct {
	by   time.Duration // since the watch's base; 0: none that is kept here
	hard bool          // Conn has one
}

// set moves a deadline; apply sets that of the connection itself.
func (s *side) set(w *Watch, t time.Time, apply func(time.Time) error) error {
	soon := false
	s.by = 0
	if !t.IsZero() {
		by := t.Sub(w.base)
		if soon = by-time.Since(w.base) < 2*Every; !soon {
			s.by = by
		}
	}
	switch {
	case soon:
		s.hard = true
		return apply(t)
	case s.hard:
		s.hard = false
		return apply(time.Time{})
	default:
		return nil
	}
}

// look lets a deadline pass whose time has come.
func (s *side) look(now time.Duration, apply func(time.Time) error) {
	if s.by != 0 && s.by <= now {
		s.by, s.hard = 0, true
		apply(time.Unix(1, 0)) //nolint:errcheck // it is closed, then
	}
}

func (c *conn) look(now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read.look(now, c.Conn.SetReadDeadline)
	c.write.look(now, c.Conn.SetWriteDeadline)
}

// SetReadDeadline implements [net.Conn].
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read.set(c.watch, t, c.Conn.SetReadDeadline)
}

// SetWriteDeadline implements [net.Conn].
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write.set(c.watch, t, c.Conn.SetWriteDeadline)
}

// SetDeadline implements [net.Conn].
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// CloseWrite ends what is sent, where the connection can: a server does that
// before it closes a connection whose other end still sends.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	c.watch.mu.Lock()
	delete(c.watch.conns, c)
	c.watch.mu.Unlock()
	return c.Conn.Close()
}
