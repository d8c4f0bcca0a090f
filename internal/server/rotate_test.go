package server

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/server/servertest"
)

// After a change of keys everything that was signed before still counts, what
// the old key signs from then on does not, and outside watchers can follow.
func TestRotateKeys(t *testing.T) {
	cfg := testConfig(t.TempDir())
	r := start(t, cfg, testOptions())
	v := r.push("team/good", []byte(servertest.Clean))
	admitted(r, v)
	old, oldSigner := r.s.keys.verifier, r.s.keys.checkpoints
	if _, err := RotateKeys(t.Context(), cfg, testOptions()); err == nil {
		t.Fatal("keys were changed under a running server")
	}
	r.stop()
	for range 2 { // twice: the first keys are still known after the second change
		done, err := RotateKeys(t.Context(), cfg, testOptions())
		if err != nil || done.Before == done.After {
			t.Fatalf("RotateKeys = %+v, %v", done, err)
		}
		if _, err := audit.OpenCheckpoint([]byte(done.Checkpoint), old); err != nil {
			t.Errorf("the checkpoint between the keys: %v", err)
		}
		r = start(t, cfg, testOptions())
		if _, err := audit.OpenCheckpoint([]byte(done.Checkpoint), r.s.keys.verifier); err != nil {
			t.Errorf("the checkpoint between the keys: %v", err)
		}
		var size uint64
		err = r.s.registry.View(t.Context(), func(rd registry.Reader) error {
			head, err := rd.AuditHead(t.Context())
			if err != nil {
				return err
			}
			size = head.Entries
			_, err = audit.Verify(t.Context(), rd, r.s.keys.verifier)
			return err
		})
		if err != nil {
			t.Error(err)
		}
		papers, err := r.s.judge.Papers(t.Context(), v.Digest, "")
		if err != nil || !papers.Facts.Scan.Present || !papers.Facts.Scan.Complete {
			t.Errorf("the scan that the old key signed no longer counts: %+v, %v", papers.Facts.Scan, err)
		}
		// A checkpoint that the old key signs now is nothing.
		late, err := note.Sign(&note.Note{Text: audit.Origin(logName) + "\n" + "999999\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"}, oldSigner)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := audit.OpenCheckpoint(late, r.s.keys.verifier); err == nil || size == 0 {
			t.Error("a checkpoint that a retired key signed later was taken")
		}
		admitted(r, r.push("team/later"+done.After[:6], []byte(servertest.Clean+"\n"+done.After)))
		old, oldSigner = r.s.keys.verifier, r.s.keys.checkpoints
		r.stop()
	}
	// Saved keys hold the old ones, too.
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := (*keys)(nil).export(cfg.keysDir(), file); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "keys")
	if err := importKeys(file, copied); err != nil {
		t.Fatal(err)
	}
	if list, err := readRetired(copied); err != nil || len(list) != 2 {
		t.Errorf("retired keys after a restore: %d, %v", len(list), err)
	}
	if _, err := os.Stat(cfg.keysDir() + ".before"); err == nil {
		t.Error("the private keys before are still there")
	}
}

func admitted(r *run, v registry.Version) {
	r.t.Helper()
	r.eventually("the scan of "+string(v.Model), func() bool { return r.state(v.Digest).State() == registry.Admitted })
}
