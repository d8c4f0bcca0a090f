package file

import (
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/formattest"
)

func TestTensorFlow(t *testing.T) {
	node, constant, field := formattest.TFNode, formattest.TFConst, formattest.Field
	graph := func(nodes ...[]byte) *format.File {
		return open(t, "saved_model.pb", formattest.SavedModel(formattest.TFGraph(nodes, nil)))
	}
	inside := func(nodes ...[]byte) *format.File {
		g := formattest.TFGraph([][]byte{node("c", "inner", nil)}, [][]byte{formattest.TFFunction("inner", nodes...)})
		return open(t, "saved_model.pb", formattest.SavedModel(g))
	}
	asset := func(name string) *format.File {
		return open(t, "saved_model.pb", formattest.SavedModel(formattest.TFGraph([][]byte{node("a", "NoOp", nil)}, nil), field(6, field(2, name))))
	}
	text := func(s string) *format.File { return open(t, "graph.pbtxt", []byte(s)) }
	lite := func(ops ...string) *format.File { return open(t, "m.tflite", formattest.TFLite(ops...)) }
	ids := func(id ...warden.RuleID) []warden.RuleID { return id }
	many := make([][]byte, 100_000)
	for i := range many {
		many[i] = node("n", "MatMul", []string{"a", "b"})
	}
	detecttest.Accept(t, tensorflowGraphs, []fileCase{
		{Name: "honest_checkpoint", Subject: graph(constant("p", "model"), node("s", "SaveV2", []string{"p"}), node("r", "RestoreV2", []string{"p"}), node("v", "VariableV2", nil))},
		{Name: "honest_vocabulary", Subject: graph(constant("p", "/tmp/build/vocab.txt"), node("t", "InitializeTableFromTextFileV2", []string{"h", "p"}))},
		{Name: "honest_function", Subject: inside(node("p", "PrintV2", []string{"x"}, "output_stream", "stderr"))},
		{Name: "honest_asset", Subject: asset("vocab.txt")},
		{Name: "honest_large", Subject: graph(many...)},
		{Name: "honest_lite", Subject: lite("", "TFLite_Detection_PostProcess", "FlexErf")},
		{Name: "lite_custom", Subject: lite("", "MyOp"), Want: ids("WDN-MF-049")},
		{Name: "lite_flex_write", Subject: lite("FlexWriteFile"), Want: ids("WDN-MF-051")},
		{Name: "lite_flex_unknown", Subject: lite("FlexMine"), Want: ids("WDN-MF-049")},
		{Name: "python", Subject: graph(node("p", "PyFunc", nil, "token", "pyfunc_0")), Want: ids("WDN-MF-050")},
		{Name: "python_in_function", Subject: inside(node("p", "EagerPyFunc", nil)), Want: ids("WDN-MF-050")},
		{Name: "writes", Subject: inside(constant("p", "/home/u/.bashrc"), node("w", "WriteFile", []string{"p", "x"})), Want: ids("WDN-MF-051")},
		{Name: "prints_to_file", Subject: graph(node("p", "PrintV2", []string{"x"}, "output_stream", "file:///tmp/x")), Want: ids("WDN-MF-051")},
		{Name: "saves_elsewhere", Subject: graph(constant("p", "../../x"), node("s", "SaveV2", []string{"p"})), Want: ids("WDN-MF-051")},
		{Name: "reads", Subject: graph(constant("p", "/etc/passwd"), node("r", "ReadFile", []string{"p"})), Want: ids("WDN-MF-052")},
		{Name: "reads_input", Subject: graph(node("r", "ReadFile", []string{"x"})), Want: ids("WDN-MF-052")},
		{Name: "text_reads", Subject: text(`node { name: "p" op: "Const" attr { key: "value" value { tensor { dtype: DT_STRING string_val: "/etc/passwd" } } } } node { name: "r" op: "ReadFile" input: "p" }`), Want: ids("WDN-MF-052")},
		{Name: "text_honest_checkpoint", Subject: text(`node { name: "p" op: "Const" attr { key: "value" value { tensor { dtype: DT_STRING string_val: "model" } } } } node { name: "s" op: "SaveV2" input: "p" }`)},
		{Name: "text_saves_elsewhere", Subject: text(`node { name: "p" op: "Const" attr { key: "value" value { tensor { dtype: DT_STRING string_val: "../../x" } } } } node { name: "s" op: "SaveV2" input: "p" }`), Want: ids("WDN-MF-051")},
		{Name: "restores_elsewhere", Subject: graph(constant("p", "/data/x"), node("s", "RestoreV2", []string{"p"})), Want: ids("WDN-MF-052")},
		{Name: "custom", Subject: graph(node("c", "MyOp", nil)), Want: ids("WDN-MF-053")},
		{Name: "asset", Subject: asset("../../etc/cron.d/x"), Want: ids("WDN-MF-054")},
		{Name: "network", Subject: graph(node("d", "DebugIdentityV2", nil, "debug_urls", "grpc://203.0.113.9:80")), Want: ids("WDN-MF-055")},
		{Name: "network_input", Subject: graph(node("d", "DataServiceDatasetV4", []string{"x"})), Want: ids("WDN-MF-055")},
		{Name: "library", Subject: graph(node("l", "LoadLibrary", nil)), Want: ids("WDN-MF-056")},
	})
	lambda := formattest.Message(field(4, "_tf_keras_layer"), field(5, `{"class_name": "Lambda", "config": {"function": ["4wEAAAA=", null, null]}}`))
	res := examineWith(t, open(t, "keras_metadata.pb", field(1, lambda)), kerasModels)
	if len(res.Findings) != 1 || res.Findings[0].Rule != "WDN-MF-040" {
		t.Errorf("Lambda in keras_metadata.pb: %+v", res)
	}
}
