package file

import (
	"cmp"
	"context"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/onnx"
)

// onnxModels finds ONNX models that reach outside themselves.
var onnxModels = &detect.Detector[*format.File]{
	Name: "onnx/model",
	Doc: `ONNX models that read other files or need foreign code.

Tensors may lie in external files named by a path. Loaders followed absolute
paths and ".." out of the model's folder (CVE-2022-25882, CVE-2024-27318), and
saving such a model wrote there (CVE-2025-51480). Operators of other domains
need a library that the loader is told to load; PyOp runs Python.`,
	Rules: []warden.Rule{
		{
			ID: "WDN-MF-060", Title: "External data leads out of the model's folder", Severity: warden.High,
			Advice:     "Do not load or save the model with onnx before 1.19. Ask for a model whose data lies beside it.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000"},
		},
		{
			ID: "WDN-MF-061", Title: "Operator runs Python", Severity: warden.High,
			Advice:     "Do not run the model with the Python operator extension unless you wrote the function it calls.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.001"},
		},
		{
			ID: "WDN-MF-062", Title: "Operator of an unknown domain", Severity: warden.Medium,
			Advice:     "Find out which library provides the operator. Loading that library runs its code.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0018.001"},
		},
		{
			ID: "WDN-MF-063", Title: "Location of external data is given twice", Severity: warden.High,
			Advice:     "Do not load the model: tools differ in which location they check and which they open.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0107"},
		},
		{
			ID: "WDN-MF-064", Title: "Metadata of a model holds code", Severity: warden.Low,
			Advice:     "Nothing runs this text by itself. Look who wrote it.",
			Frameworks: []string{"owasp-llm@2025:LLM03"},
		},
	},
	Run: runONNX,
}

// domains are the operator sets of ONNX and of onnxruntime without extensions.
var domains = map[string]bool{
	"": true, "ai.onnx": true, "ai.onnx.ml": true, "ai.onnx.training": true, "ai.onnx.preview": true, "ai.onnx.preview.training": true,
	"com.microsoft": true, "com.microsoft.nchwc": true, "com.microsoft.experimental": true, "com.ms.internal.nhwc": true,
	"com.microsoft.dml": true, "org.pytorch.aten": true, "ai.onnx.contrib": true,
}

// pythonOps run a Python function given by name.
var pythonOps = map[string]bool{"PyOp": true, "PythonOp": true, "PythonOpGrad": true, "PyCustomOp": true, "PyFunc": true}

func runONNX(ctx context.Context, p *detect.Pass[*format.File]) error {
	m := p.Subject.ONNX
	if m == nil {
		return nil
	}
	for i, e := range m.External {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		where := at(p.Subject, e.Start, e.End)
		if leaves(e.Location) {
			p.Emit(warden.Finding{
				Rule: "WDN-MF-060", Severity: warden.High, At: where, Evidence: e.Tensor + " <- " + e.Location,
				Message: "Loading the model reads a file outside its folder as a tensor, and saving it writes there. Reached by: onnx before 1.16, onnxruntime.",
			})
		}
		if e.Copies > 1 {
			p.Emit(warden.Finding{
				Rule: "WDN-MF-063", Severity: warden.High, At: where, Evidence: e.Tensor + " <- " + e.Location,
				Message: "A tensor names two locations; a check of one does not hold for the other.",
			})
		}
	}
	ops := slices.SortedFunc(maps.Keys(m.Ops), func(a, b onnx.Op) int {
		return cmp.Or(cmp.Compare(m.Ops[a].Start, m.Ops[b].Start), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Type, b.Type))
	})
	for _, op := range ops {
		use := m.Ops[op]
		where := at(p.Subject, use.Start, use.End)
		switch {
		case pythonOps[op.Type]:
			p.Emit(warden.Finding{
				Rule: "WDN-MF-061", Severity: warden.High, At: where, Evidence: op.Domain + "::" + op.Type,
				Message: "Running the model calls a Python function that the node names.",
			})
		case !domains[op.Domain] && !m.Functions[op]:
			p.Emit(warden.Finding{
				Rule: "WDN-MF-062", Severity: warden.Medium, At: where, Evidence: op.Domain + "::" + op.Type,
				Message: "Running the model needs an operator that only a foreign library provides.",
			})
		}
	}
	for _, t := range m.Metadata {
		for _, w := range codeWords {
			if i := strings.Index(t.Value, w); i >= 0 {
				p.Emit(warden.Finding{
					Rule: "WDN-MF-064", Severity: warden.Low, At: at(p.Subject, t.Start, t.End), Evidence: t.Value[max(0, i-40):],
					Message: "The metadata holds text that reads like a script; no loader runs it.",
				})
				break
			}
		}
	}
	return nil
}

// leaves reports whether a location is absolute, leads upwards or is a URL.
func leaves(location string) bool {
	slashed := strings.ReplaceAll(location, `\`, "/")
	return path.IsAbs(slashed) || len(slashed) > 1 && slashed[1] == ':' || strings.Contains(slashed, "://") ||
		escapes(slashed) || slices.Contains(strings.Split(slashed, "/"), "..")
}
