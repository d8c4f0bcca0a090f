package flow_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/source/flow"
)

// TestThis reads a program of a language that has its receiver under a name,
// hoists functions and takes members for attributes.
func TestThis(t *testing.T) {
	us := units(t, map[string]string{"main.py": `run()
def run():
    A(go).m()
class A:
    def constructor(f):
        this.f = f
    def m():
        this.f()
        d = {"k": go}
        d.k()
def go(): pass
`})
	lang := flow.Python()
	lang.This, lang.Hoist, lang.Members, lang.Constructor = "this", true, true, "constructor"
	us[0].Language = lang
	g := flow.Analyse(t.Context(), us, nil, flow.Options{})
	if diff := cmp.Diff(map[string][]string{
		"main": {"main.run"}, "main.run": {"main.A.constructor", "main.A.m"}, "main.A.constructor": {}, "main.A.m": {"main.go"}, "main.go": {},
	}, g.Calls()); diff != "" {
		t.Error(diff)
	}
}
