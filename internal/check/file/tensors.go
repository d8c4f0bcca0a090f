package file

import (
	"context"
	"fmt"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/safetensors"
)

// tensorTables finds headers whose numbers do not describe the file.
var tensorTables = &detect.Detector[*format.File]{
	Name: "tensors/header",
	Doc: `Headers of GGUF and safetensors files.

Both formats hold no code; what is dangerous in them is arithmetic. A count or
length that overflows made loaders of GGUF write outside their buffers. Offsets
that overlap or lead outside, and keys that occur twice, are read differently by
different loaders. Bytes that belong to no tensor are a place to hide things.`,
	Rules: []warden.Rule{
		{
			ID: "WDN-MF-070", Title: "GGUF header does not fit the file", Severity: warden.High,
			Advice:     "Do not load the file with a version of llama.cpp that is not current. Fetch it again and compare digests.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0076"},
		},
		{
			ID: "WDN-MF-072", Title: "Tensor offsets of a safetensors file overlap or lead outside", Severity: warden.High,
			Advice:     "Do not load the file: the reference loader refuses it, others may not. Fetch it again and compare digests.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0076"},
		},
		{
			ID: "WDN-MF-073", Title: "Key of a safetensors header occurs twice", Severity: warden.High,
			Advice:     "Do not load the file: loaders disagree on which of the two they use.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0107"},
		},
		{
			ID: "WDN-MF-074", Title: "Bytes of a safetensors file belong to no tensor", Severity: warden.Medium,
			Advice:     "Find out what the bytes are. The reference loader refuses such a file.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0076"},
		},
		{
			ID: "WDN-MF-075", Title: "Metadata of a tensor file holds code", Severity: warden.Low,
			Advice:     "Nothing runs this text by itself. Look who wrote it.",
			Frameworks: []string{"owasp-llm@2025:LLM03"},
		},
	},
	Run: runTensorTables,
}

// codeWords mark text that is a script rather than a description.
var codeWords = []string{"<script", "#!/bin/", "#!/usr/bin/", "__import__(", "os.system(", "subprocess.", "eval(", "exec(", "powershell ", "import os\n", "import os;"}

func runTensorTables(ctx context.Context, p *detect.Pass[*format.File]) error {
	f := p.Subject
	if g := f.GGUF; g != nil {
		for _, problem := range g.Problems {
			sev, what := warden.Medium, "A loader that does not check reads outside the file: "
			if problem.Overflow {
				sev, what = warden.High, "A number wraps around in the arithmetic of a loader, which then writes outside its buffer: "
			}
			p.Emit(warden.Finding{Rule: "WDN-MF-070", Severity: sev, At: at(f, problem.At, problem.At), Message: what + problem.What + "."})
		}
		for _, t := range g.Texts {
			if !strings.Contains(t.Key, "template") {
				codeIn(p, t.Key, t.Value, t.At)
			}
		}
	}
	h := f.Safetensors
	if h == nil {
		return ctx.Err()
	}
	rules := map[safetensors.ProblemKind]struct {
		id       warden.RuleID
		severity warden.Severity
		text     string
	}{
		safetensors.Range:     {"WDN-MF-072", warden.High, "A loader that follows the offsets reads what is not the tensor: "},
		safetensors.Outside:   {"WDN-MF-072", warden.Medium, "A loader that does not check reads behind the end of the file: "},
		safetensors.Duplicate: {"WDN-MF-073", warden.High, "Loaders differ in which entry they use: "},
		safetensors.Unclaimed: {"WDN-MF-074", warden.Medium, "The file carries bytes that no loader shows: "},
	}
	for _, problem := range h.Problems {
		r := rules[problem.Kind]
		p.Emit(warden.Finding{Rule: r.id, Severity: r.severity, At: at(f, problem.Start, problem.End), Message: r.text + problem.What + "."})
	}
	for i, m := range h.Metadata {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		codeIn(p, m.Key, m.Value, m.At)
	}
	return nil
}

// codeIn reports metadata that reads like a script.
func codeIn(p *detect.Pass[*format.File], key, value string, where int64) {
	for _, w := range codeWords {
		if i := strings.Index(value, w); i >= 0 {
			p.Emit(warden.Finding{
				Rule: "WDN-MF-075", Severity: warden.Low, At: at(p.Subject, where, where+int64(len(value))),
				Message: fmt.Sprintf("The metadata entry %q holds text that reads like a script; no loader runs it.", key), Evidence: value[max(0, i-40):],
			})
			return
		}
	}
}
