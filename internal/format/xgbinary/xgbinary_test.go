package xgbinary_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/xgbinary"
)

func open(ctx context.Context, b []byte) (*xgbinary.Model, error) {
	return xgbinary.Open(ctx, bytes.NewReader(b), int64(len(b)), bound.Default())
}

func TestOpen(t *testing.T) {
	for _, mark := range []string{"", "binf"} {
		b := formattest.XGBinary(mark, "reg:squarederror", [2]string{"note", "a longer text"})
		if !xgbinary.Sniff(b) {
			t.Errorf("%q: not recognised", mark)
		}
		m, err := open(t.Context(), b)
		want := &xgbinary.Model{Booster: "gbtree", Trees: 1, Size: int64(len(b)), Texts: []xgbinary.Text{
			{Key: "objective", Value: "reg:squarederror", At: int64(len(mark) + 144)}, {Key: "note", Value: "a longer text", At: int64(len(b) - 13)},
		}}
		if d := cmp.Diff(want, m); d != "" || err != nil {
			t.Error(d, err)
		}
	}
}

func TestDamage(t *testing.T) {
	whole := formattest.XGBinary("binf", "binary:logistic", [2]string{"a", "b"})
	change := func(at int, v uint32) []byte {
		b := bytes.Clone(whole)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	trees := 4 + 136 + 8 + len("binary:logistic") + 8 + len("gbtree")
	for name, b := range map[string][]byte{
		"cut": whole[:len(whole)-3], "trees": change(trees, 1<<30), "negative": change(trees, 1<<31), "nodes": change(trees+160+4, 1<<28), "length": change(140, 1<<30),
	} {
		if m, err := open(t.Context(), b); !errors.Is(err, xgbinary.ErrFormat) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	if xgbinary.Sniff(make([]byte, 200)) || xgbinary.Sniff(nil) {
		t.Error("zeros are a model")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(formattest.XGBinary("binf", "reg:linear", [2]string{"a", "b"}))
	f.Add(bytes.Replace(formattest.XGBinary("", "count:poisson"), []byte("gbtree"), []byte("dart\x00\x00"), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		xgbinary.Sniff(b)
		one, err1 := open(t.Context(), b)
		two, err2 := open(t.Context(), b)
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
	})
}
