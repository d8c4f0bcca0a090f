package file

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/hdf5"
	"github.com/modelwarden/warden/internal/format/jsontext"
)

// kerasModels finds Keras configurations that carry or call code, and HDF5
// files that reach into other files.
var kerasModels = &detect.Detector[*format.File]{
	Name: "keras/config",
	Doc: `Keras model configurations and HDF5 files.

A configuration names the classes and functions that Keras imports and calls to
build the model. Lambda layers carry bytecode (CVE-2024-3660); in HDF5 files
safe_mode is ignored (CVE-2025-9905). Before Keras 3.9 any module could be
imported (CVE-2025-1550), and functions of Keras itself download files
(CVE-2025-8747) or switch the protection off (CVE-2025-9906). Vocabulary layers
open paths and addresses (CVE-2025-12058).`,
	Rules: []warden.Rule{
		{
			ID: "WDN-MF-040", Title: "Lambda layer with code", Severity: warden.Critical,
			Advice:     "Do not load the model. Ask for one without Lambda layers, or for the code that builds it and weights alone.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
		{
			ID: "WDN-MF-041", Title: "Configuration imports a module that is not Keras", Severity: warden.Critical,
			Advice:     "Load the model with Keras 3.9 or newer and safe_mode on only, after you know the module that it names.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
		{
			ID: "WDN-MF-042", Title: "Configuration calls a function of Keras that writes files or lifts the protection", Severity: warden.Critical,
			Advice:     "Do not load the model: no layer needs this function.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
		{
			ID: "WDN-MF-043", Title: "Configuration opens a path or address", Severity: warden.High,
			Advice:     "Do not load the model where the path can be read or the address reached. Ask for a vocabulary inside the file.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0010"},
		},
		{
			ID: "WDN-MF-045", Title: "Layer holds a pickled PyTorch module", Severity: warden.High,
			Advice:     "Do not load the model with Keras before 3.11.3: the layer is unpickled even with safe_mode on.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000"},
		},
		{
			ID: "WDN-MF-046", Title: "Key of a configuration occurs twice", Severity: warden.High,
			Advice:     "Do not load the model: a scanner may read the first value where Keras uses the last.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0107"},
		},
		{
			ID: "WDN-MF-047", Title: "HDF5 file takes data from another file", Severity: warden.High,
			Advice:     "Ask for a file that holds all its data. A path out of its folder can read anything the loader can read.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0010"},
		},
		{
			ID: "WDN-MF-048", Title: "Layer calls a function given by name", Severity: warden.Medium,
			Advice:     "Find the function in the code that comes with the model; Keras calls whatever has this name.",
			Frameworks: []string{"owasp-llm@2025:LLM03"},
		},
	},
	Run: runKeras,
}

// kerasPackages are the packages whose classes Keras builds by itself.
var kerasPackages = []string{"keras", "tf_keras", "keras_core", "keras_nlp", "keras_cv", "keras_hub", "keras_tuner", "tensorflow"}

// perilous are modules whose import or functions harm without more.
var perilous = []string{
	"os", "sys", "subprocess", "builtins", "__builtin__", "importlib", "posix", "nt", "pty", "shutil", "socket", "ctypes", "runpy", "code", "codeop",
	"marshal", "pickle", "_pickle", "cloudpickle", "dill", "joblib", "webbrowser", "urllib", "requests", "http", "ftplib", "smtplib", "multiprocessing",
	"threading", "pdb", "bdb", "timeit", "cProfile", "profile", "trace", "pip", "ensurepip", "venv", "operator", "functools", "types", "inspect", "pathlib", "tempfile", "io", "pkgutil", "torch", "asyncio", "antigravity", "this",
}

// perilousBuiltins are the functions of builtins that run or reach anything.
var perilousBuiltins = []string{"eval", "exec", "compile", "open", "__import__", "getattr", "setattr", "delattr", "globals", "locals", "vars", "breakpoint", "input", "exit", "quit"}

