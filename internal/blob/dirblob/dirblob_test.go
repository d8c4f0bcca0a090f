package dirblob_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/blob/blobtest"
	"github.com/modelwarden/warden/internal/blob/dirblob"
)

func open(t *testing.T, dir string) *dirblob.Store {
	t.Helper()
	s, err := dirblob.Open(dirblob.Config{Dir: dir, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	blobtest.TestStore(t, func(t *testing.T) blobtest.Store { return open(t, filepath.Join(t.TempDir(), "blobs")) })
}

// A restart keeps uploads and what was flushed of them, and forgets the rest.
func TestUploadSurvivesRestart(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	s := open(t, dir)
	id, err := s.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(ctx, id, 0, strings.NewReader("first "), 100); err != nil {
		t.Fatal(err)
	}
	// As after a crash in the next Append: data beyond the state.
	f, err := os.OpenFile(filepath.Join(dir, "uploads", id, "data"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("lost"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	s = open(t, dir)
	if at, err := s.Offset(ctx, id); err != nil || at != 6 {
		t.Fatalf("Offset = %d, %v; want 6", at, err)
	}
	if _, err := s.Append(ctx, id, 6, strings.NewReader("second"), 100); err != nil {
		t.Fatal(err)
	}
	info, err := s.Commit(ctx, id, warden.Sum([]byte("first second")))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(blobtest.Read(t, s, info.Digest)); got != "first second" {
		t.Errorf("blob = %q", got)
	}
}

func TestOpenSweeps(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	s := open(t, dir)
	kept, err := s.Put(ctx, strings.NewReader("kept"), warden.Digest{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rubbish := filepath.Join(dir, "tmp", "rubbish")
	if err := os.WriteFile(rubbish, []byte("half a bl"), 0o600); err != nil {
		t.Fatal(err)
	}
	later := func() time.Time { return time.Now().Add(25 * time.Hour) }
	if s, err = dirblob.Open(dirblob.Config{Dir: dir, Now: later}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(rubbish); !os.IsNotExist(err) {
		t.Errorf("temporary file is still there: %v", err)
	}
	if _, err := s.Offset(ctx, id); err == nil {
		t.Error("old upload is still there")
	}
	if got := string(blobtest.Read(t, s, kept.Digest)); got != "kept" {
		t.Errorf("blob = %q", got)
	}
}

func BenchmarkPut(b *testing.B) {
	s, err := dirblob.Open(dirblob.Config{Dir: b.TempDir(), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("0123456789abcdef", 1<<20)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := s.Put(b.Context(), strings.NewReader(text), warden.Digest{}, 1<<40); err != nil {
			b.Fatal(err)
		}
	}
}
