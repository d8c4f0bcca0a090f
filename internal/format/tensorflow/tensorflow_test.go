package tensorflow_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/tensorflow"
)

var field = formattest.Field

func open(ctx context.Context, b []byte) (*tensorflow.Model, []string, error) {
	r, size := bytes.NewReader(b), int64(len(b))
	kinds := tensorflow.Sniff(ctx, r, size, false)
	m, err := tensorflow.Open(ctx, r, size, kinds, bound.Default())
	return m, kinds, err
}

func graph() []byte {
	return formattest.TFGraph(
		[][]byte{formattest.TFConst("c", "/etc/passwd"), formattest.TFNode("i", "Identity", []string{"c:0"}), formattest.TFNode("r", "ReadFile", []string{"i"})},
		[][]byte{formattest.TFFunction("inner",
			formattest.TFNode("w", "WriteFile", []string{"p:output:0", "x"}), formattest.TFConst("p", "/tmp/x"),
			formattest.TFNode("print", "PrintV2", nil, "output_stream", "file:///tmp/log", "end", "\n"))},
	)
}

func model() []byte {
	user := formattest.Message(field(1, "_tf_keras_layer"), field(3, `{"class_name": "Dense"}`))
	return formattest.SavedModel(graph(), field(6, field(2, "vocab.txt")), field(7, field(1, field(4, user))))
}

func TestOpen(t *testing.T) {
	m, kinds, err := open(t.Context(), model())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"savedmodel"}, kinds); d != "" {
		t.Error(d)
	}
	var calls []string
	for _, c := range m.Calls {
		calls = append(calls, c.Op+" "+strings.Join(c.Texts, " "))
	}
	if d := cmp.Diff([]string{"WriteFile /tmp/x", "PrintV2 file:///tmp/log", "ReadFile /etc/passwd"}, calls); d != "" {
		t.Error(d)
	}
	if !m.Functions["inner"] || m.Nodes != 6 || len(m.Assets) != 1 || len(m.Keras) != 1 || m.Ops["Const"].Count != 2 {
		t.Errorf("%+v", m)
	}
}

func TestSniff(t *testing.T) {
	for name, tt := range map[string]struct {
		b    []byte
		want []string
	}{
		"graph":      {graph(), []string{"graphdef"}},
		"meta":       {formattest.Message(field(2, graph())), []string{"metagraph"}},
		"functions":  {formattest.TFGraph(nil, [][]byte{formattest.TFFunction("f", formattest.TFNode("a", "PyFunc", nil))}), []string{"graphdef"}},
		"both":       {formattest.Message(model(), graph()), []string{"savedmodel", "graphdef"}},
		"keras":      {field(1, formattest.Message(field(4, "_tf_keras_model"), field(5, "{}"))), []string{"keras-metadata"}},
		"descriptor": {field(1, formattest.Message(field(1, "a/b.proto"), field(2, "pkg"))), nil},
		"no_message": {[]byte("some words"), nil},
	} {
		_, kinds, err := open(t.Context(), tt.b)
		if d := cmp.Diff(tt.want, kinds); d != "" || err != nil {
			t.Errorf("%s: %v %v", name, d, err)
		}
	}
	b := graph()
	if got := tensorflow.Sniff(t.Context(), bytes.NewReader(b), int64(len(b)-3), true); len(got) != 1 {
		t.Errorf("cut graph: %v", got)
	}
}

