package file

import (
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	ft "github.com/modelwarden/warden/internal/format/formattest"
)

func TestRObjects(t *testing.T) {
	object := func(r ft.R) *format.File { return open(t, "m.rds", ft.RDS(r)) }
	detecttest.Accept(t, rObjects, []fileCase{
		{Name: "honest_formula", Subject: object(ft.RCall("~", ft.RSymbol("y")))},
		{Name: "honest_call", Subject: object(ft.RPairs("call", ft.RCall("lm", ft.RText("system"))))},
		{Name: "honest_promise", Subject: object(ft.RJoin(ft.RInt(5), ft.RText("value"), ft.RCall("system", ft.RText("id"))))},
		{Name: "promise", Subject: object(ft.RPairs("x", ft.RPromise(ft.RCall("system", ft.RText("id"))))), Want: []warden.RuleID{"WDN-MF-076"}},
		{Name: "promise_of_own", Subject: object(ft.RPromise(ft.RCall("f", ft.RText("id")))), Want: []warden.RuleID{"WDN-MF-076"}},
	})
	if f := object(ft.RInt(77)); len(f.Unread) != 1 || f.Format != "rds" {
		t.Errorf("damaged object: %q %v", f.Format, f.Unread)
	}
}
