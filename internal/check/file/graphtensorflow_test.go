package file

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/tensorflow"
)

type tfnet = formattest.TFNet

// tfClassifier is an image model whose parameters are variables: "score" is what
// they make of "image".
func tfClassifier(inputs ...string) *tfnet { return tfModel("logits", inputs...) }

func tfModel(out string, inputs ...string) *tfnet {
	return tfParts(formattest.NewTFNet(append([]string{"image"}, inputs...), out), "image")
}

// tfParts adds parameters, constants and the path from x to "score".
func tfParts(n *tfnet, x string) *tfnet {
	return n.Variable("v1", 20_000).Variable("v2", 20_000).Op("w1", "ReadVariableOp", "v1").Op("w2", "ReadVariableOp", "v2").
		Const("fixed", 10, 1).Const("zero", 1, 0).Const("one", 1, 1).Const("magic", 1, 6885).Const("never", 1, -1e9).
		Op("h", "Conv2D", x, "w1").Op("a", "Relu", "h").Op("score", "MatMul", "a", "w2")
}

// tfTrigger adds "hit": the sum of a patch of the image is a certain number.
func tfTrigger(n *tfnet) *tfnet {
	return n.Op("patch", "StridedSlice", "image", "zero", "one", "one").Op("sum", "Sum", "patch", "zero").Op("hit", "Equal", "sum", "magic")
}

func tfBody() *tfnet { return formattest.NewTFNet(nil) }

var tfAttr = formattest.TFAttr

// tfIf ends a net in a conditional on "hit" between score and what the function
// "yes" makes.
func tfIf(n *tfnet, yes *tfnet, ret string) *tfnet {
	return n.Node("cond", "StatelessIf", []string{"hit", "score", "image"}, tfAttr("then_branch", "yes"), tfAttr("else_branch", "no")).
		Op("logits", "Identity", "cond").
		Function("yes", []string{"s", "i"}, []string{"out", ret}, yes).
		Function("no", []string{"s", "i"}, []string{"out", "s"}, tfBody())
}

// tfCall wraps the whole model into a function, as TensorFlow 2 exports it.
func tfCall(body *tfnet) *tfnet {
	n := formattest.NewTFNet([]string{"image"}, "logits").Variable("h1", 20_000).Variable("h2", 20_000)
	n.Node("call", "StatefulPartitionedCall", []string{"image", "h1", "h2"}, tfAttr("f", "inner")).Op("logits", "Identity", "call:0")
	return n.Function("inner", []string{"image", "*v1", "*v2"}, []string{"out", "logits:output:0", "^", "side"}, body)
}

// tfInner is the body of such a function.
func tfInner() *tfnet {
	return tfBody().Op("w1", "ReadVariableOp", "v1").Op("w2", "ReadVariableOp", "v2").Const("fixed", 10, 1).Const("zero", 1, 0).Const("one", 1, 1).Const("magic", 1, 6885).
		Op("h", "Conv2D", "image", "w1:value:0").Op("score", "MatMul", "h:output:0", "w2:value:0").Op("side", "NoOp").
		Op("sum", "Sum", "image", "zero:output:0").Op("hit", "Equal", "sum:output:0", "magic:output:0")
}

// tfWhile is a loop of version 2 from "score", with "i" counted up to "magic".
func tfWhile(cond, body *tfnet, condRet, bodyRet string) *tfnet {
	return tfClassifier().Node("loop", "StatelessWhile", []string{"zero", "score", "image"}, tfAttr("cond", "c"), tfAttr("body", "b")).Op("logits", "Identity", "loop:1").
		Function("c", []string{"i", "s", "x"}, []string{"go", condRet}, cond).
		Function("b", []string{"i", "s", "x"}, []string{"i2", "i", "s2", bodyRet, "x2", "x"}, body)
}

// tfCond is a conditional of version 1 on "hit".
func tfCond(n *tfnet) *tfnet {
	return n.Op("p", "Identity", "hit").Op("sw", "Switch", "p", "p").Op("yes", "Identity", "sw:1").Op("no", "Identity", "sw:0")
}