// gadgets are functions of Keras that do more than build a layer.
var gadgets = []string{"get_file", "enable_unsafe_deserialization", "load_model", "load_weights", "save_model", "save_weights", "extract_archive", "_extract_archive", "disable_safe_mode"}

// pathKeys are members whose text is opened.
var pathKeys = []string{"vocabulary", "idf_weights", "origin", "fname", "url", "uri", "filepath", "file_path", "filename", "cache_dir", "sentencepiece_model", "proto"}

func runKeras(ctx context.Context, p *detect.Pass[*format.File]) error {
	if h := p.Subject.HDF5; h != nil {
		for i, l := range h.Links {
			if i%4096 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			hdf5Link(p, l)
		}
	}
	for _, c := range p.Subject.Keras {
		k := &kerasWalk{p: p, c: c}
		steps := 0
		c.Doc.Root().Each(func(v jsontext.Value) bool {
			if steps++; steps&4095 == 0 && ctx.Err() != nil {
				return false
			}
			k.value(v)
			return true
		})
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func hdf5Link(p *detect.Pass[*format.File], l hdf5.Link) {
	if l.Kind == hdf5.Soft {
		return
	}
	sev := warden.Medium
	if leaves(l.File) || l.Kind == hdf5.Defined {
		sev = warden.High
	}
	p.Emit(warden.Finding{
		Rule: "WDN-MF-047", Severity: sev, At: at(p.Subject, l.At, l.At), Evidence: strings.TrimSpace(l.Path + " <- " + l.File + " " + l.Target),
		Message: fmt.Sprintf("Reading the file opens another one (%s link). Reached by: h5py, keras.models.load_model.", l.Kind),
	})
}

type kerasWalk struct {
	p *detect.Pass[*format.File]
	c format.Config
}

func (k *kerasWalk) emit(id warden.RuleID, sev warden.Severity, v jsontext.Value, evidence, format string, args ...any) {
	start, end := v.Span()
	k.p.Emit(warden.Finding{
		Rule: id, Severity: sev, At: at(k.p.Subject, k.c.At+start, k.c.At+end), Evidence: evidence,
		Message: fmt.Sprintf(format, args...),
	})
}

// value judges one value; the walk visits those inside it too.
func (k *kerasWalk) value(v jsontext.Value) {
	switch v.Kind() {
	case jsontext.Object:
		k.duplicates(v)
		for class := range members(v, "class_name") {
			k.class(v, class.Text())
		}
	case jsontext.String:
		k.text(v)
	}
}

// members yields every member with the key: duplicates too.
func members(v jsontext.Value, key string) func(func(jsontext.Value) bool) {
	return func(yield func(jsontext.Value) bool) {
		for m := range v.All {
			if m.Key() == key && !yield(m) {
				return
			}
		}
	}
}

func (k *kerasWalk) duplicates(v jsontext.Value) {
	seen := map[string]bool{}
	for m := range v.All {
		key := m.Key()
		if seen[key] {
			k.emit("WDN-MF-046", warden.High, m, key, "Keras uses the last value of the key %q, other readers the first.", key)
		}
		seen[key] = true
	}
}

func (k *kerasWalk) class(v jsontext.Value, class string) {
	for m := range members(v, "module") {
		if m.Kind() == jsontext.String {
			k.module(v, class, m.Text())
		}
	}
	short := class[strings.LastIndexAny(class, ">.")+1:]
	switch short {
	case "Lambda":
		for cfg := range members(v, "config") {
			for fn := range members(cfg, "function") {
				k.lambda(v, fn)
			}
		}
	case "__lambda__":
		for cfg := range members(v, "config") {
			for code := range members(cfg, "code") {
				k.bytecode(v, code.Text())
			}
		}
	case "TorchModuleWrapper":
		k.emit("WDN-MF-045", warden.High, v, class, "Loading the model unpickles a PyTorch module, safe_mode or not. Reached by: keras.models.load_model before 3.11.3.")
	}
}

// lambda judges the function of a Lambda layer: code, or a name.
func (k *kerasWalk) lambda(layer, fn jsontext.Value) {
	switch fn.Kind() {
	case jsontext.Array: // code, defaults, closure
		for code := range fn.All {
			k.bytecode(layer, code.Text())
			return
		}
	case jsontext.String:
		if name := fn.Text(); strings.ContainsAny(name, "=(:\n") {
			k.emit("WDN-MF-040", warden.High, layer, name, "A layer carries source code in place of the name of a function.")
		} else {
			k.emit("WDN-MF-048", warden.Medium, layer, name, "Running the model calls the function %q, whatever it is where the model is loaded.", name)
		}
	}
}

// bytecode reports code that is carried along.
func (k *kerasWalk) bytecode(layer jsontext.Value, code string) {
	sev, how := warden.High, "keras.models.load_model(safe_mode=False)"
	if k.c.Legacy {
		sev, how = warden.Critical, "keras.models.load_model, which ignores safe_mode for HDF5"
	}
	k.emit("WDN-MF-040", sev, layer, "Lambda("+codeNames(code)+")", "Loading the model runs bytecode that the file carries. Reached by: %s.", how)
}

// codeNames returns the texts of marshalled code, which are its names and
// constants. It does not run or unmarshal the code.
func codeNames(code string) string {
	raw, err := base64.StdEncoding.DecodeString(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == ' ' {
			return -1
		}
		return r
	}, code))
	if err != nil {
		raw = []byte(code)
	}
	fields := strings.FieldsFunc(string(raw), func(r rune) bool { return r < ' ' || r > '~' })
	fields = slices.DeleteFunc(fields, func(s string) bool { return len(s) < 3 })
	return strings.Join(fields, " ")
}

