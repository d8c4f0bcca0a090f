//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/modelwarden/warden"
)

// A caller talks to one server that may vanish at any moment.
type caller struct {
	client *http.Client
	api    string
	key    string
}

func (p *platform) caller() *caller {
	c := &caller{&http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}, p.API, p.Key}
	p.t.Cleanup(c.client.CloseIdleConnections)
	return c
}

func (c *caller) do(method, path string, body []byte, headers ...string) (int, http.Header, []byte, error) {
	req, err := http.NewRequest(method, c.api+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, b, err
}

// A refused call is one that the server answered with an error.
type refused struct {
	status int
	body   string
}

func (r *refused) Error() string { return fmt.Sprintf("%d %s", r.status, r.body) }

func (c *caller) want(status int, method, path string, body []byte, headers ...string) (http.Header, []byte, error) {
	got, h, b, err := c.do(method, path, body, headers...)
	if err == nil && got != status {
		err = &refused{got, string(b)}
	}
	return h, b, err
}

func (c *caller) upload(data []byte) error {
	h, _, err := c.want(201, "POST", "/api/v1/uploads", nil)
	if err != nil {
		return err
	}
	at := h.Get("Location")
	half := len(data) / 2
	if _, _, err = c.want(204, "PATCH", at, data[:half], "Upload-Offset", "0"); err != nil {
		return err
	}
	if _, _, err = c.want(204, "PATCH", at, data[half:], "Upload-Offset", strconv.Itoa(half)); err != nil {
		return err
	}
	_, _, err = c.want(201, "PUT", at+"?digest="+warden.Sum(data).String(), nil)
	return err
}

// push uploads one file and registers it. Without an error it was acknowledged.
func (c *caller) push(model string, data []byte) (versionJSON, error) {
	var v versionJSON
	if err := c.upload(data); err != nil {
		return v, err
	}
	body := fmt.Sprintf(`{"model":%q,"files":[{"path":"m.pkl","digest":%q,"size":%d}]}`, model, warden.Sum(data), len(data))
	_, b, err := c.want(200, "POST", "/api/v1/artifacts", []byte(body))
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	return v, err
}

type pushed struct {
	model, digest string
	data          []byte
	hostile       bool
}

// check looks at one acknowledged push: it is there, and what is handed out is
// admitted, whole and not hostile.
func (c *caller) check(t *testing.T, x pushed, decided bool) {
	t.Helper()
	status, _, b, err := c.do("GET", "/api/v1/artifacts/"+x.digest, nil)
	var a artifactJSON
	if err != nil || status != 200 || json.Unmarshal(b, &a) != nil {
		t.Errorf("acknowledged push %s %s is lost: %d %v %s", x.model, x.digest, status, err, b)
		return
	}
	status, _, b, err = c.do("GET", "/api/v1/artifacts/"+x.digest+"/files/m.pkl", nil)
	switch {
	case err != nil:
		t.Errorf("%s: %v", x.digest, err)
	case status == 200 && (x.hostile || !bytes.Equal(b, x.data)):
		t.Errorf("%s (%s) is handed out: %.60q", x.digest, a.State, b)
	case status != 200 && status != 403:
		t.Errorf("%s (%s): download answers %d %s", x.digest, a.State, status, b)
	case decided && (status == 200) == x.hostile:
		t.Errorf("%s (%s), hostile %v: download answers %d", x.digest, a.State, x.hostile, status)
	}
}

// However often and whenever the server is killed: what it acknowledged is
// there, its log is whole, and nothing is handed out that is not admitted.
func TestKillDuringPush(t *testing.T) {
	times := 50
	if testing.Short() {
		times = 5
	}
	data := t.TempDir()
	var (
		mu    sync.Mutex
		acked []pushed
		tried int
	)
	for round := range times {
		p := start(t, data)
		c := p.caller()
		mu.Lock()
		last := acked[max(0, len(acked)-20):]
		mu.Unlock()
		for _, x := range last {
			c.check(t, x, false)
		}
		ctx, stop := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					x := pushed{model: fmt.Sprintf("kill/m%d", worker), hostile: (i+worker)%2 == 1}
					name := fmt.Sprintf("%d-%d-%d", round, worker, i)
					x.data = fmt.Appendf(nil, "(dp0\nS'%s'\np1\nF0.5\ns.", name)
					if x.hostile {
						x.data = fmt.Appendf(nil, "cposix\nsystem\n(S'echo %s'\ntR.", name)
					}
					mu.Lock()
					tried++
					mu.Unlock()
					v, err := c.push(x.model, x.data)
					if err != nil {
						if r := (*refused)(nil); errors.As(err, &r) && ctx.Err() == nil {
							t.Errorf("push: %v", r)
						}
						time.Sleep(time.Millisecond)
						continue
					}
					x.digest = v.Artifact.Digest
					mu.Lock()
					acked = append(acked, x)
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(20+rand.IntN(300)) * time.Millisecond)
		p.kill()
		stop()
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	p := start(t, data)
	c := p.caller()
	p.eventually(60*time.Second, "every wanted scan", func() bool {
		var posture struct{ Wanted, Pending int }
		return p.get("/api/v1/posture", &posture) == 200 && posture.Wanted == 0 && posture.Pending == 0
	})
	for _, x := range acked {
		c.check(t, x, true)
	}
	known := map[string]pushed{}
	for _, x := range acked {
		known[x.digest] = x
	}
	orphans, after := 0, ""
	for {
		var page listJSON[versionJSON]
		if st := p.get("/api/v1/versions?limit=1000&after="+after, &page); st != 200 {
			t.Fatal(st)
		}
		for _, v := range page.Items {
			if _, ok := known[v.Artifact.Digest]; ok {
				continue
			}
			orphans++ // done, but killed before it could say so: whole all the same
			if st, _, b, err := c.do("GET", "/api/v1/artifacts/"+v.Artifact.Digest+"/files/m.pkl", nil); err != nil || st != 200 && st != 403 || st == 200 && bytes.HasPrefix(b, []byte("cposix")) {
				t.Errorf("unacknowledged %s (%s): %d %v", v.Artifact.Digest, v.Artifact.State, st, err)
			}
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if out := p.must(0, "audit", "verify"); !strings.Contains(out, "whole") {
		t.Errorf("audit verify says:\n%s", out)
	}
	t.Logf("%d kills: %d pushes begun, %d acknowledged and there, %d more done without acknowledgement", times, tried, len(acked), orphans)
	if len(acked) < times {
		t.Errorf("only %d pushes were acknowledged in %d rounds: this shows too little", len(acked), times)
	}
}

// startLimited starts a server whose disk is full at the test's will: fill takes
// all space, drain gives it back. The disk is a small volume in memory, which
// only some may mount; TestFileLimit needs no rights.
func startLimited(t *testing.T) (p *platform, fill, drain func()) {
	t.Helper()
	dir := t.TempDir()
	if err := exec.Command("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", dir).Run(); err != nil {
		t.Skipf("a small volume cannot be mounted here (%v); TestFileLimit runs without one", err)
	}
	t.Cleanup(func() {
		if err := exec.Command("umount", "-l", dir).Run(); err != nil {
			t.Error(err)
		}
	})
	p = start(t, filepath.Join(dir, "data"))
	ballast := filepath.Join(dir, "ballast")
	fill = func() {
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range []int{1 << 20, 64 << 10, 4 << 10} {
			for {
				if _, err := f.Write(make([]byte, piece)); err != nil {
					break
				}
			}
		}
		f.Close()
	}
	return p, fill, func() {
		if err := os.Remove(ballast); err != nil {
			t.Error(err)
		}
	}
}

// On a full disk everything that must be kept is refused with a clear answer,
// what needs no room goes on, and nothing leaves unseen.
func TestFullDisk(t *testing.T) {
	p, fill, drain := startLimited(t)
	c := p.caller()
	clean := []byte("(dp0\nS'weight'\np1\nF0.5\ns.")
	v, err := c.push("team/good", clean)
	if err != nil {
		t.Fatal(err)
	}
	good := pushed{digest: v.Artifact.Digest, data: clean}
	p.eventually(10*time.Second, "the scan", func() bool {
		var a artifactJSON
		return p.get("/api/v1/artifacts/"+good.digest, &a) == 200 && a.State == "admitted"
	})
	h, _, err := c.want(201, "POST", "/api/v1/uploads", nil)
	if err != nil {
		t.Fatal(err)
	}
	at := h.Get("Location")
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	if _, _, err := c.want(204, "PATCH", at, large[:1000], "Upload-Offset", "0"); err != nil {
		t.Fatal(err)
	}

	for i := range 30 { // work that is in the queue when the disk fills
		if _, err := c.push("team/queued", fmt.Appendf(nil, "(dp0\nS'queued%d'\np1\nF0.5\ns.", i)); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	clear := func(what string, status int, body []byte, err error) {
		t.Helper()
		if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(string(body), `"unavailable"`) || !strings.Contains(string(body), "space") || strings.Contains(string(body), p.data) {
			t.Errorf("%s on a full disk: %d %v %s, want 503 that says so and names no path", what, status, err, body)
		}
	}
	status, _, b, err := c.do("PATCH", at, large[1000:], "Upload-Offset", "1000")
	clear("append", status, b, err)
	for _, size := range []int{500 << 10, 16 << 10, 1} { // until the room that the database has in its own files is used up
		body := fmt.Appendf(nil, `{"name":"x","roles":["reader"],"routes":[%q]}`, strings.Repeat("x", size))
		for range 200 {
			if status, _, b, err = c.do("POST", "/api/v1/keys", body); status != 200 {
				break
			}
		}
	}
	clear("make a key", status, b, err)
	given := 0
	for range 200 {
		if status, _, b, err = c.do("GET", "/api/v1/artifacts/"+good.digest+"/files/m.pkl", nil); status != 200 {
			break
		}
		given++ // there was still room to log it
	}
	clear("download", status, b, err)
	for _, path := range []string{"/api/v1/health", "/api/v1/models", "/api/v1/artifacts/" + good.digest} {
		if st := p.get(path, nil); st != 200 {
			t.Errorf("%s on a full disk: %d", path, st)
		}
	}

	time.Sleep(2 * time.Second) // the background meets the full disk too
	drain()
	p.eventually(60*time.Second, "the scans that were queued", func() bool {
		var posture struct{ Wanted, Pending int }
		return p.get("/api/v1/posture", &posture) == 200 && posture.Wanted == 0 && posture.Pending == 0
	})
	h, _, err = c.want(200, "HEAD", at, nil)
	if err != nil {
		t.Fatal(err)
	}
	from, err := strconv.Atoi(h.Get("Upload-Offset"))
	if err != nil || from < 1000 || from > len(large) {
		t.Fatalf("offset %q", h.Get("Upload-Offset"))
	}
	if _, _, err := c.want(204, "PATCH", at, large[from:], "Upload-Offset", strconv.Itoa(from)); err != nil {
		t.Errorf("go on after there is room: %v", err)
	}
	if _, _, err := c.want(201, "PUT", at+"?digest="+warden.Sum(large).String(), nil); err != nil {
		t.Error(err)
	}
	p.eventually(10*time.Second, "downloads to work again", func() bool { return p.get("/api/v1/artifacts/"+good.digest+"/files/m.pkl", nil) == 200 })
	c.check(t, good, true)
	var taken listJSON[struct{ Seq uint64 }]
	if p.get("/api/v1/audit?limit=1000&action=registry.retrieve", &taken); len(taken.Items) < given {
		t.Errorf("%d files were handed out on the full disk, %d are in the log", given, len(taken.Items))
	}
	v, err = c.push("team/later", []byte("(dp0\nS'later'\np1\nF0.5\ns."))
	if err != nil {
		t.Fatal(err)
	}
	p.eventually(10*time.Second, "scans to work again", func() bool {
		var a artifactJSON
		return p.get("/api/v1/artifacts/"+v.Artifact.Digest, &a) == 200 && a.State == "admitted"
	})
	if out := p.must(0, "audit", "verify"); !strings.Contains(out, "whole") {
		t.Errorf("audit verify says:\n%s", out)
	}
	p.kill()
	p = start(t, p.data)
	p.caller().check(t, good, true)
	p.stop()
}

// A file that may not grow, by a quota or limit, is refused as a full disk is,
// and the server goes on.
func TestFileLimit(t *testing.T) {
	limited := filepath.Join(t.TempDir(), "limited")
	if err := os.WriteFile(limited, []byte("#!/bin/sh\nulimit -f 16384\nexec "+binary+" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	whole := binary
	binary = limited
	p := start(t, "")
	binary = whole
	c := p.caller()
	large := bytes.Repeat([]byte("0123456789abcdef"), 2<<20) // 32 MiB; the limit is 8 or 16
	h, _, err := c.want(201, "POST", "/api/v1/uploads", nil)
	if err != nil {
		t.Fatal(err)
	}
	at := h.Get("Location")
	// The server may answer before it has read all, and then close.
	status, _, b, err := c.do("PATCH", at, large, "Upload-Offset", "0")
	if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(string(b), "no space") || strings.Contains(string(b), p.data)) {
		t.Errorf("a file that is too large for the disk: %d %s", status, b)
	}
	if st, _, _, _ := c.do("PUT", at+"?digest="+warden.Sum(large).String(), nil); st != 400 {
		t.Errorf("committing what fitted: %d", st)
	}
	if st, _, _, _ := c.do("HEAD", "/api/v1/blobs/"+warden.Sum(large).String(), nil); st != 404 {
		t.Errorf("half a blob is there: %d", st)
	}
	v, err := c.push("team/small", []byte("(dp0\nS'small'\np1\nF0.5\ns."))
	if err != nil {
		t.Fatal(err)
	}
	p.eventually(10*time.Second, "the scan", func() bool {
		var a artifactJSON
		return p.get("/api/v1/artifacts/"+v.Artifact.Digest, &a) == 200 && a.State == "admitted"
	})
	if out := p.must(0, "audit", "verify"); !strings.Contains(out, "whole") {
		t.Errorf("audit verify says:\n%s", out)
	}
}

// Half an upload is kept over a kill, and the rest completes it.
func TestHalfAnUpload(t *testing.T) {
	p := start(t, "")
	c := p.caller()
	data := bytes.Repeat([]byte("half "), 1<<18)
	h, _, err := c.want(201, "POST", "/api/v1/uploads", nil)
	if err != nil {
		t.Fatal(err)
	}
	at := h.Get("Location")
	if _, _, err := c.want(204, "PATCH", at, data[:1000], "Upload-Offset", "0"); err != nil {
		t.Fatal(err)
	}
	body, feed := io.Pipe()
	req, err := http.NewRequest("PATCH", c.api+at, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Upload-Offset", "1000")
	go c.client.Do(req)
	feed.Write(data[1000:500_000]) // and then nothing: the server is killed in the middle
	p.kill()
	feed.CloseWithError(io.ErrUnexpectedEOF)
	p = start(t, p.data)
	c = p.caller()
	h, _, err = c.want(200, "HEAD", at, nil)
	if err != nil {
		t.Fatal(err)
	}
	from, err := strconv.Atoi(h.Get("Upload-Offset"))
	if err != nil || from < 1000 || from > 500_000 {
		t.Fatalf("offset %q, want what was acknowledged, or more that is on disk", h.Get("Upload-Offset"))
	}
	if st, _, _, _ := c.do("PUT", at+"?digest="+warden.Sum(data).String(), nil); st != 400 {
		t.Errorf("committing half: %d", st)
	}
	if err := c.upload(data); err != nil { // the half is gone with the wrong digest: all of it again
		t.Error(err)
	}
	if st, h, _, _ := c.do("HEAD", "/api/v1/blobs/"+warden.Sum(data).String(), nil); st != 200 || h.Get("Content-Length") != strconv.Itoa(len(data)) {
		t.Errorf("the blob: %d %v", st, h)
	}
}

// A key that was revoked, or is wrong, opens nothing on any surface.
func TestBadKeys(t *testing.T) {
	p := start(t, "")
	key := strings.TrimSpace(p.must(0, "access", "key", "create", "--name", "app", "--role", "admin"))
	var keys listJSON[struct{ ID, Name string }]
	p.get("/api/v1/keys", &keys)
	for _, k := range keys.Items {
		if k.Name == "app" && p.call("DELETE", "/api/v1/keys/"+k.ID, "", nil) != 200 {
			t.Error("revoke")
		}
	}
	for name, k := range map[string]string{"revoked": key, "wrong": key[:40] + strings.Repeat("a", len(key)-40), "empty": ""} {
		for _, url := range []string{p.API + "/api/v1/models", p.API + "/tlog/checkpoint", p.API + "/api/v1/events", p.Gateway + "/v1/models"} {
			if st, b := request(t, "GET", url, k, ""); st != 401 {
				t.Errorf("%s key at %s: %d %s", name, url, st, b)
			}
		}
		if st, b := p.chat(k, "x", false); st != 401 {
			t.Errorf("%s key at the gateway: %d %s", name, st, b)
		}
		if st, b := request(t, "POST", p.API+"/api/v1/session", "", fmt.Sprintf(`{"key":%q}`, k+" ")); st != 401 && st != 400 {
			t.Errorf("%s key at sign-in: %d %s", name, st, b)
		}
	}
	if strings.Contains(p.logs.String(), key) {
		t.Error("a key is in the log")
	}
}

// A policy that does not parse stops the start, with file, line and exit code.
func TestPolicyThatDoesNotParse(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "site.cedar"), "@id(\"ok\")\npermit (principal, action == Action::\"read\", resource);\n\n@id(\"bad\")\nforbid (principal, action == Action::\"deploi\", resource);\n")
	config := filepath.Join(dir, "warden.yaml")
	write(t, config, fmt.Sprintf("policies: %q\n", dir))
	cmd := exec.Command(binary, "serve", "--data", filepath.Join(dir, "data"), "--config", config)
	cmd.Env = append(os.Environ(), "WARDEN_API_LISTEN=127.0.0.1:0", "WARDEN_GATEWAY_LISTEN=127.0.0.1:0", "WARDEN_ADMIN_LISTEN=127.0.0.1:0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "site.cedar:5:39") || !strings.Contains(string(out), "deploi") || !strings.Contains(string(out), "hint") {
		t.Errorf("serve: %v\n%s\nwant exit code 2 with file, line and a hint", err, out)
	}
}
