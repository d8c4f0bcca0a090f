package hdf5_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/hdf5"
)

func sample() formattest.HDF5 {
	return formattest.HDF5{
		Attrs:    [][2]string{{"backend", "tensorflow"}},
		Variable: [][2]string{{"model_config", `{"class_name": "Sequential"}`}},
		Dense:    [][2]string{{"big", strings.Repeat("x", 100)}, {"other", "y"}},
		Links:    []formattest.HDF5Link{{Name: "s", Soft: "/a/b"}, {Name: "e", File: "/etc/x", Target: "/d"}},
		RawFile:  "../raw.bin",
	}
}

func TestOpen(t *testing.T) {
	b := sample().Bytes()
	for _, prefix := range []int{0, 512, 2048} {
		b := append(make([]byte, prefix), b...)
		f, sts := hdf5.Open(t.Context(), bytes.NewReader(b), int64(len(b)), bound.Default())
		if len(sts) > 0 {
			t.Fatalf("prefix %d: %v", prefix, sts)
		}
		attrs := map[string]string{}
		for _, a := range f.Attrs {
			attrs[a.Name] = a.Value
			if got := string(b[a.At : a.At+int64(len(a.Value))]); got != a.Value {
				t.Errorf("attribute %s is not at %d", a.Name, a.At)
			}
		}
		want := map[string]string{"backend": "tensorflow", "model_config": `{"class_name": "Sequential"}`, "big": strings.Repeat("x", 100), "other": "y"}
		if d := cmp.Diff(want, attrs); d != "" {
			t.Error(d)
		}
		var links []string
		for _, l := range f.Links {
			links = append(links, string(l.Kind)+" "+l.Path+" "+l.File+" "+l.Target)
		}
		if d := cmp.Diff([]string{"soft /s  /a/b", "external /e /etc/x /d", "raw / ../raw.bin "}, links); d != "" {
			t.Error(d)
		}
	}
}

func TestOpenDamaged(t *testing.T) {
	b := sample().Bytes()
	for n := range b {
		if n > 200 && n < len(b)-800 && n%97 != 0 {
			continue
		}
		if _, sts := hdf5.Open(t.Context(), bytes.NewReader(b[:n]), int64(n), bound.Default()); len(sts) == 0 {
			t.Fatalf("a file cut at %d of %d reads as whole", n, len(b))
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(sample().Bytes())
	f.Add(formattest.HDF5{Attrs: [][2]string{{"a", "b"}}}.Bytes())
	f.Add([]byte(hdf5.Signature + "\x00\x00\x00\x00\x00\x08\x08\x00"))
	lim := bound.Default()
	lim.Text, lim.Members = 1<<20, 1000
	f.Fuzz(func(t *testing.T, b []byte) {
		one, s1 := hdf5.Open(t.Context(), bytes.NewReader(b), int64(len(b)), lim)
		two, s2 := hdf5.Open(t.Context(), bytes.NewReader(b), int64(len(b)), lim)
		if d := cmp.Diff(one, two); d != "" || len(s1) != len(s2) {
			t.Error("same bytes, other result", d)
		}
	})
}
