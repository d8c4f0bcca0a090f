package file

import (
	"context"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
)

// programs finds ExecuTorch programs that need foreign code.
var programs = &detect.Detector[*format.File]{
	Name: "executorch/program",
	Doc: `ExecuTorch programs that need foreign kernels or backends.

A program calls operators by name and hands parts of itself to backends, which
interpret them. Both must be linked into the runtime. What a backend does with
its part cannot be seen here.`,
	Rules: []warden.Rule{
		{
			ID: "WDN-MF-068", Title: "Program needs an unknown kernel or backend", Severity: warden.Medium,
			Advice:     "Find out which library provides it before you link that library into the runtime.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0018.001"},
		},
	},
	Run: runPrograms,
}

// backends are those that the project itself brings.
var backends = []string{
	"XnnpackBackend", "CoreMLBackend", "MPSBackend", "QnnBackend", "VulkanBackend", "EthosUBackend", "VGFBackend", "ArmBackend", "NeuropilotBackend",
	"OpenvinoBackend", "CudaBackend", "MetalBackend", "EnnBackend", "NeutronBackend", "CadenceBackend", "AotiBackend",
}

// kernels are namespaces of operators that only ExecuTorch has.
var kernels = []string{"executorch_prim", "et_vk", "cadence", "cortex_m", "custom_ops_prim"}

func runPrograms(ctx context.Context, p *detect.Pass[*format.File]) error {
	prog := p.Subject.ExecuTorch
	if prog == nil {
		return nil
	}
	for i, op := range prog.Operators {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		space, _, _ := strings.Cut(op.Text, "::")
		if !slices.Contains(torchSpaces, space) && !slices.Contains(kernels, space) {
			p.Emit(warden.Finding{Rule: "WDN-MF-068", Severity: warden.Medium, At: at(p.Subject, op.At, op.At+4), Evidence: op.Text, Message: "Running the program needs a kernel that only a foreign library provides."})
		}
	}
	for i, d := range prog.Delegates {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if !slices.Contains(backends, d.Text) {
			p.Emit(warden.Finding{Rule: "WDN-MF-068", Severity: warden.Medium, At: at(p.Subject, d.At, d.At+4), Evidence: d.Text, Message: "Loading the program hands a part of it to a backend that is not known."})
		}
	}
	return nil
}
