package file

import (
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/formattest"
)

func TestPrograms(t *testing.T) {
	program := func(operator, delegate string) *format.File {
		return open(t, "m.pte", formattest.ExecuTorch([]string{"aten::add", operator}, []string{delegate}))
	}
	detecttest.Accept(t, programs, []fileCase{
		{Name: "honest", Subject: program("quantized_decomposed::add", "XnnpackBackend")},
		{Name: "kernel", Subject: program("mine::op", "QnnBackend"), Want: []warden.RuleID{"WDN-MF-068"}},
		{Name: "backend", Subject: program("executorch_prim::et_view", "MyBackend"), Want: []warden.RuleID{"WDN-MF-068"}},
	})
}
