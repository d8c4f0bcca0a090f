package file

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/jinja"
)

// templates finds Jinja templates that leave the world of their messages. A
// template runs each time a chat is rendered, in some loaders without a sandbox.
var templates = &detect.Detector[*format.File]{
	Name: "template/jinja",
	Doc: `Chat templates that run code.

A template can walk from any value over __class__ and __subclasses__ or from a
built-in object over __globals__ to every function of the process.
llama-cpp-python before 0.2.72 rendered templates from GGUF files without a
sandbox (CVE-2024-34359); sandboxes of Jinja had several escapes. The template
is parsed to a tree, texts are computed where they are constant, and attribute
names are judged however they are written. raise_exception, strftime_now and
tojson are normal.`,
	Rules: []warden.Rule{
		{
			ID: "WDN-MF-080", Title: "Template reaches Python internals", Severity: warden.Critical,
			Advice:     "Do not render the template. Take the chat template from the publisher's original model.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
		{
			ID: "WDN-MF-081", Title: "Template builds the name of an attribute", Severity: warden.High,
			Advice:     "Find out which attribute the text names. Honest templates write it down.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000"},
		},
		{
			ID: "WDN-MF-082", Title: "Template uses a function that runs code or opens files", Severity: warden.High,
			Advice:     "Do not render the template in a program that defines such a name.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000"},
		},
		{
			ID: "WDN-MF-083", Title: "Template loads another template", Severity: warden.Medium,
			Advice:     "Examine the other template too. A chat template needs no other file.",
			Frameworks: []string{"owasp-llm@2025:LLM03"},
		},
		{
			ID: "WDN-MF-084", Title: "Template runs without useful bound", Severity: warden.Medium,
			Advice:     "Do not render the template in a service: each request would be kept busy by it.",
			Frameworks: []string{"owasp-llm@2025:LLM10", "mitre-atlas@5.6.0:AML.T0029"},
		},
	},
	Run: runTemplates,
}

// internals are the attributes that lead from a value to the interpreter.
var internals = map[string]bool{
	"__class__": true, "__base__": true, "__bases__": true, "__mro__": true, "__subclasses__": true, "__globals__": true,
	"__builtins__": true, "__import__": true, "__init__": true, "__new__": true, "__dict__": true, "__code__": true, "__closure__": true,
	"__reduce__": true, "__reduce_ex__": true, "__getattribute__": true, "__getattr__": true, "__self__": true, "__func__": true, "__wrapped__": true,
	"__loader__": true, "__spec__": true, "__module__": true, "__call__": true, "__init_subclass__": true, "__set_name__": true, "__del__": true,
	"__enter__": true, "__exit__": true, "__class_getitem__": true, "__kwdefaults__": true, "__defaults__": true, "__weakref__": true,
	"func_globals": true, "func_code": true, "im_func": true, "im_class": true, "gi_frame": true, "gi_code": true, "cr_frame": true, "cr_code": true,
	"ag_frame": true, "ag_code": true, "f_globals": true, "f_builtins": true, "f_locals": true, "f_back": true, "tb_frame": true, "tb_next": true, "mro": true,
}

// powers are the names that do something once the interpreter is reached.
var powers = map[string]bool{
	"system": true, "popen": true, "Popen": true, "call": true, "check_output": true, "check_call": true, "run": true, "eval": true, "exec": true,
	"execl": true, "execv": true, "spawn": true, "__import__": true, "import_module": true, "open": true, "read": true, "write": true,
	"environ": true, "getenv": true, "urlopen": true, "connect": true, "load_module": true, "compile": true, "loads": true, "startfile": true,
}

// runners are names that no template environment should offer.
var runners = map[string]bool{
	"eval": true, "exec": true, "compile": true, "open": true, "getattr": true, "setattr": true, "os": true, "sys": true, "subprocess": true,
	"importlib": true, "builtins": true, "globals": true, "vars": true, "pickle": true, "socket": true, "shutil": true, "get_flashed_messages": true, "url_for": true,
}

// hit is something that a template does, once per template and rule.
type hit struct {
	node  *jinja.Node
	whole *jinja.Node // the tag or output around it
	count int
}

