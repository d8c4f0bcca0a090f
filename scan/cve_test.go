package scan_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	ft "github.com/modelwarden/warden/internal/format/formattest"
	pt "github.com/modelwarden/warden/internal/format/pickle/pickletest"
	"github.com/modelwarden/warden/scan"
)

// keras writes a configuration with one layer.
func keras(module, class, config string) string {
	layer := fmt.Sprintf(`{"module": %q, "class_name": %q, "config": %s, "registered_name": null}`, module, class, config)
	return `{"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": [` + layer + `]}, "registered_name": null}`
}

// TestNamedVulnerabilities: for each vulnerability that the design names, a file
// that would exploit it, assembled from text. The verdict is what a user of the
// loader needs to know: malicious or unsafe.
func TestNamedVulnerabilities(t *testing.T) {
	call := func(module, name, arg string) string {
		return "\x80\x04" + pt.Global(module, name) + "\x8c" + string([]byte{byte(len(arg))}) + arg + "\x85R."
	}
	shell := call("posix", "system", "id")
	npy := func(body string) string {
		head := "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
		head += strings.Repeat(" ", 128-10-len(head)-1) + "\n"
		return "\x93NUMPY\x01\x00" + string([]byte{byte(len(head)), 0}) + head + body
	}
	deflated := func(s string) string {
		var b bytes.Buffer
		w := zlib.NewWriter(&b)
		if _, err := w.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	zip := func(entries ...ft.ZipEntry) string { return string(ft.Zip(entries...)) }
	file := func(name, data string) ft.ZipEntry { return ft.ZipEntry{Name: name, Data: []byte(data)} }
	torch := func(pkl string, more ...ft.ZipEntry) string {
		return zip(append([]ft.ZipEntry{file("archive/data.pkl", pkl), file("archive/version", "3\n")}, more...)...)
	}
	honest := "\x80\x02}."
	lambda := `{"name": "l", "function": ["` + base64.StdEncoding.EncodeToString([]byte("\xe3\x00\x00co_names os system")) + `", null, null], "function_type": "lambda"}`
	fn := func(module, name string) string {
		return `{"activation": {"module": ` + fmt.Sprintf("%q", module) + `, "class_name": "function", "config": ` + fmt.Sprintf("%q", name) + `, "registered_name": null}}`
	}
	onnx := func(location string) string { return string(ft.ONNX(nil, [][]byte{ft.ONNXExternal("w", location)})) }
	skops := func(loader, module, class string) string {
		return zip(file("schema.json", fmt.Sprintf(`{"__class__": %q, "__module__": %q, "__loader__": %q, "content": {}, "protocol": 2}`, class, module, loader)))
	}
	template := "{{ ''." + "__class__.__mro__[1]." + "__subclasses__() }}"
	jointar := string(ft.Tar(ft.TarEntry{Name: "pickle", Data: []byte(shell)}, ft.TarEntry{Name: "storages", Data: []byte(honest)}, ft.TarEntry{Name: "tensors", Data: []byte(honest)}, ft.TarEntry{Name: "sys_info", Data: []byte(honest)}))
	for _, tt := range []struct{ cve, name, data string }{
		{"CVE-2019-6446", "a.npy", npy(shell)},
		{"CVE-2020-13092", "model.joblib", deflated(shell)},
		{"CVE-2022-25882", "m.onnx", onnx("../../etc/passwd")},
		{"CVE-2022-45907", "m.pkl", call("torch.jit.annotations", "parse_type_line", "x")},
		{"CVE-2024-27318", "m.onnx", onnx("a/../../../etc/passwd")},
		{"CVE-2024-27322", "m.rds", string(ft.RDS(ft.RPairs("x", ft.RPromise(ft.RCall("system", ft.RText("id"))))))},
		{"CVE-2024-34359", "m.gguf", string((&ft.GGUF{Version: 3}).Pair("tokenizer.chat_template", template).Bytes(nil))},
		{"CVE-2024-3660", "m.keras", string(ft.KerasZip(keras("keras.layers", "Lambda", lambda)))},
		{"CVE-2024-48063", "m.pkl", call("torch.distributed.nn.api.remote_module", "_recursive_script_module_receiver", "x")},
		{"CVE-2024-5480", "m.pkl", "\x80\x04" + pt.Global("torch.distributed.rpc.internal", "PythonUDF") + pt.Global("builtins", "eval") + "\x8c\x011\x85}\x87R."},
		{"CVE-2024-55459", "m.keras", string(ft.KerasZip(keras("keras.layers", "Dense", fn("keras.utils", "get_file"))))},
		{"CVE-2025-10155", "pytorch_model.bin", shell},
		{"CVE-2025-10156", "m.pt", zip(ft.ZipEntry{Name: "archive/data.pkl", Data: []byte(shell), BadCRC: true})},
		{"CVE-2025-10157", "m.pkl", call("asyncio.unix_events", "_UnixSubprocessTransport._start", "id")},
		{"CVE-2025-12058", "m.keras", string(ft.KerasZip(keras("keras.layers", "StringLookup", `{"vocabulary": "/etc/passwd"}`)))},
		{"CVE-2025-1550", "m.keras", string(ft.KerasZip(keras("keras.layers", "Dense", fn("os", "system"))))},
		{"CVE-2025-1716", "m.pkl", call("pip", "main", "install")},
		{"CVE-2025-1889", "m.pt", torch(honest, file("archive/config.p", shell))},
		{"CVE-2025-1944", "m.pt", zip(ft.ZipEntry{Name: "archive/data.pkl", Local: "archive/evil.pkl", Data: []byte(shell)})},
		{"CVE-2025-1945", "m.pt", zip(ft.ZipEntry{Name: "archive/data.pkl", Data: []byte(shell), Flags: 0x20})},
		{"CVE-2025-23304", "model_config.yaml", "model:\n  _target_: os.system\n"},
		{"CVE-2025-32434", "m.tar", jointar},
		{"CVE-2025-49655", "m.keras", string(ft.KerasZip(keras("keras.layers", "TorchModuleWrapper", `{"module": "`+base64.StdEncoding.EncodeToString([]byte(shell))+`"}`)))},
		{"CVE-2025-51480", "m.onnx", onnx("/etc/cron.d/job")},
		{"CVE-2025-54412", "m.skops", skops("OperatorFuncNode", "mine", "Get")},
		{"CVE-2025-54413", "m.skops", skops("MethodNode", "builtins", "getattr")},
		{"CVE-2025-54886", "model.skops", shell},
		{"CVE-2025-8747", "m.keras", string(ft.KerasZip(keras("keras.layers", "Dense", fn("keras.utils", "get_file"))))},
		{"CVE-2025-9905", "m.h5", string(ft.HDF5{Attrs: [][2]string{{"model_config", keras("keras.layers", "Lambda", lambda)}}}.Bytes())},
		{"CVE-2025-9906", "m.keras", string(ft.KerasZip(keras("keras.layers", "Dense", fn("keras.config", "enable_unsafe_deserialization"))))},
		// Items set on what is no dictionary, which the restricted unpickler allowed.
		{"CVE-2026-24747", "m.pt", torch("\x80\x02(U\x07storage"+pt.Global("torch", "FloatStorage")+"U\x010U\x03cpuM\x10\x27tQ.", file("archive/data/0", "1234"))},
		{"CVE-2026-24747", "m.pt", torch("\x80\x02" + pt.Global("torch._utils", "_rebuild_tensor_v2") + "(K\x01K\x02tR" + "K\x01K\x02s.")},
	} {
		r := scan.File(t.Context(), tt.name, strings.NewReader(tt.data), int64(len(tt.data)), scan.Options{})
		if r.Verdict < warden.Unsafe {
			t.Errorf("%s in %s: %v, want unsafe or malicious (%v, %v)", tt.cve, tt.name, r.Verdict, r.Findings, r.Statuses)
		}
	}
}
