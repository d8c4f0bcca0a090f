package file

import (
	"cmp"
	"context"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/tensorflow"
	"github.com/modelwarden/warden/internal/format/tflite"
	"github.com/modelwarden/warden/rules"
)

// tensorflowGraphs finds operators that do more than compute.
var tensorflowGraphs = &detect.Detector[*format.File]{
	Name: "tensorflow/graph",
	Doc: `Operators of TensorFlow and TensorFlow Lite that reach outside the graph.

A graph is a program: its operators can read and write files, call Python and
open connections, also in functions and in initialisers that run on load. The
constant paths that reach such an operator are the evidence. Checkpoints are
saved and restored by operators too, whose paths the loader gives; these are
normal. It cannot see what a library of custom operators does.`,
	Rules: []warden.Rule{
		{
			ID: "WDN-MF-049", Title: "TensorFlow Lite model needs custom operators", Severity: warden.Medium,
			Advice:     "Find out which library provides the operator. Loading that library runs its code.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0018.001"},
		},
		{
			ID: "WDN-MF-050", Title: "Graph calls Python", Severity: warden.High,
			Advice:     "Do not run the graph in a process whose functions you did not register. Ask for one without Python operators.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.001"},
		},
		{
			ID: "WDN-MF-051", Title: "Graph writes files", Severity: warden.High,
			Advice:     "Do not run the graph. Inference needs no operator that writes files.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
		{
			ID: "WDN-MF-052", Title: "Graph reads files of its choice", Severity: warden.High,
			Advice:     "Do not run the graph where secrets can be read. Ask for one that takes data as input.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000"},
		},
		{
			ID: "WDN-MF-053", Title: "Operator that TensorFlow does not bring", Severity: warden.Medium,
			Advice:     "Find out which library provides the operator. Loading that library runs its code.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0018.001"},
		},
		{
			ID: "WDN-MF-054", Title: "Asset name leads out of the model's folder", Severity: warden.High,
			Advice:     "Do not load or copy the model: its assets are read from, and written to, where the name leads.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0010"},
		},
		{
			ID: "WDN-MF-055", Title: "Graph opens connections", Severity: warden.High,
			Advice:     "Do not run the graph where the address can be reached. Look for it in your proxy logs.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000"},
		},
		{
			ID: "WDN-MF-056", Title: "Graph loads native code", Severity: warden.High,
			Advice:     "Do not run the graph. Ask for one without operators that load libraries.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
	},
	Run: runTensorFlow,
}

func runTensorFlow(ctx context.Context, p *detect.Pass[*format.File]) error {
	if m := p.Subject.TFLite; m != nil {
		for i, op := range m.Ops {
			if i%4096 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			liteOp(p, op)
		}
	}
	m := p.Subject.TensorFlow
	if m == nil {
		return nil
	}
	for i, c := range m.Calls {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		graphCall(p, c)
	}
	for _, a := range m.Assets {
		if leaves(a.Value) {
			p.Emit(warden.Finding{
				Rule: "WDN-MF-054", Severity: warden.High, At: at(p.Subject, a.Start, a.End), Evidence: a.Value,
				Message: "Loading the model opens a file outside its folder as an asset. Reached by: tf.saved_model.load.",
			})
		}
	}
	ops := slices.SortedFunc(maps.Keys(m.Ops), func(a, b string) int {
		return cmp.Or(cmp.Compare(m.Ops[a].Start, m.Ops[b].Start), cmp.Compare(a, b))
	})
	for _, op := range ops {
		if tensorflow.EffectOf(op) == tensorflow.None && !m.Functions[op] && !builtinOp(op) {
			use := m.Ops[op]
			p.Emit(warden.Finding{
				Rule: "WDN-MF-053", Severity: warden.Medium, At: at(p.Subject, use.Start, use.End), Evidence: op,
				Message: "Running the graph needs an operator that only a foreign library provides.",
			})
		}
	}
	return nil
}

// opNames is the table of operators: names, and prefixes that keep their star.
var opNames = sync.OnceValue(func() map[string]bool {
	table := map[string]bool{}
	for line := range strings.Lines(rules.TensorFlowOps()) {
		if line[0] != '#' {
			table[strings.TrimSpace(line)] = true
		}
	}
	return table
})

// builtinOp reports whether TensorFlow or one of its usual companions brings the
// operator.
func builtinOp(op string) bool {
	table := opNames()
	if table[op] || strings.HasSuffix(strings.TrimRight(op, "V0123456789"), "Dataset") {
		return true
	}
	for i := 1; i <= len(op); i++ {
		if table[op[:i]+"*"] {
			return true
		}
	}
	return false
}

