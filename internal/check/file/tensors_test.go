package file

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format/formattest"
)

func TestTensorTables(t *testing.T) {
	data := make([]byte, 64)
	gguf := func(g *formattest.GGUF) []byte { return g.Bytes(data) }
	honest := func(g *formattest.GGUF) *formattest.GGUF {
		return g.Pair("general.name", "tiny").Pair("tokenizer.chat_template", "{{ x }}").Tensor("a", 0, 4, 2).Tensor("b", 32, 8)
	}
	st := func(header string) []byte { return formattest.Safetensors(header, data) }
	const f32 = `"dtype":"F32","shape":[8]`
	const good = `{"__metadata__":{"format":"pt"},"a":{` + f32 + `,"data_offsets":[0,32]},"b":{` + f32 + `,"data_offsets":[32,64]}}`
	cases := []struct {
		name   string
		bytes  []byte
		broken bool
		want   []warden.RuleID
	}{
		{name: "gguf", bytes: gguf(honest(&formattest.GGUF{}))},
		{name: "gguf_v1", bytes: gguf(honest(&formattest.GGUF{Version: 1}))},
		{name: "gguf_v2", bytes: gguf(honest(&formattest.GGUF{Version: 2}))},
		{name: "gguf_big_endian", bytes: gguf(honest(&formattest.GGUF{BigEndian: true}))},
		{name: "gguf_string_overflow", bytes: gguf((&formattest.GGUF{Keys: 1}).Text("k").U32(8).U64(1<<64 - 1)), want: []warden.RuleID{"WDN-MF-070"}},
		{name: "gguf_array_overflow", bytes: gguf((&formattest.GGUF{Keys: 1}).Text("k").U32(9).U32(10).U64(1<<61 + 1)), want: []warden.RuleID{"WDN-MF-070"}},
		{name: "gguf_counts", bytes: gguf(&formattest.GGUF{Tensors: 1 << 60}), want: []warden.RuleID{"WDN-MF-070"}},
		{name: "gguf_shape_overflow", bytes: gguf((&formattest.GGUF{}).Tensor("a", 0, 1<<40, 1<<40)), want: []warden.RuleID{"WDN-MF-070"}},
		{name: "gguf_past_the_end", bytes: gguf((&formattest.GGUF{}).Tensor("a", 0, 1024)), want: []warden.RuleID{"WDN-MF-070"}},
		{name: "gguf_overlap", bytes: gguf((&formattest.GGUF{}).Tensor("a", 0, 16).Tensor("b", 32, 8)), want: []warden.RuleID{"WDN-MF-070"}},
		{name: "gguf_alignment", bytes: gguf((&formattest.GGUF{Keys: 1}).Text("general.alignment").U32(4).U32(7)), want: []warden.RuleID{"WDN-MF-070"}},
		{name: "gguf_script", bytes: gguf((&formattest.GGUF{}).Pair("general.description", "#!/bin/"+"sh\nid")), want: []warden.RuleID{"WDN-MF-075"}},
		{name: "safetensors", bytes: st(good)},
		{name: "safetensors_overlap", bytes: st(strings.ReplaceAll(good, "[0,32]", "[16,48]")), want: []warden.RuleID{"WDN-MF-074", "WDN-MF-072"}},
		{name: "safetensors_outside", bytes: st(strings.ReplaceAll(good, "[32,64]", "[64,96]")), want: []warden.RuleID{"WDN-MF-072", "WDN-MF-074"}},
		{name: "safetensors_backwards", bytes: st(strings.ReplaceAll(good, "[32,64]", "[64,32]")), want: []warden.RuleID{"WDN-MF-072", "WDN-MF-074"}},
		{name: "safetensors_shape", bytes: st(strings.ReplaceAll(good, "[8]", "[4294967296,4294967296]")), want: []warden.RuleID{"WDN-MF-072", "WDN-MF-072", "WDN-MF-074"}},
		{name: "safetensors_twice", bytes: st(strings.ReplaceAll(good, `"b"`, `"a"`)), want: []warden.RuleID{"WDN-MF-073"}},
		{name: "safetensors_tail", bytes: append(st(good), "more"...), want: []warden.RuleID{"WDN-MF-074"}},
		{name: "safetensors_script", bytes: st(strings.ReplaceAll(good, `"pt"`, `"<script>x"`)), want: []warden.RuleID{"WDN-MF-075"}},
	}
	var subjects []fileCase
	for _, c := range cases {
		subjects = append(subjects, fileCase{Name: c.name, Subject: open(t, c.name, c.bytes), Want: c.want})
	}
	detecttest.Accept(t, tensorTables, subjects)
}

func TestONNX(t *testing.T) {
	type msg = []byte
	model := func(nodes, tensors []msg, more ...msg) []byte { return formattest.ONNX(nodes, tensors, more...) }
	node, external, field := formattest.ONNXNode, formattest.ONNXExternal, formattest.Field
	var subjects []fileCase
	add := func(name string, b []byte, want ...warden.RuleID) {
		f := open(t, name+".onnx", b)
		if f.Format != "onnx" || len(f.Unread) > 0 {
			t.Errorf("%s: format %q, unread %v", name, f.Format, f.Unread)
		}
		subjects = append(subjects, fileCase{Name: name, Subject: f, Want: want})
	}
	add("plain", model([]msg{node("", "Relu"), node("com.microsoft", "Gelu")}, []msg{external("w", "weights.bin"), external("v", "data/v..2.bin")}))
	add("own_function", model([]msg{node("mine", "F")}, nil, field(25, formattest.Message(field(1, "F"), field(10, "mine"), field(7, node("", "Add"))))))
	add("absolute", model(nil, []msg{external("w", "/etc/passwd")}), "WDN-MF-060")
	add("upwards", model(nil, []msg{external("w", "data/../../x")}), "WDN-MF-060")
	add("windows", model(nil, []msg{external("w", `..\x`), external("v", `C:\x`)}), "WDN-MF-060", "WDN-MF-060")
	add("in_subgraph", model([]msg{node("", "If", formattest.Message(field(1, "then_branch"), field(6, formattest.Message(field(5, external("w", "../x"))))))}, nil), "WDN-MF-060")
	add("in_attribute", model([]msg{node("", "Constant", formattest.Message(field(1, "value"), field(5, external("w", "../x"))))}, nil), "WDN-MF-060")
	add("in_function", model(nil, nil, field(25, formattest.Message(field(1, "F"), field(7, node("", "Constant", formattest.Message(field(5, external("w", "../x")))))))), "WDN-MF-060")
	add("two_locations", model(nil, []msg{external("w", "a.bin", "b.bin")}), "WDN-MF-063")
	add("pyop", model([]msg{node("ai.onnx.contrib", "PyOp")}, nil), "WDN-MF-061")
	add("custom", model([]msg{node("evil.ops", "Run"), node("evil.ops", "Run")}, nil), "WDN-MF-062")
	add("script", model(nil, nil, field(14, formattest.Message(field(1, "k"), field(2, "import os; x")))), "WDN-MF-064")
	detecttest.Accept(t, onnxModels, subjects)
}
