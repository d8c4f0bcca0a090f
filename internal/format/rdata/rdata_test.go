package rdata_test

import (
	"bytes"
	"context"
	"errors"
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
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err1 := open(t.Context(), b)
		two, err2 := open(t.Context(), b)
		if d := cmp.Diff(one, two, cmpopts.IgnoreUnexported(rdata.Tree{})); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
	})
}
