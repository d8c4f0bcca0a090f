package executorch_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/executorch"
	"github.com/modelwarden/warden/internal/format/flatbuf"
	"github.com/modelwarden/warden/internal/format/formattest"
)

func open(ctx context.Context, b []byte) (*executorch.Program, error) {
	return executorch.Open(ctx, bytes.NewReader(b), int64(len(b)), bound.Default())
}

func TestOpen(t *testing.T) {
	p, err := open(t.Context(), formattest.ExecuTorch([]string{"aten::add"}, []string{"XnnpackBackend"}))
	if err != nil || p.Plans != 1 || len(p.Operators) != 1 || len(p.Delegates) != 1 || p.Operators[0].Text != "aten::add" || p.Delegates[0].Text != "XnnpackBackend" {
		t.Errorf("%+v, %v", p, err)
	}
	b := formattest.ExecuTorch([]string{"aten::add"}, nil)
	if _, err := open(t.Context(), b[:60]); !errors.Is(err, flatbuf.ErrBuffer) {
		t.Errorf("cut program: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(formattest.ExecuTorch([]string{"aten::add", "mine::op"}, []string{"XnnpackBackend"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err1 := open(t.Context(), b)
		two, err2 := open(t.Context(), b)
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
	})
}
