package notebook_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/source/notebook"
)

func TestRead(t *testing.T) {
	t.Parallel()
	const text = `{"nbformat":4,"metadata":{"language_info":{"name":"python"}},"cells":[
	 {"cell_type":"markdown","source":"# not code"},
	 {"cell_type":"code","source":["!pip install openai\n","%matplotlib inline\n","import openai\n","s = '''\n","!not a line\n","'''\n"]},
	 {"cell_type":"code","source":"%%bash\nollama pull qwen3:8b"},
	 {"cell_type":"code","source":"%%writefile x.py\nimport anthropic"},
	 {"cell_type":"code","source":"if x:\n    !ls\ny = a \\\n  % b\nopenai?"}]}`
	n, err := notebook.Read([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := "pass\npass\nimport openai\ns = '''\n!not a line\n'''\n\n\n\n\nif x:\n    pass\ny = a \\\n  % b\n\n"
	if diff := cmp.Diff(want, n.Source); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{1, 7, 9, 11}, n.Cells); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]notebook.Line{{Text: "pip install openai", Line: 1}, {Text: "ollama pull qwen3:8b", Line: 8}, {Text: "ls", Line: 12}}, n.Shell); diff != "" {
		t.Error(diff)
	}
	if n.Language != "python" || !strings.Contains(n.Problem, "writefile") {
		t.Errorf("language %q, problem %q", n.Language, n.Problem)
	}
	for _, bad := range []string{"", "[]x", `{"cells": 7}`} {
		if _, err := notebook.Read([]byte(bad)); !errors.Is(err, notebook.ErrNotebook) {
			t.Errorf("Read(%q) = %v, want ErrNotebook", bad, err)
		}
	}
}

// One broken cell hides no other.
func TestBrokenCell(t *testing.T) {
	n, err := notebook.Read([]byte(`{"cells":[{"cell_type":"code","source":{"a":1}},{"cell_type":"code","source":5},{"cell_type":"code","source":"import openai"}]}`))
	if err != nil || !strings.Contains(n.Source, "import openai") || n.Problem == "" {
		t.Errorf("Read = %+v, %v: want the other cell, and a problem", n, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("x = 1\n!ls\n%%bash\n'''\n%x")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := json.Marshal(map[string]any{"cells": []map[string]any{{"cell_type": "code", "source": s}, {"cell_type": "code", "source": "y = 2"}}})
		if err != nil {
			t.Skip()
		}
		n, err := notebook.Read(b)
		if err != nil {
			t.Skip()
		}
		lines := strings.Count(n.Source, "\n") + 1
		for _, c := range n.Cells {
			if c < 1 || c > lines {
				t.Errorf("cell at line %d of %d", c, lines)
			}
		}
	})
}
