// Package direct is an HTTP/1.1 client for one upstream. A request is written
// and its answer is read in the caller's own goroutine, over connections that
// are kept: the two hand-overs between goroutines that http.Transport makes for
// every request cost more than all else a proxy does.
//
// It does what a proxy needs and no more: request bodies are byte slices that
// the caller has whole, redirects are not followed, nothing is decompressed, no
// proxy is read from the environment. HTTP/2 is http.Transport's.
package direct

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"time"
)

// ErrUpstream is wrapped by errors about answers that are not acceptable HTTP.
var ErrUpstream = errors.New("not an acceptable HTTP answer")

// ErrNotSent is wrapped by errors of requests of which the upstream saw no byte:
// they may be sent again, also elsewhere.
var ErrNotSent = errors.New("request was not sent")

// A Config is what a [Client] needs; all but Address and Dial may be zero.
type Config struct {
	Address string // host:port to connect to
	Host    string // of the Host header; "" means Address
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	TLS     *tls.Config // nil: plain TCP. Its ServerName is required
	MaxIdle int         // connections kept; 0 means 64
	Keep    time.Duration
	// Idle is the longest silence of the upstream, before and inside an answer,
	// and of its reading; 0 means 60 s.
	Idle      time.Duration
	MaxHeader int64 // bytes of an answer's header; 0 means 64 KiB
}

// keepTime is how long an unused connection is kept: less than servers keep it.
const keepTime = 45 * time.Second

// A Client is safe for concurrent use. The zero Client is not ready; see [New].
type Client struct {
	cfg Config

	mu     sync.Mutex // guards the fields below
	idle   []*conn    // the one used last is last
	closed bool
}

// New checks cfg. It connects to nothing.
func New(cfg Config) (*Client, error) {
	if cfg.Address == "" || cfg.Dial == nil || cfg.TLS != nil && cfg.TLS.ServerName == "" {
		return nil, errors.New("direct: an address, a dialer and with TLS a server name are required")
	}
	cfg.Host = cmp.Or(cfg.Host, cfg.Address)
	cfg.MaxIdle = cmp.Or(cfg.MaxIdle, 64)
	cfg.Keep = cmp.Or(cfg.Keep, keepTime)
	cfg.Idle = cmp.Or(cfg.Idle, time.Minute)
	cfg.MaxHeader = cmp.Or(cfg.MaxHeader, 64<<10)
	if cfg.TLS != nil {
		cfg.TLS = cfg.TLS.Clone()
		cfg.TLS.NextProtos = []string{"http/1.1"}
	}
	return &Client{cfg: cfg}, nil
}

// A Request is sent as it is. Its strings must hold no line ends: they come from
// configuration or are checked by the caller.
type Request struct {
	Method string
	Target string // path and query, escaped
	Header []Field
	Body   []byte // may be empty
	// Sent is called when the request went out and its answer is not yet awaited:
	// what can be done meanwhile costs nobody time. It may be nil.
	Sent func()
}

// A Field is one line of a header.
type Field struct{ Name, Value string }

// Do sends r and returns the answer as soon as its header is there. The caller
// closes the answer's body; one that was read to its end leaves the connection
// to the next request. When ctx ends, sending and reading end too.
//
// A request that found its kept connection closed is sent once more on a new
// one, unless the upstream may have seen it.
func (c *Client) Do(ctx context.Context, r *Request) (*http.Response, error) {
	for {
		cn, kept, err := c.connect(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
		}
		resp, err := cn.exchange(ctx, r)
		if err == nil {
			return resp, nil
		}
		cn.close()
		if kept && ctx.Err() == nil && errors.Is(err, ErrNotSent) {
			continue // each turn takes a connection from the pool, which ends
		}
		return nil, err
	}
}

// Close ends kept connections. Running exchanges go on.
func (c *Client) Close() {
	c.mu.Lock()
	idle := c.idle
	c.idle, c.closed = nil, true
	c.mu.Unlock()
	for _, cn := range idle {
		cn.close()
	}
}

// connect takes a kept connection, or makes one.
func (c *Client) connect(ctx context.Context) (cn *conn, kept bool, err error) {
	for {
		c.mu.Lock()
		n := len(c.idle)
		if n == 0 {
			c.mu.Unlock()
			cn, err = c.dial(ctx)
			return cn, false, err
		}
		cn = c.idle[n-1]
		c.idle[n-1] = nil
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		if time.Since(cn.since) < c.cfg.Keep && quiet(cn.raw) {
			return cn, true, nil
		}
		cn.close()
	}
}

// dialTime is how long connecting may take, with its TLS handshake.
const dialTime = 10 * time.Second

func (c *Client) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	raw, err := c.cfg.Dial(ctx, "tcp", c.cfg.Address)
	if err != nil {
		return nil, err
	}
	cn := &conn{client: c, raw: raw, net: raw}
	if c.cfg.TLS != nil {
		t := tls.Client(raw, c.cfg.TLS)
		if err := t.HandshakeContext(ctx); err != nil {
			raw.Close() //nolint:errcheck // the handshake's error says more
			return nil, err
		}
		cn.net = t
	}
	cn.in = bufio.NewReaderSize(cn, 4<<10)
	return cn, nil
}

// keep takes back a connection whose answer was read to its end.
func (c *Client) keep(cn *conn) {
	cn.since = time.Now()
	c.mu.Lock()
	if !c.closed && len(c.idle) < c.cfg.MaxIdle {
		c.idle = append(c.idle, cn)
		cn = nil
	}
	c.mu.Unlock()
	if cn != nil {
		cn.close()
	}
}

