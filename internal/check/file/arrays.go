package file

import (
	"context"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/pickle"
)

// disguises finds content that the name does not promise: arrays that are
// pickles, executables between weights.
var disguises = &detect.Detector[*format.File]{
	Name: "file/content",
	Doc: `Content that the name does not promise.

numpy.load takes a file without its signature for a pickle (CVE-2019-6446), and
an array of Python objects is one. Loaders that choose by content run a pickle
whatever its name (CVE-2025-10155). A native executable has no place in a model.`,
	Rules: []warden.Rule{
		{
			ID: "WDN-MF-030", Title: "Array of Python objects", Severity: warden.Low,
			Advice:     "Load it with allow_pickle=False, the default, which refuses it. Ask for numeric arrays.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000"},
		},
		{
			ID: "WDN-MF-031", Title: "Array header that NumPy does not accept", Severity: warden.Medium,
			Advice:     "Fetch the file again and compare digests. Do not load it with an old version of NumPy.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0076"},
		},
		{
			ID: "WDN-MF-032", Title: "Pickle under the name of an array", Severity: warden.Medium,
			Advice:     "Load it with allow_pickle=False, the default, which refuses it. Ask for a real array file.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0074"},
		},
		{
			ID: "WDN-MF-033", Title: "Pickle under the name of a format without code", Severity: warden.High,
			Advice:     "Do not load the file with a tool that chooses the loader by content.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0074"},
		},
		{
			ID: "WDN-MF-101", Title: "Model inside a native program", Severity: warden.High,
			Advice:     "Do not start it: the model in it runs in a runtime of your own, and llama.cpp can open the GGUF file that the archive holds.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
		{
			ID: "WDN-MF-100", Title: "Native executable", Severity: warden.High,
			Advice:     "Do not run it. A model is data; find out why the publisher ships a program with it.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
	},
	Run: runDisguises,
}

// inert are extensions of formats that hold no pickle.
var inert = []string{".safetensors", ".gguf", ".onnx", ".tflite", ".h5", ".hdf5", ".json", ".txt", ".md", ".yaml", ".yml", ".csv", ".png", ".jpg"}

func runDisguises(_ context.Context, p *detect.Pass[*format.File]) error {
	f := p.Subject
	pickled := len(f.Pickles) > 0 && (f.Is("pickle") || f.Is("joblib") || f.Is("torch-legacy"))
	name := strings.ToLower(f.Name)
	switch {
	case f.Npy != nil && f.Npy.Objects:
		p.Report("WDN-MF-030", at(f, f.Npy.Data, f.Size), "numpy.load(allow_pickle=True) unpickles this array.")
	case f.Format == "npy" && len(f.Unread) > 0:
		p.Report("WDN-MF-031", whole(f), "NumPy refuses the header of this array; what follows it is examined as a pickle.")
	case pickled && f.In == "" && strings.HasSuffix(name, ".npy"), pickled && f.In == "npz":
		p.Report("WDN-MF-032", whole(f), "numpy.load(allow_pickle=True) finds no array here and unpickles the file.")
	case pickled && slices.ContainsFunc(inert, func(ext string) bool { return strings.HasSuffix(name, ext) }) && acts(f):
		p.Report("WDN-MF-033", whole(f), "A loader that goes by content unpickles this file, which its name does not tell.")
	case f.Is("llamafile"):
		p.Report("WDN-MF-101", whole(f), "The file is a program with a model in it; whoever starts it runs code of the publisher's choosing, with the arguments that the archive names.")
	case f.Kind == "executable":
		p.Report("WDN-MF-100", whole(f), "The file is a program; whoever starts it runs code of the publisher's choosing.")
	}
	return nil
}

// acts reports whether a pickle does anything: text can look like a tiny one.
func acts(f *format.File) bool {
	for _, s := range f.Pickles {
		named := func(e pickle.Effect) bool { return e.Kind != pickle.Identifier || s.Stopped } // a line that begins with P
		if slices.ContainsFunc(s.Effects, named) || s.Protocol >= 2 && s.Stopped {
			return true
		}
	}
	return false
}