func (k *kerasWalk) module(v jsontext.Value, class, module string) {
	root, _, _ := strings.Cut(module, ".")
	name := class
	for cfg := range members(v, "config") {
		if class == "function" && cfg.Kind() == jsontext.String {
			name = cfg.Text()
		}
	}
	evidence := module + "." + name
	switch {
	case root == "builtins":
		if slices.Contains(perilousBuiltins, name) {
			k.emit("WDN-MF-041", warden.Critical, v, evidence, "Loading the model takes %q from Python itself and calls it. Reached by: keras.models.load_model before 3.9.", name)
		}
	case slices.Contains(kerasPackages, root):
		if slices.Contains(gadgets, name) {
			k.emit("WDN-MF-042", warden.Critical, v, evidence, "Loading the model calls %s with arguments of the file's choosing. Reached by: keras.models.load_model before 3.11, safe_mode or not.", evidence)
		}
	case slices.Contains(perilous, root):
		k.emit("WDN-MF-041", warden.Critical, v, evidence, "Loading the model imports %s and calls %s. Reached by: keras.models.load_model before 3.9, safe_mode or not.", module, evidence)
	case module != "" && root != "__main__":
		k.emit("WDN-MF-041", warden.Medium, v, evidence, "Loading the model imports the module %s, which runs its top level.", module)
	}
}

// text judges a text by its key.
func (k *kerasWalk) text(v jsontext.Value) {
	key := v.Key()
	if key == "" {
		return
	}
	s := v.Text()
	switch {
	case key == "fn_module" || key == "function_module":
		if root, _, _ := strings.Cut(s, "."); !slices.Contains(kerasPackages, root) && root != "builtins" && root != "" {
			sev := warden.Medium
			if slices.Contains(perilous, root) {
				sev = warden.Critical
			}
			k.emit("WDN-MF-041", sev, v, s, "Loading the model imports the module %s, which runs its top level.", s)
		}
	case strings.HasPrefix(strings.ToLower(s), "file://"), slices.Contains(pathKeys, key) && leaves(s):
		k.emit("WDN-MF-043", warden.High, v, key+"="+s, "Loading the model opens what %q names. Reached by: keras.models.load_model, safe_mode or not.", key)
	case key == "vocabulary" && s != "":
		k.emit("WDN-MF-043", warden.Medium, v, key+"="+s, "Loading the model opens the file that %q names.", key)
	}
}
