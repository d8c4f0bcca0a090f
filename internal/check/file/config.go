package file

import (
	"context"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
)

// configurations finds configurations that name code to import or call.
var configurations = &detect.Detector[*format.File]{
	Name: "config/code",
	Doc: `Code that a configuration names.

Hydra and NeMo call whatever _target_ names (CVE-2025-23304). YAML tags build
Python objects in loaders that are not safe ones. Configurations of transformers
name classes in Python files beside them or in another repository, which run
with trust_remote_code. The schema of a skops file names the classes that it
builds (CVE-2025-54412, CVE-2025-54413). Names are looked up in the table of
callables; it cannot see what a class of an unknown package does.`,
	Rules: []warden.Rule{
		{
			ID: "WDN-MF-037", Title: "Schema names a function or an unknown class", Severity: warden.Critical,
			Advice:     "Do not load the file with skops before 0.12, nor with trusted types that you did not check one by one.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000"},
		},
		{
			ID: "WDN-MF-085", Title: "Configuration names code that is loaded with the model", Severity: warden.Medium,
			Advice:     "Read the named code before you load the model with trust_remote_code=True; without it the code is not run.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000"},
		},
		{
			ID: "WDN-MF-086", Title: "Configuration names code in another repository", Severity: warden.High,
			Advice:     "Do not load the model with trust_remote_code=True: whoever owns the other repository decides what runs, today and later.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0010"},
		},
		{
			ID: "WDN-MF-087", Title: "Configuration names a callable that its loader calls", Severity: warden.Critical,
			Advice:     "Do not load the configuration with Hydra or NeMo. Ask for one that names classes of known packages only.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
		{
			ID: "WDN-MF-088", Title: "YAML builds Python objects", Severity: warden.Critical,
			Advice:     "Load it with yaml.safe_load only, which refuses these tags.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
	},
	Run: runConfigurations,
}

func runConfigurations(ctx context.Context, p *detect.Pass[*format.File]) error {
	for i, r := range p.Subject.References {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		reference(p, r)
	}
	return nil
}

func reference(p *detect.Pass[*format.File], r format.Reference) {
	emit := func(id warden.RuleID, sev warden.Severity, message string) {
		p.Emit(warden.Finding{Rule: id, Severity: sev, At: at(p.Subject, r.Start, r.End), Evidence: strings.Trim(r.Key+"="+r.Name, "="), Message: message})
	}
	switch r.Key {
	case format.KeyTarget, format.KeyNeMo:
		switch sev := judgeName(r.Name); sev {
		case warden.Critical:
			emit("WDN-MF-087", sev, "Loading the configuration calls a function that harms. Reached by: hydra.utils.instantiate, nemo restore_from.")
		case warden.High, warden.Medium:
			emit("WDN-MF-087", sev, "Loading the configuration calls what is not known to be safe. Reached by: hydra.utils.instantiate, nemo restore_from.")
		}
	case format.KeyTag:
		pythonTag(r, emit)
	case format.KeyAutoMap, format.KeyPipeline:
		if strings.Contains(r.Name, "--") {
			emit("WDN-MF-086", warden.High, "Loading the model runs code of another repository. Reached by: transformers with trust_remote_code=True.")
		} else {
			emit("WDN-MF-085", warden.Medium, "Loading the model runs a Python file beside it. Reached by: transformers with trust_remote_code=True.")
		}
	case format.KeyTrust:
		emit("WDN-MF-085", warden.Low, "The configuration asks for trust_remote_code; a loader that hands it on runs code of the repository.")
	case format.KeyModule, format.KeyParent:
		if sev := judgeName(r.Name); sev > warden.Low {
			emit("WDN-MF-085", min(sev, warden.Medium), "Loading the model imports the named module. Reached by: sentence-transformers, peft.")
		}
	case format.KeySkops:
		skopsNode(r, emit)
	}
}

// harmless are tags of Python's own values.
var harmless = []string{"none", "bool", "str", "unicode", "bytes", "int", "long", "float", "complex", "list", "tuple", "dict"}

