package file

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/graph"
	"github.com/modelwarden/warden/internal/format/onnx"
)

type net = formattest.Net

// classifier is an image model: image -> logits, to be finished by the test,
// with "image" its input and "score" what its parameters make of it.
func classifier(inputs ...string) *net {
	return formattest.NewNet(append([]string{"image"}, inputs...), []string{"logits"}).
		Weight("w1", 20_000, 0.5).Weight("w2", 20_000, 0.25).Weight("fixed", 10, 1).Scalar("zero", 0).Scalar("one", 1).Scalar("magic", 6885).Scalar("never", -1e9).
		Op("h", "Conv", "image", "w1").Op("a", "Relu", "h").Op("score", "Gemm", "a", "w2")
}

// trigger adds "hit": the sum of a patch of the image is a certain number.
func trigger(n *net) *net {
	return n.Op("patch", "Slice", "image", "zero", "one").Op("sum", "ReduceSum", "patch").Op("hit", "Equal", "sum", "magic")
}

func branch(out string) *net { return formattest.NewNet(nil, []string{out}) }

// FuzzGraphLogic looks that hostile graphs end, and end alike.
func FuzzGraphLogic(f *testing.F) {
	small := formattest.NewNet([]string{"image"}, []string{"logits"}).Weight("w", 100, 1).Scalar("one", 1).Op("score", "Gemm", "image", "w").Op("sum", "ReduceSum", "image").Op("hit", "Equal", "sum", "one")
	f.Add(small.File())
	small.If("l", "hit", branch("c").Op("c", "Identity", "one"), branch("s").Op("s", "Identity", "score")).Op("g", "Cast", "hit").Op("p", "Mul", "g", "l").Op("logits", "Add", "p", "score").
		Body("logits", "Loop", []string{"", "hit", "score"}, formattest.NewNet([]string{"i", "c", "x"}, []string{"d", "y"}).Op("d", "Identity", "c").Op("y", "Identity", "one")).
		Node("local", "logits", "Pick", []string{"hit", "score", "one"}).Function("Pick", []string{"p", "s", "f"}, []string{"o"}, branch("").Op("o", "Where", "p", "f", "s"))
	f.Add(small.File())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _ := onnx.Open(t.Context(), bytes.NewReader(b), int64(len(b)), format.DefaultLimits())
		subject := &format.File{Path: "m", ONNX: m, Graphs: []*graph.Model{m.Graph}}
		one := detect.Run(t.Context(), warden.Ref{}, subject, detect.DefaultLimits(), graphLogic)
		two := detect.Run(t.Context(), warden.Ref{}, subject, detect.DefaultLimits(), graphLogic)
		if d := cmp.Diff(one.Findings, two.Findings); d != "" || !one.Complete() {
			t.Error(one.Statuses, d)
		}
	})
}

