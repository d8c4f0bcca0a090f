package flow

import (
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// Managed returns the rules of Java, Kotlin or C#. resolve tells the path of a
// unit of the package that an import names, or "" if it is outside of the tree.
func Managed(name string, resolve func(from Unit, name string) string) *Language {
	return &Language{
		Name: name, Constructor: "(init)", This: "this", Hoist: true, Members: true, Declares: true, Implicit: true, Builtins: "<builtin>",
		Types:     map[Kind]string{String: "String", List: "List", Dict: "Map"},
		IsBuiltin: func(name string) bool { return managedBuiltins[name] },
		Import:    resolve,
	}
}

var managedBuiltins = wordSet(`System Environment String Integer Long Math Objects Optional List Map Set Arrays Collections Path Paths Files
	Console Task listOf mapOf setOf arrayOf mutableListOf mutableMapOf println print require check runBlocking lazy run let apply also
	with emptyList super classmethod (property) string int Convert Guid DateTime TimeSpan Duration Enumerable Dictionary nameof typeof`)

// implicit reads a name that can be a member of the object around the code.
func (e *exec) implicit(name string) (set, bool) {
	var out set
	for _, x := range e.this().vals {
		i := *e.a.info(x.v)
		if i.cls == nil || i.kind != vInst && i.kind != vClass {
			continue
		}
		_, _, ok := e.find(i.cls, name, nil)
		switch {
		case i.kind == vInst && (ok || i.obj.peek(name) != nil):
			out = out.or(e.instAttr(x, i, name, e.fr.node))
		case i.kind == vClass && ok:
			out = out.or(e.classAttr(x, i.cls, name))
		}
	}
	return out, len(out.vals) > 0
}

// managed calls a function of Java, Kotlin or C# itself.
func (e *exec) managed(name string, ar *args, n *syntax.Node) set {
	a := e.a
	first, _, _ := ar.get(0, "")
	second, second0, has2 := ar.get(1, "")
	switch name {
	case "super":
		return e.super(ar)
	case "System.getenv", "Environment.GetEnvironmentVariable", "System.getProperty", "(property)":
		var def set
		if has2 && second0 != nil {
			def = second.via(EnvironmentDefault, e.nameText(first), e.fr.unit, second0)
		}
		names := first
		if name == "(property)" { // spring.ai.model is SPRING_AI_MODEL in the environment
			for _, x := range first.vals {
				t := strings.ToUpper(strings.NewReplacer(".", "_", "-", "").Replace(a.info(x.v).text))
				names = names.or(one(a.str(t), nil))
			}
		}
		return e.environment(names, def, n)
	case "List.of", "Arrays.asList", "listOf", "setOf", "arrayOf", "mutableListOf", "Set.of", "Enumerable.Repeat":
		o := a.object(objList, n, e.fr.unit, name)
		for j, p := range ar.pos {
			e.setCell(o, "i:"+itoa(j), p)
		}
		return one(a.intern(info{kind: vList, obj: o}), (*step)(nil).then(Literal, "", e.fr.unit, n))
	case "Map.of", "mapOf", "mutableMapOf":
		o := a.object(objDict, n, e.fr.unit, name)
		if name == "Map.of" {
			for j := 0; j+1 < len(ar.pos); j += 2 {
				e.putMember(o, ar.pos[j], ar.pos[j+1])
			}
		} else {
			for _, p := range ar.pos {
				e.putMember(o, e.member(p, e.index(0)), e.member(p, e.index(1)))
			}
		}
		return one(a.intern(info{kind: vDict, obj: o}), (*step)(nil).then(Literal, "", e.fr.unit, n))
	case "String.format", "String.Format", "string.Format":
		t := a.object(objTuple, n, e.fr.unit, name)
		for j, p := range ar.pos[min(1, len(ar.pos)):] {
			e.setCell(t, "i:"+itoa(j), p)
		}
		return e.percent(e.verbs(first), one(a.intern(info{kind: vList, obj: t}), nil), n)
	case "Optional.ofNullable", "Optional.of", "String.valueOf", "Objects.requireNonNull", "Path.of", "Paths.get", "nameof":
		return first
	case "Objects.requireNonNullElse", "Path.Combine":
		return first.or(second)
	case "run", "runBlocking", "lazy", "Task.Run":
		return e.callInside(first, &args{more: unknown()})
	}
	e.escape(ar)
	return unknown()
}

// managedMethod calls a method of a value that Kotlin and Java give every one.
func (e *exec) managedMethod(name string, x entry, ar *args) (set, bool) {
	self := set{vals: []entry{x}}
	first, _, _ := ar.get(0, "")
	switch name {
	case "orElse", "GetValueOrDefault":
		return self.or(first), true
	case "orElseThrow", "get", "toString", "ToString", "intern", "toURI", "trim", "Trim", "build":
		if e.a.info(x.v).kind == vString {
			return self, true
		}
	case "let", "run", "also", "apply":
		got := e.callInside(first, &args{pos: []set{self}})
		if name == "also" || name == "apply" {
			return self, true
		}
		return got, true
	case "map", "forEach", "ForEach", "Select", "stream", "asSequence":
		if e.a.info(x.v).kind == vList {
			e.callInside(first, &args{pos: []set{e.items(self)}})
			return self, true
		}
	}
	return set{}, false
}

// annotated are annotations whose functions someone calls.
var annotated = map[string]string{
	"GetMapping": "web", "PostMapping": "web", "PutMapping": "web", "DeleteMapping": "web", "PatchMapping": "web", "RequestMapping": "web",
	"MessageMapping": "web", "QueryMapping": "web", "MutationMapping": "web", "GET": "web", "POST": "web", "PUT": "web", "DELETE": "web",
	"Get": "web", "Post": "web", "HttpGet": "web", "HttpPost": "web", "HttpPut": "web", "HttpDelete": "web", "Route": "web", "OnTextMessage": "web",
	"Scheduled": "worker", "EventListener": "worker", "KafkaListener": "worker", "RabbitListener": "worker", "JmsListener": "worker", "PostConstruct": "worker",
	"Bean": "program", "Produces": "program", "Startup": "program", "FunctionName": "worker", "Function": "worker", "Incoming": "worker",
	"Tool": "tool", "McpTool": "tool", "KernelFunction": "tool", "McpServerTool": "tool", "DefineKernelFunction": "tool", "ShellMethod": "cli", "Command": "cli",
	"Test": "test", "ParameterizedTest": "test", "Fact": "test", "Theory": "test", "TestMethod": "test", "BeforeEach": "test", "BeforeAll": "test",
	"get": "web", "post": "web", "put": "web", "delete": "web", "route": "web", "routing": "web", "webSocket": "web", "embeddedServer": "program",
}

// annotation returns the kind of entry that an annotation makes.
func annotation(p, last string) string {
	head, _, _ := strings.Cut(p, ".")
	switch head {
	case "org", "jakarta", "javax", "io", "dev", "com", "Microsoft", "ModelContextProtocol", "Xunit", "NUnit", "Azure", "System":
	default:
		return ""
	}
	kind := annotated[last]
	if kind == "" || last[0] >= 'a' && last[0] <= 'z' && !strings.HasPrefix(p, "io.ktor.") {
		return ""
	}
	return kind
}

// managedProgram reports whether a function is where a program of Java, Kotlin
// or C# begins.
func (g *Graph) managedProgram(fr *frame) bool {
	if fr.short != "main" && fr.short != "Main" || fr.node == nil {
		return false
	}
	return fr.class == nil || fr.node.Flag&syntax.Static != 0
}
