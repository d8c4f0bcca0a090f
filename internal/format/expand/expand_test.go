package expand_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/expand"
	"github.com/modelwarden/warden/internal/format/formattest"
)

// packed compresses b with every wrapper that has a writer.
func packed(tb testing.TB, b []byte) map[string][]byte {
	tb.Helper()
	through := func(w io.WriteCloser, err error, out *bytes.Buffer) []byte {
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			tb.Fatal(err)
		}
		if err := w.Close(); err != nil {
			tb.Fatal(err)
		}
		return out.Bytes()
	}
	m := map[string][]byte{expand.Gzip: formattest.Gzip(b), expand.Zlib: formattest.Zlib(b)}
	m[expand.ZFile] = append([]byte("ZF0x40               "), formattest.Zlib(b)...)
	x := new(bytes.Buffer)
	wx, err := xz.NewWriter(x)
	m[expand.XZ] = through(wx, err, x)
	l := new(bytes.Buffer)
	wl, err := lzma.NewWriter(l)
	m[expand.LZMA] = through(wl, err, l)
	z := new(bytes.Buffer)
	wz, err := zstd.NewWriter(z)
	m[expand.Zstd] = through(wz, err, z)
	f := new(bytes.Buffer)
	m[expand.LZ4] = through(lz4.NewWriter(f), nil, f)
	return m
}

func hold(t *testing.T, kind string, b []byte, lim bound.Limits) (string, error) {
	t.Helper()
	r, err := expand.NewReader(kind, expand.Watch(t.Context(), bytes.NewReader(b)))
	if err != nil {
		return "", err
	}
	h, err := expand.Hold(t.Context(), r, int64(len(b)), lim.Hold, bound.NewBudget(lim))
	defer h.Close() //nolint:staticcheck // Hold returns what it could hold, beside an error too
	out := make([]byte, h.Size)
	if n, rerr := h.ReadAt(out, 0); int64(n) != h.Size {
		t.Fatalf("%s: read %d of %d held bytes: %v", kind, n, h.Size, rerr)
	}
	return string(out), err
}

func TestWrappers(t *testing.T) {
	text := strings.Repeat("some text that repeats; ", 1000)
	spool := bound.Default()
	spool.Hold = 100
	for kind, b := range packed(t, []byte(text)) {
		if got := expand.Sniff(b); got != kind {
			t.Errorf("Sniff of %s = %q", kind, got)
		}
		for name, lim := range map[string]bound.Limits{"memory": bound.Default(), "spooled": spool} {
			if got, err := hold(t, kind, b, lim); err != nil || got != text {
				t.Errorf("%s, %s: %d bytes, %v", kind, name, len(got), err)
			}
		}
		if got, err := hold(t, kind, append(bytes.Clone(b), b...), bound.Default()); kind != expand.ZFile && kind != expand.LZMA && (err != nil || got != text+text) {
			t.Errorf("%s: two streams: %d bytes, %v", kind, len(got), err)
		}
		if _, err := hold(t, kind, b[:len(b)-9], bound.Default()); err == nil {
			t.Errorf("%s: a cut stream reads as whole", kind)
		}
		if _, err := hold(t, kind, append(bytes.Clone(b), "trailing bytes"...), bound.Default()); err == nil {
			t.Errorf("%s: trailing bytes were passed over", kind)
		}
	}
}

func TestLimits(t *testing.T) {
	zeros := make([]byte, 1<<20)
	none := bound.Default()
	none.Hold, none.Spool = 100, false
	ratio := bound.Default()
	ratio.RatioFrom, ratio.Ratio = 1000, 10
	total := bound.Default()
	total.Expand = 1000
	for kind, b := range packed(t, zeros) {
		if _, err := hold(t, kind, b, none); !errors.Is(err, detect.ErrLimit) {
			t.Errorf("%s without a temporary file: %v", kind, err)
		}
		for _, lim := range []bound.Limits{ratio, total} {
			if _, err := hold(t, kind, b, lim); !errors.Is(err, expand.ErrBomb) || !errors.Is(err, detect.ErrLimit) {
				t.Errorf("%s expands without bound: %v", kind, err)
			}
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, b := range packed(f, []byte("some text, some text")) {
		f.Add(b)
	}
	f.Add([]byte("BZh9\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00"))
	lim := bound.Default()
	lim.Expand, lim.Hold = 1<<22, 1<<20
	f.Fuzz(func(t *testing.T, b []byte) {
		if kind := expand.Sniff(b); kind != "" {
			if _, err := hold(t, kind, b, lim); err != nil {
				return
			}
		}
	})
}
