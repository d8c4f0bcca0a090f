package flow_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/source/flow"
)

func TestReach(t *testing.T) {
	g := flow.Analyse(t.Context(), units(t, map[string]string{
		"app.py": `import flask
from lib import work, cb
import helper
app = flask.Flask(__name__)
@app.route("/")
def index():
    work()
def unused():
    never()
def never():
    pass
def main():
    helper.go(cb)
if __name__ == "__main__":
    main()
`,
		"lib.py": `import unknown_library
def work():
    deep()
def deep():
    for y in eval("x"):
        y.maybe()
def cb():
    pass
class C:
    def maybe(self):
        pass
`,
		"helper.py": `import other
def go(f):
    other.register(f)
`,
		"tests/test_app.py": `from app import never
def test_it():
    never()
`,
		"tasks.py": `from celery import Celery
app = Celery("x")
@app.task
def job():
    inner()
def inner():
    pass
def start():
    job.delay()
`,
		"handler.py": "def lambda_handler(event, context):\n    pass\n",
	}), flow.PythonLibrary(), flow.Options{})
	var entries []string
	for _, e := range g.Entries() {
		entries = append(entries, e.Kind+" "+g.Func(e.Func).Name)
	}
	slices.Sort(entries)
	if diff := cmp.Diff([]string{
		"program app", "test tests.test_app", "test tests.test_app.test_it", "web app.index", "worker handler.lambda_handler", "worker tasks.job",
	}, entries); diff != "" {
		t.Error(diff)
	}
	r := g.Reach(g.Entries())
	for name, want := range map[string]flow.State{
		"app.index": flow.Reachable, "lib.work": flow.Reachable, "lib.deep": flow.Reachable, "lib.cb": flow.Possibly,
		"lib.C.maybe": flow.Possibly, "app.unused": flow.Unreachable, "app.never": flow.Reachable, "tasks.inner": flow.Reachable,
		"app.main": flow.Reachable, "helper": flow.Reachable, "tasks.start": flow.Unreachable,
	} {
		f, ok := g.Lookup(name)
		if !ok {
			t.Fatalf("no function %s", name)
		}
		if s, stack := r.State(f); s != want {
			t.Errorf("State(%s) = %v %v, want %v", name, s, stack, want)
		}
	}
	f, _ := g.Lookup("lib.deep")
	if _, stack := r.State(f); !cmp.Equal(stack, []string{"app.index", "lib.work", "lib.deep"}) {
		t.Errorf("stack %v", stack)
	}
	f, _ = g.Lookup("app.never")
	if !r.Test(f) {
		t.Error("app.never is reached from a test alone")
	}
}
