//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modelwarden/warden/internal/gateway/direct"
)

// beat is how often a held stream says something.
const beat = 250 * time.Millisecond

// holdMark stands in the prompt of a stream that is held; the number of its
// events follows.
const holdMark = "Hold on for "

func heldText(events int) string {
	var b strings.Builder
	for i := range events {
		b.WriteString(words[i%len(words)] + " ")
	}
	return b.String()
}

// held answers a request to hold, and reports whether it was one.
func held(w http.ResponseWriter, r *http.Request, body string) bool {
	_, rest, ok := strings.Cut(body, holdMark)
	var events int
	if !ok {
		return false
	}
	if _, err := fmt.Sscan(rest, &events); err != nil {
		return false
	}
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for i := range events {
		if _, err := fmt.Fprintf(w, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%q},\"finish_reason\":null}]}\n\n", words[i%len(words)]+" "); err != nil {
			return true
		}
		rc.Flush() //nolint:errcheck // the other side went
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return true
		}
	}
	fmt.Fprint(w, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	return true
}

// A holding is what became of streams that were held open together.
type holding struct {
	before, most int // memory of the target, kB
	cut          int
	lost         int64 // bytes of text that did not come, or are others
	first        []float64
	late         []float64 // milliseconds that streams took longer than they last
	fault        error
}

// hold keeps n streams open at once for a time, and looks at the memory of the
// target meanwhile.
func (t *target) hold(n int, d time.Duration) (*holding, error) {
	c, err := direct.New(direct.Config{Address: t.address, Dial: (&net.Dialer{}).DialContext, Idle: time.Minute})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, _, err := stream(c, t.request(true)); err != nil { // it is warm
		return nil, err
	}
	events := int(d / beat)
	want := heldText(events)
	req := t.request(true)
	req.Body = fmt.Appendf(nil, `{"model":"bench","stream":true,"messages":[{"role":"user","content":"%s%d"}]}`, holdMark, events)
	h := &holding{before: resident(t.pid)}
	var mu sync.Mutex
	var wg sync.WaitGroup
	begun := time.Now()
	for i := range n {
		time.Sleep(max(0, time.Until(begun.Add(time.Duration(i)*2*time.Millisecond)))) // they come one by one, all in two seconds of a thousand
		wg.Go(func() {
			at := time.Now()
			text, first, err := stream(c, req)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || text != want {
				h.cut++
				h.fault = errors.Join(h.fault, err)
				same := 0
				for same < min(len(text), len(want)) && text[same] == want[same] {
					same++
				}
				h.lost += int64(len(want) - same)
			}
			h.first = append(h.first, float64(first.Microseconds())/1000)
			h.late = append(h.late, float64((time.Since(at)-time.Duration(events)*beat).Microseconds())/1000)
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(500 * time.Millisecond):
		}
		h.most = max(h.most, resident(t.pid))
	}
	return h, nil
}

// resident returns the memory that a process has now, in kB; 0: it cannot be
// told.
func resident(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kb int
		if n, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 && err == nil {
			return kb
		}
	}
	return 0
}

// holdAll holds streams at each target in turn and prints what became of them.
func holdAll(w io.Writer, ts []*target, n int, d time.Duration) error {
	fmt.Fprintf(w, "%d CPU, %s/%s, %s, %s: %d streams at once for %v, an event each %v\n\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), time.Now().UTC().Format("2006-01-02"), n, d, beat)
	fmt.Fprintln(w, "| target | RSS before, MB | most RSS, MB | of a stream, kB | streams cut | bytes lost | first byte p50 / p99, ms | ended late p50 / p99, ms |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|")
	for _, t := range ts {
		h, err := t.hold(n, d)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		slices.Sort(h.first)
		slices.Sort(h.late)
		fmt.Fprintf(w, "| %s | %d | %d | %d | %d of %d | %d | %.1f / %.1f | %.0f / %.0f |\n", t.name, h.before>>10, h.most>>10, (h.most-h.before)/n, h.cut, n, h.lost,
			h.first[n/2], h.first[n*99/100], h.late[n/2], h.late[n*99/100])
		if h.fault != nil {
			fmt.Fprintf(os.Stderr, "%s: %.500v\n", t.name, h.fault)
		}
	}
	return nil
}
