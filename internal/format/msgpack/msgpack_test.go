package msgpack_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/msgpack"
)

func open(ctx context.Context, s string) (*msgpack.Doc, error) {
	return msgpack.Open(ctx, strings.NewReader(s), int64(len(s)), bound.Default())
}

// model holds a map of most types and a Flax array of two float32.
const model = "\x82\xa1a\x93\x01\xcb12345678\xc4\x02xy\xa1w\xc7\x13\x01\x93\x91\x02\xa7float32\xc4\x0612345678"

func TestOpen(t *testing.T) {
	s := strings.Replace(model, "\xc4\x0612345678", "\xc4\x06123456", 1)
	d, err := open(t.Context(), s)
	want := &msgpack.Doc{Map: true, Extensions: []msgpack.Extension{{Type: 1, DType: "float32", Start: 20, End: 42}}, Values: 8, Size: int64(len(s))}
	if diff := cmp.Diff(want, d); diff != "" || err != nil || !msgpack.Sniff([]byte(s)) {
		t.Error(diff, err)
	}
}

func TestDamage(t *testing.T) {
	for name, tt := range map[string]struct {
		s    string
		want error
	}{
		"cut":     {model[:12], msgpack.ErrFormat},
		"bytes":   {"\xc6\xff\xff\xff\xff", msgpack.ErrFormat},
		"values":  {"\xdd\xff\xff\xff\xff", msgpack.ErrFormat},
		"unknown": {"\xc1", msgpack.ErrFormat},
		"deep":    {strings.Repeat("\x91", 500) + "\x01", detect.ErrLimit},
	} {
		if _, err := open(t.Context(), tt.s); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(model))
	f.Add([]byte("\xde\x00\x01\xd9\x01a\xd4\x05b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err1 := msgpack.Open(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default())
		two, err2 := msgpack.Open(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default())
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) || one.Size > int64(len(b)) {
			t.Error("same bytes, other result", d)
		}
	})
}
