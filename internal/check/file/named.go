package file

import (
	"context"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	inmodel "github.com/modelwarden/warden/internal/format/named"
)

// namedCode judges what Core ML, Paddle, CNTK and MXNet models name.
var namedCode = &detect.Detector[*format.File]{
	Name: "model/names",
	Doc: `Code and files that Core ML, Paddle, CNTK and MXNet models name.

These models compute with operators of their framework, and name what the
framework does not bring: Python functions (py_func of Paddle, Custom of MXNet,
user-defined functions of CNTK), native libraries, classes that the application
has to bring (custom layers and models of Core ML), linked models and files of
weights. Some operators of Paddle reach files and the network. It cannot see what
the code does that is named.`,
	Rules: []warden.Rule{
		{
			ID: "WDN-MF-069", Title: "Model runs code that it names", Severity: warden.High,
			Advice:     "Do not load the model in a process whose code you did not choose. Ask for one that needs operators of its framework only.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.001"},
		},
		{
			ID: "WDN-MF-118", Title: "Model opens files or connections of its choice", Severity: warden.High,
			Advice:     "Do not load the model where secrets can be read or files matter. Ask for one whose files lie beside it.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000"},
		},
		{
			ID: "WDN-MF-119", Title: "Model needs code that its framework does not bring", Severity: warden.Medium,
			Advice:     "Find out which application or library brings the class or operator. Loading that library runs its code.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0018.001"},
		},
	},
	Run: runNamed,
}

// loaders are what reaches the names in a file, by its format.
var loaders = map[string]string{
	"coreml": "CoreML, coremltools.models.MLModel",
	"paddle": "paddle.inference, paddle.jit.load",
	"cntk":   "cntk.Function.load",
	"mxnet":  "mxnet.symbol.load, gluon.SymbolBlock.imports",
}

func runNamed(ctx context.Context, p *detect.Pass[*format.File]) error {
	f := p.Subject
	reached := ""
	for _, name := range []string{"coreml", "paddle", "cntk", "mxnet"} {
		if f.Is(name) && reached == "" {
			reached = " Reached by: " + loaders[name] + "."
		}
	}
	for i, n := range f.Named {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		emit := func(id warden.RuleID, sev warden.Severity, message string) {
			p.Emit(warden.Finding{Rule: id, Severity: sev, At: at(f, n.Start, n.End), Evidence: strings.TrimSuffix(n.Key+": "+n.Value, ": "), Message: message + reached})
		}
		switch n.Kind {
		case inmodel.Python:
			emit("WDN-MF-069", warden.High, "Loading or running the model calls a Python function or class that it names.")
		case inmodel.Library:
			emit("WDN-MF-069", warden.High, "Loading the model loads the native library that it names.")
		case inmodel.Custom:
			emit("WDN-MF-119", warden.Medium, "Running the model needs code that only the application or a foreign library brings.")
		case inmodel.File:
			if leaves(strings.TrimPrefix(n.Value, "@model_path/")) {
				emit("WDN-MF-118", warden.High, "Loading the model opens a file outside its folder.")
			}
		case inmodel.Writes:
			emit("WDN-MF-118", warden.High, "Running the model writes a file.")
		case inmodel.Reads:
			emit("WDN-MF-118", warden.Medium, "Running the model reads a file.")
		case inmodel.Network:
			emit("WDN-MF-118", warden.High, "Running the model opens connections.")
		}
	}
	return nil
}
