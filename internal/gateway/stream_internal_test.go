package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/modelwarden/warden/internal/access/limit"
	"github.com/modelwarden/warden/internal/chat/dialects"
)

func TestDialGuard(t *testing.T) {
	ten := dialGuard{[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00:1::/32")}}
	for addr, ok := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "10.1.2.3": true, "fd00:1::7": true, "::ffff:10.0.0.1": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "127.9.9.9": false, "::1": false, "0.0.0.0": false, "::": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fd00:ec2::254": false, "fd00:2::7": false, "192.168.1.1": false, "172.16.0.1": false,
		"100.64.0.1": false, "100.127.255.255": false, "192.0.0.170": false, "198.18.0.1": false, "240.0.0.1": false, "255.255.255.255": false, "224.0.0.1": false, "ff02::1": false,
		"64:ff9b::7f00:1": false, "64:ff9b::7f00:1%x": false, "64:ff9b:1::a00:1": false, "2002:7f00:1::": false, "2001:0:7f00:1::": false, "::7f00:1": false, "fec0::1": false,
	} {
		if err := ten.check(netip.MustParseAddr(addr)); (err == nil) != ok {
			t.Errorf("check(%s) = %v, want allowed %v", addr, err, ok)
		}
	}
}

// A name that resolves to the inside does not help, and what one route may
// reach another may not.
func TestDialByName(t *testing.T) {
	open := dialGuard{[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, host := range []string{"localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0x7f000001", "0"} {
		_, err := dialGuard{}.dial(ctx, "tcp", host+":1")
		if err == nil {
			t.Errorf("%s: connected", host)
		}
		if host == "localhost" || host == "127.0.0.1" || host == "[::ffff:127.0.0.1]" {
			if !errors.Is(err, errAddress) {
				t.Errorf("%s: %v, want errAddress", host, err)
			}
		}
	}
	if _, err := open.dial(ctx, "tcp", "127.0.0.1:1"); err == nil || errors.Is(err, errAddress) {
		t.Errorf("the route that lists loopback: %v, want a refused connection", err)
	}
}

func TestLoad(t *testing.T) {
	l := newLoad()
	for i := range maxPerKey {
		if ref := l.enter("a"); ref != nil {
			t.Fatalf("request %d refused", i)
		}
	}
	if ref := l.enter("a"); ref == nil || ref.status != 429 {
		t.Errorf("one too many of a key: %+v", ref)
	}
	for range maxRunning - maxPerKey {
		if l.enter("b") != nil {
			break
		}
	}
	if ref := l.enter("c"); ref == nil || ref.status != 503 {
		t.Errorf("one too many of all: %+v", ref)
	}
	for range maxPerKey {
		l.leave("a")
		l.leave("b")
	}
	if l.all != 0 || len(l.keys) != 0 {
		t.Errorf("%d and %d keys stay", l.all, len(l.keys))
	}
	for size, want := range map[int]error{0: nil, 1: nil, heldPiece: nil, heldPiece + 1: nil, 300_000: nil, 300_001: errLarge, 1 << 20: errLarge} {
		b, release, err := l.read(bytes.NewReader(make([]byte, size)), -1, 300_000)
		if !errors.Is(err, want) || err == nil && len(b) != size {
			t.Errorf("read of %d bytes: %d, %v", size, len(b), err)
		}
		release()
		release()
	}
	if _, release, err := l.read(iotest.ErrReader(io.ErrUnexpectedEOF), -1, 10); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("broken body: %v", err)
	} else {
		release()
	}
	if !l.bytes.TryAcquire(maxHeld) {
		t.Fatal("memory was not given back")
	}
	if _, release, err := l.read(strings.NewReader("x"), -1, 10); !errors.Is(err, errBusy) {
		t.Errorf("no memory left: %v, want errBusy", err)
	} else {
		release()
	}
	l.bytes.Release(maxHeld)
}

func TestRoutes(t *testing.T) {
	limits, err := limit.New(limit.Config{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	g := &Gateway{load: newLoad(), limits: limits, dialects: dialects.All(), metrics: m}
	g.routes.Store(&map[string]*route{})
	good := Route{Name: "a", Target: Target{Model: "t/m", Upstream: "https://h/v1", Credential: "secret-credential"}}
	if err := g.SetRoutes(FromConfig, good); err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{"", "h", "//h", "ftp://h", "file:///etc/passwd", "http://", "http://u:p@h", "http://h?x=1", "http://h#x", "http://h:port"} {
		bad := good
		bad.Name, bad.Upstream = "b", u
		if err := g.SetRoutes(FromConfig, good, bad); !errors.Is(err, ErrRoute) || strings.Contains(err.Error(), "u:p") {
			t.Errorf("upstream %q: %v, want ErrRoute", u, err)
		}
	}
	if rs := *g.routes.Load(); len(rs) != 1 || rs["a"] == nil {
		t.Errorf("routes after errors: %v, want those before", rs)
	}
	if err := g.SetRoutes(FromDemo, good); !errors.Is(err, ErrRoute) {
		t.Errorf("demo route of the same name: %v", err)
	}
}