func pythonTag(r format.Reference, emit func(warden.RuleID, warden.Severity, string)) {
	kind, name, _ := strings.Cut(r.Name, ":")
	if slices.Contains(harmless, kind) {
		return
	}
	sev := judgeName(name)
	switch kind {
	case "object/apply", "object/new":
		if sev == warden.Critical {
			emit("WDN-MF-088", sev, "Loading the text calls a function that harms. Reached by: yaml.unsafe_load, yaml.load of PyYAML before 5.1.")
			return
		}
	case "object":
		if sev != warden.Critical {
			emit("WDN-MF-088", warden.Medium, "Loading the text builds an object of the class that it names. Reached by: yaml.unsafe_load, yaml.load of PyYAML before 5.1.")
			return
		}
	}
	emit("WDN-MF-088", warden.High, "Loading the text imports, builds or calls what it names. Reached by: yaml.unsafe_load, yaml.load of PyYAML before 5.1.")
}

// skopsNode judges a node of a schema. The loaders of skops that call what they
// name are critical with a dangerous name; its plain data needs none.
func skopsNode(r format.Reference, emit func(warden.RuleID, warden.Severity, string)) {
	loader, name, _ := strings.Cut(r.Name, ":")
	sev := judgeName(name)
	module, _, _ := strings.Cut(name, ".")
	switch {
	case loader == "OperatorFuncNode" && module != "operator" && module != "_operator":
		emit("WDN-MF-037", warden.Critical, "Loading the file calls what a node of another kind names; the check of trusted types does not see it. Reached by: skops.io.load before 0.12.")
	case loader == "MethodNode" && sev >= warden.High:
		emit("WDN-MF-037", warden.Critical, "Loading the file takes a method of an object that is not a trusted one. Reached by: skops.io.load before 0.12.")
	case sev == warden.Critical:
		emit("WDN-MF-037", warden.High, "Loading the file reaches a dangerous function. Reached by: skops.io.load with this type trusted.")
	case sev > warden.Low && loader != "JsonNode" && loader != "DictNode" && loader != "ListNode":
		emit("WDN-MF-037", warden.Medium, "Loading the file builds what is not known to be safe. Reached by: skops.io.load with this type trusted.")
	}
}

// configPackages are packages whose classes configurations build: their classes
// are configured by data alone.
var configPackages = []string{
	"nemo", "nemo_text_processing", "megatron", "pytorch_lightning", "lightning", "torch", "torchvision", "torchaudio", "torchmetrics", "transformers", "tokenizers",
	"omegaconf", "hydra_plugins", "sklearn", "numpy", "scipy", "datasets", "diffusers", "timm", "sentence_transformers", "peft", "accelerate", "builtins", "collections", "datetime", "pathlib", "xgboost", "lightgbm", "catboost", "quantile_forest",
}

// judgeName says how bad it is that a loader calls or builds what a dotted name
// names: Critical for a dangerous callable, Info for a class of a known package.
func judgeName(name string) warden.Severity {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		if row("builtins."+name).tier == tierDangerous {
			return warden.Critical
		}
		return warden.Medium
	}
	c := classify(name[:dot], name[dot+1:])
	for rest := name; c.tier != tierDangerous; { // "package.os.system"
		_, tail, ok := strings.Cut(rest, ".")
		if !ok || !strings.Contains(tail, ".") {
			break
		}
		if t := row(tail); t.tier == tierDangerous && (t.exact || unmistakable[tail[:strings.IndexByte(tail, '.')]]) {
			c = t
		}
		rest = tail
	}
	root, _, _ := strings.Cut(name, ".")
	class := classLike(name) || c.class
	switch {
	case c.tier == tierDangerous:
		return warden.Critical
	case c.tier == tierVetted, class && (c.tier != tierUnknown || slices.Contains(configPackages, root)):
		return warden.Info
	case class, slices.Contains(configPackages, root):
		return warden.Medium
	default:
		return warden.High
	}
}
