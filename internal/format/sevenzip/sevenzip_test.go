package sevenzip_test

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz/lzma"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/sevenzip"
)

func open(ctx context.Context, b []byte) (*sevenzip.Archive, error) {
	return sevenzip.Open(ctx, bytes.NewReader(b), int64(len(b)), bound.NewBudget(bound.Default()))
}

var entries = []formattest.SevenEntry{{Name: "a/one.txt", Data: []byte("some words")}, {Name: "two", Data: bytes.Repeat([]byte("x"), 5000)}}

func written(w io.WriteCloser, out *bytes.Buffer, b []byte) []byte {
	_, _ = w.Write(b) // a Buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

func lzma2(b []byte) []byte {
	var out bytes.Buffer
	w, err := lzma.NewWriter2(&out)
	if err != nil {
		panic(err)
	}
	return written(w, &out, b)
}

func raw(b []byte) []byte {
	var out bytes.Buffer
	w, err := lzma.NewWriter(&out)
	if err != nil {
		panic(err)
	}
	return written(w, &out, b)[13:]
}

func deflated(b []byte) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, 6) // the level is a valid one
	return written(w, &out, b)
}

func TestOpen(t *testing.T) {
	for name, b := range map[string][]byte{
		"copy":    formattest.SevenZip("\x00", "", nil, entries...),
		"lzma":    formattest.SevenZip("\x03\x01\x01", "\x5d\x00\x00\x80\x00", raw, entries...),
		"lzma2":   formattest.SevenZip("\x21", "\x18", lzma2, entries...),
		"deflate": formattest.SevenZip("\x04\x01\x08", "", deflated, entries...),
	} {
		a, err := open(t.Context(), b)
		if err != nil || len(a.Folders) != 1 {
			t.Fatalf("%s: %+v, %v", name, a, err)
		}
		want := []sevenzip.Entry{{Name: "a/one.txt", Size: 10}, {Name: "two", Offset: 10, Size: 5000}}
		if d := cmp.Diff(want, a.Entries); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		r, err := a.Folders[0].Open(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got bytes.Buffer
		if _, err := io.CopyN(&got, r, a.Folders[0].Size); err != nil || got.Len() != 5010 || got.String()[:10] != "some words" {
			t.Errorf("%s: %d bytes, %v", name, got.Len(), err)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		b    []byte
		want error
	}{
		"encrypted":  {formattest.SevenZip("\x06\xf1\x07\x01", "", nil, entries...), sevenzip.ErrEncrypted},
		"unknown":    {formattest.SevenZip("\x03\x04\x01", "", nil, entries...), detect.ErrLimit},
		"dictionary": {formattest.SevenZip("\x03\x01\x01", "\x5d\xff\xff\xff\xff", raw, entries...), detect.ErrLimit},
	} {
		a, err := open(t.Context(), tt.b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := a.Folders[0].Open(bytes.NewReader(tt.b)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := formattest.SevenZip("\x00", "", nil, entries...)
	for i := 32; i < len(b); i++ {
		if _, err := open(t.Context(), b[:i]); err == nil {
			t.Errorf("archive cut at %d of %d bytes is whole", i, len(b))
		}
	}
}

// TestStreamsWithoutFiles is not an empty archive.
func TestStreamsWithoutFiles(t *testing.T) {
	dir := []byte("\x01\x04\x06\x00\x01\x09\x04\x00\x07\x0b\x01\x00\x01\x01\x00\x0c\x04\x00\x00\x00")
	if a, err := sevenzip.Parse(dir, 100, bound.Default()); !errors.Is(err, sevenzip.ErrFormat) || len(a.Folders) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
}

// FuzzDecode reads directories without the check that guards them.
func FuzzDecode(f *testing.F) {
	const size = 10_000
	for _, n := range []int{1, 2} {
		b := formattest.SevenZip("\x00", "", nil, entries[:n]...)
		packed := 0
		for _, e := range entries[:n] {
			packed += len(e.Data)
		}
		f.Add(b[32+packed:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err1 := sevenzip.Parse(b, size, bound.Default())
		two, err2 := sevenzip.Parse(b, size, bound.Default())
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
		for _, e := range one.Entries {
			if e.Folder >= len(one.Folders) || e.Offset < 0 || e.Size < 0 || e.Folder >= 0 && e.Offset+e.Size > one.Folders[e.Folder].Size {
				t.Errorf("%+v", e)
			}
		}
		for _, folder := range one.Folders {
			if folder.Start < 0 || folder.Bytes < 0 || folder.Start+folder.Bytes > size {
				t.Errorf("%+v", folder)
			}
		}
	})
}

func FuzzOpen(f *testing.F) {
	f.Add(formattest.SevenZip("\x00", "", nil, entries...))
	f.Add(formattest.SevenZip("\x21", "\x08", lzma2, entries...))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err1 := open(t.Context(), b)
		two, err2 := open(t.Context(), b)
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
	})
}

// TestBranch undoes the filter for x86 code: a call and what only looks like one.
func TestBranch(t *testing.T) {
	filtered := []byte("\xe8\x0a\x00\x00\x00\x90\x90\xe9\x01\x02\x03\x04\x90\x90\xe8\x13\x00\x00\x00\x90\x90\x90\x90\x90")
	want := []byte("\xe8\x05\x00\x00\x00\x90\x90\xe9\x01\x02\x03\x04\x90\x90\xe8\x00\x00\x00\x00\x90\x90\x90\x90\x90")
	f := sevenzip.Folder{
		Methods: []string{sevenzip.Copy, "03030103"}, Props: [][]byte{nil, nil}, Binds: [][2]int64{{1, 0}},
		Bytes: int64(len(filtered)), Size: int64(len(filtered)),
	}
	r, err := f.Open(bytes.NewReader(filtered))
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got % x, %v", got, err)
	}
}
