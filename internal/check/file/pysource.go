package file

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/source/python"
	"github.com/modelwarden/warden/internal/source/syntax"
)

const ruleSource warden.RuleID = "WDN-MF-117"

// pythonSource examines Python that ships with a model.
var pythonSource = &detect.Detector[*format.File]{
	Name: "source/python",
	Doc: `Python source beside a model: what importing it does, and what its functions can do.

Loaders import such files with trust_remote_code, from a custom pipeline or as a
handler. High: importing the file runs a command, starts a program or runs text
as code; or any function runs what it unpacks or fetches. Medium: importing it
opens a connection or loads native code; or a function starts programs or runs
text as code, which honest training scripts do too. Names are
followed through imports and aliases of modules, and calls of the file's own
functions one after another. Not seen: names built from text at run time other
than by getattr with a constant, and what imported files of the model do (each
is examined by itself).`,
	Rules: []warden.Rule{{
		ID: ruleSource, Title: "Code beside the model is dangerous", Severity: warden.High,
		Advice:     "Load the model without its code (trust_remote_code=False), or read this file first.",
		Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0010.001", "mitre-atlas@5.6.0:AML.T0011.001"},
	}},
	Run: runPythonSource,
}

// maxSource bounds a source file in bytes.
const maxSource = 8 << 20

func runPythonSource(ctx context.Context, p *detect.Pass[*format.File]) error {
	f := p.Subject
	if ext := strings.ToLower(f.Name[max(0, strings.LastIndexByte(f.Name, '.')):]); f.Kind != "text" || ext != ".py" && ext != ".pyw" || f.In == "torchscript" {
		return detect.ErrNotExamined
	}
	if f.Size > maxSource {
		return fmt.Errorf("source of %d bytes, at most %d: %w", f.Size, maxSource, detect.ErrLimit)
	}
	text := make([]byte, f.Size)
	if n, err := f.R.ReadAt(text, 0); n < len(text) {
		return fmt.Errorf("read Python source: %w", err)
	}
	m, errs := python.Parse(ctx, text, python.Limits{Bytes: maxSource})
	s := &sourceScan{p: p, f: f, source: m.Source, imports: python.NewImports(m.Body, "", false), functions: map[string]*syntax.Node{}, reached: map[*syntax.Node]bool{}}
	s.declare(m.Body)
	s.block(m.Body, true)
	for len(s.queue) > 0 && ctx.Err() == nil { // functions that importing calls
		next := s.queue[0]
		s.queue = s.queue[1:]
		s.block(next.Body(), true)
	}
	s.rest(m.Body)
	if len(errs) > 0 {
		return fmt.Errorf("%d places are no Python that is known, the first one: %w", len(errs), errs[0])
	}
	return ctx.Err()
}

type sourceScan struct {
	p         *detect.Pass[*format.File]
	f         *format.File
	source    string // the text that places count in
	imports   *python.Imports
	functions map[string]*syntax.Node // functions and classes of the file, by name
	reached   map[*syntax.Node]bool   // those that importing runs
	queue     []*syntax.Node
}

// declare collects the functions and classes of the file.
func (s *sourceScan) declare(body []*syntax.Node) {
	for _, n := range body {
		switch n.Kind {
		case syntax.Func:
			s.functions[n.Text] = n
		case syntax.Class:
			for _, m := range n.Body() {
				if m.Kind == syntax.Func && (m.Text == "__init__" || m.Text == "__new__" || m.Text == "__init_subclass__") {
					s.functions[n.Text] = m
				}
			}
		case syntax.If, syntax.Try, syntax.With:
			s.declare(n.Body())
		default:
		}
	}
}

