package direct_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/modelwarden/warden/internal/gateway/direct"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T, cfg direct.Config) *direct.Client {
	t.Helper()
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	c, err := direct.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func post(body []byte) *direct.Request {
	return &direct.Request{Method: "POST", Target: "/v1/x", Header: []direct.Field{{Name: "Content-Type", Value: "application/json"}}, Body: body}
}

func read(t *testing.T, c *direct.Client, r *direct.Request) (int, string) {
	t.Helper()
	resp, err := c.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// A script answers each connection with texts, one for each request; "" closes.
func script(t *testing.T, answers ...[]string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, texts := range answers {
			c, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(c)
			for _, text := range texts {
				req, err := http.ReadRequest(in)
				if err != nil {
					break
				}
				io.Copy(io.Discard, req.Body)
				io.WriteString(c, text)
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestConnectionIsKept(t *testing.T) {
	var conns atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %d", r.Method, r.Host, r.Header.Get("Content-Type"), len(b))
	}))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	c := client(t, direct.Config{Address: s.Listener.Addr().String(), Host: "model.example"})
	for _, n := range []int{0, 10, 1 << 20} {
		status, text := read(t, c, post(bytes.Repeat([]byte("x"), n)))
		if want := fmt.Sprintf("POST model.example application/json %d", n); status != 200 || text != want {
			t.Errorf("%d bytes: %d %q, want %q", n, status, text, want)
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections, want 1", conns.Load())
	}
}

// A kept connection that its upstream closed is not used again.
func TestClosedConnectionIsReplaced(t *testing.T) {
	c := client(t, direct.Config{Address: script(t, []string{ok}, []string{ok})})
	for i := range 2 {
		if _, text := read(t, c, post(nil)); text != "ok" {
			t.Errorf("request %d: %q", i, text)
		}
		time.Sleep(50 * time.Millisecond) // the upstream closes
	}
}

// Bytes that follow an answer unasked are never the next answer.
func TestBytesAfterTheAnswer(t *testing.T) {
	c := client(t, direct.Config{Address: script(t, []string{ok + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", ok}, []string{ok})})
	for i := range 2 {
		if _, text := read(t, c, post(nil)); text != "ok" {
			t.Errorf("request %d: %q", i, text)
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, answer, want string
		err                error
	}{
		{"interim", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok, "ok", nil},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok", nil},
		{"until_close", "HTTP/1.1 200 OK\r\n\r\nok", "ok", nil},
		{"no_content", "HTTP/1.1 204 No Content\r\n\r\n", "", nil},
		{"switching", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "", direct.ErrUpstream},
		{"endless_interim", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20), "", direct.ErrUpstream},
		{"large_header", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 70_000) + "\r\n\r\n", "", direct.ErrUpstream},
		{"not_http", "SSH-2.0-OpenSSH_9.2\r\n", "", direct.ErrUpstream},
		{"nothing", "", "", io.ErrUnexpectedEOF},
		{"cut_body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "", io.ErrUnexpectedEOF},
		{"cut_chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", "", io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := client(t, direct.Config{Address: script(t, []string{tt.answer})})
			resp, err := c.Do(t.Context(), post([]byte("{}")))
			var got []byte
			if err == nil {
				got, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if !errors.Is(err, tt.err) || err == nil && string(got) != tt.want {
				t.Errorf("got %q, %v; want %q, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// An upstream that refuses a body before it has read it is heard.
func TestEarlyAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.Read(make([]byte, 1000))
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, io.LimitReader(c, 64<<20))
	}()
	c := client(t, direct.Config{Address: l.Addr().String()})
	if status, text := read(t, c, post(make([]byte, 32<<20))); status != 413 || text != "no" {
		t.Errorf("got %d %q", status, text)
	}
	<-done
}

func TestEndOfContext(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Begin") != "" {
			w.Write([]byte("begin"))
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	}))
	defer s.Close()
	c := client(t, direct.Config{Address: s.Listener.Addr().String()})
	why := errors.New("the client went")
	for _, begin := range []bool{false, true} {
		ctx, cancel := context.WithCancelCause(t.Context())
		r := post(nil)
		if begin {
			r.Header = append(r.Header, direct.Field{Name: "X-Begin", Value: "1"})
		}
		time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
		resp, err := c.Do(ctx, r)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if !errors.Is(err, why) {
			t.Errorf("begun %v: %v, want the cause", begin, err)
		}
	}
}

func TestSilence(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := range 6 { // slow, but never silent for long
			fmt.Fprint(w, i)
			w.(http.Flusher).Flush()
			time.Sleep(60 * time.Millisecond)
		}
		<-r.Context().Done()
	}))
	defer s.Close()
	c := client(t, direct.Config{Address: s.Listener.Addr().String(), Idle: 200 * time.Millisecond})
	resp, err := c.Do(t.Context(), post(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	var ne net.Error
	if string(b) != "012345" || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("got %q, %v; want all six and a time-out", b, err)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	c := client(t, direct.Config{Address: s.Listener.Addr().String(), TLS: &tls.Config{RootCAs: pool, ServerName: "example.com"}})
	for range 2 {
		if _, text := read(t, c, post(nil)); text != "HTTP/1.1" {
			t.Errorf("got %q", text)
		}
	}
	other := client(t, direct.Config{Address: s.Listener.Addr().String(), TLS: &tls.Config{RootCAs: pool, ServerName: "other.example"}})
	if _, err := other.Do(t.Context(), post(nil)); !errors.Is(err, direct.ErrNotSent) {
		t.Errorf("wrong name: %v, want an error before anything is sent", err)
	}
}

func BenchmarkDo(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write([]byte("ok"))
	}))
	defer s.Close()
	body := bytes.Repeat([]byte("x"), 1000)
	b.Run("direct", func(b *testing.B) {
		c, err := direct.New(direct.Config{Address: s.Listener.Addr().String(), Dial: (&net.Dialer{}).DialContext})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		for b.Loop() {
			resp, err := c.Do(b.Context(), post(body))
			if err != nil {
				b.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
	b.Run("transport", func(b *testing.B) {
		for b.Loop() {
			resp, err := http.Post(s.URL, "application/json", bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		http.DefaultClient.CloseIdleConnections()
	})
}
