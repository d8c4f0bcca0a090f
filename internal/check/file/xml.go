package file

import (
	"context"
	"regexp"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
)

// xmlModels finds XML models that reach outside themselves.
var xmlModels = &detect.Detector[*format.File]{
	Name: "xml/model",
	Doc: `PMML and OpenVINO models that read other files or need foreign code.

An XML parser that resolves entities reads files and addresses that the document
names, or fills the memory. A layer of OpenVINO can ask for an extension library,
which runs as native code. PMML has a place for extensions, in which some tools
look for scripts.`,
	Rules: []warden.Rule{
		{
			ID: "WDN-MF-065", Title: "XML declares an entity", Severity: warden.High,
			Advice:     "Read the model only with a parser that refuses document types. No exporter writes entities.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0010"},
		},
		{
			ID: "WDN-MF-066", Title: "Layer needs an extension library", Severity: warden.High,
			Advice:     "Find out which library provides the layer. Loading that library runs its code.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0018.001"},
		},
		{
			ID: "WDN-MF-067", Title: "Extension of a model holds code", Severity: warden.Medium,
			Advice:     "Find out which program reads the extension. PMML itself gives it no meaning.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
	},
	Run: runXML,
}

// operatorSets are the sets of OpenVINO.
var operatorSets = regexp.MustCompile(`^(opset\d+|experimental|util|ie_internal_opset|gpu_opset|cpu_plugin_opset|internal|\d*)$`)

func runXML(ctx context.Context, p *detect.Pass[*format.File]) error {
	doc := p.Subject.XML
	if doc == nil {
		return nil
	}
	for _, e := range doc.Entities {
		sev, message := warden.Medium, "A parser that expands entities multiplies text that the document defines."
		if e.Key != "" {
			sev, message = warden.High, "A parser that resolves entities opens the file or address that the document names."
		}
		p.Emit(warden.Finding{Rule: "WDN-MF-065", Severity: sev, At: at(p.Subject, e.Start, e.End), Message: message, Evidence: e.Value})
	}
	for i, l := range doc.Layers {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if !operatorSets.MatchString(l.Element) {
			p.Emit(warden.Finding{
				Rule: "WDN-MF-066", Severity: warden.Medium, At: at(p.Subject, l.Start, l.End), Evidence: l.Element + "." + l.Value,
				Message: "Running the model needs a layer that only an extension provides.",
			})
		}
	}
	for i, m := range doc.Marks {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		where := at(p.Subject, m.Start, m.End)
		switch {
		case m.Key == "library" && m.Value != "":
			p.Emit(warden.Finding{
				Rule: "WDN-MF-066", Severity: warden.High, At: where, Evidence: m.Element + " " + m.Value,
				Message: "Loading the model can load the native library that it names.",
			})
		case strings.EqualFold(m.Element, "extension"):
			for _, w := range codeWords {
				if j := strings.Index(m.Value, w); j >= 0 {
					p.Emit(warden.Finding{
						Rule: "WDN-MF-067", Severity: warden.Medium, At: where, Evidence: m.Value[max(0, j-40):],
						Message: "An extension holds text that reads like a script.",
					})
					break
				}
			}
		}
	}
	return nil
}