// block examines statements; importing says that an import runs them. Bodies of
// functions are left to whoever calls them.
func (s *sourceScan) block(body []*syntax.Node, importing bool) {
	for _, n := range body {
		syntax.Walk(n, func(x *syntax.Node) bool {
			switch x.Kind {
			case syntax.Func:
				for _, d := range x.Decorators() {
					s.block([]*syntax.Node{d}, importing)
				}
				return false
			case syntax.Lambda:
				return false
			case syntax.If:
				if importing && isMainGuard(x.Kid(0)) {
					s.block([]*syntax.Node{x.Kid(1)}, false)
					if x.Kid(2) != nil {
						s.block([]*syntax.Node{x.Kid(2)}, true)
					}
					return false
				}
			case syntax.Call:
				s.call(x, importing)
			case syntax.Exec:
				s.report(x, importing, verbs["code"], "code", x.Kids)
			default:
			}
			return true
		})
	}
}

// rest examines the functions that importing does not run.
func (s *sourceScan) rest(body []*syntax.Node) {
	for _, n := range body {
		syntax.Walk(n, func(x *syntax.Node) bool {
			if x.Kind == syntax.Func && !s.reached[x] {
				s.reached[x] = true
				s.block(x.Body(), false)
			}
			return true
		})
	}
}

// isMainGuard knows if __name__ == "__main__".
func isMainGuard(test *syntax.Node) bool {
	if test == nil || test.Kind != syntax.Compare || len(test.Kids) != 2 {
		return false
	}
	for i, k := range test.Kids {
		if k != nil && k.Kind == syntax.Name && k.Text == "__name__" {
			other := test.Kids[1-i]
			return other != nil && other.Kind == syntax.String && other.Text == "__main__"
		}
	}
	return false
}

// resolve names what is called: os.system for run of "from os import system as
// run", and for getattr(os, "system").
func (s *sourceScan) resolve(n *syntax.Node) string {
	if n != nil && n.Kind == syntax.Call && syntax.Dotted(n.Kid(0)) == "getattr" && len(n.Kids) >= 3 {
		if name, ok := python.Fold(n.Kid(2), nil); ok {
			if of := s.resolve(n.Kid(1)); of != "" {
				return of + "." + name
			}
		}
		return ""
	}
	if n != nil && n.Kind == syntax.Call { // __import__("os").system
		if callee := syntax.Dotted(n.Kid(0)); callee == "__import__" || strings.HasSuffix(s.name(callee), "importlib.import_module") {
			if name, ok := python.Fold(n.Kid(1), nil); ok {
				return name
			}
		}
		return ""
	}
	if n != nil && n.Kind == syntax.Attr && n.Kid(0) != nil && n.Kid(0).Kind == syntax.Call {
		if of := s.resolve(n.Kid(0)); of != "" {
			return of + "." + n.Text
		}
		return ""
	}
	return s.name(syntax.Dotted(n))
}

// name resolves a dotted name through the imports; a name that nothing imports
// or defines is a built-in one.
func (s *sourceScan) name(dotted string) string {
	if dotted == "" {
		return ""
	}
	if full, ok := s.imports.Resolve(dotted); ok {
		return full
	}
	if s.functions[dotted] == nil && !strings.Contains(dotted, ".") {
		return "builtins." + dotted
	}
	return ""
}

// deeds are the effects that source code is judged by. Reading and writing
// files, importing modules and asking the machine are what such code is for.
var deeds = []string{"shell", "spawn", "code", "codeobj", "net", "native", "hook"}

// always are those that count in a function that nothing in the file calls.
var always = []string{"shell", "spawn", "code", "codeobj", "hook"}

// primitives are the modules whose functions do a deed themselves. The table of
// callables grades many more for pickles, where no honest stream calls them and
// source code does all day.
var primitives = []string{
	"os", "posix", "nt", "subprocess", "pty", "commands", "popen2", "asyncio", "_posixsubprocess", "builtins", "runpy", "code", "marshal", "types", "ctypes",
	"socket", "urllib", "urllib2", "requests", "httpx", "aiohttp", "http", "httplib", "ftplib", "smtplib", "telnetlib", "picklescan", "fickling", "modelscan",
}