// TestPaddingHidesNothing puts many fields before the graph, at two levels.
func TestPaddingHidesNothing(t *testing.T) {
	pad := bytes.Repeat(field(99, 1), 20_000)
	for name, b := range map[string][]byte{
		"outer": formattest.Message(pad, model()),
		"inner": formattest.Message(field(1, 1), field(2, formattest.Message(pad, field(2, graph())))),
	} {
		if got := tensorflow.Sniff(t.Context(), bytes.NewReader(b), int64(len(b)), true); len(got) == 0 {
			t.Errorf("%s: no graph", name)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(model())
	f.Add(graph())
	f.Add(field(1, formattest.Message(field(4, "_tf_keras_model"), field(5, "{}"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, size := bytes.NewReader(b), int64(len(b))
		all := []string{tensorflow.SavedModel, tensorflow.MetaGraph, tensorflow.GraphDef, tensorflow.Metadata}
		tensorflow.Sniff(t.Context(), r, size, true)
		one, err1 := tensorflow.Open(t.Context(), r, size, all, bound.Default())
		two, err2 := tensorflow.Open(t.Context(), r, size, all, bound.Default())
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
	})
}

func TestOpenText(t *testing.T) {
	src := `meta_graphs { graph_def { node { name: "a" op: "Const" } # op: "WriteFile"
  node { name: 'b' op: "Py" # split
    "Func" } library { function { signature { name: "f" } node_def { op:'\x52\145adFile' attr { key: "op: \"PrintV2\"" } } } } } }`
	m, ok, err := tensorflow.OpenText(t.Context(), []byte(src), bound.Default())
	if err != nil || !ok || m.Nodes != 3 || !m.Functions["f"] {
		t.Fatalf("%+v %v %v", m, ok, err)
	}
	var calls []string
	for _, c := range m.Calls {
		calls = append(calls, c.Op)
	}
	if d := cmp.Diff([]string{"ReadFile", "PyFunc"}, calls); d != "" {
		t.Error(d)
	}
	if _, ok, _ := tensorflow.OpenText(t.Context(), []byte("item { id: 1 name: 'cat' }"), bound.Default()); ok {
		t.Error("labels are a graph")
	}
}

// TestMessageText looks that constants reach file operators through a text, and
// that places are those of the text.
func TestMessageText(t *testing.T) {
	src := `# a graph
node { name: "p" op: "Const" attr { key: "value" value { tensor { dtype: DT_STRING tensor_shape {} string_val: "/etc/" 'passwd' } } } }
node: < name: "r", op: "ReadFile"; input: ["p"] device: "" >
node { name: "w" op: "Const" attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 2 } } float_val: 1.5f float_val: -0x1 } } } [a.b]: { x: 1 } }
library { function { signature { name: "f" input_arg { name: "x" type: DT_RESOURCE } output_arg { name: "y" type: DT_FLOAT } } ret { key: "y" value: "n:y:0" } node_def { name: "n" op: "Id" input: "x" } } }
node { name: "o" op: "Neg" input: "w" }
versions { producer: 440 }`
	m, ok, err := tensorflow.OpenText(t.Context(), []byte(src), bound.Default())
	if err != nil || !ok || m.Nodes != 5 || !m.Functions["f"] || len(m.Calls) != 1 || len(m.Graphs) == 0 {
		t.Fatalf("%+v %v %v", m, ok, err)
	}
	c := m.Calls[0]
	if d := cmp.Diff([]string{"/etc/passwd"}, c.Texts); d != "" || !strings.HasPrefix(src[c.Start:c.End], `< name: "r"`) || !strings.HasSuffix(src[c.Start:c.End], ">") {
		t.Errorf("%s at %q", d, src[c.Start:c.End])
	}
	var values []string
	for _, v := range m.Graphs[0].Values {
		if v.Head != "" {
			values = append(values, v.Head)
		}
	}
	if d := cmp.Diff([]string{"1.5"}, values); d != "" {
		t.Error(d)
	}
	deep := strings.Repeat(`library { function { node_def { attr { key: "f" value { func { attr { key: "f" value { func {`, 40)
	if _, _, err := tensorflow.OpenText(t.Context(), []byte("node { name: 'a' op: 'NoOp' } "+deep), bound.Default()); !errors.Is(err, detect.ErrLimit) {
		t.Errorf("deep text: %v", err)
	}
}

func FuzzOpenText(f *testing.F) {
	f.Add([]byte(`node { name: "a" op: "\x50\171Func" 'x' # c`))
	f.Add([]byte("op:'\\"))
	f.Add([]byte("meta_graphs { graph_def { node { name: 'a' op: 'Const' attr { key: 'value' value { tensor { float_val: [1, -2.5] } } } } library { function {} } } }"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _, err := tensorflow.OpenText(t.Context(), b, bound.Default())
		if err != nil && !errors.Is(err, detect.ErrLimit) {
			t.Error(err)
		}
		for _, u := range m.Ops {
			if u.Start < 0 || u.Start > u.End || u.End > int64(len(b)) {
				t.Errorf("%+v in %d bytes", u, len(b))
			}
		}
	})
}
