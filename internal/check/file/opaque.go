package file

import (
	"context"
	"regexp"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/opaque"
)

const ruleOpaque warden.RuleID = "WDN-MF-071"

// engines finds files that only their own loader can read.
var engines = &detect.Detector[*format.File]{
	Name: "engine/opaque",
	Doc: `Compiled engines of TensorRT and RKNN.

An engine is code for one device. Its loader runs it, and hands parts of it to
plug-ins, which are native libraries. What the code does cannot be seen here;
only the texts between the code are read.`,
	Rules: []warden.Rule{
		{
			ID: ruleOpaque, Title: "Engine that nothing but its loader can read", Severity: warden.High,
			Advice:     "Build the engine yourself from the ONNX model of the publisher, or load it from a publisher whom you trust to run code on your machine.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
	},
	Run: runEngines,
}

// library is the name of a native library.
var library = regexp.MustCompile(`[\w./\\:@+-]*[\w+-]\.(?:so(?:\.\d+)*|dll|dylib)\b`)

// runtimes are libraries that every engine needs.
var runtimes = []string{"libnvinfer", "libcudart", "libcudnn", "libcublas", "libnvrtc", "libcuda.", "libc.so", "libm.so", "libstdc++", "libpthread", "librknnrt", "nvinfer", "cudart", "kernel32", "ntdll"}

func runEngines(ctx context.Context, p *detect.Pass[*format.File]) error {
	f := p.Subject
	if f.Opaque == nil {
		return nil
	}
	loaders := "tensorrt deserialize_cuda_engine"
	if f.Opaque.Format == opaque.RKNN {
		loaders = "rknn_init"
	}
	p.Emit(warden.Finding{
		Rule: ruleOpaque, Severity: warden.Medium, At: whole(f),
		Message: "Loading the file runs compiled code that cannot be examined. Reached by: " + loaders + ".",
	})
	for i, t := range f.Opaque.Texts {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		for _, m := range library.FindAllStringIndex(t.Value, 8) {
			name := t.Value[m[0]:m[1]]
			if ordinary(name) {
				continue
			}
			p.Emit(warden.Finding{
				Rule: ruleOpaque, Severity: warden.High, At: at(f, t.At+int64(m[0]), t.At+int64(m[1])), Evidence: name,
				Message: "The engine names a native library, which a plug-in loads and runs. Reached by: " + loaders + ".",
			})
		}
	}
	return nil
}

// ordinary reports whether a library is one of the runtime, named without a path
// of its own.
func ordinary(name string) bool {
	if strings.ContainsAny(name, `/\`) {
		return false
	}
	for _, r := range runtimes {
		if strings.HasPrefix(strings.ToLower(name), r) {
			return true
		}
	}
	return false
}
