package flow

import (
	"regexp"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// Golang returns the rules of Go. resolve tells the path of a unit of the
// package that an import names, or "" if it is outside of the tree.
func Golang(resolve func(from Unit, name string) string) *Language {
	return &Language{
		Name: "go", Constructor: "(none)", Hoist: true, Members: true, Declares: true, Builtins: "<builtin>",
		Types:     map[Kind]string{String: "string", List: "slice", Dict: "map"},
		IsBuiltin: func(name string) bool { return goBuiltins[name] },
		Import:    resolve,
	}
}

var goBuiltins = wordSet(`append cap clear close complex copy delete imag len make max min new panic print println real recover range
	string bool byte rune error any int int8 int16 int32 int64 uint uint8 uint16 uint32 uint64 uintptr float32 float64`)

// major is the part of an import path that only tells a major version.
var major = regexp.MustCompile(`/v[0-9]+(/|$)`)

// composite is a literal of a struct: an object of a class of the tree, or a
// map of its fields where the type is outside.
func (e *exec) composite(n *syntax.Node, f set, ar *args) set {
	a := e.a
	e.escape(ar)
	out := set{unknown: f.unknown}
	for _, x := range f.vals {
		i := *a.info(x.v)
		switch i.kind {
		case vClass:
			out = out.or(e.instantiate(x, i.cls, ar, n))
		case vExt:
			e.note(n, callee{name: shown(i.text), path: i.text, made: i.node})
			out = out.or(e.fields(n, ar))
		case vFunc: // a named map or list
			e.settled(n)
			out = out.or(e.fields(n, ar))
		default:
		}
	}
	if len(f.vals) == 0 {
		return e.fields(n, ar)
	}
	return out
}

func (e *exec) fields(n *syntax.Node, ar *args) set {
	o := e.a.object(objDict, n, e.fr.unit, "fields")
	for _, k := range ar.kw {
		e.setCell(o, "s:"+k.name, k.s)
	}
	for _, p := range ar.pos {
		e.addCell(e.newCell(o, star), p)
	}
	return one(e.a.intern(info{kind: vDict, obj: o}), (*step)(nil).then(Literal, "", e.fr.unit, n))
}

// goBuiltin calls a function of Go itself.
func (e *exec) goBuiltin(name string, ar *args, n *syntax.Node) set {
	a := e.a
	first, _, _ := ar.get(0, "")
	switch name {
	case "string", "any", "error":
		return first
	case "append":
		out := first
		for _, x := range first.vals {
			if i := *a.info(x.v); i.kind == vList {
				for _, p := range ar.pos[1:] {
					e.addCell(e.newCell(i.obj, star), p)
				}
				e.addCell(e.newCell(i.obj, star), ar.more)
			}
		}
		if len(first.vals) == 0 || a.info(first.vals[0].v).kind != vList {
			o := a.object(objList, n, e.fr.unit, name)
			for _, p := range ar.pos[1:] {
				e.addCell(e.newCell(o, star), p)
			}
			out = one(a.intern(info{kind: vList, obj: o}), nil)
		}
		return out
	case "range":
		t := a.object(objTuple, n, e.fr.unit, name)
		for _, x := range first.vals {
			if i := *a.info(x.v); i.kind == vDict {
				e.addCell(e.newCell(t, "i:0"), e.keysOf(i.obj))
				e.addCell(e.newCell(t, "i:1"), e.all(i.obj))
				continue
			}
			e.addCell(e.newCell(t, "i:0"), one(a.common.number, nil))
			e.addCell(e.newCell(t, "i:1"), e.iterate(set{vals: []entry{x}}, n))
		}
		if first.unknown {
			e.addCell(e.newCell(t, "i:1"), unknown())
		}
		return e.gathered(one(a.intern(info{kind: vList, obj: t}), nil), n, name)
	case "len", "cap", "copy", "int", "int64", "int32", "uint", "float64", "float32":
		return one(a.common.number, nil)
	}
	e.escape(ar)
	return unknown()
}

// goTexts are functions of package strings by the methods of text that they are.
var goTexts = map[string]string{
	"strings.ToLower": "lower", "strings.ToUpper": "upper", "strings.TrimSpace": "strip", "strings.TrimPrefix": "removeprefix",
	"strings.TrimSuffix": "removesuffix", "strings.ReplaceAll": "replace", "strings.Split": "split", "strings.Trim": "strip",
}

// goPassing return what they get, as a pointer or in another type.
var goPassing = regexp.MustCompile(`(?:^|/)(?:aws|genai|openai-go|anthropic-sdk-go|to|ptr|lo|param|azopenai|pointer|util|utils|cohere-go|openai|anthropic|shared|responses|azcore/to)\.(?:String|F|Ptr|To|ToPtr|NewOpt|Raw|Of|Pointer|Opt|ChatModel|Model|EmbeddingModel|ImageModel|ResponsesModel)$`)

// goKnown calls functions of Go whose values are followed.
func (e *exec) goKnown(i info, ar *args, n *syntax.Node) (set, bool) {
	a := e.a
	first, _, _ := ar.get(0, "")
	second, second0, _ := ar.get(1, "")
	switch i.text {
	case "os.Getenv", "os.LookupEnv", "syscall.Getenv":
		s := e.environment(first, set{}, n)
		if i.text != "os.Getenv" {
			t := a.object(objTuple, n, e.fr.unit, nil)
			e.setCell(t, "i:0", s)
			e.setCell(t, "i:1", set{vals: []entry{{v: a.common.yes}, {v: a.common.no}}})
			return one(a.intern(info{kind: vList, obj: t}), nil), true
		}
		return s, true
	case "cmp.Or":
		var out set
		for j, p := range ar.pos {
			if j > 0 && goEnvironment(ar.node(0)) {
				p = p.via(EnvironmentDefault, "", e.fr.unit, ar.node(j))
			}
			out = out.or(p)
		}
		return out, true
	case "flag.String", "github.com/spf13/pflag.String":
		return e.optional(second, second0), true
	case "fmt.Sprintf":
		t := a.object(objTuple, n, e.fr.unit, "sprintf")
		for j, p := range ar.pos[min(1, len(ar.pos)):] {
			e.setCell(t, "i:"+itoa(j), p)
		}
		return e.percent(e.verbs(first), one(a.intern(info{kind: vList, obj: t}), nil), n), true
	case "os.ReadFile", "io/ioutil.ReadFile":
		return e.opened(first, n), true
	case "path.Join", "path/filepath.Join":
		return e.paths(ar.pos, n), true
	case "errors.New", "fmt.Errorf":
		return unknown(), true
	case "strings.NewReader", "bytes.NewReader", "bytes.NewBuffer", "bytes.NewBufferString", "io.NopCloser":
		return first, true
	case "encoding/json.Marshal", "encoding/json.MarshalIndent", "github.com/bytedance/sonic.Marshal", "github.com/goccy/go-json.Marshal":
		return first, true
	case "net/http.NewRequest", "net/http.NewRequestWithContext":
		e.escape(ar)
		return set{}, false
	}
	if m, ok := goTexts[i.text]; ok {
		var out set
		for _, x := range first.vals {
			switch a.info(x.v).kind {
			case vString, vPattern:
				out = out.or(e.textMethod(m, x, &args{pos: ar.pos[1:], nodes: ar.nodes[min(1, len(ar.nodes)):]}, n))
			default:
				out.unknown = true
			}
		}
		out.unknown = out.unknown || first.unknown
		return out, true
	}
	switch {
	case goConfigs.MatchString(i.text): // what is set on it counts
		c := &args{}
		if strings.HasSuffix(i.text, "DefaultAzureConfig") {
			c.kw = append(c.kw, kwArg{"BaseURL", second, second0})
		}
		if strings.HasSuffix(i.text, "WithBaseURL") {
			c.kw = append(c.kw, kwArg{"BaseURL", first, ar.node(0)})
		}
		return e.fields(n, c), true
	case strings.HasSuffix(i.text, "lags().String") || strings.HasSuffix(i.text, "lags().StringP"):
		if strings.HasSuffix(i.text, "P") {
			second, second0, _ = ar.get(2, "")
		}
		return e.optional(second, second0), true
	case len(ar.pos) == 1 && goPassing.MatchString(i.text):
		return first, true
	}
	return set{}, false
}

// goConfigs return something whose fields a program sets, or an option with one.
var goConfigs = regexp.MustCompile(`\.(?:DefaultConfig|DefaultAzureConfig|DefaultAnthropicConfig|WithBaseURL)$`)

// goEnvironment reports whether an expression reads the environment.
func goEnvironment(n *syntax.Node) bool {
	return n != nil && n.Kind == syntax.Call && syntax.Dotted(n.Kid(0)) == "os.Getenv"
}

// verbs makes %s of what Go formats text with.
func (e *exec) verbs(s set) set {
	out := set{unknown: s.unknown}
	for _, x := range s.vals {
		if i := e.a.info(x.v); i.kind == vString {
			t := strings.NewReplacer("%v", "%s", "%q", "%s", "%+v", "%s").Replace(i.text)
			x.v = e.a.str(t)
		}
		out.vals = append(out.vals, x)
	}
	return out
}
