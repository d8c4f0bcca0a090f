package zipfile_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/zipfile"
)

type entry = formattest.ZipEntry

func names(a *zipfile.Archive) (list []string) {
	for _, e := range a.Entries {
		list = append(list, e.Name)
	}
	return list
}

func TestEveryEntryOfEveryView(t *testing.T) {
	a, b, c := entry{Name: "a", Data: []byte("one")}, entry{Name: "b", Data: []byte("two")}, entry{Name: "c", Data: []byte("three")}
	hidden := b
	hidden.Hidden = true
	streamed := b
	streamed.Stream, streamed.Deflate, streamed.Hidden = true, true, true
	for name, tt := range map[string]struct {
		bytes []byte
		want  []string
		diffs int
	}{
		"plain":               {formattest.Zip(a, b), []string{"a", "b"}, 0},
		"streamed":            {formattest.Zip(entry{Name: "a", Data: []byte("x"), Stream: true}, b), []string{"a", "b"}, 0},
		"hidden_in_the_body":  {formattest.Zip(a, hidden, c), []string{"a", "c", "b"}, 1},
		"hidden_streamed":     {formattest.Zip(a, streamed, c), []string{"a", "c", "b"}, 1},
		"prefixed":            {formattest.ZipWith(formattest.ZipTricks{Prefix: []byte("text before")}, a, b), []string{"a", "b"}, 0},
		"archive_in_comment":  {formattest.ZipWith(formattest.ZipTricks{Comment: formattest.Zip(c)}, a), []string{"c", "a"}, 3}, // torch finds no directory
		"duplicate":           {formattest.Zip(a, entry{Name: "a", Data: []byte("2")}), []string{"a", "a"}, 1},
		"listed_twice":        {formattest.Zip(entry{Name: "a", Data: []byte("x"), DirCount: 2}), []string{"a"}, 1},
		"archive_as_a_member": {formattest.Zip(entry{Name: "inner.zip", Data: formattest.Zip(c)}), []string{"inner.zip"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, sts := zipfile.Open(t.Context(), bytes.NewReader(tt.bytes), int64(len(tt.bytes)), bound.Default())
			if len(sts) > 0 && tt.diffs < 3 {
				t.Errorf("unread: %v", sts)
			}
			if d := cmp.Diff(tt.want, names(got)); d != "" {
				t.Error(d)
			}
			if len(got.Differences) != tt.diffs {
				t.Errorf("%d differences, want %d: %+v", len(got.Differences), tt.diffs, got.Differences)
			}
		})
	}
}

func TestDamageIsTold(t *testing.T) {
	b := formattest.Zip(entry{Name: "a", Data: []byte("one")}, entry{Name: "b", Data: []byte("two"), Deflate: true})
	for n := 4; n < len(b); n++ {
		if _, sts := zipfile.Open(t.Context(), bytes.NewReader(b[:n]), int64(n), bound.Default()); len(sts) == 0 {
			t.Errorf("an archive cut at %d of %d reads as whole", n, len(b))
		}
	}
	missing := formattest.Zip(entry{Name: "a", Data: []byte("x")}, entry{Name: "m", Missing: true})
	if _, sts := zipfile.Open(t.Context(), bytes.NewReader(missing), int64(len(missing)), bound.Default()); len(sts) == 0 {
		t.Error("a member without a body reads as whole")
	}
}

func FuzzOpen(f *testing.F) {
	a := entry{Name: "a", Data: []byte("one")}
	f.Add(formattest.Zip(a, entry{Name: "b/", Deflate: true}))
	f.Add(formattest.Zip(entry{Name: "a", Data: []byte("x"), Stream: true, Deflate: true, Hidden: true}))
	f.Add(formattest.ZipWith(formattest.ZipTricks{Prefix: []byte("p"), Comment: formattest.Zip(a), Tail: []byte("t")}, a))
	f.Add([]byte("PK\x05\x06" + string(make([]byte, 18))))
	lim := bound.Default()
	lim.Members = 100
	f.Fuzz(func(t *testing.T, b []byte) {
		one, s1 := zipfile.Open(t.Context(), bytes.NewReader(b), int64(len(b)), lim)
		two, s2 := zipfile.Open(t.Context(), bytes.NewReader(b), int64(len(b)), lim)
		if d := cmp.Diff(one, two); d != "" || len(s1) != len(s2) {
			t.Error("same bytes, other result", d)
		}
		for _, e := range one.Entries {
			if e.Data >= 0 && (e.Packed < 0 || e.Data+e.Packed > int64(len(b))) {
				t.Errorf("entry outside the archive: %+v", e)
			}
		}
	})
}