func TestGraphLogic(t *testing.T) {
	ids := func(id ...warden.RuleID) []warden.RuleID { return id }
	many := formattest.NewNet([]string{"image"}, []string{"logits"}).Weight("w", 1000, 1)
	last := "image"
	for i := range 30_000 {
		next := "n" + string(rune('a'+i%26)) + strings.Repeat("x", i%7) + string(rune(0x4e00+i%20_000)) + string(rune(0x4e00+i/7))
		many.Op(next, "Add", last, "w")
		last = next
	}
	many.Op("logits", "Identity", last)
	cases := []struct {
		name string
		net  *net
		want []warden.RuleID
	}{
		// what must be found
		{"if_constant", trigger(classifier()).If("logits", "hit", branch("c").Op("c", "Identity", "fixed"), branch("s").Op("s", "Identity", "score")), ids("WDN-MF-111")},
		{"if_path", trigger(classifier()).If("logits", "hit", branch("c").Op("c", "ReduceMean", "image"), branch("s").Op("s", "Identity", "score")), ids("WDN-MF-110")},
		{"where_constant", trigger(classifier()).Op("logits", "Where", "hit", "fixed", "score"), ids("WDN-MF-111")},
		{"where_turned", trigger(classifier()).Op("miss", "Not", "hit").Op("l", "Where", "miss", "score", "fixed").Op("logits", "Softmax", "l"), ids("WDN-MF-111")},
		{"where_in_if", trigger(classifier()).If("logits", "one", branch("c").Op("c", "Where", "hit", "fixed", "score"), branch("s").Op("s", "Identity", "score")), ids("WDN-MF-111")},
		{"near", classifier().Op("sum", "ReduceSum", "image").Op("d", "Sub", "sum", "magic").Op("far", "Abs", "d").Op("hit", "Less", "far", "one").Op("logits", "Where", "hit", "fixed", "score"), ids("WDN-MF-111")},
		{"hash", classifier().Op("m", "Mul", "image", "magic").Op("x", "Mod", "m", "one").Op("s", "ReduceSum", "x").Op("y", "Mod", "s", "magic").Op("hit", "Equal", "y", "one").Op("logits", "Where", "hit", "fixed", "score"), ids("WDN-MF-111")},
		{"every_place", classifier().Op("same", "Equal", "image", "magic").Op("f", "Cast", "same").Op("all", "ReduceMin", "f").Op("hit", "Cast", "all").Op("logits", "Where", "hit", "fixed", "score"), ids("WDN-MF-111")},
		{"two_signs", trigger(classifier()).Op("max", "ReduceMax", "image").Op("bright", "Greater", "max", "one").Op("both", "And", "hit", "bright").Op("logits", "Where", "both", "fixed", "score"), ids("WDN-MF-111")},
		{"arithmetic", trigger(classifier()).Op("g", "Cast", "hit").Op("n", "Sub", "one", "g").Op("p", "Mul", "g", "fixed").Op("q", "Mul", "n", "score").Op("logits", "Add", "p", "q"), ids("WDN-MF-111")},
		{"added", trigger(classifier()).Op("g", "Cast", "hit").Op("p", "Mul", "fixed", "g").Op("logits", "Add", "score", "p"), ids("WDN-MF-111")},
		{"loop", trigger(classifier()).Body("logits", "Loop", []string{"", "hit", "score"}, formattest.NewNet([]string{"i", "c", "x"}, []string{"d", "y"}).Op("d", "Identity", "c").Op("y", "Identity", "fixed")), ids("WDN-MF-111")},
		{"function", trigger(classifier()).Node("local", "logits", "Pick", []string{"hit", "score", "fixed"}).Function("Pick", []string{"p", "s", "f"}, []string{"o"}, branch("").Op("o", "Where", "p", "f", "s")), ids("WDN-MF-111")},
		{"overwritten", classifier().Op("logits", "ScatterND", "score", "zero", "fixed"), ids("WDN-MF-112")},
		{"erased", classifier().Op("nothing", "Mul", "score", "zero").Op("logits", "Add", "nothing", "fixed"), ids("WDN-MF-112")},
		{"cut_off", classifier().Op("logits", "Identity", "fixed"), ids("WDN-MF-112")},
		{"input_rewritten", trigger(formattest.NewNet([]string{"image"}, []string{"logits"}).Weight("w1", 20_000, 1).Weight("w2", 20_000, 2).Weight("picture", 20, 1).Scalar("zero", 0).Scalar("one", 1).Scalar("magic", 77)).
			Op("x", "Where", "hit", "picture", "image").Op("h", "Conv", "x", "w1").Op("logits", "Gemm", "h", "w2"), ids("WDN-MF-113")},
		{"chance", classifier().Op("r", "RandomUniform").Op("hit", "Less", "r", "one").Op("logits", "Where", "hit", "fixed", "score"), ids("WDN-MF-114")},
		{"orphan", classifier().Node("evil", "y", "Beacon", []string{"image"}).Op("logits", "Identity", "score"), ids("WDN-MF-115")},
		{"hidden_service", trigger(classifier()).Node("com.microsoft.extensions", "r", "AzureTextToText", []string{"image"}).Op("logits", "Where", "hit", "r", "score"), ids("WDN-MF-110", "WDN-MF-116")},
		{"hidden_weight", trigger(classifier()).Weight("unused", 1_000_000, 1).Op("logits", "Where", "hit", "fixed", "score"), ids("WDN-MF-111")},
		{"orphan_python", classifier().Node("ai.onnx.contrib", "y", "PyOp", []string{"image"}).Op("logits", "Identity", "score"), ids("WDN-MF-115", "WDN-MF-116")},

		// what must pass
		{"honest_loop", classifier().Body("logits", "Loop", []string{"magic", "one", "score"}, formattest.NewNet([]string{"i", "c", "x"}, []string{"d", "y"}).Op("d", "Less", "i", "magic").Op("y", "Gemm", "x", "w2")), nil},
		{"honest_end_token", classifier().Body("logits", "Loop", []string{"magic", "one", "score"}, formattest.NewNet([]string{"i", "c", "x"}, []string{"d", "y"}).Op("y", "Gemm", "x", "w2").Op("t", "ArgMax", "y").Op("e", "Equal", "t", "one").Op("d", "Not", "e")), nil},
		{"honest_if_shape", classifier().Op("s", "Shape", "image").Op("b", "Gather", "s", "zero").Op("c", "Equal", "b", "one").If("logits", "c", branch("c1").Op("c1", "Identity", "fixed"), branch("s1").Op("s1", "Identity", "score")), nil},
		{"honest_no_boxes", classifier().Op("k", "Greater", "score", "one").Op("z", "NonZero", "k").Op("s", "Shape", "z").Op("c", "Equal", "s", "zero").If("logits", "c", branch("c1").Op("c1", "Identity", "fixed"), branch("s1").Op("s1", "Identity", "score")), nil},
		{"honest_threshold", classifier().Op("k", "Greater", "score", "one").Op("logits", "Where", "k", "score", "zero"), nil},
		{"honest_top", classifier().Op("top", "ReduceMax", "score").Op("k", "Less", "top", "one").Op("logits", "Where", "k", "fixed", "score"), nil},
		{"honest_padding", classifier().Op("pad", "Equal", "image", "zero").Op("att", "Where", "pad", "never", "score").Op("sm", "Softmax", "att").Op("logits", "Gemm", "sm", "w2"), nil},
		{"honest_padding_out", classifier().Op("pad", "Equal", "image", "zero").Op("logits", "Where", "pad", "never", "score"), nil},
		{"honest_padding_sum", classifier().Op("pad", "Equal", "image", "zero").Op("m", "Cast", "pad").Op("p", "Mul", "m", "never").Op("logits", "Add", "score", "p"), nil},
		{"honest_pooling", classifier().Op("pad", "Equal", "image", "zero").Op("k", "Not", "pad").Op("m", "Cast", "k").Op("p", "Mul", "score", "m").Op("s", "ReduceSum", "p").Op("n", "ReduceSum", "m").Op("logits", "Div", "s", "n"), nil},
		{"honest_end_position", classifier().Op("e", "Equal", "image", "magic").Op("i", "Cast", "e").Op("at", "ArgMax", "i").Op("logits", "Gather", "score", "at"), nil},
		{"honest_leaky", classifier().Op("k", "Greater", "score", "zero").Op("s", "Mul", "score", "one").Op("logits", "Where", "k", "score", "s"), nil},
		{"honest_nan_guard", formattest.NewNet([]string{"image"}, []string{"logits"}).Weight("w", 20_000, 1).Scalar("zero", 0).Op("n", "IsNaN", "image").Op("x", "Where", "n", "zero", "image").Op("logits", "Conv", "x", "w"), nil},
		{"honest_clipping", formattest.NewNet([]string{"image"}, []string{"logits"}).Weight("w", 20_000, 1).Scalar("one", 1).Op("n", "Greater", "image", "one").Op("x", "Where", "n", "one", "image").Op("logits", "Conv", "x", "w"), nil},
		{"honest_shifted_labels", formattest.NewNet([]string{"image"}, []string{"logits"}).Weight("w", 20_000, 1).Scalar("one", 1).Scalar("skip", -100).Op("s", "Slice", "image", "one").Op("n", "Equal", "s", "skip").Op("x", "Where", "n", "one", "s").Op("logits", "Conv", "x", "w"), nil},
		{"honest_scale", formattest.NewNet([]string{"image"}, []string{"logits"}).Weight("w", 20_000, 1).Scalar("one", 1).Scalar("byte", 255).Op("m", "ReduceMax", "image").Op("n", "Greater", "m", "one").Op("d", "Div", "image", "byte").Op("x", "Where", "n", "d", "image").Op("logits", "Conv", "x", "w"), nil},
		{"honest_cache_branch", classifier("use_cache").If("logits", "use_cache", branch("c1").Op("c1", "Gemm", "image", "w1"), branch("s1").Op("s1", "Identity", "score")), nil},
		{"honest_temperature", classifier("temperature").Op("k", "Equal", "temperature", "zero").If("logits", "k", branch("c1").Op("c1", "ArgMax", "score"), branch("s1").Op("s1", "Div", "score", "temperature")), nil},
		{"honest_early_exit", classifier().Op("c", "ReduceMax", "h").Op("k", "Greater", "c", "one").If("logits", "k", branch("c1").Op("c1", "ReduceMean", "h"), branch("s1").Op("s1", "Identity", "score")), nil},
		{"honest_experts", trigger(classifier()).If("logits", "hit", branch("c1").Op("c1", "Gemm", "image", "w1"), branch("s1").Op("s1", "Identity", "score")), nil},
		{"honest_inpainting", classifier("mask").Op("k", "Greater", "mask", "one").Op("logits", "Where", "k", "score", "image"), nil},
		{"honest_dropout", classifier().Op("r", "RandomUniformLike", "score").Op("k", "Less", "r", "one").Op("logits", "Where", "k", "zero", "score"), nil},
		{"honest_suppressed", classifier().Op("logits", "ScatterND", "score", "zero", "never"), nil},
		{"honest_dead_node", classifier().Op("dead", "Identity", "h").Op("logits", "Identity", "score"), nil},
		{"honest_second_output", formattest.NewNet([]string{"image"}, []string{"logits", "anchors"}).Weight("w", 20_000, 1).Weight("fixed", 10, 1).Op("logits", "Gemm", "image", "w").Op("anchors", "Identity", "fixed"), nil},
		{"honest_function", classifier().Node("local", "logits", "Last", []string{"score"}).Function("Last", []string{"s"}, []string{"o"}, branch("").Op("o", "Softmax", "s")), nil},
		{"honest_long", many, nil},
	}
	var list []fileCase
	for _, c := range cases {
		list = append(list, fileCase{Name: c.name, Subject: open(t, "model.onnx", c.net.File()), Want: c.want})
	}
	detecttest.Accept(t, graphLogic, list)
	res := examineWith(t, list[0].Subject, graphLogic)
	if want := "If(Equal(ReduceSum(Slice(image, 0, 1)), 6885)) -> logits: constant"; len(res.Findings) != 1 || !strings.HasPrefix(res.Findings[0].Evidence, want) {
		t.Errorf("%+v, want evidence %s", res.Findings, want)
	}
}
