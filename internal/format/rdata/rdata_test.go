package rdata_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	ft "github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/rdata"
)

func open(ctx context.Context, b []byte) (*rdata.Tree, error) {
	start := max(0, rdata.Sniff(b))
	return rdata.Open(ctx, bytes.NewReader(b), int64(start), int64(len(b)), bound.Default())
}

func promised() []byte {
	return append([]byte("RDX3\n"), ft.RDS(ft.RPairs("x", ft.RPromise(ft.RCall("system", ft.RText("id")))))...)
}

// everything is an object with most types: attributes, an environment, a closure
// with compiled code, references, long and short vectors.
func everything() []byte {
	code := ft.RJoin(ft.RInt(21), ft.RInt(1), ft.RInt(13), ft.RInt(1), ft.RInt(7),
		ft.RInt(2), ft.RInt(6), ft.RInt(254), ft.RInt(0), ft.RInt(255|1<<8), ft.RInt(0), ft.RInt(254), ft.RInt(16), ft.RInt(16), ft.RInt(0))
	closure := ft.RJoin(ft.RInt(3|1<<10), ft.RInt(253), ft.RInt(254), code)
	environment := ft.RJoin(ft.RInt(4), ft.RInt(0), ft.RInt(242), ft.RInt(254), ft.RInt(254), ft.RInt(254))
	numbers := ft.RJoin(ft.RInt(14|1<<9), ft.RInt(1), ft.R("12345678"), ft.RPairs("names", ft.RText("n")))
	long := ft.RJoin(ft.RInt(24), ft.RInt(-1), ft.RInt(0), ft.RInt(3), ft.R("abc"))
	return ft.RDS(ft.RJoin(ft.RInt(19), ft.RInt(6), ft.RSymbol("f"), closure, environment, numbers, long, ft.RJoin(ft.RInt(238), ft.RInt(254), ft.RInt(254), ft.RInt(254))))
}

func TestOpen(t *testing.T) {
	b := promised()
	got, err := open(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	want := &rdata.Tree{Version: 3, Promises: []rdata.Promise{{At: 49, Symbols: []string{"system"}}}, Calls: 1, Symbols: []string{"x", "system"}, Items: 10, Size: int64(len(b) - 5)}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(rdata.Tree{}), cmpopts.IgnoreFields(rdata.Promise{}, "At"), cmpopts.IgnoreFields(rdata.Tree{}, "Items")); d != "" {
		t.Error(d)
	}
	b = everything()
	got, err = open(t.Context(), b)
	if err != nil || got.Size != int64(len(b)) || got.Closures != 1 || got.Bytecode != 1 || len(got.Promises) != 0 {
		t.Errorf("%+v of %d bytes, %v", got, len(b), err)
	}
}

// written is [promised] in the text form, as R writes it.
func written() []byte {
	return []byte("RDA3\nA\n3\n263168\n197888\n5\nUTF-8\n1026\n1\n262153\n1\nx\n1029\n253\n252\n6\n1\n262153\n6\nsys\\164em\n2\n16\n1\n262153\n6\nid\\040\\n\\\\\\\"\n254\n254\n")
}

// TestForms reads the same object in its forms.
func TestForms(t *testing.T) {
	numbers := "A\n2\n263168\n131840\n19\n5\n14\n3\n1.5\nNA\n-Inf\n13\n2\nNA\n7\n15\n1\n1\n2\n24\n3\n00\nff\n1a\n16\n2\n9\n-1\n262153\n0\n\n"
	little := ft.R("B\n")
	for _, v := range []uint32{3, 0x040400, 0x030500, 5} {
		little = append(little, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
	}
	little = append(little, "UTF-8\x0d\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00"...)
	for name, tt := range map[string]struct {
		b       []byte
		symbols string
	}{
		"promise": {written(), "[x system]"},
		"numbers": {[]byte(numbers), "[]"},
		"native":  {little, "[]"},
	} {
		if rdata.Sniff(tt.b) < 0 {
			t.Errorf("%s: not recognised", name)
		}
		got, err := open(t.Context(), tt.b)
		if err != nil || fmt.Sprint(got.Symbols) != tt.symbols || int(got.Size) < len(tt.b)-rdata.Sniff(tt.b)-2 {
			t.Errorf("%s: %+v of %d bytes, %v", name, got, len(tt.b), err)
		}
		if name == "promise" && (len(got.Promises) != 1 || fmt.Sprint(got.Promises[0].Symbols) != "[system]") {
			t.Errorf("%s: %+v", name, got.Promises)
		}
	}
	for _, bad := range []string{"A\n2\n1\n1\n14\n9999999\n1\n", "A\n2\n1\n1\nx\n\n\n\n", "A\n3\n1\n1\n5\nUT", "A\n2\n1\n1\n16\n1\n9\n5\nab\\"} {
		if _, err := open(t.Context(), []byte(bad)); !errors.Is(err, rdata.ErrFormat) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestDamage(t *testing.T) {
	deep := ft.R{}
	for range 5000 {
		deep = append(deep, ft.RJoin(ft.RInt(19), ft.RInt(1))...)
	}
	for name, tt := range map[string]struct {
		b    []byte
		want error
	}{
		"cut":       {promised()[:60], rdata.ErrFormat},
		"deep":      {ft.RDS(deep), detect.ErrLimit},
		"length":    {ft.RDS(ft.RJoin(ft.RInt(14), ft.RInt(1<<30))), rdata.ErrFormat},
		"negative":  {ft.RDS(ft.RJoin(ft.RInt(13), ft.RInt(-5))), rdata.ErrFormat},
		"reference": {ft.RDS(ft.RInt(255 | 9<<8)), rdata.ErrFormat},
		"type":      {ft.RDS(ft.RInt(77)), rdata.ErrFormat},
	} {
		if _, err := open(t.Context(), tt.b); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(promised())
	f.Add(everything())
	f.Add(written())
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err1 := open(t.Context(), b)
		two, err2 := open(t.Context(), b)
		if d := cmp.Diff(one, two, cmpopts.IgnoreUnexported(rdata.Tree{})); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
	})
}
