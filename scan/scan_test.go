package scan_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/scan"
)

const (
	hostile = "cposix\nsystem\n(S'id'\ntR."
	honest  = "(dp0\nS'a'\nI1\ns."
)

func file(t *testing.T, name string, b []byte) scan.Report {
	t.Helper()
	return scan.File(t.Context(), name, bytes.NewReader(b), int64(len(b)), scan.Options{})
}

func TestFile(t *testing.T) {
	archive := formattest.Zip(formattest.ZipEntry{Name: "a/data.pkl", Data: []byte(hostile)})
	for _, tt := range []struct {
		name string
		data []byte
		want warden.Verdict
		path string // of the first finding
	}{
		{"clean.pkl", []byte(honest), warden.Clean, ""},
		{"bad.pkl", []byte(hostile), warden.Malicious, "bad.pkl"},
		{"dir/bad.pt", archive, warden.Malicious, "bad.pt!/a/data.pkl"},
		{"nested.zip", formattest.Zip(formattest.ZipEntry{Name: "in.pt", Data: archive}), warden.Malicious, "nested.zip!/in.pt!/a/data.pkl"},
		{"readme.txt", []byte("hello there\n"), warden.Clean, ""},
		{"unknown.bin", bytes.Repeat([]byte{0xde, 0xad, 0xbe, 0xef}, 16), warden.Inconclusive, ""},
		{"truncated.pt", archive[:len(archive)-30], warden.Malicious, "truncated.pt!/a/data.pkl"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rep := file(t, tt.name, tt.data)
			if rep.Verdict != tt.want {
				t.Fatalf("verdict %v, want %v: %+v %+v", rep.Verdict, tt.want, rep.Findings, rep.Statuses)
			}
			if rep.Artifact.Digest != warden.Sum(tt.data) {
				t.Errorf("digest %v, want that of the bytes", rep.Artifact.Digest)
			}
			if tt.path != "" && rep.Findings[0].At.Path != tt.path {
				t.Errorf("found at %q, want %q", rep.Findings[0].At.Path, tt.path)
			}
			if whole := tt.want != warden.Inconclusive && tt.name != "truncated.pt"; rep.Complete() != whole {
				t.Errorf("complete is %v with verdict %v", rep.Complete(), rep.Verdict)
			}
		})
	}
}

// failing gives an error from offset on.
type failing struct {
	r  io.ReaderAt
	at int64
}

var errDisk = errors.New("disk error")

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.at {
		return 0, errDisk
	}
	return f.r.ReadAt(p, off)
}

// TestUnreadable: bytes that cannot be read are never clean and have no digest.
func TestUnreadable(t *testing.T) {
	for _, size := range []int64{100, 3 << 20} {
		b := make([]byte, size)
		rep := scan.File(t.Context(), "x.bin", failing{bytes.NewReader(b), size / 2}, size, scan.Options{})
		if rep.Verdict != warden.Inconclusive || rep.Artifact.Digest != (warden.Digest{}) || rep.Complete() {
			t.Errorf("%d bytes: verdict %v, digest %v, statuses %+v", size, rep.Verdict, rep.Artifact.Digest, rep.Statuses)
		}
	}
	if rep := scan.File(t.Context(), "x", bytes.NewReader(nil), -1, scan.Options{}); rep.Verdict != warden.Inconclusive {
		t.Errorf("negative size: %+v", rep)
	}
}

// TestTimeout: a deadline keeps what was found and never reads as clean.
func TestTimeout(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rep := scan.File(ctx, "x.pkl", strings.NewReader(honest), int64(len(honest)), scan.Options{})
	if rep.Verdict != warden.Inconclusive {
		t.Errorf("cancelled: %+v", rep)
	}
	slow := bytes.Repeat([]byte("N0"), 8<<20) // NONE POP: neutral padding
	begin := time.Now()
	rep = scan.File(t.Context(), "slow.pkl", bytes.NewReader(append(slow, '.')), int64(len(slow))+1, scan.Options{Timeout: time.Millisecond, NoDigest: true})
	if rep.Verdict != warden.Inconclusive || time.Since(begin) > 2*time.Second {
		t.Errorf("time-out after %v: %v %+v", time.Since(begin), rep.Verdict, rep.Statuses)
	}
}

