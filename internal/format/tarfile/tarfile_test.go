package tarfile_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/tarfile"
)

type entry = formattest.TarEntry

func TestOpen(t *testing.T) {
	long := strings.Repeat("d/", 80) + "f"
	b := formattest.Tar(
		entry{Name: "a", Data: []byte("one")},
		entry{Name: "short", PAX: "path=" + long + "\n", Data: []byte("two")},
		entry{Name: "././@LongLink", Type: 'L', Data: []byte("gnu/name\x00")},
		entry{Name: "cut", Data: []byte("three")},
		entry{Name: "l", Type: '2', Link: "/etc"},
	)
	a, sts := tarfile.Open(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default())
	var got []string
	for _, e := range a.Entries {
		got = append(got, e.Name+" "+string(b[e.Data:e.Data+e.Size]))
	}
	if d := cmp.Diff([]string{"a one", long + " two", "gnu/name three", "l "}, got); d != "" || len(sts) > 0 || len(a.Differences) > 0 {
		t.Error(d, sts, a.Differences)
	}
}

func TestConcatenated(t *testing.T) {
	b := append(formattest.Tar(entry{Name: "a", Data: []byte("1")}), formattest.Tar(entry{Name: "b", Data: []byte("2")})...)
	a, _ := tarfile.Open(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default())
	if len(a.Entries) != 2 || len(a.Differences) != 1 {
		t.Errorf("%d entries, differences %v; want 2 and one difference", len(a.Entries), a.Differences)
	}
}

func TestDamageIsTold(t *testing.T) {
	b := formattest.Tar(entry{Name: "a", Data: make([]byte, 600)})
	cut := b[:700]
	if _, sts := tarfile.Open(t.Context(), bytes.NewReader(cut), int64(len(cut)), bound.Default()); len(sts) == 0 {
		t.Error("a cut archive reads as whole")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(formattest.Tar(entry{Name: "a", Data: []byte("one")}))
	f.Add(formattest.Tar(entry{Name: "a", PAX: "size=3\n", Data: []byte("one")}))
	f.Add(formattest.Tar(entry{Name: "x", Type: 'L', Data: []byte("name")}, entry{Name: "b", Type: '2', Link: ".."}))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, _ := tarfile.Open(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default())
		for _, e := range a.Entries {
			if e.Size < 0 || e.Data+e.Size > int64(len(b)) {
				t.Errorf("entry outside the archive: %+v", e)
			}
		}
	})
}
