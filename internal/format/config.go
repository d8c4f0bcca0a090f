package format

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/jsontext"
	"github.com/modelwarden/warden/internal/format/torchscript"
	"github.com/modelwarden/warden/internal/format/yamltext"
)

// What names code in a configuration.
const (
	KeyTarget   = "_target_"          // Hydra, NeMo: called
	KeyNeMo     = "target"            // NeMo: imported and built, in the configurations of an archive
	KeyTag      = "tag"               // YAML: what follows "!!python/"
	KeyAutoMap  = "auto_map"          // transformers: imported with trust_remote_code
	KeyPipeline = "custom_pipelines"  // transformers: imported with trust_remote_code
	KeyTrust    = "trust_remote_code" // asks for the consent itself; no name
	KeyModule   = "type"              // sentence-transformers: imported and built
	KeyParent   = "parent_library"    // peft: imported
	KeySkops    = "__class__"         // skops: imported, built or called
	KeyHandler  = "handler"           // TorchServe: imported and called
)

// yaml looks for code that a YAML text names.
func (f *File) yaml(ctx context.Context, b []byte) {
	keys := []string{KeyTarget}
	if f.In == "nemo" {
		keys = append(keys, KeyNeMo)
	}
	if !yamltext.May(b, keys...) {
		return
	}
	items, err := yamltext.Scan(ctx, b, keys...)
	if err != nil {
		f.unread("read/yaml", err)
	}
	for _, i := range items {
		if i.Key == KeyNeMo && !strings.ContainsAny(i.Value, ".$") { // names of other things
			continue
		}
		if !i.Known {
			f.unread("read/yaml", fmt.Errorf("%s at byte %d is made of other values: %w", i.Key, i.Start, detect.ErrLimit))
			continue
		}
		f.refer(Reference{i.Key, i.Value, i.Start, i.End})
	}
}

// refer keeps a reference.
func (f *File) refer(r Reference) {
	if len(f.References) == f.limits().Members {
		f.unread("read/config", fmt.Errorf("more than %d names of code: %w", f.limits().Members, detect.ErrLimit))
	}
	if len(f.References) < f.limits().Members {
		f.References = append(f.References, r)
	}
}

// references finds code that a JSON configuration names. The values of every
// copy of a key count: readers differ in which one they take.
func (f *File) references(ctx context.Context, doc *jsontext.Doc) {
	refer := func(key string, v jsontext.Value, name string) {
		start, end := v.Span()
		f.refer(Reference{key, name, start, end})
	}
	texts := func(key string, v jsontext.Value) {
		v.Each(func(v jsontext.Value) bool {
			if v.Kind() == jsontext.String && (key == KeyAutoMap || v.Key() == "impl") {
				refer(key, v, v.Text())
			}
			return ctx.Err() == nil
		})
	}
	steps := 0
	doc.Root().Each(func(v jsontext.Value) bool {
		if steps++; steps&4095 == 0 && ctx.Err() != nil {
			return false
		}
		switch key := v.Key(); {
		case key == KeyAutoMap:
			texts(key, v)
		case key == KeyPipeline:
			texts(key, v)
		case key == KeyTarget:
			refer(key, v, v.Text())
		case key == KeyTrust && v.True():
			refer(key, v, "")
		case key == KeyParent && v.Kind() == jsontext.String:
			refer(key, v, v.Text())
		case key == KeyModule && f.Name == "modules.json" && v.Kind() == jsontext.String:
			refer(key, v, v.Text())
		case f.In == "torchserve-mar" && slices.Contains(marPaths, key) && f.Name == "MANIFEST.json":
			for name := range strings.SplitSeq(v.Text(), ",") {
				refer(KeyHandler, v, name)
			}
		case f.In == "torch-export" && key == "target":
			f.exported(v)
		case v.Kind() == jsontext.Object && v.Get("__loader__").Ok():
			for _, name := range skopsNames(v) {
				refer(KeySkops, v, name)
			}
			f.claim("skops")
		}
		return true
	})
	local := slices.ContainsFunc(f.References, func(r Reference) bool {
		return r.Key == KeyAutoMap && !strings.Contains(r.Name, "--") || r.Key == KeyPipeline
	})
	if local {
		f.unread("read/json", notYetError("the configuration names code beside it, which this version does not examine"))
	}
	if len(f.References) > 0 && !f.Is("skops") && f.In != "torchserve-mar" {
		f.claim("hf-config")
	}
	if err := ctx.Err(); err != nil && !errors.Is(err, context.Canceled) {
		f.unread("read/json", err)
	}
}

// marPaths are the members of a TorchServe manifest that name files.
var marPaths = []string{KeyHandler, "modelFile", "serializedFile", "extraFiles", "requirementsFile", "configFile"}