// TestCut: a report of very many findings keeps the worst, counts all, and is
// not called incomplete for it.
func TestCut(t *testing.T) {
	var entries []formattest.ZipEntry
	for i := range 300 {
		entries = append(entries, formattest.ZipEntry{Name: fmt.Sprintf("%03d.pkl", i), Data: []byte(hostile)})
	}
	rep := file(t, "many.zip", formattest.Zip(entries...))
	if len(rep.Findings) != scan.FindingsPerRule || !rep.Truncated || !rep.Complete() || rep.Counts["WDN-MF-001"] != 300 {
		t.Errorf("%d findings, truncated %v, complete %v, counts %v", len(rep.Findings), rep.Truncated, rep.Complete(), rep.Counts)
	}
}

func TestPaths(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"b/bad.pkl": hostile, "a.pkl": honest, "c.pkl": honest, "skip.me": hostile} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "a.pkl"), filepath.Join(dir, "z.link")); err != nil {
		t.Fatal(err)
	}
	var skipped []string
	w := scan.Walk{Jobs: 3, Exclude: []string{"skip.*"}, Skipped: func(p string) { skipped = append(skipped, filepath.Base(p)) }}
	var got []string
	for r := range scan.Paths(t.Context(), []string{dir, filepath.Join(dir, "none")}, w) {
		got = append(got, filepath.Base(r.Path)+" "+r.Verdict.String())
	}
	want := "a.pkl clean, bad.pkl malicious, c.pkl clean, z.link inconclusive, none inconclusive"
	if strings.Join(got, ", ") != want || strings.Join(skipped, ",") != "skip.me" {
		t.Errorf("got %q, skipped %q, want %q", got, skipped, want)
	}
	for range scan.Paths(t.Context(), []string{dir}, w) { // a consumer may stop
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := 0
	for r := range scan.Paths(ctx, []string{dir}, w) {
		if n++; r.Verdict != warden.Inconclusive || r.Statuses[0].State == detect.Complete {
			t.Errorf("after the end of ctx: %+v", r)
		}
	}
	if n == 0 {
		t.Error("files vanished from the report after the end of ctx")
	}
}

// TestDeterministic: the same bytes give the same report, whatever runs beside.
func TestDeterministic(t *testing.T) {
	b := formattest.Zip(formattest.ZipEntry{Name: "x.pkl", Data: []byte(hostile)}, formattest.ZipEntry{Name: "y.bin", Data: []byte{1, 2, 3, 0xff}})
	first := fmt.Sprintf("%+v", file(t, "m.zip", b))
	for range 20 {
		if again := fmt.Sprintf("%+v", file(t, "m.zip", b)); again != first {
			t.Fatalf("got %s\nthen %s", first, again)
		}
	}
}

func BenchmarkSmallPickle(b *testing.B) {
	data := []byte(hostile)
	for b.Loop() {
		scan.File(b.Context(), "m.pkl", bytes.NewReader(data), int64(len(data)), scan.Options{})
	}
}

// TestFull finds a program in the middle of the weights, and only when asked.
func TestFull(t *testing.T) {
	weights := make([]byte, 1<<20)
	copy(weights[500_000:], formattest.ELF())
	b := formattest.Safetensors(`{"a":{"dtype":"U8","shape":[1048576],"data_offsets":[0,1048576]}}`, weights)
	for full, want := range map[bool]warden.Verdict{false: warden.Clean, true: warden.Unsafe} {
		rep := scan.File(t.Context(), "m.safetensors", bytes.NewReader(b), int64(len(b)), scan.Options{Full: full})
		if rep.Verdict != want {
			t.Errorf("full is %v: %s, want %s: %+v", full, rep.Verdict, want, rep)
		}
	}
}
