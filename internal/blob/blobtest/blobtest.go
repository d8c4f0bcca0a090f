// Package blobtest is the conformance suite of blob stores.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/blob"
)

// A Store is what the suite tests.
type Store interface {
	blob.Store
	blob.Uploads
}

// TestStore runs the suite on the stores that open returns, each empty.
func TestStore(t *testing.T, open func(t *testing.T) Store) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Store){
		"put": testPut, "refused_put": testRefusedPut, "list_and_delete": testList, "upload": testUpload,
		"broken_upload": testBrokenUpload, "refused_upload": testRefusedUpload,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

const plenty = 1 << 30

func put(t *testing.T, s Store, text string) blob.Info {
	t.Helper()
	info, err := s.Put(t.Context(), strings.NewReader(text), warden.Sum([]byte(text)), plenty)
	if err != nil {
		t.Fatalf("Put(%.20q) = %v", text, err)
	}
	return info
}

// Read returns all bytes of a blob, for tests.
func Read(t *testing.T, s blob.Store, d warden.Digest) []byte {
	t.Helper()
	b, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatalf("Open(%s) = %v", d, err)
	}
	defer b.Close()
	text := make([]byte, b.Size())
	if _, err := b.ReadAt(text, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("ReadAt = %v", err)
	}
	return text
}

func testPut(t *testing.T, s Store) {
	for _, text := range []string{"", "x", strings.Repeat("model ", 1<<19)} {
		info := put(t, s, text)
		if info.Digest != warden.Sum([]byte(text)) || info.Size != int64(len(text)) || info.Modified.IsZero() {
			t.Errorf("Put = %+v", info)
		}
		if got := Read(t, s, info.Digest); !bytes.Equal(got, []byte(text)) {
			t.Errorf("read back %d bytes, want %d", len(got), len(text))
		}
		if again := put(t, s, text); again.Digest != info.Digest {
			t.Errorf("second Put = %+v", again)
		}
		st, err := s.Stat(t.Context(), info.Digest)
		if err != nil || st.Size != info.Size || st.Digest != info.Digest {
			t.Errorf("Stat = %+v, %v", st, err)
		}
	}
	// Without a wanted digest the store names the bytes.
	info, err := s.Put(t.Context(), iotest.OneByteReader(strings.NewReader("named")), warden.Digest{}, plenty)
	if err != nil || info.Digest != warden.Sum([]byte("named")) {
		t.Errorf("Put = %+v, %v", info, err)
	}
}

func testRefusedPut(t *testing.T, s Store) {
	d, boom := warden.Sum([]byte("abc")), errors.New("boom")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		r    io.Reader
		max  int64
		want error
	}{
		{"other_bytes", t.Context(), strings.NewReader("abd"), plenty, blob.ErrDigest},
		{"one_too_many", t.Context(), strings.NewReader("abc"), 2, blob.ErrTooLarge},
		{"reader_fails", t.Context(), io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(boom)), plenty, boom},
		{"context_ended", ended, strings.NewReader("abc"), plenty, context.Canceled},
	} {
		if _, err := s.Put(tt.ctx, tt.r, d, tt.max); !errors.Is(err, tt.want) {
			t.Errorf("%s: Put error = %v, want %v", tt.name, err, tt.want)
		}
		if _, err := s.Stat(t.Context(), d); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("%s: Stat error = %v, want ErrNotFound", tt.name, err)
		}
		if _, err := s.Open(t.Context(), d); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("%s: Open error = %v, want ErrNotFound", tt.name, err)
		}
	}
	if all, err := s.List(t.Context(), warden.Digest{}, 10); err != nil || len(all) != 0 {
		t.Errorf("List = %v, %v; want nothing", all, err)
	}
	if _, err := s.Put(t.Context(), strings.NewReader("abc"), d, 3); err != nil {
		t.Errorf("exactly at the limit: %v", err)
	}
}