type templateWalk struct {
	folder
	internals, computed, named, loads, endless hit
	power                                      bool
	current                                    *jinja.Node // the tag or output being judged
	steps                                      int
	stopped                                    func() bool // asked at every 4,096th node
	loop                                       []float64   // iterations of the open loops
}

func (w *templateWalk) add(h *hit, n *jinja.Node) {
	if h.count++; h.node == nil || n.Start < h.node.Start {
		h.node, h.whole = n, w.current
	}
}

func runTemplates(ctx context.Context, p *detect.Pass[*format.File]) error {
	for _, t := range p.Subject.Templates {
		w := &templateWalk{folder: folder{known: map[string]string{}}, stopped: func() bool { return ctx.Err() != nil }}
		for i, n := range t.Tree.Nodes {
			if i%64 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			w.learn(n)
			w.statement(n)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		w.report(p, t)
	}
	return nil
}

func (w *templateWalk) report(p *detect.Pass[*format.File], t format.Template) {
	where := ""
	if t.Key != "" {
		where = " of " + t.Key
	}
	emit := func(id warden.RuleID, sev warden.Severity, h hit, message string) {
		if h.count == 0 {
			return
		}
		start, end := int64(h.node.Start), int64(h.node.End)
		p.Emit(warden.Finding{
			Rule: id, Severity: sev, At: at(p.Subject, t.At+start, t.At+end),
			Message: fmt.Sprintf(message, where), Evidence: t.Tree.Source[start:end],
		})
	}
	if w.power {
		w.internals.node = w.internals.whole
		emit("WDN-MF-080", warden.Critical, w.internals, "Rendering the template%s runs code: it walks from a value to the functions of the interpreter and calls them. Reached by: llama-cpp-python before 0.2.72, every renderer without a sandbox.")
	} else {
		emit("WDN-MF-080", warden.High, w.internals, "Rendering the template%s walks from a value to the internals of the interpreter.")
	}
	emit("WDN-MF-081", warden.High, w.computed, "Rendering the template%s reads an attribute whose name is put together while it runs.")
	emit("WDN-MF-082", warden.High, w.named, "Rendering the template%s calls a name that runs code or opens files wherever it is defined.")
	emit("WDN-MF-083", warden.Medium, w.loads, "Rendering the template%s loads another file.")
	emit("WDN-MF-084", warden.Medium, w.endless, "Rendering the template%s repeats more often than any chat needs.")
}

// statement judges one tag or output.
func (w *templateWalk) statement(n *jinja.Node) {
	w.current = n
	if n.Kind == jinja.Tag {
		switch n.Text {
		case "include", "import", "from", "extends":
			w.add(&w.loads, n)
		case "for":
			w.loop = append(w.loop, w.iterations(n))
			if total := product(w.loop); total > maxIterations {
				w.add(&w.endless, n)
			}
		case "endfor":
			w.loop = w.loop[:max(0, len(w.loop)-1)]
		}
	}
	n.Walk(w.expression)
}

// maxIterations is what a template may repeat: far more than tokens in a chat.
const maxIterations = 10_000_000

func product(list []float64) float64 {
	p := 1.0
	for _, f := range list {
		p *= f
	}
	return p
}

// iterations returns how often a loop over range(constant) runs, else 1.
func (w *templateWalk) iterations(n *jinja.Node) float64 {
	most := 1.0
	for _, k := range n.Kids {
		if k.Kind == jinja.Call && k.Kids[0].Kind == jinja.Name && k.Kids[0].Text == "range" {
			for _, a := range k.Kids[1:] {
				most = max(most, number(a))
			}
		}
	}
	return most
}

// number evaluates constant arithmetic roughly.
func number(n *jinja.Node) float64 {
	switch {
	case n.Kind == jinja.Number:
		f, err := strconv.ParseFloat(strings.ReplaceAll(n.Text, "_", ""), 64)
		if err != nil {
			return 0
		}
		return f
	case n.Kind == jinja.Op && len(n.Kids) == 2:
		a, b := number(n.Kids[0]), number(n.Kids[1])
		switch n.Text {
		case "*":
			return a * b
		case "+":
			return a + b
		case "**":
			if a >= 2 && b > 60 {
				return 1e18
			}
			p := 1.0
			for range int(max(0, min(b, 60))) {
				p *= a
			}
			return p
		}
	}
	return 0
}

// expression judges one node of a tree.
func (w *templateWalk) expression(n *jinja.Node) {
	if w.steps++; w.steps&4095 == 0 && w.stopped() {
		w.steps-- // and so for every node that is left
		return
	}
	switch n.Kind {
	case jinja.Name:
		if internals[n.Text] && n.Text != "mro" {
			w.add(&w.named, n)
		}
	case jinja.Attr:
		w.attribute(n, n.Text)
	case jinja.Item:
		w.item(n)
	case jinja.Filter:
		w.filter(n)
	case jinja.Call:
		w.call(n)
	case jinja.Op:
		if len(n.Kids) == 2 && (n.Text == "*" || n.Text == "**") && number(n) > 1e9 {
			w.add(&w.endless, n)
		}
	}
}

// attribute judges a name that is looked up on a value, maybe a dotted one.
func (w *templateWalk) attribute(n *jinja.Node, path string) {
	for name := range strings.SplitSeq(path, ".") {
		if internals[name] {
			w.add(&w.internals, n)
		}
		if powers[name] {
			w.power = true
		}
	}
}

func (w *templateWalk) item(n *jinja.Node) {
	key, ok := w.text(n.Kids[1])
	if ok {
		w.attribute(n, key)
		return
	}
	if fragment(n.Kids[1]) {
		w.add(&w.computed, n)
	}
}

// fragment reports whether an expression puts together something from pieces of
// a dunder name.
func fragment(n *jinja.Node) (found bool) {
	if n.Kind == jinja.Name || n.Kind == jinja.Number || n.Kind == jinja.String || n.Kind == jinja.Slice {
		return false
	}
	n.Walk(func(k *jinja.Node) {
		found = found || k.Kind == jinja.String && (strings.Contains(k.Text, "__") || k.Text == "_")
	})
	return found
}

// byAttribute are the filters that look an attribute up by text, with where it
// stands among the positional arguments; -1 means by keyword only.
var byAttribute = map[string]int{
	"attr": 0, "map": -1, "selectattr": 0, "rejectattr": 0, "sum": 0, "sort": -1, "groupby": 0, "unique": -1, "min": -1, "max": -1, "join": 1,
}

func (w *templateWalk) filter(n *jinja.Node) {
	pos, ok := byAttribute[n.Text]
	if !ok {
		return
	}
	arg := n.Keyword("attribute")
	if arg == nil && pos >= 0 {
		arg = n.Arg(pos)
	}
	if first := n.Arg(0); arg == nil && n.Text == "map" && first != nil {
		if s, ok := w.text(first); ok && s == "attr" {
			arg = n.Arg(1)
		}
	}
	if arg == nil {
		return
	}
	w.lookup(n, arg, n.Text == "attr" || n.Text == "map")
}

// lookup judges an attribute name given as an expression.
func (w *templateWalk) lookup(n, arg *jinja.Node, always bool) {
	name, ok := w.text(arg)
	switch {
	case ok:
		w.attribute(n, name)
	case always && arg.Kind != jinja.Number, fragment(arg):
		w.add(&w.computed, n)
	}
}

func (w *templateWalk) call(n *jinja.Node) {
	callee := n.Kids[0]
	switch callee.Kind {
	case jinja.Name:
		if callee.Text == "getattr" && len(n.Kids) > 2 {
			w.lookup(n, n.Kids[2], true)
			return
		}
		if runners[callee.Text] {
			w.add(&w.named, n)
		}
	case jinja.Attr:
		if base := root(callee); base != nil && base != callee && runners[base.Text] && powers[callee.Text] {
			w.add(&w.named, n)
		}
		if callee.Text == "format" || callee.Text == "format_map" {
			if s, ok := w.text(callee.Kids[0]); ok && strings.Contains(s, "{") && slices.ContainsFunc(strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("{}[].!: ", r) }), func(f string) bool { return internals[f] }) {
				w.add(&w.internals, n)
			}
		}
	}
}

// root returns the name at the beginning of a chain.
func root(n *jinja.Node) *jinja.Node {
	for len(n.Kids) > 0 && n.Kind != jinja.List && n.Kind != jinja.Dict {
		n = n.Kids[0]
	}
	if n.Kind == jinja.Name {
		return n
	}
	return nil
}