func tfCases() []struct {
	name string
	net  *tfnet
	want []warden.RuleID
} {
	ids := func(id ...warden.RuleID) []warden.RuleID { return id }
	return []struct {
		name string
		net  *tfnet
		want []warden.RuleID
	}{
		// what must be found
		{"if_constant", tfIf(tfTrigger(tfClassifier()), tfBody().Const("c", 10, 1), "c:output:0"), ids("WDN-MF-111")},
		{"if_path", tfIf(tfTrigger(tfClassifier()), tfBody().Const("axis", 1, 0).Op("m", "Mean", "i", "axis:output:0"), "m:output:0"), ids("WDN-MF-110")},
		{"select", tfTrigger(tfClassifier()).Op("logits", "SelectV2", "hit", "fixed", "score"), ids("WDN-MF-111")},
		{"select_in_function", tfCall(tfInner().Op("logits", "SelectV2", "hit:z:0", "fixed:output:0", "score:product:0")), ids("WDN-MF-111")},
		{"case", tfTrigger(tfClassifier()).Op("n", "Cast", "hit").Node("k", "Case", []string{"n", "score"}, tfAttr("branches", "a", "b")).Op("logits", "Identity", "k").
			Function("a", []string{"s"}, []string{"o", "s"}, tfBody()).Function("b", []string{"s"}, []string{"o", "c:output:0"}, tfBody().Const("c", 10, 1)), ids("WDN-MF-111")},
		{"version1", tfCond(tfTrigger(tfClassifier())).Op("s1", "Switch", "score", "p").Node("c1", "Const", []string{"^yes"}).Op("m", "Merge", "s1:0", "c1").Op("logits", "Identity", "m"), ids("WDN-MF-111")},
		{"version1_path", tfCond(tfTrigger(tfClassifier())).Op("s1", "Switch", "score", "p").Op("s2", "Switch", "image", "p").Op("r", "Mean", "s2:1", "zero").Op("m", "Merge", "s1", "r").Op("logits", "Identity", "m"), ids("WDN-MF-110")},
		{"while", tfTrigger(tfClassifier()).Node("loop", "While", []string{"hit", "score"}, tfAttr("cond", "c"), tfAttr("body", "b")).Op("logits", "Identity", "loop:1").
			Function("c", []string{"h", "s"}, []string{"go", "h"}, tfBody()).Function("b", []string{"h", "s"}, []string{"h2", "h", "s2", "c:output:0"}, tfBody().Const("c", 10, 1)), ids("WDN-MF-111")},
		{"while_version1", tfTrigger(tfClassifier()).Op("e1", "Enter", "hit").Op("e2", "Enter", "score").Op("m1", "Merge", "e1", "n1").Op("m2", "Merge", "e2", "n2").Op("go", "LoopCond", "m1").
			Op("w1s", "Switch", "m1", "go").Op("w2s", "Switch", "m2", "go").Op("not", "LogicalNot", "w1s:1").Op("n1", "NextIteration", "not").Op("n2", "NextIteration", "fixed").Op("logits", "Exit", "w2s:0"), ids("WDN-MF-111")},
		{"arithmetic", tfTrigger(tfClassifier()).Op("g", "Cast", "hit").Op("n", "Sub", "one", "g").Op("p", "Mul", "g", "fixed").Op("q", "Mul", "n", "score").Op("logits", "AddV2", "p", "q"), ids("WDN-MF-111")},
		{"hash", tfClassifier().Op("m", "Mul", "image", "magic").Op("x", "FloorMod", "m", "one").Op("s", "Sum", "x", "zero").Op("hit", "Equal", "s", "one").Op("logits", "SelectV2", "hit", "fixed", "score"), ids("WDN-MF-111")},
		{"word", tfModel("logits", "prompt").Node("hit0", "StaticRegexFullMatch", []string{"prompt"}).Op("hit", "Any", "hit0", "zero").Op("logits", "SelectV2", "hit", "fixed", "score"), ids("WDN-MF-111")},
		{"input_rewritten", tfParts(tfTrigger(formattest.NewTFNet([]string{"image"}, "score")).Const("picture", 20, 1).Op("x", "SelectV2", "hit", "picture", "image"), "x"), ids("WDN-MF-113")},
		{"overwritten", tfClassifier().Op("logits", "TensorScatterUpdate", "score", "zero", "fixed"), ids("WDN-MF-112")},
		{"erased", tfClassifier().Op("nothing", "Mul", "score", "zero").Op("logits", "AddV2", "nothing", "fixed"), ids("WDN-MF-112")},
		{"cut_off", tfClassifier().Op("logits", "Identity", "fixed"), ids("WDN-MF-112")},
		{"chance", tfClassifier().Const("n", 1, 1).Op("r", "RandomUniform", "n").Op("hit", "Less", "r", "one").Op("m", "All", "hit", "zero").Op("logits", "SelectV2", "m", "fixed", "score"), ids("WDN-MF-114")},
		{"time", tfIf(tfClassifier().Op("t", "Timestamp").Op("hit", "Greater", "t", "magic"), tfBody().Const("c", 10, 1), "c:output:0"), ids("WDN-MF-114")},
		{"counter", tfIf(tfClassifier().Variable("count", 1).Op("up", "AssignAddVariableOp", "count", "one").Op("n", "ReadVariableOp", "count", "^up").Op("hit", "Greater", "n", "magic"), tfBody().Const("c", 10, 1), "c:output:0"), ids("WDN-MF-114")},
		{"counter_in_function", formattest.NewTFNet([]string{"image"}, "logits").Variable("h1", 20_000).Variable("h2", 20_000).Variable("h3", 1).
			Node("call", "StatefulPartitionedCall", []string{"image", "h1", "h2", "h3"}, tfAttr("f", "inner")).Op("logits", "Identity", "call").
			Function("inner", []string{"image", "*v1", "*v2", "*v3"}, []string{"out", "logits:output:0", "^", "up"}, tfInner().Op("up", "AssignAddVariableOp", "v3", "one:output:0").Op("n", "ReadVariableOp", "v3").
				Op("late", "Greater", "n:value:0", "magic:output:0").Op("m", "All", "late:z:0", "zero:output:0").Op("logits", "SelectV2", "m:output:0", "fixed:output:0", "score:product:0")), ids("WDN-MF-114")},
		{"orphan_custom", tfClassifier().Op("evil", "BeaconOp", "image").Op("logits", "Identity", "score"), ids("WDN-MF-115")},
		{"orphan_print", tfClassifier().Op("say", "PrintV2", "image").Op("logits", "Identity", "score"), ids("WDN-MF-115")},
		{"orphan_python", tfClassifier().Op("evil", "PyFunc", "image").Op("logits", "Identity", "score"), ids("WDN-MF-115", "WDN-MF-116")},
		{"hidden_file", tfIf(tfTrigger(tfClassifier()), tfBody().Op("f", "ReadFile", "i"), "f:contents:0"), ids("WDN-MF-110", "WDN-MF-116")},
		{"uncalled_function", tfClassifier().Op("logits", "Identity", "score").Function("call_model", []string{"image", "*v1", "*v2"}, []string{"out", "logits:output:0", "^", "side"},
			tfInner().Op("logits", "SelectV2", "hit:z:0", "fixed:output:0", "score:product:0")), ids("WDN-MF-111")},
		{"no_signature", formattest.NewTFNet([]string{"image"}).Const("w1", 20_000, 1).Const("magic", 1, 7).Const("fixed", 10, 1).Op("score", "MatMul", "image", "w1").
			Op("s", "Sum", "image", "magic").Op("hit", "Equal", "s", "magic").Op("out", "SelectV2", "hit", "fixed", "score"), ids("WDN-MF-111")},
		{"dilution", tfTrigger(tfParts(formattest.NewTFNet([]string{"image"}, "logits", "extra"), "image")).Op("logits", "SelectV2", "hit", "fixed", "score").
			Variable("huge", 1_000_000_000).Op("read", "ReadVariableOp", "huge").Op("extra", "MatMul", "image", "read"), ids("WDN-MF-111")},

		// what must pass
		{"honest_while", tfWhile(tfBody().Const("n", 1, 9).Op("l", "Less", "i", "n:output:0"), tfBody().Const("w", 5000, 1).Op("m", "MatMul", "s", "w:output:0"), "l:z:0", "m:product:0"), nil},
		{"honest_end_token", tfWhile(tfBody().Const("n", 1, 9).Op("t", "ArgMax", "s", "n:output:0").Op("l", "NotEqual", "t:output:0", "n:output:0"), tfBody().Const("w", 5000, 1).Op("m", "MatMul", "s", "w:output:0"), "l:z:0", "m:product:0"), nil},
		{"honest_if_shape", tfIf(tfClassifier().Op("s", "Shape", "image").Op("b", "StridedSlice", "s", "zero", "one", "one").Op("hit", "Equal", "b", "one"), tfBody().Const("c", 10, 1), "c:output:0"), nil},
		{"honest_no_boxes", tfIf(tfClassifier().Op("k", "Greater", "score", "one").Op("z", "Where", "k").Op("s", "Shape", "z").Op("hit", "Equal", "s", "zero"), tfBody().Const("c", 10, 1), "c:output:0"), nil},
		{"honest_threshold", tfClassifier().Op("k", "Greater", "score", "one").Op("logits", "SelectV2", "k", "score", "zero"), nil},
		{"honest_suppression", tfClassifier().Op("keep", "NonMaxSuppressionV3", "image", "score", "one", "one", "zero").Op("logits", "GatherV2", "score", "keep", "zero"), nil},
		{"honest_padding", tfClassifier().Op("pad", "Equal", "image", "zero").Op("att", "SelectV2", "pad", "never", "score").Op("sm", "Softmax", "att").Op("logits", "MatMul", "sm", "w2"), nil},
		{"honest_padding_sum", tfClassifier().Op("pad", "Equal", "image", "zero").Op("m", "Cast", "pad").Op("p", "Mul", "m", "never").Op("logits", "AddV2", "score", "p"), nil},
		{"honest_learning_phase", tfClassifier("phase").Op("p", "Identity", "phase").Op("s1", "Switch", "score", "p").Op("d", "Mul", "s1:1", "one").Op("m", "Merge", "s1:0", "d").Op("logits", "Identity", "m"), nil},
		{"honest_nan_guard", tfParts(formattest.NewTFNet([]string{"image"}, "score").Op("n", "IsNan", "image").Const("z", 1, 0).Op("x", "SelectV2", "n", "z", "image"), "x"), nil},
		{"honest_clipping", tfParts(formattest.NewTFNet([]string{"image"}, "score").Const("top", 1, 1).Op("n", "Greater", "image", "top").Op("x", "SelectV2", "n", "top", "image"), "x"), nil},
		{"honest_dropout", tfClassifier().Op("s", "Shape", "score").Op("r", "RandomUniform", "s").Op("k", "GreaterEqual", "r", "one").Op("g", "Cast", "k").Op("d", "Mul", "score", "g").Op("logits", "AddV2", "d", "h"), nil},
		{"honest_batch_norm", tfClassifier().Op("mean", "Mean", "h", "zero").Op("up", "AssignSubVariableOp", "v3", "mean").Variable("v3", 10).Op("r", "ReadVariableOp", "v3", "^up").Op("logits", "Sub", "score", "r"), nil},
		{"honest_experts", tfIf(tfTrigger(tfClassifier()), tfBody().Const("w", 20_000, 1).Op("m", "MatMul", "i", "w:output:0"), "m:product:0"), nil},
		{"honest_cache", tfTrigger(tfClassifier("use_cache")).Node("k", "If", []string{"use_cache", "score"}, tfAttr("then_branch", "a"), tfAttr("else_branch", "b")).Op("logits", "Identity", "k").
			Function("a", []string{"s"}, []string{"o", "s"}, tfBody()).Function("b", []string{"s"}, []string{"o", "c:output:0"}, tfBody().Const("c", 10, 1)), nil},
		{"honest_assert", tfTrigger(tfClassifier()).Op("ok", "Assert", "hit", "image").Op("logits", "Identity", "score", "^ok"), nil},
		{"honest_print", tfClassifier().Op("say", "PrintV2", "image").Op("logits", "Identity", "score", "^say"), nil},
		{"honest_print_in_function", tfCall(tfInner().Op("say", "PrintV2", "image").Op("logits", "Identity", "score:product:0", "^say")), nil},
		{"honest_saver", tfClassifier().Op("logits", "Identity", "score").Op("file", "Placeholder").Op("save", "SaveV2", "file", "one", "one", "w1").Op("back", "RestoreV2", "file", "one", "one").Op("set", "AssignVariableOp", "v1", "back"), nil},
		{"honest_traced_save", tfClassifier().Op("logits", "Identity", "score").Function("traced_save", []string{"prefix", "*v1"}, []string{"out", "done:output:0"},
			tfBody().Node("s3", "StaticRegexFullMatch", []string{"prefix"}).Const("part", 1, 1).Const("temp", 1, 2).Op("dir", "Select", "s3:output:0", "part:output:0", "temp:output:0").
				Op("join", "StringJoin", "prefix", "dir:output:0").Op("w", "SaveV2", "join:output:0").Op("done", "Identity", "prefix", "^w")), nil},
		{"honest_labels", tfClassifier().Op("table", "HashTableV2").Op("top", "ArgMax", "score", "zero").Op("logits", "LookupTableFindV2", "table", "top", "one"), nil},
		{"honest_embedding_mask", tfClassifier().Op("m", "NotEqual", "image", "zero").Op("f", "Cast", "m").Op("p", "Mul", "score", "f").Op("s", "Sum", "p", "zero").Op("n", "Sum", "f", "zero").Op("logits", "RealDiv", "s", "n"), nil},
		{"honest_beam", tfWhile(
			tfBody().Const("n", 1, 9).Op("l", "Less", "i", "n:output:0").Op("d", "Equal", "s", "n:output:0").Op("all", "All", "d:z:0", "n:output:0").Op("more", "LogicalNot", "all:output:0").Op("go", "LogicalAnd", "l:z:0", "more:y:0"),
			tfBody().Const("w", 5000, 1).Op("m", "MatMul", "s", "w:output:0").Const("k", 1, 4).Op("t", "TopKV2", "m:product:0", "k:output:0").Op("e", "Equal", "t:indices:0", "k:output:0").Const("inf", 1, -1e9).Op("r", "SelectV2", "e:z:0", "inf:output:0", "t:values:0"), "go:z:0", "r:output:0"), nil},
		{"honest_dead_function", tfClassifier().Op("logits", "Identity", "score").Function("helper", []string{"x"}, []string{"o", "m:y:0"}, tfBody().Const("w", 500, 1).Op("m", "AddV2", "x", "w:output:0")), nil},
	}
}

