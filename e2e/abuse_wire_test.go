//go:build e2e

package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/server/servertest"
)

func (a *abused) triton(t *testing.T) {
	bodiesOf("A29")(a, t)
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, "{}") })
	for _, path := range []string{
		"/v2/repository/index", "/v2/repository/models/oip/load", "/v2/repository/models/oip/unload", "/v2/systemsharedmemory/status", "/v2/systemsharedmemory/region/x/register", "/v2/systemsharedmemory/unregister",
		"/v2/cudasharedmemory/status", "/v2/cudasharedmemory/region/x/register", "/v2/models/oip/config", "/v2/models/oip/trace/setting", "/v2/logging", "/v2/models/oip/generate", "/v2/models/../repository/index", "/v2/models/oip%2f..%2f..%2frepository/index",
	} {
		if status, _, text, _ := a.send(path, `{"inputs":[]}`); status != http.StatusNotFound && status != http.StatusBadRequest && status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	for _, h := range a.up.took() {
		t.Errorf("the upstream was asked %s", h.uri)
	}
}

func (a *abused) smuggling(t *testing.T) {
	host := strings.TrimPrefix(a.Gateway, "http://")
	auth := "Authorization: Bearer " + a.key + "\r\nContent-Type: application/json\r\n"
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, whole) })
	type raw struct {
		Name, Text string
		Want       []int
	}
	all := cases[raw](t, "raw.yaml")
	all = append(all,
		raw{"header_of_a_megabyte", "POST /v1/chat/completions HTTP/1.1\r\nHost: HOST\r\nAUTHX-A: " + strings.Repeat("x", 1<<20) + "\r\nContent-Length: 2\r\n\r\n{}", []int{431, 0}},
		raw{"ten_thousand_headers", "POST /v1/chat/completions HTTP/1.1\r\nHost: HOST\r\nAUTH" + strings.Repeat("X-A: yyyyyy\r\n", 10_000) + "Content-Length: 2\r\n\r\n{}", []int{431, 0}},
		raw{"line_of_a_megabyte", "POST /v1/" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\nHost: HOST\r\nAUTHContent-Length: 2\r\n\r\n{}", []int{431, 414, 400, 0}},
	)
	answers := make([]string, len(all))
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() {
			answers[i] = rawAnswer(t, host, strings.NewReplacer("HOST", host, "AUTH", auth).Replace(c.Text), 3*time.Second)
		})
	}
	wg.Wait()
	for i, c := range all {
		text := answers[i]
		status := 0
		if line, _, ok := strings.Cut(text, "\r\n"); ok {
			if f := strings.Fields(line); len(f) > 1 {
				status, _ = strconv.Atoi(f[1])
			}
		}
		if !slices.Contains(c.Want, status) {
			t.Errorf("%s: %d %.300q, want %v", c.Name, status, text, c.Want)
		}
		if n := strings.Count(text, "HTTP/1.1 "); n > 1 {
			t.Errorf("%s: %d answers for one request: %.600q", c.Name, n, text)
		}
	}
	for _, h := range a.up.took() {
		t.Errorf("the upstream was asked %s %s", h.uri, h.body)
	}
	// An upstream whose answer could be taken for two.
	for name, answer := range map[string]string{
		"length_and_chunked": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"two_lengths":        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n{}{}{}{}",
		"newline_in_field":   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nOpenai-Version: x\rSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n{}",
		"more_than_its_size": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	} {
		a.up.says(func(w http.ResponseWriter, _ *http.Request) {
			if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
				io.WriteString(c, answer)
				c.Close()
			}
		})
		if status, h, text, _ := a.send("/v1/chat/completions", chatOf("openai", "hi", false)); status != http.StatusBadGateway || h.Get("Set-Cookie") != "" {
			t.Errorf("upstream's %s: %d %v %s", name, status, h, text)
		}
	}
}