func testList(t *testing.T, s Store) {
	var want []warden.Digest
	for i := range 40 {
		want = append(want, put(t, s, strings.Repeat("z", i)).Digest)
	}
	slices.SortFunc(want, func(a, b warden.Digest) int { return bytes.Compare(a[:], b[:]) })
	var got []warden.Digest
	for after := (warden.Digest{}); ; {
		page, err := s.List(t.Context(), after, 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, info := range page {
			got = append(got, info.Digest)
		}
		after = page[len(page)-1].Digest
	}
	if !slices.Equal(got, want) {
		t.Errorf("List gave %d blobs, want %d in order", len(got), len(want))
	}
	held, err := s.Open(t.Context(), want[0])
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for range 2 {
		if err := s.Delete(t.Context(), want[0]); err != nil {
			t.Errorf("Delete = %v", err)
		}
	}
	if _, err := s.Stat(t.Context(), want[0]); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Stat after Delete = %v, want ErrNotFound", err)
	}
	if n, err := io.Copy(io.Discard, io.NewSectionReader(held, 0, held.Size())); err != nil || n != held.Size() {
		t.Errorf("a blob that is open: read %d of %d bytes, %v", n, held.Size(), err)
	}
}

func testUpload(t *testing.T, s Store) {
	ctx := t.Context()
	id, err := s.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("0123456789", 1000)
	for at := 0; at < len(text); {
		end := min(at+777, len(text))
		now, err := s.Append(ctx, id, int64(at), strings.NewReader(text[at:end]), plenty)
		if err != nil || now != int64(end) {
			t.Fatalf("Append = %d, %v; want %d", now, err, end)
		}
		if off, err := s.Offset(ctx, id); err != nil || off != now {
			t.Fatalf("Offset = %d, %v; want %d", off, err, now)
		}
		at = end
	}
	if _, err := s.Stat(ctx, warden.Sum([]byte(text))); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("blob before Commit: %v", err)
	}
	info, err := s.Commit(ctx, id, warden.Sum([]byte(text)))
	if err != nil || info.Size != int64(len(text)) {
		t.Fatalf("Commit = %+v, %v", info, err)
	}
	if got := Read(t, s, info.Digest); string(got) != text {
		t.Error("committed bytes differ")
	}
	if _, err := s.Offset(ctx, id); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Offset after Commit = %v, want ErrNotFound", err)
	}
}

func testBrokenUpload(t *testing.T, s Store) {
	ctx, boom := t.Context(), errors.New("boom")
	id, err := s.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	now, err := s.Append(ctx, id, 0, io.MultiReader(strings.NewReader("half"), iotest.ErrReader(boom)), plenty)
	if !errors.Is(err, boom) || now != 4 {
		t.Fatalf("Append = %d, %v; want 4, boom", now, err)
	}
	for _, at := range []int64{0, 3, 5} {
		if now, err := s.Append(ctx, id, at, strings.NewReader("x"), plenty); !errors.Is(err, blob.ErrOffset) || now != 4 {
			t.Errorf("Append at %d = %d, %v; want 4, ErrOffset", at, now, err)
		}
	}
	if _, err := s.Append(ctx, id, 4, strings.NewReader(" and more"), 12); !errors.Is(err, blob.ErrTooLarge) {
		t.Errorf("Append beyond the limit = %v, want ErrTooLarge", err)
	}
	if off, err := s.Offset(ctx, id); err != nil || off != 4 {
		t.Fatalf("Offset after a refused part = %d, %v; want 4", off, err)
	}
	if _, err := s.Append(ctx, id, 4, strings.NewReader(" rest"), plenty); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(ctx, id, warden.Sum([]byte("half rest"))); err != nil {
		t.Errorf("Commit = %v", err)
	}
}

func testRefusedUpload(t *testing.T, s Store) {
	ctx := t.Context()
	id, err := s.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(ctx, id, 0, strings.NewReader("abd"), plenty); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(ctx, id, warden.Sum([]byte("abc"))); !errors.Is(err, blob.ErrDigest) {
		t.Errorf("Commit = %v, want ErrDigest", err)
	}
	if _, err := s.Offset(ctx, id); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Offset after a refused Commit = %v, want ErrNotFound", err)
	}
	for _, id := range []string{"", "..", "../../etc", strings.Repeat("A", 26), "a/b"} {
		if _, err := s.Offset(ctx, id); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Offset(%q) = %v, want ErrNotFound", id, err)
		}
		if err := s.Abort(ctx, id); err != nil {
			t.Errorf("Abort(%q) = %v", id, err)
		}
	}
	if id, err = s.Create(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Abort(ctx, id); err != nil {
		t.Errorf("Abort = %v", err)
	}
	if all, err := s.List(ctx, warden.Digest{}, 10); err != nil || len(all) != 0 {
		t.Errorf("List = %v, %v; want nothing", all, err)
	}
}