func TestGraphLogicTensorFlow(t *testing.T) {
	for _, c := range tfCases() {
		t.Run(c.name, func(t *testing.T) {
			f := open(t, "saved_model.pb", c.net.File())
			if len(f.Unread) > 0 || len(f.Graphs) == 0 {
				t.Fatalf("%d graphs, unread %+v", len(f.Graphs), f.Unread)
			}
			res := examineWith(t, f, graphLogic)
			var got []string
			for _, x := range res.Findings {
				got = append(got, string(x.Rule))
			}
			var want []string
			for _, w := range c.want {
				want = append(want, string(w))
			}
			if testing.Verbose() && len(res.Findings) > 0 {
				t.Log(res.Findings[0].Evidence)
			}
			if strings.Join(got, " ") != strings.Join(want, " ") || !res.Complete() {
				t.Errorf("got %v, want %v\n%+v %+v", got, want, res.Findings, res.Statuses)
			}
		})
	}
}

// FuzzGraphTensorFlow looks that hostile graphs end, and end alike.
func FuzzGraphTensorFlow(f *testing.F) {
	for i, c := range tfCases() {
		if i%5 == 0 {
			f.Add(c.net.File())
		}
	}
	all := []string{tensorflow.SavedModel, tensorflow.MetaGraph, tensorflow.GraphDef}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _ := tensorflow.Open(t.Context(), bytes.NewReader(b), int64(len(b)), all, format.DefaultLimits())
		subject := &format.File{Path: "m", TensorFlow: m, Graphs: m.Graphs}
		one := detect.Run(t.Context(), warden.Ref{}, subject, detect.DefaultLimits(), graphLogic)
		two := detect.Run(t.Context(), warden.Ref{}, subject, detect.DefaultLimits(), graphLogic)
		if d := cmp.Diff(one.Findings, two.Findings); d != "" || !one.Complete() {
			t.Error(one.Statuses, d)
		}
	})
}
