package framing_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/gateway/framing"
)

// However a request comes in pieces, it is known to name both where it does, and
// only then; so is the next on its connection.
func TestBoth(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ConnContext: framing.Context, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%t %s %v", framing.Both(r.Context()), body, err)
	})}
	go srv.Serve(framing.Listener(l))
	defer srv.Close()
	const chunked = "Transfer-Encoding: chunked\r\n"
	for _, tt := range []struct {
		name, head, body string
		want             bool
	}{
		{"length", "Content-Length: 2\r\n", "hi", false},
		{"chunked", chunked, "2\r\nhi\r\n0\r\n\r\n", false},
		{"both", chunked + "content-LENGTH: 4\r\n", "2\r\nhi\r\n0\r\n\r\n", true},
		{"other_order", "Content-Length: 4\r\nX: y\r\ntransfer-encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", true},
		{"in_a_value", chunked + "X: Content-Length: 4\r\n", "2\r\nhi\r\n0\r\n\r\n", false},
		{"in_the_body", chunked, "13\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", false},
		{"long_names", chunked + "X-Content-Length: 4\r\nContent-Length-X: 4\r\n", "2\r\nhi\r\n0\r\n\r\n", false},
	} {
		for _, piece := range []int{1, 3, 1 << 16} {
			t.Run(fmt.Sprintf("%s_%d", tt.name, piece), func(t *testing.T) {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
				in := bufio.NewReader(c)
				say := func(text string) string {
					for p := text; len(p) > 0; p = p[min(piece, len(p)):] {
						if _, err := c.Write([]byte(p[:min(piece, len(p))])); err != nil {
							t.Fatal(err)
						}
					}
					resp, err := http.ReadResponse(in, nil)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					body, err := io.ReadAll(resp.Body)
					if err != nil {
						t.Fatal(err)
					}
					return string(body)
				}
				for range 2 { // the second is not taken for the first
					if got := say("POST / HTTP/1.1\r\nHost: h\r\n" + tt.head + "\r\n" + tt.body); !strings.HasPrefix(got, fmt.Sprint(tt.want)) || !strings.HasSuffix(got, "<nil>") {
						t.Fatalf("got %q, want %t", got, tt.want)
					}
					if got := say("GET / HTTP/1.1\r\nHost: h\r\n\r\n"); !strings.HasPrefix(got, "false") {
						t.Fatalf("the next: %q", got)
					}
				}
			})
		}
	}
}

func BenchmarkHead(b *testing.B) {
	text := []byte("POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8081\r\nUser-Agent: OpenAI/Python 1.99.0\r\nContent-Length: 1034\r\nAccept: application/json\r\nAccept-Encoding: identity\r\n" +
		"Authorization: Bearer wdn_0123456789abcdef0123456789abcdef0123456789abcdef\r\nContent-Type: application/json\r\nX-Stainless-Lang: python\r\nX-Stainless-OS: Linux\r\n\r\n" + strings.Repeat("x", 1034))
	l := framing.Listener(one{text})
	c, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 4096)
	for b.Loop() {
		c.Write(nil)
		c.Read(buf)
	}
}

// one is a listener whose connection says one text again and again.
type one struct{ text []byte }

func (o one) Accept() (net.Conn, error) { return said{text: o.text}, nil }
func (one) Close() error                { return nil }
func (one) Addr() net.Addr              { return nil }

type said struct {
	net.Conn
	text []byte
}

func (s said) Read(b []byte) (int, error)  { return copy(b, s.text), nil }
func (s said) Write(b []byte) (int, error) { return len(b), nil }
