package file

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/formattest"
)

// model writes a Keras configuration with one layer.
func model(layer string) string {
	return `{"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": [` + layer + `]}, "registered_name": null}`
}

func layerOf(module, class, config string) string {
	return fmt.Sprintf(`{"module": %q, "class_name": %q, "config": %s, "registered_name": null}`, module, class, config)
}

func TestKeras(t *testing.T) {
	var subjects []fileCase
	zip := func(name, config string, want ...warden.RuleID) {
		b := formattest.KerasZip(config)
		if f := open(t, "m.keras", b); f.Format != "keras-zip" {
			t.Errorf("%s: format %q", name, f.Format)
		}
		subjects = append(subjects, fileCase{Name: name, Subject: member(t, "m.keras", b, format.DefaultLimits(), "config.json"), Want: want})
	}
	h5 := func(name string, h formattest.HDF5, want ...warden.RuleID) {
		f := open(t, name+".h5", h.Bytes())
		if len(f.Unread) > 0 {
			t.Errorf("%s: %v", name, f.Unread)
		}
		subjects = append(subjects, fileCase{Name: name, Subject: f, Want: want})
	}
	code := base64.StdEncoding.EncodeToString([]byte("\xe3\x00\x00co_names os system"))
	lambda := `{"name": "l", "function": ["` + code + `", null, null], "function_type": "lambda"}`
	lambda3 := `{"function": {"class_name": "__lambda__", "config": {"code": "` + code + `", "defaults": null, "closure": null}}}`
	fn := func(module, name string) string {
		return layerOf("keras.layers", "Dense", `{"activation": `+layerOf(module, "function", fmt.Sprintf("%q", name))+`}`)
	}
	zip("dense", model(layerOf("keras.layers", "Dense", `{"units": 2, "activation": "relu"}`)))
	zip("builtin_function", model(fn("builtins", "relu")))
	zip("vocabulary_inside", model(layerOf("keras.layers", "StringLookup", `{"vocabulary": ["a", "b"]}`)))
	zip("lambda", model(layerOf("keras.layers", "Lambda", lambda)), "WDN-MF-040")
	zip("lambda_nested", model(layerOf("keras.layers", "Lambda", lambda3)), "WDN-MF-040")
	zip("lambda_as_activation", model(layerOf("keras.layers", "Dense", `{"activation": {"class_name": "__lambda__", "config": {"code": "`+code+`"}}}`)), "WDN-MF-040")
	zip("lambda_as_text", model(layerOf("keras.layers", "Lambda", `{"function": "lambda x: x + 1"}`)), "WDN-MF-040")
	zip("named_function", model(layerOf("keras.layers", "Lambda", `{"function": "my_function", "function_type": "function"}`)), "WDN-MF-048")
	zip("module", model(fn("os", "system")), "WDN-MF-041")
	zip("builtins_exec", model(fn("builtins", "exec")), "WDN-MF-041")
	zip("own_module", model(layerOf("my_package.layers", "Mine", `{}`)), "WDN-MF-041")
	zip("fn_module", model(layerOf("keras.layers", "Dense", `{"fn_module": "subprocess"}`)), "WDN-MF-041")
	zip("get_file", model(fn("keras.utils", "get_file")), "WDN-MF-042")
	zip("unsafe_switch", model(fn("keras.config", "enable_unsafe_deserialization")), "WDN-MF-042")
	zip("vocabulary_path", model(layerOf("keras.layers", "StringLookup", `{"vocabulary": "/etc/passwd"}`)), "WDN-MF-043")
	zip("file_address", model(layerOf("keras.layers", "X", `{"anything": "file:///etc/passwd"}`)), "WDN-MF-043")
	zip("torch", model(layerOf("keras.layers", "TorchModuleWrapper", `{"module": "AAAA"}`)), "WDN-MF-045")
	zip("twice", model(layerOf("keras.layers", "Dense", `{"units": 1, "units": 2}`)), "WDN-MF-046")
	zip("hidden_by_duplicate", model(strings.Replace(layerOf("os", "Dense", `{}`), `"class_name"`, `"module": "keras.layers", "class_name"`, 1)), "WDN-MF-046", "WDN-MF-041")
	h5("weights_only", formattest.HDF5{Attrs: [][2]string{{"backend", "tensorflow"}}, Links: []formattest.HDF5Link{{Name: "a", Soft: "/b"}}})
	h5("h5_dense", formattest.HDF5{Variable: [][2]string{{"model_config", model(layerOf("keras.layers", "Dense", `{}`))}}})
	h5("h5_lambda", formattest.HDF5{Variable: [][2]string{{"model_config", model(layerOf("keras.layers", "Lambda", lambda))}}}, "WDN-MF-040")
	h5("h5_lambda_dense", formattest.HDF5{Dense: [][2]string{{"model_config", model(layerOf("keras.layers", "Lambda", lambda))}}}, "WDN-MF-040")
	h5("h5_external", formattest.HDF5{Links: []formattest.HDF5Link{{Name: "a", File: "/etc/x", Target: "/d"}}}, "WDN-MF-047")
	h5("h5_raw", formattest.HDF5{RawFile: "part.bin"}, "WDN-MF-047")
	detecttest.Accept(t, kerasModels, subjects)
}

func TestKerasSeverity(t *testing.T) {
	code := base64.StdEncoding.EncodeToString([]byte("names: os system"))
	layer := layerOf("keras.layers", "Lambda", `{"function": ["`+code+`", null, null]}`)
	f := open(t, "m.h5", formattest.HDF5{Attrs: [][2]string{{"model_config", model(layer)}}}.Bytes())
	res := examineWith(t, f, kerasModels)
	if len(res.Findings) != 1 || res.Findings[0].Severity != warden.Critical || !strings.Contains(res.Findings[0].Evidence, "os system") {
		t.Errorf("%+v", res.Findings)
	}
}
