package opaque_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/opaque"
)

func open(ctx context.Context, b []byte) (*opaque.Blob, error) {
	format, start, _ := opaque.Sniff(b, ".engine")
	return opaque.Open(ctx, bytes.NewReader(b), int64(len(b)), format, start, bound.Default())
}

func TestSniff(t *testing.T) {
	described := append(binary.LittleEndian.AppendUint32(nil, 10), `{"a": "b"}ftrt and the rest`...)
	for _, tt := range []struct {
		name, head, ext, want string
		start                 int64
		certain               bool
	}{
		{"ptrt", "ptrt\x01\x02", "", opaque.TensorRT, 0, true},
		{"ftrt", "ftrt\x01\x02", ".bin", opaque.TensorRT, 0, true},
		{"described", string(described), ".engine", opaque.TensorRT, 14, true},
		{"rknn", "RKNN\x00\x00", "", opaque.RKNN, 0, true},
		{"by_name", "\x00\x01", ".trt", opaque.TensorRT, 0, false},
		{"other", "\x00\x01", ".bin", "", 0, false},
		{"description_only", "\xff\xff\xff\xff{", ".bin", "", 0, false},
	} {
		got, start, certain := opaque.Sniff([]byte(tt.head), tt.ext)
		if got != tt.want || start != tt.start || certain != tt.certain {
			t.Errorf("%s: %q at %d, certain %v", tt.name, got, start, certain)
		}
	}
}

func TestOpen(t *testing.T) {
	border := strings.Repeat("\x01", 256<<10-6)
	b := []byte("ftrt" + border + "libplugin.so\x00 nothing to tell \x00http://a\xff")
	got, err := open(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	at := int64(4 + len(border))
	want := &opaque.Blob{Format: opaque.TensorRT, Texts: []opaque.Text{{"libplugin.so", at}, {"http://a", at + 31}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	many := []byte("ftrt\x00" + strings.Repeat("ab.so\x00", 20_000))
	if _, err := open(t.Context(), many); !errors.Is(err, detect.ErrLimit) {
		t.Errorf("20,000 texts: %v", err)
	}
	long := []byte("ftrt\x00" + strings.Repeat("://x", 5000))
	got, err = open(t.Context(), long)
	whole := ""
	for _, x := range got.Texts {
		whole += x.Value
	}
	if err != nil || len(got.Texts) < 2 || whole != string(long[5:]) {
		t.Errorf("%d texts of %d bytes, %v", len(got.Texts), len(whole), err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("ftrt\x00\x01libplugin.so\x00http://a"))
	f.Add([]byte("RKNN\x00\x00\x00\x00curl -s x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err1 := open(t.Context(), b)
		two, err2 := open(t.Context(), b)
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
		for _, x := range one.Texts {
			if string(b[x.At:x.At+int64(len(x.Value))]) != x.Value {
				t.Errorf("%q is not at %d", x.Value, x.At)
			}
		}
	})
}
