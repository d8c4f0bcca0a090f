package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// split reads events until the body ends.
func split(r io.Reader) (events [][]byte, err error) {
	in := bufio.NewReaderSize(r, 16)
	for {
		ev, err := readEvent(in)
		if err != nil {
			return events, err
		}
		events = append(events, ev)
	}
}

func TestReadEvent(t *testing.T) {
	for name, tt := range map[string]struct {
		in   string
		data []string // of each event
		rest bool     // bytes without an event stay
	}{
		"lf":               {"data: a\n\ndata:b\n\n", []string{"a", "b"}, false},
		"crlf":             {"data: a\r\n\r\ndata: b\r\n\r\n", []string{"a", "b"}, false},
		"cr":               {"data: a\r\rdata: b\r\r", []string{"a", "b"}, false},
		"mixed":            {"data: a\r\ndata: b\n\rdata: c\n\r\n", []string{"a\nb", "c"}, false},
		"cr_hides_done":    {"data: x\rdata: [DONE]\r\r", []string{"x\n[DONE]"}, false},
		"several_lines":    {"event: m\ndata: a\nid: 1\ndata:  b\n\n", []string{"a\n b"}, false},
		"comment_only":     {": beat\n\ndata: a\n\n", []string{"", "a"}, false},
		"data_no_colon":    {"data\n\n", []string{""}, false},
		"not_data":         {"database: a\n\n", []string{""}, false},
		"empty_lines":      {"\n\n\n", []string{"", "", ""}, false},
		"no_end":           {"data: a\n", nil, true},
		"done_without_end": {"data: [DONE]\n", nil, true},
		"none":             {"", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			evs, err := split(strings.NewReader(tt.in))
			if !errors.Is(err, errShort) {
				t.Errorf("error %v, want errShort", err)
			}
			var data []string
			for _, ev := range evs {
				data = append(data, string(dataOf(ev)))
			}
			if strings.Join(data, "|") != strings.Join(tt.data, "|") || len(data) != len(tt.data) {
				t.Errorf("data %q, want %q", data, tt.data)
			}
			if all := string(bytes.Join(evs, nil)); !tt.rest && all != tt.in {
				t.Errorf("passed %q, want the bytes as they came %q", all, tt.in)
			}
		})
	}
	if _, err := split(strings.NewReader("data: " + strings.Repeat("x", maxEvent) + "\n\n")); !errors.Is(err, errEvent) {
		t.Errorf("huge event: %v, want errEvent", err)
	}
}

// However a body is cut into pieces, the same data comes out, and the bytes that
// are passed are a beginning of the body.
func FuzzReadEvent(f *testing.F) {
	for _, s := range []string{"data: a\n\ndata: [DONE]\n\n", "data: a\r\n\r\n: c\r\n\r\ndata: b\r\r", "\n\r\n\r", "data\rdata: \n\n", "id:1\ndata:{}\n\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		text := func(evs [][]byte) (data []string) {
			for _, ev := range evs {
				if d := dataOf(ev); d != nil {
					data = append(data, string(d))
				}
			}
			return data
		}
		at, _ := split(bytes.NewReader(body))
		if all := bytes.Join(at, nil); !bytes.HasPrefix(body, all) {
			t.Fatalf("passed %q of %q", all, body)
		}
		for _, r := range []io.Reader{iotest.OneByteReader(bytes.NewReader(body)), iotest.HalfReader(bytes.NewReader(body)), iotest.DataErrReader(bytes.NewReader(body))} {
			other, _ := split(r)
			if a, b := text(at), text(other); strings.Join(a, "\x00") != strings.Join(b, "\x00") {
				t.Fatalf("%q: data %q or %q, by how it is cut", body, a, b)
			}
		}
	})
}

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
	open := dialGuard{[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}.client(time.Second)
	closed := dialGuard{}.client(time.Second)
	defer open.CloseIdleConnections()
	for _, host := range []string{"localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0x7f000001", "0"} {
		_, err := closed.Get("http://" + host + ":1/")
		if err == nil {
			t.Errorf("%s: connected", host)
		}
		if host == "localhost" || host == "127.0.0.1" || host == "[::ffff:127.0.0.1]" {
			if !errors.Is(err, errAddress) {
				t.Errorf("%s: %v, want errAddress", host, err)
			}
		}
	}
	if _, err := open.Get("http://127.0.0.1:1/"); err == nil || errors.Is(err, errAddress) {
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
		b, release, err := l.read(bytes.NewReader(make([]byte, size)), 300_000)
		if !errors.Is(err, want) || err == nil && len(b) != size {
			t.Errorf("read of %d bytes: %d, %v", size, len(b), err)
		}
		release()
		release()
	}
	if _, release, err := l.read(iotest.ErrReader(io.ErrUnexpectedEOF), 10); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("broken body: %v", err)
	} else {
		release()
	}
	if !l.bytes.TryAcquire(maxHeld) {
		t.Fatal("memory was not given back")
	}
	if _, release, err := l.read(strings.NewReader("x"), 10); !errors.Is(err, errBusy) {
		t.Errorf("no memory left: %v, want errBusy", err)
	} else {
		release()
	}
	l.bytes.Release(maxHeld)
}

func TestRoutes(t *testing.T) {
	g := &Gateway{load: newLoad()}
	g.routes.Store(&map[string]*route{})
	good := Route{Name: "a", Model: "t/m", Upstream: "https://h/v1", Credential: "secret-credential"}
	if err := g.SetRoutes(false, good); err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{"", "h", "//h", "ftp://h", "file:///etc/passwd", "http://", "http://u:p@h", "http://h?x=1", "http://h#x", "http://h:port"} {
		bad := good
		bad.Name, bad.Upstream = "b", u
		if err := g.SetRoutes(false, good, bad); !errors.Is(err, ErrRoute) || strings.Contains(err.Error(), "u:p") {
			t.Errorf("upstream %q: %v, want ErrRoute", u, err)
		}
	}
	if rs := *g.routes.Load(); len(rs) != 1 || rs["a"] == nil {
		t.Errorf("routes after errors: %v, want those before", rs)
	}
	if err := g.SetRoutes(true, good); !errors.Is(err, ErrRoute) {
		t.Errorf("demo route of the same name: %v", err)
	}
}
