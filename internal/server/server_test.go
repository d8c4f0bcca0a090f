package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/report"
	"github.com/modelwarden/warden/internal/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A run is one server that serves.
type run struct {
	t      *testing.T
	s      *Server
	local  Local
	banner string
	logs   *servertest.Buffer
	stop   func() // once; waits
}

func testConfig(dir string) Config {
	c := DefaultConfig()
	c.Data, c.API.Listen, c.Gateway.Listen, c.Admin.Listen, c.Limits.Shutdown = dir, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", 2*time.Second
	return c
}

func testOptions() Options {
	return Options{Getenv: func(string) string { return "" }, Tool: report.Tool{Name: "warden", Version: "test", Rules: "test"}}
}

// start opens and serves; it ends with the test at the latest.
func start(t *testing.T, cfg Config, opts Options) *run {
	t.Helper()
	r := &run{t: t, logs: &servertest.Buffer{}}
	banner := &servertest.Buffer{}
	opts.Banner, opts.Log = banner, slog.New(slog.NewTextHandler(r.logs, nil))
	var err error
	if r.s, err = Open(t.Context(), cfg, opts); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- errors.Join(r.s.Serve(ctx), r.s.Close()) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", r.logs)
		}
	})
	t.Cleanup(r.stop)
	r.eventually("the server to be ready", func() bool {
		r.local, err = ReadLocal(cfg.path(LocalFile))
		return err == nil && strings.Contains(banner.String(), "sign in")
	})
	r.banner = banner.String()
	return r
}

func (r *run) eventually(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	r.t.Fatalf("waited in vain for %s\n%s", what, r.logs)
}

// call sends a request with the local key and decodes the answer into out.
func (r *run) call(method, path, body string, out any) int {
	r.t.Helper()
	return r.callWith(r.local.Key, method, r.local.API+path, body, out)
}

func (r *run) callWith(key, method, url, body string, out any) int {
	r.t.Helper()
	client := &http.Client{Timeout: 90 * time.Second}
	defer client.CloseIdleConnections()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if out == nil {
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		r.t.Errorf("%s %s: %d %v", method, url, resp.StatusCode, err)
	}
	return resp.StatusCode
}

func (r *run) totals() (t registry.Totals) {
	r.t.Helper()
	err := r.s.registry.View(context.Background(), func(rd registry.Reader) (err error) {
		t, err = rd.Totals(context.Background())
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return t
}

func TestFirstAndNextStart(t *testing.T) {
	cfg := testConfig(t.TempDir())
	one := start(t, cfg, testOptions())
	link := strings.TrimSpace(strings.TrimPrefix(strings.Split(one.banner, "\n")[2], "sign in"))
	url, _, _ := strings.Cut(link, " ")
	if base, token, ok := strings.Cut(url, "/#/login?link="); !ok || base != one.local.API {
		t.Errorf("link %q, want one at %s", url, one.local.API)
	} else {
		body := `{"link":"` + token + `"}`
		if st := one.callWith("", "POST", one.local.API+"/api/v1/session", body, nil); st != 200 {
			t.Errorf("first use of the link: %d", st)
		}
		if st := one.callWith("", "POST", one.local.API+"/api/v1/session", body, nil); st != 401 {
			t.Errorf("second use of the link: %d", st)
		}
	}
	for _, name := range []string{LocalFile, "keys/pepper", "keys/statements.pem", "keys/checkpoints.key", "warden.db"} {
		st, err := os.Stat(cfg.path(name))
		if err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v, want a file for its owner only", name, st.Mode(), err)
		}
	}
	t.Run("second_server_is_refused", func(t *testing.T) {
		var we *warden.Error
		if _, err := Open(t.Context(), cfg, testOptions()); !errors.As(err, &we) || we.Code != warden.CodeConflict || we.Hint == "" {
			t.Errorf("Open = %v, want a conflict that says what to do", err)
		}
	})
	one.stop()
	two := start(t, cfg, testOptions())
	if strings.Contains(two.banner, "link=") || two.local.Key != one.local.Key {
		t.Errorf("second start: new key %v, banner %s", two.local.Key != one.local.Key, two.banner)
	}
	var me struct{ Principal string }
	if st := two.call("GET", "/api/v1/me", "", &me); st != 200 || me.Principal != "user:local" {
		t.Errorf("me: %d %+v", st, me)
	}
	keys, err := two.s.access.Keys(t.Context())
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys: %v %v", keys, err)
	}
	if _, err := two.s.access.RevokeKey(t.Context(), keys[0].ID, Platform()); err != nil {
		t.Fatal(err)
	}
	two.stop()
	three := start(t, cfg, testOptions())
	if three.local.Key == two.local.Key || three.call("GET", "/api/v1/me", "", nil) != 200 {
		t.Error("the revoked local key was not renewed")
	}
	t.Run("renewed_before_it_ends", func(t *testing.T) {
		opts := testOptions()
		three.stop()
		opts.Now = func() time.Time { return time.Now().Add(localKeyTTL - localRenew + time.Hour) }
		if four := start(t, cfg, opts); four.local.Key == three.local.Key {
			t.Error("a key that ends within a week was not renewed")
		}
	})
	for _, secret := range []string{one.local.Key, three.local.Key} {
		if strings.Contains(one.logs.String()+two.logs.String()+three.logs.String(), secret) {
			t.Error("a key is in the log")
		}
	}
}

