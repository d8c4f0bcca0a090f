package dirblob

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/blob"
)

// A volume is a writer that has room for so many bytes.
type volume struct {
	w    io.Writer
	room *int
}

func (v volume) Write(b []byte) (int, error) {
	n := min(len(b), *v.room)
	*v.room -= n
	if m, err := v.w.Write(b[:n]); err != nil {
		return m, err
	}
	if n < len(b) {
		return n, &os.PathError{Op: "write", Path: "blob", Err: syscall.ENOSPC}
	}
	return n, nil
}

// On a full disk a put is refused with a clear error, and nothing half is there
// to be served; an upload keeps what fitted and goes on once there is room.
func TestFullDisk(t *testing.T) {
	s, err := Open(Config{Dir: t.TempDir(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	room := 1500
	s.wrap = func(w io.Writer) io.Writer { return volume{w, &room} }
	text := strings.Repeat("x", 2000)
	d := warden.Sum([]byte(text))
	if _, err := s.Put(t.Context(), strings.NewReader(text), d, 1<<20); !errors.Is(err, blob.ErrNoSpace) {
		t.Errorf("Put = %v, want ErrNoSpace", err)
	}
	if _, err := s.Open(t.Context(), d); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Open = %v, want ErrNotFound", err)
	}
	if left, err := os.ReadDir(s.path("tmp")); err != nil || len(left) != 0 {
		t.Errorf("temporary files %v, %v; want none", left, err)
	}

	room = 1 << 20
	id, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	room = 1500
	if at, err := s.Append(t.Context(), id, 0, strings.NewReader(text), 1<<20); !errors.Is(err, blob.ErrNoSpace) {
		t.Errorf("Append = %d, %v, want ErrNoSpace", at, err)
	}
	room = 1 << 20
	at, err := s.Offset(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), id, at, strings.NewReader(text[at:]), 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), id, d); err != nil {
		t.Errorf("Commit = %v", err)
	}
}