// graphCall judges a node that touches what is outside the graph.
func graphCall(p *detect.Pass[*format.File], c tensorflow.Call) {
	where := at(p.Subject, c.Start, c.End)
	evidence := c.Op + "(" + strings.Join(c.Texts, ", ") + ")"
	emit := func(id warden.RuleID, sev warden.Severity, message string) {
		p.Emit(warden.Finding{Rule: id, Severity: sev, At: where, Evidence: evidence, Message: message + " Reached by: running the graph after tf.saved_model.load or tf.import_graph_def."})
	}
	fixed := slices.ContainsFunc(c.Texts, pathLike)
	switch tensorflow.EffectOf(c.Op) {
	case tensorflow.Python:
		emit("WDN-MF-050", warden.High, "Running the graph calls a Python function that the process has registered.")
	case tensorflow.Write:
		emit("WDN-MF-051", warden.High, "Running the graph writes a file.")
	case tensorflow.Print:
		if slices.ContainsFunc(c.Texts, func(s string) bool { return strings.HasPrefix(s, "file:") }) {
			emit("WDN-MF-051", warden.High, "Running the graph appends text to a file.")
		}
	case tensorflow.Save:
		if slices.ContainsFunc(c.Texts, leaves) {
			emit("WDN-MF-051", warden.High, "Running the graph writes tensors to a path that the file fixes.")
		}
	case tensorflow.Restore:
		if slices.ContainsFunc(c.Texts, leaves) {
			emit("WDN-MF-052", warden.Medium, "Running the graph reads tensors from a path that the file fixes.")
		}
	case tensorflow.Read:
		if fixed {
			emit("WDN-MF-052", warden.High, "Running the graph reads a file that the graph names.")
		} else {
			emit("WDN-MF-052", warden.Medium, "Running the graph reads files whose names it is given.")
		}
	case tensorflow.Network:
		if sev := warden.Medium; fixed || slices.ContainsFunc(c.Texts, func(s string) bool { return strings.Contains(s, "://") }) {
			emit("WDN-MF-055", warden.High, "Running the graph opens a connection or a file that it names.")
		} else {
			emit("WDN-MF-055", sev, "Running the graph can open a connection.")
		}
	case tensorflow.Library:
		emit("WDN-MF-056", warden.High, "Running the graph loads a native library.")
	}
}

// pathLike reports whether a text is a path or an address rather than a word.
func pathLike(s string) bool {
	return leaves(s) || strings.ContainsAny(s, `/\*`) || path.Ext(s) != "" || strings.HasPrefix(s, "~")
}

// liteOps are custom operators that the interpreter, its usual companions or the
// compilers of well-known chips bring.
var liteOps = []string{
	"TFLite_Detection_PostProcess", "AudioSpectrogram", "Mfcc", "NumericVerify", "ParseExample", "ParseExampleV2", "Convolution2DTransposeBias",
	"MaxPoolingWithArgmax2D", "MaxUnpooling2D", "AudioMicrofrontend", "AUDIO_MICROFRONTEND", "Irfft2d", "Rfft2d", "Multinomial", "RandomStandardNormal",
	"RandomUniform", "Roll", "HashTable", "HashTableFind", "HashTableImport", "HashTableSize", "AssignVariable", "ReadVariable", "VarHandle",
	"CIRCULAR_BUFFER", "ethos-u", "edgetpu-custom-op", "WhitespaceTokenizeWithOffsetsV2", "FastSentencepieceTokenize", "SentencepieceTokenizeOp",
	"RaggedTensorToTensor", "NGramsOp", "AvgPool3D", "MaxPool3D", "AvgPool3DGrad", "MaxPool3DGrad", "Gradient", "Sign", "Atan2", "Sin", "Complex",
	"DELAY", "FRAMER", "OVERLAP_ADD",
}

// litePrefixes are the families among them.
var litePrefixes = []string{"Signal", "SIGNAL_", "TFSentencepiece", "TFText>", "TfLite", "CALL_ONCE", "XC_"}

func liteOp(p *detect.Pass[*format.File], op tflite.Op) {
	if op.Custom == "" {
		return
	}
	known := func(prefix string) bool { return strings.HasPrefix(op.Custom, prefix) }
	flex, isFlex := strings.CutPrefix(op.Custom, "Flex")
	switch effect := tensorflow.EffectOf(flex); {
	case isFlex && effect != tensorflow.None && effect != tensorflow.Print:
		graphCall(p, tensorflow.Call{Op: flex, Start: op.At, End: op.At + 4})
	case isFlex && builtinOp(flex):
	case slices.Contains(liteOps, op.Custom), slices.ContainsFunc(litePrefixes, known):
	default:
		p.Emit(warden.Finding{
			Rule: "WDN-MF-049", Severity: warden.Medium, At: at(p.Subject, op.At, op.At+4), Evidence: op.Custom,
			Message: "Running the model needs an operator that only a foreign library provides.",
		})
	}
}