// exported keeps an operator of an exported program: "torch.ops.aten.add.Tensor".
func (f *File) exported(v jsontext.Value) {
	name, ok := strings.CutPrefix(v.Text(), "torch.ops.")
	if !ok || len(f.TorchOps) > f.limits().Members {
		return
	}
	if len(f.TorchOps) == f.limits().Members {
		f.unread("read/torch-export", fmt.Errorf("more than %d operators: %w", f.limits().Members, detect.ErrLimit))
	}
	space, op, _ := strings.Cut(name, ".")
	op, _, _ = strings.Cut(op, ".")
	start, end := v.Span()
	f.TorchOps = append(f.TorchOps, torchscript.Op{Name: space + "::" + op, Line: v.Text(), Start: start, End: end})
}

// script reads the TorchScript source of an archive, and reports whether f is
// that.
func (f *File) script(ctx context.Context, b []byte) bool {
	if f.In != "torchscript" || f.ext() != ".py" || !strings.Contains(f.Path, "/code/") {
		return false
	}
	ops, err := torchscript.Scan(ctx, b)
	f.TorchOps = ops
	if err != nil {
		f.unread("read/torchscript", err)
	}
	return true
}

// skopsNames returns what a node of a skops schema names: "Loader:module.Class"
// for every combination of the copies of its keys.
func skopsNames(v jsontext.Value) (names []string) {
	var loaders, modules, classes []string
	for m := range v.All {
		switch m.Key() {
		case "__loader__":
			loaders = append(loaders, m.Text())
		case "__module__":
			modules = append(modules, m.Text())
		case "__class__":
			classes = append(classes, m.Text())
		}
	}
	const most = 4 // copies of one key that are combined
	for _, l := range loaders[:min(most, len(loaders))] {
		for _, m := range modules[:min(most, len(modules))] {
			for _, c := range classes[:min(most, len(classes))] {
				names = append(names, l+":"+m+"."+c)
			}
		}
	}
	return names
}

// maxConfig bounds the configurations whose texts are kept: larger ones are
// vocabularies and data.
const maxConfig = 256 << 10

// configTexts keeps the values of a JSON configuration, but not the lists of a
// vocabulary.
func (f *File) configTexts(doc *jsontext.Doc) {
	if _, end := doc.Root().Span(); end > maxConfig || f.ext() != ".json" {
		return
	}
	doc.Root().Each(func(v jsontext.Value) bool {
		if v.Kind() == jsontext.String && v.Key() != "" && !templateKey(v.Key()) {
			start, _ := v.Span()
			f.text(v.Key(), v.Text(), start+1)
		}
		return true
	})
}

// configLines keeps the lines of a YAML configuration.
func (f *File) configLines(b []byte) {
	if len(b) > maxConfig {
		return
	}
	at := int64(0)
	for line := range bytes.Lines(b) {
		key, value, ok := strings.Cut(string(line), ": ")
		if ok && !templateKey(key) {
			f.text(strings.Trim(key, " -\"'"), strings.TrimSpace(value), at+int64(len(key))+2)
		}
		at += int64(len(line))
	}
}

// manifestName reports whether a text of this name says what to install or
// import: for pip, conda, MLflow, or the start of Python.
func manifestName(name string) bool {
	name = strings.ToLower(name)
	ext := path.Ext(name)
	switch {
	case strings.HasPrefix(name, "requirements") && (ext == ".txt" || ext == ".in"), strings.HasPrefix(name, "constraints") && ext == ".txt":
		return true
	case ext == ".pth":
		return true
	}
	return slices.Contains([]string{"mlmodel", "conda.yaml", "conda.yml", "environment.yaml", "environment.yml", "python_env.yaml"}, name)
}

// manifest keeps the lines of a manifest. A line that ends in a backslash goes on
// with the next.
func (f *File) manifest(b []byte) {
	if !manifestName(f.Name) {
		return
	}
	f.claim("manifest")
	text, start, at := "", int64(0), int64(0)
	for raw := range bytes.Lines(b) {
		if text == "" {
			start = at
		}
		at += int64(len(raw))
		line := strings.TrimSpace(string(raw))
		if more, ok := strings.CutSuffix(line, "\\"); ok && len(text) < 64<<10 {
			text += more + " "
			continue
		}
		if text += line; text != "" {
			if len(f.Manifest) == f.limits().Members {
				f.unread("read/manifest", fmt.Errorf("more than %d lines: %w", f.limits().Members, detect.ErrLimit))
				return
			}
			f.Manifest = append(f.Manifest, Line{text, start, at})
		}
		text = ""
	}
	if text != "" {
		f.Manifest = append(f.Manifest, Line{text, start, at})
	}
}
