package ubjson_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/ubjson"
)

func open(ctx context.Context, s string) (*ubjson.Doc, error) {
	return ubjson.Open(ctx, strings.NewReader(s), int64(len(s)), bound.Default())
}

const model = "{L\x00\x00\x00\x00\x00\x00\x00\x07learner{i\x01aSi\x05hello" +
	"i\x01n[$d#i\x02\x00\x00\x00\x00\x00\x00\x00\x00i\x01e[]i\x01m[i\x01TZSi\x01x]i\x01c[#i\x02i\x01TU\x01o{#i\x01i\x01kSi\x01v}i\x07version[i\x03i\x00]}"

func TestOpen(t *testing.T) {
	d, err := open(t.Context(), model)
	if err != nil || d.Size != int64(len(model)) || !ubjson.Sniff([]byte(model)) {
		t.Fatalf("%+v, %v", d, err)
	}
	var got []string
	for _, x := range d.Texts {
		got = append(got, x.Key+"="+x.Value)
	}
	if diff := cmp.Diff([]string{"a=hello", "m=x", "k=v"}, got); diff != "" {
		t.Error(diff)
	}
	if !d.Keys["learner"] || !d.Keys["version"] || d.Keys["k"] {
		t.Errorf("%v", d.Keys)
	}
}

func TestDamage(t *testing.T) {
	for name, tt := range map[string]struct {
		s    string
		want error
	}{
		"cut":           {model[:40], ubjson.ErrFormat},
		"long_text":     {"{i\x01aSL\x7f\xff\xff\xff\xff\xff\xff\xffx}", ubjson.ErrFormat},
		"negative":      {"{i\x01aSi\xff}", ubjson.ErrFormat},
		"many_elements": {"[$D#l\x7f\xff\xff\xff", ubjson.ErrFormat},
		"many_any":      {"[#L\x00\xff\xff\xff\xff\xff\xff\xff", ubjson.ErrFormat},
		"deep":          {strings.Repeat("[", 500), detect.ErrLimit},
		"type":          {"[x]", ubjson.ErrFormat},
	} {
		if _, err := open(t.Context(), tt.s); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := open(t.Context(), "[$T#L\x00\xff\xff\xff\xff\xff\xff\xff"); err != nil {
		t.Errorf("many values without bytes: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(model))
	f.Add([]byte("[$[#i\x02$i#i\x01a$i#i\x01b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err1 := ubjson.Open(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default())
		two, err2 := ubjson.Open(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default())
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) || one.Size > int64(len(b)) {
			t.Error("same bytes, other result", d)
		}
	})
}