// A conn is one connection. It belongs to one exchange at a time.
type conn struct {
	client *Client
	raw    net.Conn // the TCP connection
	net    net.Conn // raw, or TLS over it
	in     *bufio.Reader
	out    []byte       // reused for requests
	asked  http.Request // tells the reader of answers what was asked
	since  time.Time    // of its last use

	room int64 // bytes that may still be read
	seen bool  // a byte of the answer came
	// Deadlines of reading and writing. They stay from one exchange to the next,
	// and are put off at most once a second: moving one may wake a thread.
	read, write time.Time
}

func (cn *conn) close() { cn.net.Close() } //nolint:errcheck // nobody needs it any more

// later puts off a deadline if it is worth it.
func (cn *conn) later(is *time.Time, until time.Time, set func(time.Time) error) error {
	if until.Sub(*is) <= min(time.Second, cn.client.cfg.Idle/4) {
		return nil
	}
	*is = until
	return set(until)
}

// Read reads from the network for the buffer above, within the room there is,
// and puts off the deadline.
func (cn *conn) Read(p []byte) (int, error) {
	if cn.room <= 0 {
		return 0, fmt.Errorf("%w: header of more than %d bytes", ErrUpstream, cn.client.cfg.MaxHeader)
	}
	if err := cn.later(&cn.read, time.Now().Add(cn.client.cfg.Idle), cn.net.SetReadDeadline); err != nil {
		return 0, err
	}
	n, err := cn.net.Read(p[:min(int64(len(p)), cn.room)])
	cn.room -= int64(n)
	cn.seen = cn.seen || n > 0
	return n, err
}

// small is the size of a body that is copied behind its header, to be sent at
// once.
const small = 32 << 10

// exchange sends r and reads the header of its answer.
func (cn *conn) exchange(ctx context.Context, r *Request) (*http.Response, error) {
	cn.seen = false
	// When ctx ends, what waits for the network ends too.
	stop := context.AfterFunc(ctx, func() { cn.net.Close() }) //nolint:errcheck // it ends a wait
	resp, err := cn.roundTrip(r)
	if err != nil {
		stop()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	resp.Body = &body{Reader: resp.Body, under: resp.Body, conn: cn, stop: stop, ctx: ctx, reuse: !resp.Close}
	return resp, nil
}

func (cn *conn) roundTrip(r *Request) (*http.Response, error) {
	sent, err := cn.send(r)
	if err != nil && sent == 0 {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	if err == nil && r.Sent != nil {
		r.Sent()
	}
	// An upstream that refuses a large body may answer and close before it has
	// read all: its answer counts.
	resp, unread := cn.header(r.Method)
	if unread != nil {
		if err != nil {
			return nil, fmt.Errorf("send request: %w", err)
		}
		return nil, unread
	}
	resp.Close = resp.Close || err != nil
	return resp, nil
}

func (cn *conn) send(r *Request) (int64, error) {
	b := append(cn.out[:0], r.Method...)
	b = append(append(append(b, ' '), r.Target...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, cn.client.cfg.Host...), "\r\n"...)
	for _, f := range r.Header {
		b = append(append(append(append(b, f.Name...), ": "...), f.Value...), "\r\n"...)
	}
	if len(r.Body) > 0 || r.Method != http.MethodGet && r.Method != http.MethodHead {
		b = fmt.Appendf(b, "Content-Length: %d\r\n", len(r.Body))
	}
	b = append(b, "\r\n"...)
	if err := cn.later(&cn.write, time.Now().Add(cn.client.cfg.Idle+time.Duration(len(r.Body)>>10)*time.Millisecond), cn.net.SetWriteDeadline); err != nil {
		return 0, err
	}
	if len(r.Body) <= small {
		b = append(b, r.Body...)
		cn.out = b
		n, err := cn.net.Write(b)
		return int64(n), err
	}
	cn.out = b
	parts := net.Buffers{b, r.Body}
	return parts.WriteTo(cn.net)
}

// maxInterim is how many 1xx answers may come before the answer.
const maxInterim = 8

// header reads until the header of the final answer is there.
func (cn *conn) header(method string) (*http.Response, error) {
	cn.room = cn.client.cfg.MaxHeader
	cn.asked.Method = method
	for range maxInterim {
		resp, err := http.ReadResponse(cn.in, &cn.asked)
		switch {
		case err != nil && !cn.seen && cn.in.Buffered() == 0:
			return nil, fmt.Errorf("no answer: %w", err)
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrUpstream, err)
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, fmt.Errorf("%w: it switches protocols", ErrUpstream)
		case resp.StatusCode >= 200:
			cn.room = math.MaxInt64
			return resp, nil
		}
	}
	return nil, fmt.Errorf("%w: more than %d interim answers", ErrUpstream, maxInterim)
}

// A body gives its connection back at its end.
type body struct {
	io.Reader
	under io.Closer
	conn  *conn // nil when it was given back or closed
	stop  func() bool
	ctx   context.Context //nolint:containedctx // its end is the error of a read, as with http.Response
	reuse bool
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if b.conn == nil {
		return 0, io.EOF
	}
	n, err := b.Reader.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		cn := b.conn
		b.conn = nil
		// Stopped in time, the connection lives; bytes after the answer are
		// nobody's.
		if b.stop() && b.reuse && cn.in.Buffered() == 0 {
			cn.client.keep(cn)
		} else {
			cn.close()
		}
	case err != nil && b.ctx.Err() != nil:
		err = context.Cause(b.ctx)
	}
	return n, err
}

// Close implements [io.Closer]: a body that was not read to its end takes its
// connection with it.
func (b *body) Close() error {
	if b.conn == nil {
		return nil
	}
	b.stop()
	b.conn.close()
	b.conn = nil
	return nil
}
