package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/blob/cloudblob/s3test"
	"github.com/modelwarden/warden/internal/registry"
)

// testSchema makes an empty schema and returns the address of a database that
// has only it, and a way to run statements beside.
func testSchema(t *testing.T) (dsn string, admin func(text string)) {
	t.Helper()
	text := os.Getenv("WARDEN_TEST_POSTGRES")
	if text == "" {
		t.Skip("PostgreSQL was not tried: set WARDEN_TEST_POSTGRES to the URL of a database for tests")
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal("WARDEN_TEST_POSTGRES is not a URL")
	}
	admin = func(statement string) {
		t.Helper()
		db, err := sql.Open("pgx", text)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(context.WithoutCancel(t.Context()), statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
	name := "t" + strings.ToLower(rand.Text())
	admin("CREATE SCHEMA " + name)
	t.Cleanup(func() { admin("DROP SCHEMA " + name + " CASCADE") })
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String(), admin
}

// startNATS starts a NATS server and returns its address.
func startNATS(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	return s.ClientURL()
}

// Two processes on one PostgreSQL, one bucket and one NATS: what is pushed
// through the one is scanned by the other, and what is quarantined through the
// one is refused by the other within a second.
func TestPostgresTwoProcesses(t *testing.T) {
	dsn, admin := testSchema(t)
	_, bucket := s3test.New(t)
	nats, keys := startNATS(t), t.TempDir()
	part := func(roles ...string) *run {
		cfg := testConfig(t.TempDir())
		cfg.Keys, cfg.Storage, cfg.Queue, cfg.Roles = keys, StorageConfig{Database: dsn, Blobs: bucket}, QueueConfig{NATS: nats, Replicas: 1}, roles
		if err := cfg.Check(); err != nil {
			t.Fatal(err)
		}
		return start(t, cfg, testOptions())
	}
	a := part(RoleAPI)
	b := part(RoleAPI, RoleGateway, RoleWorker)

	data := []byte("(dp0\nS'weight'\np1\nF0.5\ns.")
	info, err := a.s.blobs.Put(t.Context(), bytes.NewReader(data), warden.Digest{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	v, err := a.s.registry.Push(t.Context(), registry.Push{
		Model: "team/shared", Actor: Platform(), Manifest: registry.Manifest{Files: []registry.File{{Path: "model.pkl", Digest: info.Digest, Size: info.Size}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := fmt.Sprintf("/api/v1/artifacts/%s/files/model.pkl", v.Digest)
	a.eventually("the worker to admit the artifact", func() bool { return a.call(http.MethodGet, file, "", nil) == http.StatusOK })
	if got := b.call(http.MethodGet, file, "", nil); got != http.StatusOK {
		t.Fatalf("download through the other process = %d", got)
	}

	var waits []time.Duration
	for range 5 {
		heard := b.s.registry.Changes(t.Context())
		if got := a.call(http.MethodPost, fmt.Sprintf("/api/v1/artifacts/%s/quarantine", v.Digest), `{"reason":"test"}`, nil); got >= 300 {
			t.Fatalf("quarantine = %d", got)
		}
		begun := time.Now()
		if got := b.call(http.MethodGet, file, "", nil); got == http.StatusOK {
			t.Error("the other process hands out what is in quarantine")
		}
		for c := range heard {
			if c.All || c.Artifact == v.Digest && c.State == registry.Quarantined {
				break
			}
		}
		waits = append(waits, time.Since(begun))
		if got := b.call(http.MethodPost, fmt.Sprintf("/api/v1/artifacts/%s/release", v.Digest), `{"reason":"test"}`, nil); got >= 300 {
			t.Fatalf("release = %d", got)
		}
		a.eventually("the release to be seen", func() bool { return a.call(http.MethodGet, file, "", nil) == http.StatusOK })
	}
	t.Logf("changes reached the other process after %v", waits)
	if slowest := slices.Max(waits); slowest > time.Second {
		t.Errorf("a quarantine was seen by the other process after %v, want less than 1 s", slowest)
	}

	// One of them signs checkpoints; the log is whole.
	var rep struct {
		OK      bool
		Summary string
	}
	if a.call(http.MethodPost, "/api/v1/audit/verify", "{}", &rep); !rep.OK {
		t.Errorf("verify: %s", rep.Summary)
	}

	// The database drops every connection: both go on.
	admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'warden'")
	a.eventually("both processes to go on", func() bool {
		return a.call(http.MethodGet, file, "", nil) == http.StatusOK && b.call(http.MethodGet, file, "", nil) == http.StatusOK
	})
}

// Roles need engines that are shared, and keys that were there before.
func TestRoles(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"alone":         func(c *Config) { c.Roles = []string{RoleWorker} },
		"unknown":       func(c *Config) { c.Roles = []string{"boss"} },
		"none":          func(c *Config) { c.Roles = nil },
		"password":      func(c *Config) { c.Storage.Database = "postgres://u:hunter2@h/d" },
		"other_engine":  func(c *Config) { c.Storage.Database = "mysql://h/d" },
		"no_bucket":     func(c *Config) { c.Storage.Blobs = "gs://b" },
		"nats_password": func(c *Config) { c.Queue.NATS = "nats://u:hunter2@h:4222" },
		"replicas":      func(c *Config) { c.Queue.Replicas = 9 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Check(); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: Check = %v, want an error without the password", name, err)
		}
	}
	c := DefaultConfig()
	c.Roles, c.Storage.Database, c.Queue.NATS = []string{RoleWorker}, "env:DSN", "nats://a:4222,tls://b"
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

// Another process on the same database must have the same keys.
func TestPostgresForeignKeys(t *testing.T) {
	dsn, _ := testSchema(t)
	open := func() (*Server, error) {
		cfg := testConfig(t.TempDir())
		cfg.Storage.Database = dsn
		return Open(t.Context(), cfg, testOptions())
	}
	first, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := first.Link(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := first.registry.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t.TempDir())
	other, err := Open(t.Context(), cfg, testOptions()) // makes keys of its own
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Storage.Database = dsn
	if s, err := Open(t.Context(), cfg, testOptions()); err == nil || !strings.Contains(err.Error(), "not those that signed") {
		t.Errorf("Open with other keys = %v, %v", s, err)
	}
	if s, err := open(); err == nil || !strings.Contains(err.Error(), "keys are missing") {
		t.Errorf("Open without the keys = %v, %v", s, err)
	}
}
