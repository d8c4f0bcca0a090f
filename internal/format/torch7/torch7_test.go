package torch7_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	ft "github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/torch7"
)

func open(ctx context.Context, b []byte) (*torch7.Doc, error) {
	_, _, ascii := torch7.Sniff(b)
	return torch7.Open(ctx, bytes.NewReader(b), int64(len(b)), ascii, bound.Default())
}

// network is a model with a bit of everything.
func network(ascii bool) []byte {
	t := &ft.Torch7{ASCII: ascii}
	t.Object("nn.Sequential").Table(4)
	t.Text("weight").Tensor(1, 2.5, -3)
	t.Text("name").Text("a longer name")
	t.Number(7).Int(5, 1)
	t.Text("hook").Function(ft.LuaJIT("os", "execute"))
	return t.Bytes()
}

func TestOpen(t *testing.T) {
	for _, ascii := range []bool{false, true} {
		b := network(ascii)
		maybe, certain, asText := torch7.Sniff(b)
		if !maybe || !certain || asText != ascii {
			t.Errorf("ascii %v: maybe %v, certain %v, ascii %v", ascii, maybe, certain, asText)
		}
		d, err := open(t.Context(), b)
		if err != nil || d.Size != int64(len(b)) || len(d.Functions) != 1 || len(d.Texts) != 1 {
			t.Fatalf("ascii %v: %+v of %d bytes, %v", ascii, d, len(b), err)
		}
		f := d.Functions[0]
		if got := string(b[f.Start:f.End]); got != ft.LuaJIT("os", "execute") || got != string(f.Code) || !f.Whole {
			t.Errorf("function %q at %d", f.Code, f.Start)
		}
		if diff := cmp.Diff([]string{"nn.Sequential", "torch.FloatTensor", "torch.FloatStorage"}, d.Classes); diff != "" {
			t.Error(diff)
		}
	}
}

// TestShortLong reads what a machine wrote whose type long has four bytes.
func TestShortLong(t *testing.T) {
	w := (&ft.Torch7{}).Object("torch.LongStorage").Int(3, 1, 2, 3)
	d, err := open(t.Context(), w.Bytes())
	if err != nil || d.Size != int64(len(w.Bytes())) {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestDamage(t *testing.T) {
	deep := &ft.Torch7{}
	for range 1000 {
		deep.Table(1).Number(1)
	}
	for name, tt := range map[string]struct {
		b    []byte
		want error
	}{
		"cut":     {network(false)[:100], torch7.ErrFormat},
		"length":  {(&ft.Torch7{}).Object("torch.FloatStorage").Longs(1 << 40).Bytes(), torch7.ErrFormat},
		"text":    {(&ft.Torch7{}).Int(4, 1, 1<<30).Bytes(), torch7.ErrFormat},
		"type":    {(&ft.Torch7{}).Object("nn.Linear").Int(99).Bytes(), torch7.ErrFormat},
		"count":   {(&ft.Torch7{}).Table(1 << 30).Bytes(), torch7.ErrFormat},
		"deep":    {deep.Bytes(), detect.ErrLimit},
		"letters": {[]byte("4\n1\n3\nV 1\n9\nnn.Linear\nx\n"), torch7.ErrFormat},
	} {
		if d, err := open(t.Context(), tt.b); !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(network(false))
	f.Add(network(true))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err1 := open(t.Context(), b)
		two, err2 := open(t.Context(), b)
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
		if one.Size > int64(len(b)) {
			t.Errorf("%d bytes of %d", one.Size, len(b))
		}
	})
}
