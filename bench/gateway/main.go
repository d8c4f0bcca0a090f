//go:build unix

// Bench gateway measures the gateway beside what else could stand in its place:
// no proxy at all, nginx, Caddy, and Go's own reverse proxy, all in front of the
// same upstream, in interleaved rounds on one machine. It prints a table for
// docs/BENCHMARKS.md and judges nothing. Programs that are not installed are
// left out and named.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelwarden/warden/internal/gateway/direct"
)

func main() {
	role := flag.String("role", "", "used by the program itself: mock, plain or buffered")
	upstream := flag.String("upstream", "", "used by the program itself")
	var o options
	flag.StringVar(&o.binary, "binary", "bin/warden", "program under test")
	flag.IntVar(&o.rounds, "rounds", 5, "interleaved rounds")
	flag.IntVar(&o.n, "n", 1500, "requests of a round at one at a time")
	flag.DurationVar(&o.load, "load", 3*time.Second, "time of a round at 32 at a time")
	flag.IntVar(&o.streams, "streams", 4500, "streams in all, 32 at a time")
	flag.DurationVar(&o.hold, "hold", 0, "instead of all else: hold streams open for so long")
	flag.IntVar(&o.held, "held", 1000, "streams that -hold keeps open at once")
	flag.StringVar(&o.only, "only", "", "names of targets, without their commas, with commas between them; empty: all")
	flag.Parse()
	var err error
	switch *role {
	case "":
		err = run(o)
	case "mock":
		err = serve(mock())
	default:
		var h http.Handler
		if h, err = proxy(*upstream, *role == "buffered"); err == nil {
			err = serve(h)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	binary, only       string
	rounds, n, streams int
	load               time.Duration
	hold               time.Duration
	held               int
}

// serve listens on a free port and prints its address.
func serve(h http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return (&http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}).Serve(l)
}

// events is how many pieces of text a stream has.
const events = 40

var words = strings.Fields("the quick brown fox jumps over a lazy dog while rain falls on quiet streets and nobody minds at all today")

func streamText() string {
	var b strings.Builder
	for i := range events {
		b.WriteString(words[i%len(words)] + " ")
	}
	return b.String()
}

// mock answers at once with about a kilobyte, or with a stream.
func mock() http.Handler {
	text := strings.Repeat("All is well with the thing that was asked about. ", 18)
	answer := fmt.Appendf(nil, `{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":250,"completion_tokens":200,"total_tokens":450}}`, text)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
		if err != nil {
			return
		}
		if !bytes.Contains(body, []byte(`"stream":true`)) {
			w.Header().Set("Content-Type", "application/json")
			w.Write(answer) //nolint:errcheck // the other side went
			return
		}
		if held(w, r, string(body)) {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for i := range events {
			fmt.Fprintf(w, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%q},\"finish_reason\":null}]}\n\n", words[i%len(words)]+" ")
			rc.Flush() //nolint:errcheck // the other side went
		}
		fmt.Fprint(w, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	})
}

// proxy is Go's own, which does nothing but forward.
func proxy(upstream string, buffered bool) (http.Handler, error) {
	u, err := url.Parse(upstream)
	if err != nil {
		return nil, err
	}
	p := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(u) },
		FlushInterval: -1,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		ErrorLog:      nil,
	}
	if !buffered {
		return p, nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		p.ServeHTTP(w, r)
	}), nil
}

// A target is one way to the upstream.
type target struct {
	name    string
	address string // host:port
	key     string
	pid     int

	p50, p99, rate []float64 // of each round; microseconds, requests a second
	best           float64
	cut, streamed  int64
	first          []float64
}

func prompt(stream bool) []byte {
	text := strings.Repeat("Please tell me about the weather in the north and the south. ", 16)
	tail := ""
	if stream {
		tail = `,"stream":true`
	}
	return fmt.Appendf(nil, `{"model":"bench","messages":[{"role":"system","content":"You are helpful."},{"role":"user","content":%q}]%s}`, text, tail)
}

func (t *target) client() (*direct.Client, error) {
	return direct.New(direct.Config{Address: t.address, Dial: (&net.Dialer{}).DialContext})
}

func (t *target) request(stream bool) *direct.Request {
	h := []direct.Field{{Name: "Content-Type", Value: "application/json"}}
	if t.key != "" {
		h = append(h, direct.Field{Name: "Authorization", Value: "Bearer " + t.key})
	}
	return &direct.Request{Method: "POST", Target: "/v1/chat/completions", Header: h, Body: prompt(stream)}
}

