package server

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/registry"
)

func operator() warden.Principal { return warden.Principal{ID: "user:local"} }

// backedUp runs a platform with one model, saves it while it runs and returns
// the configuration, the folder of the backup, the file of keys and the newest
// checkpoint after one more entry.
func backedUp(t *testing.T) (cfg Config, dir, keys string, newer audit.Checkpoint, artifact warden.Digest) {
	t.Helper()
	cfg = testConfig(t.TempDir())
	r := start(t, cfg, testOptions())
	data := []byte("(dp0\nS'weight'\np1\nF0.5\ns.")
	info, err := r.s.blobs.Put(t.Context(), bytes.NewReader(data), warden.Digest{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	v, err := r.s.registry.Push(t.Context(), registry.Push{
		Model: "team/kept", Actor: Platform(), Manifest: registry.Manifest{Files: []registry.File{{Path: "m.pkl", Digest: info.Digest, Size: info.Size}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.eventually("the scan", func() bool {
		a, err := r.s.registry.State(t.Context(), v.Digest)
		return err == nil && a.State() == registry.Admitted
	})
	out := t.TempDir()
	dir, keys = filepath.Join(out, "monday"), filepath.Join(out, "keys.json")
	b, err := SaveBackup(t.Context(), cfg, testOptions(), dir, BackupOptions{Blobs: true, Keys: keys})
	if err != nil || b.Blobs != 1 || b.Rows == 0 {
		t.Fatalf("SaveBackup = %+v, %v", b, err)
	}
	if _, err := SaveBackup(t.Context(), cfg, testOptions(), dir, BackupOptions{}); err == nil {
		t.Error("a backup was written over another")
	}
	if _, err := r.s.Link(t.Context()); err != nil { // one more entry
		t.Fatal(err)
	}
	if newer, err = r.s.registry.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.stop()
	return cfg, dir, keys, newer, v.Digest
}

func restore(t *testing.T, dir string, how RestoreOptions) (Config, error) {
	t.Helper()
	cfg := testConfig(t.TempDir())
	how.Actor = operator()
	_, missing, err := RestoreBackup(t.Context(), cfg, testOptions(), dir, how)
	if err == nil && missing != 0 {
		t.Errorf("%d blobs are missing", missing)
	}
	return cfg, err
}

func TestBackup(t *testing.T) {
	_, dir, keys, newer, artifact := backedUp(t)

	cfg, err := restore(t, dir, RestoreOptions{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, cfg, testOptions())
	if got := r.call(http.MethodGet, "/api/v1/artifacts/"+artifact.String()+"/files/m.pkl", "", nil); got != http.StatusOK {
		t.Errorf("download from the restored platform = %d", got)
	}
	var rep struct {
		OK      bool
		Summary string
	}
	if r.call(http.MethodPost, "/api/v1/audit/verify", "{}", &rep); !rep.OK {
		t.Errorf("verify: %s", rep.Summary)
	}
	r.stop()
	if _, _, err := RestoreBackup(t.Context(), cfg, testOptions(), dir, RestoreOptions{Keys: keys, Actor: operator()}); err == nil {
		t.Error("a backup was restored over a platform in use")
	}

	// Older than what is known outside: refused, or logged as accepted.
	if _, err := restore(t, dir, RestoreOptions{Keys: keys, Checkpoints: []audit.Checkpoint{newer}}); err == nil || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("restore of an older log = %v", err)
	}
	cfg, err = restore(t, dir, RestoreOptions{Keys: keys, Checkpoints: []audit.Checkpoint{newer}, Accept: true})
	if err != nil {
		t.Fatal(err)
	}
	r = start(t, cfg, testOptions())
	err = r.s.registry.View(t.Context(), func(x registry.Reader) error {
		es, _, err := x.Trail(t.Context(), registry.TrailFilter{Action: "audit.restore"}, registry.Page{})
		if len(es) != 1 || !strings.Contains(string(es[0].Payload), `"rollback_accepted":true`) {
			t.Errorf("entries about the restore: %+v", es)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := restore(t, dir, RestoreOptions{}); err == nil || !strings.Contains(err.Error(), "keys are missing") {
		t.Errorf("restore without keys = %v", err)
	}
}

// Changed, cut and unfinished backups are refused, and nothing is restored.
func TestBackupTampered(t *testing.T) {
	_, dir, keys, _, _ := backedUp(t)
	change := func(name string, f func([]byte) []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f(bytes.Clone(old)), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := restore(t, dir, RestoreOptions{Keys: keys})
		if err == nil {
			t.Errorf("%s was changed and restored", name)
		}
		if s, err := Open(t.Context(), cfg, testOptions()); err == nil {
			if err := s.store.View(t.Context(), func(r registry.Reader) error {
				head, err := r.AuditHead(t.Context())
				if head.Entries != 0 {
					t.Errorf("%s was changed, and %d entries were restored", name, head.Entries)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := os.WriteFile(path, old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{backupRecords, backupBlobs, backupManifest} {
		change(name, func(b []byte) []byte { return b[:len(b)/2] })
	}
	// The manifest is changed to fit: then the audit log says what is wrong.
	manifest, err := os.ReadFile(filepath.Join(dir, backupManifest))
	if err != nil {
		t.Fatal(err)
	}
	records, err := os.ReadFile(filepath.Join(dir, backupRecords))
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Replace(records, []byte(`registry.push`), []byte(`registry.pull`), 1)
	if bytes.Equal(bad, records) {
		t.Fatal("nothing was changed")
	}
	if err := os.WriteFile(filepath.Join(dir, backupRecords), bad, 0o600); err != nil {
		t.Fatal(err)
	}
	fitted := bytes.Replace(manifest, []byte(warden.Sum(records).String()), []byte(warden.Sum(bad).String()), 1)
	if err := os.WriteFile(filepath.Join(dir, backupManifest), fitted, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(t, dir, RestoreOptions{Keys: keys}); !errors.Is(err, audit.ErrTampered) {
		t.Errorf("restore of a changed log = %v, want ErrTampered", err)
	}
}

const killedBackup = "WARDEN_TEST_BACKUP"

// A backup that is killed at any time leaves no folder that looks whole.
func TestBackupKilled(t *testing.T) {
	if to := os.Getenv(killedBackup); to != "" { // the child
		cfg := testConfig(os.Getenv(killedBackup + "_DATA"))
		for i := 0; ; i++ {
			if _, err := SaveBackup(t.Context(), cfg, testOptions(), filepath.Join(to, strings.Repeat("b", i+1)), BackupOptions{Blobs: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	cfg, _, _, _, _ := backedUp(t)
	out := t.TempDir()
	whole := 0
	for i := range 5 {
		to := filepath.Join(out, strings.Repeat("x", i+1))
		if err := os.Mkdir(to, 0o700); err != nil {
			t.Fatal(err)
		}
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestBackupKilled$")
		child.Env = append(os.Environ(), killedBackup+"="+to, killedBackup+"_DATA="+cfg.Data)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(150+40*i) * time.Millisecond)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // killed
		es, err := os.ReadDir(to)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es {
			dir := filepath.Join(to, e.Name())
			_, err := os.Stat(filepath.Join(dir, backupManifest))
			partial := strings.Contains(e.Name(), ".partial-")
			if !partial && err != nil {
				t.Errorf("%s has its name and no manifest: %v", e.Name(), err)
			}
			if partial && !errors.Is(err, fs.ErrNotExist) {
				continue // all of it is there, only the name is not
			}
			if _, err := readBackup(dir); (err != nil) != partial {
				t.Errorf("readBackup(%s) = %v", e.Name(), err)
			}
			if !partial {
				whole++
			}
		}
	}
	if whole == 0 {
		t.Skip("no backup was finished in time")
	}
}

// The embedded database moves to PostgreSQL by a backup.
func TestPostgresRestore(t *testing.T) {
	dsn, _ := testSchema(t)
	_, dir, keys, _, artifact := backedUp(t)
	cfg := testConfig(t.TempDir())
	cfg.Storage.Database = dsn
	if _, _, err := RestoreBackup(t.Context(), cfg, testOptions(), dir, RestoreOptions{Keys: keys, Actor: operator()}); err != nil {
		t.Fatal(err)
	}
	r := start(t, cfg, testOptions())
	if got := r.call(http.MethodGet, "/api/v1/artifacts/"+artifact.String()+"/files/m.pkl", "", nil); got != http.StatusOK {
		t.Errorf("download = %d", got)
	}
	again := filepath.Join(t.TempDir(), "tuesday")
	if b, err := SaveBackup(t.Context(), cfg, testOptions(), again, BackupOptions{}); err != nil || b.Entries == 0 {
		t.Errorf("SaveBackup of PostgreSQL = %+v, %v", b, err)
	}
}
