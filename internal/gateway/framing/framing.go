// Package framing tells which requests say in two ways where their body ends.
// The server of the standard library drops a Content-Length beside a
// Transfer-Encoding before a handler sees it; somebody in between may have
// believed it (RFC 9112, section 6.1).
package framing

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
)

// The fields that say where a body ends, in small letters.
const (
	length   = "content-length"
	encoding = "transfer-encoding"
)

// Bounds of the heads that are looked at.
const (
	maxHead = 64 << 10
	maxName = len(encoding)
)

// A conn reads the heads of requests beside the server. A request begins with the
// first bytes after an answer; of requests that are sent before their answer only
// the first is looked at. What goes on to an upstream is framed anew in any case.
type conn struct {
	net.Conn
	fresh atomic.Bool // an answer was written: a request begins
	both  atomic.Bool // the request that began last names both

	// Of the reading goroutine.
	head bool   // the head goes on
	read int    // bytes of it
	name []byte // of the field that is read, up to its colon
	past bool   // the colon, or what is no name of interest
	has  [2]bool
	line bool // the line has a byte
}

type key struct{}

// Listener returns l with connections that are looked at. TLS must go around it:
// what is encrypted cannot be read, and is not told as both.
func Listener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

// Accept implements [net.Listener].
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	out := &conn{Conn: c}
	out.fresh.Store(true)
	return out, nil
}

// Context is for the ConnContext of a server with such a listener.
func Context(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok {
		return context.WithValue(ctx, key{}, c)
	}
	return ctx
}

// Both reports whether the request of a context has a length and an encoding.
func Both(ctx context.Context) bool {
	c, ok := ctx.Value(key{}).(*conn)
	return ok && c.both.Load()
}

// Write implements [net.Conn].
func (c *conn) Write(b []byte) (int, error) {
	c.fresh.Store(true)
	return c.Conn.Write(b)
}

// Read implements [net.Conn].
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.fresh.Swap(false) {
		c.head, c.read, c.has, c.line = true, 0, [2]bool{}, false
		c.name, c.past = c.name[:0], true // the first line has no name
		c.both.Store(false)
	}
	if n > 0 && c.head {
		c.look(b[:n])
	}
	return n, err
}

// look reads more of a head.
func (c *conn) look(b []byte) {
	if c.read += len(b); c.read > maxHead { // the server reads no more either
		c.head = false
		return
	}
	for len(b) > 0 && c.head {
		end := bytes.IndexByte(b, '\n')
		part := b
		if end >= 0 {
			part = b[:end]
		}
		c.piece(part)
		if end < 0 {
			return
		}
		b = b[end+1:]
		c.head = c.line
		c.name, c.past, c.line = c.name[:0], false, false
	}
}

// piece reads more of a line.
func (c *conn) piece(b []byte) {
	c.line = c.line || len(bytes.TrimSuffix(b, []byte("\r"))) > 0
	if c.past {
		return
	}
	name, _, colon := bytes.Cut(b, []byte(":"))
	if len(c.name)+len(name) > maxName {
		c.past = true
		return
	}
	c.name = append(c.name, name...)
	if !colon {
		return
	}
	c.past = true
	switch {
	case len(c.name) == len(length) && bytes.EqualFold(c.name, []byte(length)):
		c.has[0] = true
	case len(c.name) == len(encoding) && bytes.EqualFold(c.name, []byte(encoding)):
		c.has[1] = true
	}
	if c.has[0] && c.has[1] {
		c.both.Store(true)
	}
}