func TestKeys(t *testing.T) {
	names := []string{"statements.pem", "checkpoints.key", "checkpoints.pub", "pepper"}
	fresh := func(t *testing.T) Config {
		cfg := testConfig(t.TempDir())
		s, err := Open(t.Context(), cfg, testOptions())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	for _, n := range names {
		t.Run("missing_"+n, func(t *testing.T) { // of a platform that signed: never new ones
			cfg := fresh(t)
			if err := os.Remove(cfg.path("keys", n)); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(t.Context(), cfg, testOptions()); err == nil || !strings.Contains(err.Error(), n) || !strings.Contains(err.Error(), "backup") {
				t.Errorf("Open = %v, want an error that names %s", err, n)
			}
			if _, err := os.Stat(cfg.path("keys", n)); err == nil {
				t.Error("a new key was made")
			}
		})
		t.Run("damaged_"+n, func(t *testing.T) {
			cfg := fresh(t)
			if err := os.WriteFile(cfg.path("keys", n), []byte("secretrubbish"), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), cfg, testOptions())
			if err == nil {
				t.Error("opened with a damaged key")
				s.Close()
			} else if strings.Contains(err.Error(), "secretrubbish") && n != "checkpoints.pub" {
				t.Errorf("the error quotes the key: %v", err)
			}
		})
		t.Run("first_start_cut_short_at_"+n, func(t *testing.T) { // nothing was signed: made anew
			cfg := testConfig(t.TempDir())
			if err := os.MkdirAll(cfg.path("keys"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(cfg.path("keys", n), []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
			r := start(t, cfg, testOptions())
			if !strings.Contains(r.banner, "link=") {
				t.Errorf("no link: %s", r.banner)
			}
		})
	}
}

func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for key, set := range map[string]func(*Config){
		"api.listen":     func(c *Config) { c.API.Listen = l.Addr().String() },
		"gateway.listen": func(c *Config) { c.Gateway.Listen = l.Addr().String() },
	} {
		cfg := testConfig(t.TempDir())
		set(&cfg)
		s, err := Open(t.Context(), cfg, testOptions())
		if err != nil {
			t.Fatal(err)
		}
		var we *warden.Error
		if err := s.Serve(t.Context()); !errors.As(err, &we) || !strings.Contains(we.Message, key) || we.Hint == "" {
			t.Errorf("%s taken: %v, want an error that names the key", key, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestPoliciesThatDoNotParse(t *testing.T) {
	for name, text := range map[string]string{
		"syntax":         "@id(\"a\")\npermit (principal, action, resource)\nwhen { resource.scan. };",
		"unknown_action": "\n@id(\"a\")\npermit (principal, action == Action::\"deploi\", resource);",
		"no_id":          "permit (principal, action, resource);",
		"nothing":        "",
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			cfg.Policies = filepath.Join(t.TempDir(), "policies")
			if err := os.MkdirAll(cfg.Policies, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(cfg.Policies, "site.cedar"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var we *warden.Error
			_, err := Open(t.Context(), cfg, testOptions())
			if !errors.As(err, &we) || we.Hint == "" || name != "nothing" && !strings.Contains(we.Message, "site.cedar:") {
				t.Errorf("Open = %v, want an error with file, line and hint", err)
			}
		})
	}
}

func TestLoadConfig(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "warden.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	none := func(string) string { return "" }
	env := map[string]string{"WARDEN_DATA": "/d", "WARDEN_API_LISTEN": "127.0.0.1:1", "WARDEN_LIMITS_WORKERS": "7", "WARDEN_LIMITS_SHUTDOWN": "3s", "WARDEN_DEMO": "false"}
	c, err := LoadConfig(file("data: from-file\ngateway: {listen: 127.0.0.1:2}\n"), func(k string) string { return env[k] })
	if err != nil || c.Data != "/d" || c.API.Listen != "127.0.0.1:1" || c.Gateway.Listen != "127.0.0.1:2" || c.Limits.Workers != 7 || c.Limits.Shutdown != 3*time.Second || c.Demo {
		t.Errorf("got %+v, %v", c, err)
	}
	text, err := DefaultConfig().YAML()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(file(string(text)), none); err != nil {
		t.Errorf("the printed defaults do not load: %v", err)
	}
	for text, want := range map[string]string{
		"dat: x":                            "dat",
		"data: a\ndata: b":                  "data",
		"api: {lisen: x}":                   "lisen",
		"api: {listen: nowhere}":            "api.listen",
		"api: {url: 'javascript:alert(1)'}": "api.url",
		"api: {url: 'http://u:p@h'}":        "api.url",
		"limits: {workers: 0}":              "limits.workers",
		"limits: {workers: many}":           "workers",
		"limits: {scan_days: 99999999}":     "limits.scan_days",
		"limits: {max_blob: -1}":            "limits.max_blob",
		"limits: {shutdown: -1s}":           "limits.shutdown",
		"gateway: {routes: [{name: a, model: t/m, upstream: 'http://h', credential: plaintext}]}":     "credential",
		"gateway: {routes: [{name: a, model: t/m, upstream: 'http://h', allow_private: [10.0.0.1]}]}": "allow_private",
		"- a": "warden.yaml",
	} {
		var we *warden.Error
		if _, err := LoadConfig(file(text), none); !errors.As(err, &we) || we.Code != warden.CodeInvalid || we.Hint == "" || !strings.Contains(we.Message, want) || strings.Contains(err.Error(), "plaintext") {
			t.Errorf("%q: %v, want an error that names %s", text, err, want)
		}
	}
	for k, v := range map[string]string{"WARDEN_LIMITS_WORKERS": "x", "WARDEN_DEMO": "perhaps", "WARDEN_LIMITS_SHUTDOWN": "3"} {
		if _, err := LoadConfig("", func(n string) string { return map[string]string{k: v}[n] }); err == nil || !strings.Contains(err.Error(), k) {
			t.Errorf("%s=%s: %v", k, v, err)
		}
	}
	if _, err := LoadConfig(filepath.Join(t.TempDir(), "none.yaml"), none); err == nil {
		t.Error("a configuration that is not there is loaded")
	}
	for ref, ok := range map[string]bool{"env:HAVE": true, "env:HAVE_NOT": false, "file:" + file("s3cret\n"): true, "file:/nonexistent": false, "s3cret": false} {
		s, err := secret(ref, func(n string) string { return map[string]string{"HAVE": "s3cret"}[n] })
		if (err == nil) != ok || ok && s.Reveal() != "s3cret" || err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("secret(%q) = %q, %v", ref, s.Reveal(), err)
		}
	}
}

// Demo data comes twice without growing, survives a restart with its routes,
// and goes away whole.
func TestDemo(t *testing.T) {
	cfg := testConfig(t.TempDir())
	r := start(t, cfg, testOptions())
	var sum struct{ Models, Artifacts, Keys, Requests int }
	if st := r.call("POST", "/api/v1/demo", "", &sum); st != 200 || sum.Models == 0 || sum.Requests == 0 {
		t.Fatalf("load: %d %+v", st, sum)
	}
	first := r.totals()
	if st := r.call("POST", "/api/v1/demo", "", &sum); st != 200 {
		t.Fatalf("load again: %d", st)
	}
	if again := r.totals(); again.Versions != first.Versions || again.Artifacts != first.Artifacts || again.Models != first.Models {
		t.Errorf("loading twice: %+v, then %+v", first, again)
	}
	open := func(r *run) bool {
		for _, s := range r.s.gateway.Routes(context.Background()) {
			if s.Name == "demo-chat" {
				return s.Open
			}
		}
		return false
	}
	r.stop()
	r = start(t, cfg, testOptions())
	r.eventually("the demo routes after a restart", func() bool { return open(r) })
	_, secret, err := r.s.access.CreateKey(t.Context(), access.NewKey{Name: "x", Roles: []string{access.RoleClient}}, Platform())
	if err != nil {
		t.Fatal(err)
	}
	chat := func(model string) int {
		return r.callWith(secret.Reveal(), "POST", r.local.Gateway+"/v1/chat/completions", fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"hi"}]}`, model), nil)
	}
	if a, b := chat("demo-chat"), chat("demo-hostile"); a != 200 || b != 503 {
		t.Errorf("demo routes answer %d and %d", a, b)
	}
	for range 2 {
		if st := r.call("DELETE", "/api/v1/demo", "", &sum); st != 200 {
			t.Errorf("remove: %d", st)
		}
	}
	if left := r.totals(); left.Models+left.Versions+left.Artifacts+left.Files+left.Wanted+left.Retrievals+left.OpenCritical+left.OpenHigh != 0 || left.Demo {
		t.Errorf("after removal: %+v", left)
	}
	if st := chat("demo-chat"); st != 404 {
		t.Errorf("demo route after removal: %d", st)
	}
	keys, err := r.s.access.Keys(t.Context())
	for _, k := range keys {
		if k.Demo || err != nil {
			t.Errorf("a demo key stays: %v %v", k, err)
		}
	}
	err = r.s.registry.View(t.Context(), func(rd registry.Reader) error {
		_, err := audit.Verify(t.Context(), rd, r.s.keys.verifier)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func (r *run) push(model string, data []byte) registry.Version {
	r.t.Helper()
	ctx := context.Background()
	info, err := r.s.blobs.Put(ctx, bytes.NewReader(data), warden.Digest{}, 1<<20)
	if err != nil {
		r.t.Fatal(err)
	}
	v, err := r.s.registry.Push(ctx, registry.Push{Model: registry.Name(model), Actor: Platform(), Manifest: registry.Manifest{Files: []registry.File{{Path: "m.pkl", Digest: info.Digest, Size: info.Size}}}})
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

func (r *run) state(d warden.Digest) registry.Artifact {
	r.t.Helper()
	a, err := r.s.registry.State(context.Background(), d)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// New rules, and age, bring new scans; one that ended is refused until then.
func TestOldScansAreRenewed(t *testing.T) {
	cfg := testConfig(t.TempDir())
	r := start(t, cfg, testOptions())
	d := r.push("team/good", []byte("(dp0\nS'weight'\np1\nF0.5\ns.")).Digest
	r.eventually("the scan", func() bool { return r.state(d).State() == registry.Admitted })
	scanned := r.state(d).Scanned
	r.stop()

	opts := testOptions()
	opts.Tool.Rules = "newer"
	r = start(t, cfg, opts)
	r.eventually("a scan with the new rules", func() bool { return r.state(d).Scanned.After(scanned) })
	scanned = r.state(d).Scanned
	r.stop()

	r = start(t, cfg, opts)
	time.Sleep(300 * time.Millisecond)
	if r.state(d).Scanned.After(scanned) {
		t.Error("scanned again without a reason")
	}
	r.stop()

	opts.Now = func() time.Time { return time.Now().Add(85 * 24 * time.Hour) }
	r = start(t, cfg, opts)
	r.eventually("a new scan before the old one ends", func() bool { return r.state(d).Scanned.After(scanned.Add(24 * time.Hour)) })
}

// A job that was tried too often ends as an inconclusive scan, not as a loop.
func TestGiveUp(t *testing.T) {
	r := start(t, testConfig(t.TempDir()), testOptions())
	data := []byte("(dp0\nS'gone'\np1\nF0.5\ns.")
	info, err := r.s.blobs.Put(t.Context(), bytes.NewReader(data), warden.Digest{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	v := r.push("team/gone", data)
	r.eventually("the scan", func() bool { return !r.state(v.Digest).Scanned.IsZero() })
	if err := r.s.blobs.Delete(t.Context(), info.Digest); err != nil {
		t.Fatal(err)
	}
	if _, err := r.s.examiner.Examine(t.Context(), v.Digest); err == nil {
		t.Fatal("examined without its bytes")
	}
	if a := r.state(v.Digest); a.State() != registry.Admitted {
		t.Errorf("a failed scan changed the state: %s", a.Says())
	}
	a, err := r.s.examiner.GiveUp(t.Context(), v.Digest, errors.New("3 attempts ended without a result"))
	if err != nil || a.State() != registry.Denied || a.Verdict != "inconclusive" || a.Complete {
		t.Errorf("given up: %s %s, %v; want denied and inconclusive", a.Says(), a.Verdict, err)
	}
}

// When the server stops, endless answers end and running requests drain.
func TestStopEndsEvents(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Limits.Shutdown = 15 * time.Second
	r := start(t, cfg, testOptions())
	req, err := http.NewRequest("GET", r.local.API+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.local.Key)
	client := &http.Client{}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(err, resp)
	}
	defer resp.Body.Close()
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %v although only a stream of events was open", took)
	}
}