// slowClients holds connections open in every way that costs the client little.
func (a *abused) slowClients(t *testing.T) {
	const streams = 1900 // of the 2,048 that one key may have
	host := strings.TrimPrefix(a.Gateway, "http://")
	auth := "Host: " + host + "\r\nAuthorization: Bearer " + a.key + "\r\nContent-Type: application/json\r\n"
	release := make(chan struct{})
	a.up.says(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		switch {
		case bytes.Contains(b, []byte("idle")):
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, chunk, "a")
			http.NewResponseController(w).Flush()
			<-release
			io.WriteString(w, chunkEnd)
		case bytes.Contains(b, []byte("endless")):
			w.Header().Set("Content-Type", "text/event-stream")
			for {
				if _, err := fmt.Fprintf(w, chunk, strings.Repeat("much ", 2000)); err != nil || r.Context().Err() != nil {
					return
				}
			}
		default:
			reply(w, whole)
		}
	})
	before := memory(t, a.cmd.Process.Pid)

	var slow sync.WaitGroup
	ends := func(what, text string, limit time.Duration) { // the connection is closed by the server, within this time
		slow.Go(func() {
			c, err := net.DialTimeout("tcp", host, 5*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			io.WriteString(c, text)
			begun := time.Now()
			stop := make(chan struct{})
			defer close(stop)
			if strings.HasPrefix(what, "slow") {
				go func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(time.Second):
							io.WriteString(c, "x")
						}
					}
				}()
			}
			c.SetReadDeadline(time.Now().Add(limit))
			if _, err := io.Copy(io.Discard, c); err != nil && os.IsTimeout(err) {
				t.Errorf("%s: the connection still stands after %v", what, time.Since(begun))
			}
		})
	}
	ends("slow header", "POST /v1/chat/completions HTTP/1.1\r\n"+auth+"X-Slow: ", 20*time.Second)
	ends("slow body", "POST /v1/chat/completions HTTP/1.1\r\n"+auth+"Content-Length: 100000\r\n\r\n{", 45*time.Second)
	ends("slow anonymous body", "POST /v1/chat/completions HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 100000\r\n\r\n{", 45*time.Second)
	// A client that does not read: the gateway hangs up, on the upstream also.
	body := chatOf("openai", "endless", true)
	c, err := net.DialTimeout("tcp", host, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", auth, len(body), body)

	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	body = chatOf("openai", "idle", true)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range streams / 50 {
				c, err := net.DialTimeout("tcp", host, 10*time.Second)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				open = append(open, c)
				mu.Unlock()
				c.SetDeadline(time.Now().Add(30 * time.Second))
				fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", auth, len(body), body)
				b := make([]byte, 12)
				if _, err := io.ReadFull(c, b); err != nil || string(b) != "HTTP/1.1 200" {
					t.Errorf("a stream: %q %v", b, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := a.metric("warden_gateway_inflight"); n < streams {
		t.Errorf("%v streams are open, want %d", n, streams)
	}
	after := memory(t, a.cmd.Process.Pid)
	t.Logf("%d idle streams: %d MiB, before %d MiB", streams, after>>20, before>>20)
	if after-before > 300<<20 {
		t.Errorf("%d idle streams take %d MiB", streams, (after-before)>>20)
	}
	var late []time.Duration
	for range 50 { // others are served meanwhile
		begun := time.Now()
		if status, text, err := a.post("", chatOf("openai", "hi", false)); status != http.StatusOK || err != nil {
			t.Fatalf("beside idle streams: %d %v %s", status, err, text)
		}
		late = append(late, time.Since(begun))
	}
	slices.Sort(late)
	if late[25] > 250*time.Millisecond {
		t.Errorf("beside idle streams a request takes %v", late[25])
	}
	close(release)
	var short atomic.Int64
	for _, c := range open {
		wg.Go(func() {
			c.SetDeadline(time.Now().Add(30 * time.Second))
			var b []byte
			buf := make([]byte, 4096)
			for !bytes.Contains(b, []byte("[DONE]")) {
				n, err := c.Read(buf)
				if b = append(b, buf[:n]...); err != nil {
					short.Add(1)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := short.Load(); n > 0 {
		t.Errorf("%d of %d idle streams did not end properly", n, streams)
	}
	slow.Wait()
	a.eventually(45*time.Second, "the stream that nobody reads to be given up", func() bool { return a.metric("warden_gateway_inflight") == 0 })
}

func (a *abused) supplyChain(t *testing.T) {
	dir := t.TempDir()
	list, err := exec.Command("git", "-C", "..", "ls-files", "-z").Output()
	if err != nil {
		t.Skip("git is not here: that builds repeat was not tried")
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		b, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			continue // removed, or a link
		}
		to := filepath.Join(dir, "elsewhere", name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := func(from, to string) [32]byte {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", "-s -w", "-o", to, "./cmd/warden")
		cmd.Dir = from
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "HTTP_PROXY=", "HTTPS_PROXY=", "http_proxy=", "https_proxy=", "ALL_PROXY=", "all_proxy=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		b, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		return sha256.Sum256(b)
	}
	if build("..", filepath.Join(dir, "a")) != build(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "b")) {
		t.Error("the same source in two folders gives two programs")
	}
	for _, name := range []string{"../web/package-lock.json", "clients/package-lock.json"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("hasInstallScript")) || regexp.MustCompile(`"resolved": "(http|git|file)`).Match(b) {
			t.Errorf("%s: a package runs something when it is installed, or has an address of its own", name)
		}
		for _, entry := range regexp.MustCompile(`(?s)"node_modules/[^{]*\{.*?\n    \}`).FindAll(b, -1) {
			if !bytes.Contains(entry, []byte(`"integrity"`)) && !bytes.Contains(entry, []byte(`"link"`)) && !bytes.Contains(entry, []byte(`"inBundle"`)) {
				t.Errorf("%s: without a digest: %.80s", name, entry)
			}
		}
	}
	for _, name := range []string{"../web/package.json", "clients/package.json"} {
		if b, err := os.ReadFile(name); err != nil || regexp.MustCompile(`"(pre|post)?install"|"prepare"`).Match(b) {
			t.Errorf("%s runs something when it is installed (%v)", name, err)
		}
	}
	if b, err := os.ReadFile("../go.mod"); err != nil || regexp.MustCompile(`(?m)^replace `).Match(b) {
		t.Errorf("go.mod replaces modules (%v)", err)
	}
}

// A socket is one that a process has: where it leads to.
type socket struct{ kind, local, remote, state string }

// sockets lists those of a process; none where that cannot be told.
func sockets(pid int) (out []socket) {
	mine := map[string]bool{}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil {
			if in, ok := strings.CutPrefix(to, "socket:["); ok {
				mine[strings.TrimSuffix(in, "]")] = true
			}
		}
	}
	for _, kind := range []string{"tcp", "tcp6", "udp", "udp6"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, kind))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 9 && mine[f[9]] {
				out = append(out, socket{kind, f[1], f[2], f[3]})
			}
		}
	}
	return out
}

func portOf(address string) int {
	n, _ := strconv.ParseInt(address[strings.LastIndexByte(address, ':')+1:], 16, 32)
	return int(n)
}

func (a *abused) noOtherConnection(t *testing.T) {
	if len(sockets(a.cmd.Process.Pid)) == 0 {
		t.Skip("the sockets of processes cannot be read here: they were not looked at")
	}
	up, _ := strconv.Atoi(a.up.URL[strings.LastIndexByte(a.up.URL, ':')+1:])
	// watch looks until stop at what a process connects to.
	watch := func(pid int, stop <-chan struct{}) (bad []socket, looks int) {
		for ; ; looks++ {
			select {
			case <-stop:
				return bad, looks
			case <-time.After(2 * time.Millisecond):
			}
			now, listening := sockets(pid), map[int]bool{}
			for _, s := range now {
				if s.state == "0A" { // listens
					listening[portOf(s.local)] = true
				}
			}
			for _, s := range now {
				in := listening[portOf(s.local)]
				if s.state != "0A" && !in && portOf(s.remote) != up && !slices.Contains(bad, s) {
					bad = append(bad, s)
				}
			}
		}
	}
	// From the first moment of a process on.
	data := t.TempDir()
	cmd := exec.Command(binary, "serve", "--data", data)
	cmd.Env = append(os.Environ(), "WARDEN_API_LISTEN=127.0.0.1:0", "WARDEN_GATEWAY_LISTEN=127.0.0.1:0", "WARDEN_ADMIN_LISTEN=127.0.0.1:0")
	out := &servertest.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	time.AfterFunc(6*time.Second, func() { close(stop) })
	bad, looks := watch(cmd.Process.Pid, stop)
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if !strings.Contains(out.String(), "sign in") {
		t.Fatalf("the server did not start:\n%s", out)
	}
	if len(bad) > 0 || looks < 100 {
		t.Errorf("at its start (%d looks) it connects to %+v", looks, bad)
	}
	// And one that works.
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, whole) })
	stop = make(chan struct{})
	go func() {
		for range 200 {
			a.post("", chatOf("openai", "hi", false))
		}
		close(stop)
	}()
	if bad, _ := watch(a.cmd.Process.Pid, stop); len(bad) > 0 {
		t.Errorf("with traffic it connects to %+v", bad)
	}
}