// everyday are functions of these modules that are no deed.
var everyday = []string{
	"builtins.compile", "builtins.getattr", "builtins.setattr", "builtins.map", "builtins.filter", "builtins.type", "builtins.input", "builtins.open", "builtins.vars",
	"builtins.globals", "builtins.locals", "builtins.super", "builtins.breakpoint", "builtins.help", "types.SimpleNamespace", "types.MethodType", "types.ModuleType",
	"ctypes.c_", "ctypes.POINTER", "ctypes.byref", "ctypes.cast", "ctypes.sizeof", "urllib.parse", "urllib.error", "http.HTTPStatus", "requests.exceptions", "requests.Session",
	"asyncio.run", "asyncio.sleep", "asyncio.gather", "asyncio.get_event_loop", "socket.gethostname", "subprocess.CalledProcessError", "subprocess.SubprocessError", "subprocess.TimeoutExpired", "marshal.dump", "os.path", "os.getenv", "os.environ",
}

func (s *sourceScan) call(x *syntax.Node, importing bool) {
	callee := x.Kid(0)
	if name := syntax.Dotted(callee); importing && name != "" {
		if fn := s.functions[name]; fn != nil && !s.reached[fn] {
			s.reached[fn] = true
			s.queue = append(s.queue, fn)
			return
		}
	}
	full := s.resolve(callee)
	first, _, _ := strings.Cut(full, ".")
	if !slices.Contains(primitives, first) || slices.ContainsFunc(everyday, func(e string) bool { return strings.HasPrefix(full, e) }) {
		return
	}
	c := row(full)
	v, ok := verbs[c.effect]
	if ok = ok && c.tier == tierDangerous && slices.Contains(deeds, c.effect); !ok || !importing && !slices.Contains(always, c.effect) {
		return
	}
	s.report(x, importing, v, c.effect, x.Kids[1:])
}

// unpackers turn hidden or foreign bytes into what is run next.
var unpackers = []string{"base64.", "binascii.", "zlib.", "gzip.", "bz2.", "lzma.", "codecs.decode", "marshal.", "urllib.", "requests.", "http.", "socket.", "builtins.bytes.fromhex", "builtins.bytearray.fromhex"}

// unpacks reports whether an argument decodes, decompresses or fetches.
func (s *sourceScan) unpacks(args []*syntax.Node) (found bool) {
	for _, a := range args {
		if a == nil {
			continue
		}
		syntax.Walk(a, func(n *syntax.Node) bool {
			if n.Kind == syntax.Call {
				full := s.resolve(n.Kid(0))
				if full == "" {
					full = "builtins." + syntax.Dotted(n.Kid(0))
				}
				found = found || slices.ContainsFunc(unpackers, func(u string) bool { return strings.HasPrefix(full, u) })
			}
			return !found
		})
	}
	return found
}

// report says what happens; the sentence of a verb is about loading a file,
// which importing this one is.
func (s *sourceScan) report(x *syntax.Node, importing bool, v verb, effect string, args []*syntax.Node) {
	deed := strings.TrimPrefix(v.sentence, "Loading ")
	message, severity := "A function of this file "+deed, warden.Medium
	if importing {
		message = "Importing this file " + deed
		if slices.Contains(always, effect) {
			severity = warden.High
		}
	}
	if slices.Contains(always, effect) && s.unpacks(args) {
		message, severity = strings.TrimSuffix(message, ".")+", and what it hands over is unpacked or fetched first.", warden.High
	}
	start, end := int64(x.Start), int64(x.End)
	s.p.Emit(warden.Finding{Rule: ruleSource, Severity: severity, At: at(s.f, start, end), Message: message, Evidence: s.text(x)})
}

// text is the source of a node, without what may be a secret.
func (s *sourceScan) text(x *syntax.Node) string {
	const shown = 200
	start := min(max(0, int(x.Start)), len(s.source))
	end := min(max(start, int(x.End)), start+shown, len(s.source))
	return withoutSecret(strings.Join(strings.Fields(s.source[start:end]), " "))
}
