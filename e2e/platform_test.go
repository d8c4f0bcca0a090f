//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/server/servertest"
)

// binary is the program under test, built once by TestMain.
var binary = filepath.Join(os.TempDir(), fmt.Sprintf("warden-e2e-%d", os.Getpid()))

func TestMain(m *testing.M) {
	cmd := exec.Command("go", "build", "-o", binary, "../cmd/warden")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the program:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.Remove(binary)
	os.Exit(code)
}

// A platform is one running server with an empty data folder of its own.
type platform struct {
	t    testing.TB
	data string
	cmd  *exec.Cmd
	out  *servertest.Buffer
	logs *servertest.Buffer

	API, Gateway, Key string
	Link              string // one-time administrator link; "" after the first start
}

// start starts a server on a data folder ("" for a new one) and waits until it
// answers. It is stopped when the test ends.
func start(t testing.TB, data string, config ...string) *platform {
	t.Helper()
	if data == "" {
		data = t.TempDir()
	}
	p := &platform{t: t, data: data, out: &servertest.Buffer{}, logs: &servertest.Buffer{}}
	os.Remove(filepath.Join(data, "local.json"))
	p.cmd = exec.Command(binary, append([]string{"serve", "--data", data}, config...)...)
	p.cmd.Env = append([]string{"WARDEN_API_LISTEN=127.0.0.1:0", "WARDEN_GATEWAY_LISTEN=127.0.0.1:0", "WARDEN_ADMIN_LISTEN=127.0.0.1:0"}, os.Environ()...) // what a test sets counts
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.logs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop() })
	var local struct{ API, Gateway, Key string }
	p.eventually(20*time.Second, "the server to be ready", func() bool {
		b, err := os.ReadFile(filepath.Join(data, "local.json"))
		return err == nil && json.Unmarshal(b, &local) == nil && strings.Contains(p.out.String(), "sign in") && p.healthy(local.API)
	})
	p.API, p.Gateway, p.Key = local.API, local.Gateway, local.Key
	if m := regexp.MustCompile(`sign in  (http\S+) \(once`).FindStringSubmatch(p.out.String()); m != nil {
		p.Link = m[1]
	}
	return p
}

func (p *platform) healthy(api string) bool {
	resp, err := http.Get(api + "/api/v1/health")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// stop ends the server in order; kill ends it as a power cut would.
func (p *platform) stop() {
	if p.cmd.ProcessState == nil {
		p.cmd.Process.Signal(syscall.SIGTERM)
		p.cmd.Wait()
	}
	if p.t.Failed() {
		p.t.Logf("server log:\n%s", p.logs)
	}
}

func (p *platform) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

func (p *platform) eventually(limit time.Duration, what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	p.t.Fatalf("waited %v for %s\nserver log:\n%s", limit, what, p.logs)
}

// warden runs a command line against this platform.
func (p *platform) warden(args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), "WARDEN_DATA="+p.data)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		p.t.Fatalf("warden %v: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must runs a command line that has to end with exit code want.
func (p *platform) must(want int, args ...string) string {
	p.t.Helper()
	out, errs, code := p.warden(args...)
	if code != want {
		p.t.Fatalf("warden %v: exit code %d, want %d\n%s%s", args, code, want, out, errs)
	}
	return out
}

// get calls the API and decodes the answer into out, if it is not nil.
func (p *platform) get(path string, out any) int { return p.call(http.MethodGet, path, "", out) }

func (p *platform) call(method, path, body string, out any) int {
	p.t.Helper()
	status, b := request(p.t, method, p.API+path, p.Key, body)
	if out != nil && status < 300 {
		if err := json.Unmarshal(b, out); err != nil {
			p.t.Fatalf("%s %s: %v\n%s", method, path, err, b)
		}
	}
	return status
}

// chat sends one chat request to the gateway.
func (p *platform) chat(key, model string, stream bool) (int, string) {
	p.t.Helper()
	body := fmt.Sprintf(`{"model":%q,"stream":%t,"messages":[{"role":"user","content":"hello"}]}`, model, stream)
	status, b := request(p.t, http.MethodPost, p.Gateway+"/v1/chat/completions", key, body)
	return status, string(b)
}

func request(t testing.TB, method, url, key, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return resp.StatusCode, b
}
