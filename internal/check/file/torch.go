package file

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/torchscript"
)

// torchArchives looks at what torch archives carry besides their pickles.
var torchArchives = &detect.Detector[*format.File]{
	Name: "torch/archive",
	Doc: `TorchScript, exported programs and TorchServe archives.

The code of a TorchScript module runs in an interpreter of its own, which reaches
files through a few operators, and native code through libraries of operators.
Exported programs can carry compiled libraries. The manifest of a TorchServe
archive names the files that the server imports. It cannot see hidden logic in
code that only computes.`,
	Rules: []warden.Rule{
		{
			ID: "WDN-MF-034", Title: "TorchScript reaches outside its tensors", Severity: warden.High,
			Advice:     "Do not run the module. Inference needs no operator that reaches files, the network or a foreign library.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.001"},
		},
		{
			ID: "WDN-MF-035", Title: "Archive carries a native library", Severity: warden.High,
			Advice:     "Do not load the archive unless you trust its builder: the library runs when the model is loaded. Ask for the exported program and compile it yourself.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
		{
			ID: "WDN-MF-036", Title: "Manifest names a file outside the archive", Severity: warden.High,
			Advice:     "Do not serve the archive: the server imports or reads a file that did not come with it.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000"},
		},
	},
	Run: runTorch,
}

// torchSpaces are the namespaces of operators that torch and its companions
// bring.
var torchSpaces = []string{
	"aten", "prim", "prims", "quantized", "_quantized", "quantized_decomposed", "torchvision", "image", "torchaudio", "torchtext", "inductor", "mkldnn",
	"mkldnn_prepacked", "prepacked", "xnnpack", "sparse", "static_runtime", "onednn", "cuda", "profiler", "rngprims", "debugprims", "fbgemm", "metal",
	"metal_prepack", "vulkan", "vulkan_prepack", "mps", "torch_scatter", "torch_sparse", "torch_cluster", "torch_spline_conv", "_caffe2", "_test", "higher_order",
	"_c10d_functional", "c10d_functional", "_dtensor", "torchao", "executorch", "dim_order_ops", "llama", "tensorexpr", "training", "streaming", "nnc", "inductor_prims", "pyg", "rnn", "_nnapi",
}

// torchEffects are operators that reach outside, by what they do.
var torchEffects = map[string]string{
	"aten::save": "writes a file", "aten::load": "reads a file", "aten::from_file": "maps a file into a tensor, which can write it",
	"image::read_file": "reads a file", "image::write_file": "writes a file",
	"torchaudio::sox_io_load_audio_file": "reads a file", "torchaudio::sox_io_save_audio_file": "writes a file", "torchaudio::sox_effects_apply_effects_file": "reads a file",
	"prim::PythonOp": "calls Python", "aten::__import__": "imports a module",
}

func runTorch(ctx context.Context, p *detect.Pass[*format.File]) error {
	f := p.Subject
	for i, op := range f.TorchOps {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		torchOp(p, op)
	}
	for _, r := range f.References {
		if r.Key == format.KeyHandler && leaves(r.Name) {
			p.Emit(warden.Finding{
				Rule: "WDN-MF-036", Severity: warden.High, At: at(f, r.Start, r.End), Evidence: r.Name,
				Message: "Serving the model opens a file outside its archive. Reached by: torchserve.",
			})
		}
	}
	if f.Zip == nil || !strings.HasPrefix(f.Format, "torch") {
		return nil
	}
	for i, e := range f.Zip.Entries {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if slices.Contains([]string{".so", ".dll", ".dylib", ".pyd"}, strings.ToLower(path.Ext(e.Name))) {
			p.Emit(warden.Finding{
				Rule: "WDN-MF-035", Severity: warden.High, At: at(f, e.Header, e.Data), Evidence: e.Name,
				Message: "Loading the archive can run a native library that it carries. Reached by: torch._inductor.aoti_load_package.",
			})
		}
	}
	return nil
}

func torchOp(p *detect.Pass[*format.File], op torchscript.Op) {
	sev := warden.High
	var message string
	space, _, namespaced := strings.Cut(op.Name, "::")
	switch does := torchEffects[op.Name]; {
	case does != "":
		message = "Running the module " + does + ". Reached by: torch.jit.load."
	case strings.HasPrefix(space, "c10d") && !strings.HasSuffix(space, "_functional") || space == "rpc" || space == "dist_autograd" || space == "dist_rpc":
		message = "Running the module talks to other processes. Reached by: torch.jit.load."
	case !namespaced:
		message = "The source holds Python that TorchScript does not have; whoever imports it runs it."
	case !slices.Contains(torchSpaces, space):
		sev, message = warden.Medium, "Running the module needs an operator that only a foreign library provides."
	default:
		return
	}
	p.Emit(warden.Finding{Rule: "WDN-MF-034", Severity: sev, At: at(p.Subject, op.Start, op.End), Evidence: op.Line, Message: message})
}