// once sends one request and returns how long it took.
func once(c *direct.Client, r *direct.Request) (time.Duration, error) {
	begun := time.Now()
	resp, err := c.Do(context.Background(), r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(resp.Body)
	took := time.Since(begun)
	switch {
	case err != nil:
		return 0, err
	case resp.StatusCode != 200:
		return 0, fmt.Errorf("status %d: %.300s", resp.StatusCode, b)
	case len(b) < 500:
		return 0, errors.New("a short answer")
	}
	return took, nil
}

func (t *target) one(n int) error {
	c, err := t.client()
	if err != nil {
		return err
	}
	defer c.Close()
	r := t.request(false)
	all := make([]float64, 0, n)
	for i := range n + n/10 {
		took, err := once(c, r)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		if i >= n/10 { // the first ones warm up
			all = append(all, float64(took.Nanoseconds())/1000)
		}
	}
	slices.Sort(all)
	t.p50, t.p99 = append(t.p50, all[len(all)/2]), append(t.p99, all[len(all)*99/100])
	if t.best == 0 || all[len(all)/2] < t.best {
		t.best = all[len(all)/2]
	}
	return nil
}

const together = 32

func (t *target) many(d time.Duration) error {
	c, err := t.client()
	if err != nil {
		return err
	}
	defer c.Close()
	var n atomic.Int64
	var wg sync.WaitGroup
	fault := make(chan error, together)
	begun := time.Now()
	for range together {
		wg.Go(func() {
			r := t.request(false)
			for time.Since(begun) < d {
				if _, err := once(c, r); err != nil {
					fault <- fmt.Errorf("%s: %w", t.name, err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	t.rate = append(t.rate, float64(n.Load())/time.Since(begun).Seconds())
	select {
	case err := <-fault:
		return err
	default:
		return nil
	}
}

// streams reads n streams and compares their text; other work keeps the
// processors busy meanwhile.
func (t *target) streams(n int) error {
	c, err := t.client()
	if err != nil {
		return err
	}
	defer c.Close()
	want := streamText()
	var left atomic.Int64
	left.Store(int64(n))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range together {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				text, first, err := stream(c, t.request(true))
				mu.Lock()
				t.streamed++
				if err != nil || text != want {
					t.cut++
				} else {
					t.first = append(t.first, float64(first.Nanoseconds())/1000)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return nil
}

func stream(c *direct.Client, r *direct.Request) (text string, first time.Duration, err error) {
	begun := time.Now()
	resp, err := c.Do(context.Background(), r)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	first = time.Since(begun)
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", 0, err
	}
	var b strings.Builder
	done := false
	for line := range strings.Lines(string(all)) {
		_, rest, ok := strings.Cut(line, `"content":"`)
		if ok {
			piece, _, _ := strings.Cut(rest, `"`)
			b.WriteString(piece)
		}
		done = done || strings.HasPrefix(line, "data: [DONE]")
	}
	if !done {
		return "", 0, errors.New("no end")
	}
	return b.String(), first, nil
}

func run(o options) error {
	dir, err := os.MkdirTemp("", "bench-gateway")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	p := &programs{dir: dir}
	defer p.stop()
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return err
	}
	ts, err := p.start(o)
	if err != nil {
		return err
	}
	if o.hold > 0 {
		return holdAll(os.Stdout, ts, o.held, o.hold)
	}
	for round := range o.rounds {
		for _, t := range ts {
			if err := t.one(o.n); err != nil {
				return err
			}
		}
		for _, t := range ts {
			if err := t.many(o.load); err != nil {
				return err
			}
		}
		for _, t := range ts {
			if err := t.streams(o.streams / o.rounds); err != nil {
				return err
			}
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.rounds)
	}
	report(ts)
	return nil
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func report(ts []*target) {
	base, nginx := 0.0, 0.0
	for _, t := range ts {
		switch t.name {
		case "direct":
			base = median(t.p50)
		case "nginx":
			nginx = median(t.rate)
		}
	}
	fmt.Printf("%d CPU, %s/%s, %s, %s\n\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), time.Now().UTC().Format("2006-01-02"))
	fmt.Println("| target | p50 c=1, us (rounds) | added p50 | p99 c=1 | c=32 req/s | share of nginx | stream first byte c=32, us | streams cut | peak RSS, MB |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	for _, t := range ts {
		share := "-"
		if nginx > 0 {
			share = fmt.Sprintf("%.2f", median(t.rate)/nginx)
		}
		fmt.Printf("| %s | %.0f (%.0f to %.0f) | %.0f | %.0f | %.0f | %s | %.0f | %d of %d | %s |\n", t.name,
			median(t.p50), slices.Min(t.p50), slices.Max(t.p50), median(t.p50)-base, median(t.p99), median(t.rate), share, median(t.first), t.cut, t.streamed, peak(t.pid))
	}
}
