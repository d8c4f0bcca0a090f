//go:build e2e

package e2e_test

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/modelwarden/warden/internal/blob/cloudblob/s3test"
	"github.com/modelwarden/warden/internal/server/servertest"
)

// schema makes an empty schema of the database for tests, and returns its
// address.
func schema(t *testing.T) string {
	t.Helper()
	text := os.Getenv("WARDEN_TEST_POSTGRES")
	if text == "" {
		t.Skip("replicas as processes were not tried: set WARDEN_TEST_POSTGRES to the URL of a database for tests; TestReplicasOverJetStream of internal/access/limit tries the limit itself")
	}
	db, err := sql.Open("pgx", text)
	if err != nil {
		t.Fatal(err)
	}
	name := "t" + strings.ToLower(rand.Text())
	if _, err := db.ExecContext(t.Context(), "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		db.Exec("DROP SCHEMA " + name + " CASCADE")
		db.Close()
	})
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal("WARDEN_TEST_POSTGRES is not a URL")
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String()
}

// TestAbuseReplicas is row A03: three processes with the role gateway count
// together, and one group of callers does not get more from three than from
// one. Slack is 6 % of the limit; see the documentation of limits.
func TestAbuseReplicas(t *testing.T) {
	t.Setenv("REPLICAS_DB", schema(t))
	_, bucket := s3test.New(t)
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	t.Cleanup(func() { broker.Shutdown(); broker.WaitForShutdown() })
	if !broker.ReadyForConnections(10 * time.Second) {
		t.Fatal("the broker did not start")
	}
	up := newMock(t)
	dir := t.TempDir()
	config, model := filepath.Join(dir, "warden.yaml"), filepath.Join(dir, "m.pkl")
	write(t, model, "(dp0\nS'weight'\np1\nF0.5\ns.")
	write(t, config, fmt.Sprintf(`keys: %s
storage: {database: "env:REPLICAS_DB", blobs: %q}
queue: {nats: %q, replicas: 1}
gateway:
  routes:
    - {name: free, model: team/m, upstream: %[4]q, allow_private: [127.0.0.0/8]}
    - {name: tokens, model: team/m, upstream: %[4]q, allow_private: [127.0.0.0/8], limits: [{per: identity, tokens: 100/1m}]}
    - {name: requests, model: team/m, upstream: %[4]q, allow_private: [127.0.0.0/8], limits: [{per: identity, requests: 10/1m}]}
`, t.TempDir(), bucket, broker.ClientURL(), up.URL))
	p := start(t, "", "--config", config, "--role", "api,worker")
	var gateways []string
	for range 3 {
		cmd := exec.Command(binary, "serve", "--data", t.TempDir(), "--config", config, "--role", "gateway")
		cmd.Env = append(os.Environ(), "WARDEN_API_LISTEN=127.0.0.1:0", "WARDEN_GATEWAY_LISTEN=127.0.0.1:0", "WARDEN_ADMIN_LISTEN=127.0.0.1:0")
		out := &servertest.Buffer{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Signal(syscall.SIGTERM)
			cmd.Wait()
		})
		address := regexp.MustCompile(`gateway  (http\S+)/v1`)
		p.eventually(20*time.Second, "a gateway", func() bool { return address.MatchString(out.String()) })
		gateways = append(gateways, address.FindStringSubmatch(out.String())[1])
	}
	p.must(0, "registry", "push", "team/m", model)
	key := strings.TrimSpace(p.must(0, "access", "key", "create", "--name", "replicas", "--role", "client"))
	for _, g := range gateways {
		p.eventually(10*time.Second, "the route to be open", func() bool {
			status, _ := request(t, http.MethodPost, g+"/v1/chat/completions", key, chatOf("free", "hi", false))
			return status == http.StatusOK
		})
	}
	raced := func(route string) (used, served int64) {
		var tokens, ok atomic.Int64
		up.says(charging(&tokens, 10, 5))
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				status, b := request(t, http.MethodPost, gateways[i%3]+"/v1/chat/completions", key, fmt.Sprintf(`{"model":%q,"max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`, route))
				switch status {
				case http.StatusOK:
					ok.Add(1)
				case http.StatusTooManyRequests:
				default:
					t.Errorf("%d %s", status, b)
				}
			})
		}
		wg.Wait()
		return tokens.Load(), ok.Load()
	}
	if used, n := raced("tokens"); used > 106 || n == 0 {
		t.Errorf("%d tokens of 100 were used over three replicas, by %d requests", used, n)
	} else {
		t.Logf("%d tokens of 100, by %d requests", used, n)
	}
	if _, n := raced("requests"); n > 10 || n < 5 {
		t.Errorf("%d requests of 10 were served over three replicas", n)
	} else {
		t.Logf("%d requests of 10", n)
	}
}
