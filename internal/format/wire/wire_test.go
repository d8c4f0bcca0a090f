package wire_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/wire"
)

func walk(ctx context.Context, b []byte) (fields []wire.Field, texts []string, err error) {
	d := wire.NewReader(bytes.NewReader(b), int64(len(b)))
	err = d.Each(ctx, 0, int64(len(b)), func(f wire.Field) error {
		fields = append(fields, f)
		if f.Type != wire.Bytes {
			return nil
		}
		s, err := d.Text(f, 100)
		texts = append(texts, s)
		return err
	})
	return fields, texts, err
}

func TestEach(t *testing.T) {
	b := formattest.Message(formattest.Field(1, 300), formattest.Field(2, "text"), []byte("\x1d1234"), []byte("\x2112345678"))
	fields, texts, err := walk(t.Context(), b)
	want := []wire.Field{
		{Num: 1, Type: wire.Varint, Value: 300, Start: 1, End: 3},
		{Num: 2, Type: wire.Bytes, Start: 5, End: 9},
		{Num: 3, Type: wire.Fixed4, Start: 10, End: 14},
		{Num: 4, Type: wire.Fixed8, Start: 15, End: 23},
	}
	if d := cmp.Diff(want, fields); d != "" || err != nil || len(texts) != 1 || texts[0] != "text" {
		t.Error(d, texts, err)
	}
}

func TestEachRefuses(t *testing.T) {
	for _, s := range []string{"\x00\x01", "\x0a\x05abc", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x08", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x0b", "\x0d12", "\x09123"} {
		if _, _, err := walk(t.Context(), []byte(s)); !errors.Is(err, wire.ErrWire) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(formattest.Message(formattest.Field(1, 300), formattest.Field(2, "text")))
	f.Add([]byte("\x0a\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fields, _, _ := walk(t.Context(), b)
		at := int64(0)
		for _, x := range fields {
			if x.Start < at || x.End < x.Start || x.End > int64(len(b)) {
				t.Errorf("field outside its place: %+v", x)
			}
			at = x.End
		}
	})
}
