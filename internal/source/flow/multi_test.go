package flow_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/source/flow"
)

// TestModules holds how names come from other files.
func TestModules(t *testing.T) {
	const f = "def f(): pass\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string // of main
	}{
		{"source_folder", map[string]string{"main.py": "import pkg.m\npkg.m.f()", "src/pkg/__init__.py": "", "src/pkg/m.py": f}, []string{"src.pkg.m.f"}},
		{"beside_the_script", map[string]string{"main.py": "import app.run\napp.run.go()", "app/run.py": "import util\ndef go(): util.f()\ngo()", "app/util.py": f, "util.py": f}, []string{"app.run.go"}},
		{"re_exported", map[string]string{"main.py": "from p import f\nf()", "p/__init__.py": "from .m import f", "p/m.py": f}, []string{"p.m.f"}},
		{"renamed", map[string]string{"main.py": "from p import m as q\nq.f()", "p/__init__.py": "", "p/m.py": f}, []string{"p.m.f"}},
		{"star_with_all", map[string]string{"main.py": "from m import *\nf()\ng()", "m.py": "__all__ = ['f']\n" + f + "def g(): pass"}, []string{"m.f"}},
		{"star_of_star", map[string]string{"main.py": "from a import *\nf()", "a.py": "from b import *", "b.py": f}, []string{"b.f"}},
		{"relative_up", map[string]string{"main.py": "from p.q.m import g\ng()", "p/__init__.py": f, "p/q/__init__.py": "", "p/q/m.py": "from .. import f as g"}, []string{"p.f"}},
		{"relative_module", map[string]string{"main.py": "from p import a\na.g()", "p/__init__.py": "", "p/a.py": "from . import b\ndef g(): b.f()", "p/b.py": f}, []string{"p.a.g"}},
		{"folder_without_init", map[string]string{"main.py": "from p import m\nm.f()", "p/m.py": f}, []string{"p.m.f"}},
		{"cycle", map[string]string{"main.py": "import a\na.f()", "a.py": "import b\n" + f, "b.py": "import a\ndef g(): a.f()"}, []string{"a.f"}},
		{"in_function", map[string]string{"main.py": "def h():\n  from m import f\n  f()\nh()", "m.py": f}, []string{"main.h"}},
		{"import_module", map[string]string{"main.py": "import importlib\nimportlib.import_module('p.m').f()", "p/__init__.py": "", "p/m.py": f}, []string{"importlib.import_module", "p.m.f"}},
		{"module_variable_set", map[string]string{"main.py": "import m\ndef g(): pass\nm.h = g\nm.run()", "m.py": "h = None\ndef run(): h()"}, []string{"m.run"}},
		{"outside_star", map[string]string{"main.py": "from ext import *\nthing()", "m.py": ""}, []string{"ext.thing"}},
		{"shared_object", map[string]string{"main.py": "from m import obj\nobj.f()", "m.py": "class C:\n  def f(self): pass\nobj = C()"}, []string{"m.C.f"}},
		{"base_elsewhere", map[string]string{"main.py": "from b import B\nclass C(B): pass\nC().f()", "b.py": "class B:\n  def f(self): pass"}, []string{"b.B.f"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := flow.Analyse(t.Context(), units(t, c.files), flow.PythonLibrary(), flow.Options{})
			got := slices.Clone(g.Calls()["main"])
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
