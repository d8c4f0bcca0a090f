package tokens

import (
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// modifiers are words before a declaration.
func modifier(w string) bool {
	switch w {
	case "public", "private", "protected", "internal", "static", "final", "abstract", "override", "open", "sealed", "readonly", "const", "async",
		"virtual", "partial", "lateinit", "suspend", "inline", "data", "native", "synchronized", "transient", "volatile", "default", "strictfp",
		"extern", "unsafe", "new", "required", "inner", "operator", "infix", "tailrec", "external", "actual", "expect", "vararg", "noinline",
		"crossinline", "reified", "companion", "non", "file", "params", "ref", "out", "in", "this":
		return true
	}
	return false
}

// top reads a whole file.
func (p *parser) top() []*syntax.Node {
	var body []*syntax.Node
	for p.kind != eof {
		at := p.pos
		switch {
		case p.word("package") || p.word("namespace"):
			p.next()
			p.pkg = p.dotted()
			if p.is("{") { // a block, whose end is read over below
				p.next()
			}
			p.eat(";")
		case p.word("import"), p.word("using") || p.word("global"):
			if !p.importing() {
				body = p.statement(body)
			}
		case p.is("}"):
			p.next()
		default:
			body = p.member(body, true)
		}
		if p.pos == at && p.kind != eof {
			p.next()
		}
	}
	return body
}

func (p *parser) dotted() string {
	var b strings.Builder
	for p.kind == word {
		b.WriteString(p.tok)
		p.next()
		if !p.is(".") {
			break
		}
		b.WriteByte('.')
		p.next()
		if p.is("*") {
			b.WriteByte('*')
			p.next()
			break
		}
	}
	return b.String()
}

// importing reads import a.b.C; import a.b.*; using A.B; using X = A.B.C. A
// using statement with a resource is none.
func (p *parser) importing() bool {
	start := p.start
	p.eat("global")
	p.next()
	p.eat("static")
	if p.is("(") || p.word("var") || p.word("await") {
		return false
	}
	full := p.dotted()
	alias := ""
	if p.csharp && p.is("=") {
		p.next()
		alias, full = full, p.dotted()
	}
	if p.kind == word && !p.nl && p.tok != "as" { // using Type name = …
		return false
	}
	if p.eat("as") {
		alias = p.tok
		p.next()
	}
	p.eat(";")
	i := strings.LastIndexByte(full, '.')
	switch {
	case full == "":
	case p.csharp && alias == "":
		p.imports = append(p.imports, p.node(syntax.From, start, full, p.node(syntax.Alias, start, "*", nil)))
	case i > 0:
		name := full[i+1:]
		var as *syntax.Node
		if alias != "" {
			as = p.name(alias, start)
		}
		p.imports = append(p.imports, p.node(syntax.From, start, full[:i], p.node(syntax.Alias, start, name, as)))
	}
	return true
}

// annotations reads @A(…) and [A(…)].
func (p *parser) annotations() (decs []*syntax.Node, property string, found bool) {
	for p.is("@") || p.csharp && p.is("[") {
		bracket := p.is("[")
		p.next()
		if p.word("interface") { // @interface
			return decs, property, found
		}
		for {
			start := p.start
			if p.kind == word && (p.tok == "field" || p.tok == "get" || p.tok == "param" || p.tok == "file" || p.tok == "assembly" || p.tok == "return") && strings.HasPrefix(p.src[p.pos:], ":") {
				p.next()
				p.next()
				start = p.start
			}
			name := p.dotted()
			n := p.name(name, start)
			for i, part := range strings.Split(name, ".") {
				if i == 0 {
					n = p.name(part, start)
				} else {
					n = p.node(syntax.Attr, start, part, n)
				}
			}
			if p.is("<") {
				p.generics()
			}
			if p.is("(") {
				n = p.node(syntax.Call, start, "", p.arguments([]*syntax.Node{n})...)
				for i, a := range n.Kids {
					if a != nil && a.Kind == syntax.Walrus && a.Kids[0].Kind == syntax.Name { // [A(Name = "x")]
						n.Kids[i] = p.node(syntax.Keyword, int(a.Start)-p.shift, a.Kids[0].Text, a.Kids[1])
					}
				}
				if name == "Value" || strings.HasSuffix(name, ".Value") || name == "ConfigProperty" {
					found = true
					for _, a := range n.Kids[1:] {
						if a != nil && a.Kind == syntax.Keyword {
							switch {
							case a.Kid(0) == nil || a.Kid(0).Kind != syntax.String:
							case a.Text == "name":
								property = "${" + a.Kid(0).Text + strings.TrimPrefix(property, "${")
							case a.Text == "defaultValue":
								property = strings.TrimSuffix(property, "}") + ":" + a.Kid(0).Text
							}
							if a.Text != "value" {
								if !strings.HasPrefix(property, "${") {
									property = "${" + property
								}
								property = strings.TrimSuffix(property, "}") + "}"
								continue
							}
							a = a.Kid(0)
						}
						if a != nil && a.Kind == syntax.String {
							property = a.Text
						}
						if a != nil && a.Kind == syntax.FString { // Kotlin: "\${x:y}" needs no template
							property = ""
						}
					}
				}
			}
			if name != "" {
				decs = append(decs, n)
			}
			if !bracket || !p.eat(",") {
				break
			}
		}
		if bracket && !p.eat("]") {
			for p.kind != eof && !p.is("]") && !p.is("{") && !p.is(";") {
				p.next()
			}
			p.eat("]")
		}
	}
	return decs, property, found
}

// placeholder is the default in "${key:default}".
func (p *parser) placeholder(s string, at int) *syntax.Node {
	in, ok := strings.CutSuffix(strings.TrimPrefix(s, "${"), "}")
	if !ok || !strings.HasPrefix(s, "${") {
		return p.none() // the name of a property, or an expression
	}
	key, def, has := strings.Cut(in, ":")
	kids := []*syntax.Node{p.name("(property)", at), p.node(syntax.String, at, key)}
	if has {
		kids = append(kids, p.node(syntax.String, at, def))
	}
	return p.node(syntax.Call, at, "", kids...)
}

// member reads what stands in a type, or at the top of a file.
func (p *parser) member(out []*syntax.Node, top bool) []*syntax.Node {
	if !p.enter() {
		p.skip()
		return out
	}
	defer func() { p.depth-- }()
	decs, property, valued := p.annotations()
	start := p.start
	static := top
	for p.kind == word && modifier(p.tok) {
		if p.tok == "static" || p.tok == "const" {
			static = true
		}
		if p.tok == "companion" {
			p.next()
			p.eat("object")
			if p.kind == word && !p.nl {
				p.next()
			}
			if p.is("{") {
				p.next()
				for !p.is("}") && p.kind != eof {
					out = p.guarded(out, true)
				}
				p.eat("}")
			}
			return out
		}
		p.next()
		if more, pr, v := p.annotations(); len(more) > 0 {
			decs = append(decs, more...)
			if v {
				property, valued = pr, true
			}
		}
	}
	switch {
	case p.is(";") || p.is(","):
		p.next()
		return out
	case p.is("{"): // an initialiser
		return append(out, p.block())
	case p.kind != word:
		if top {
			return p.statement(out)
		}
		if p.is("(") || p.is("[") {
			p.skip()
		} else if !p.is("}") {
			p.next()
		}
		return out
	}
	switch p.tok {
	case "class", "interface", "enum", "record", "object", "struct", "@interface":
		if n := p.types(decs); n != nil {
			out = append(out, n)
		}
		return out
	case "fun":
		return append(out, p.fun(decs, static && !top))
	case "val", "var":
		if p.kotlin {
			return p.property(out, property, valued)
		}
	case "init":
		if p.kotlin {
			p.next()
			return append(out, p.block().Kids...)
		}
	case "typealias", "delegate", "event":
		for p.kind != eof && !p.is(";") && !p.nl {
			p.next()
		}
		p.eat(";")
		return out
	case "constructor":
		p.next()
		params := p.params()
		if p.eat(":") {
			p.expr()
		}
		return append(out, p.function(start, "(init)", params, nil, false))
	}
	if top && statementWord(p.tok) {
		return p.statement(out)
	}
	// Type name(…) {…}, Name(…) {…} of a constructor, Type name = …;
	if p.is("<") {
		p.generics()
	}
	s := p.save()
	first := p.tok
	if len(p.class) > 0 && first == p.class[len(p.class)-1] {
		p.next()
		if p.is("(") {
			params := p.params()
			if p.eat(":") { // : base(…), : this(…)
				p.expr()
			}
			p.throws()
			return append(out, p.function(start, "(init)", params, decs, false))
		}
		p.restore(s)
	}
	if !p.typ() || p.kind != word {
		p.restore(s)
		if top {
			return p.statement(out)
		}
		p.next()
		return out
	}
	at, name := p.start, p.tok
	p.next()
	for p.is(".") { // of an interface that is implemented
		p.next()
		name = p.tok
		p.next()
	}
	if p.is("<") {
		p.generics()
	}
	switch {
	case p.is("("):
		params := p.params()
		p.throws()
		if p.eat(";") {
			return out
		}
		return append(out, p.function(start, name, params, decs, static && !top))
	case p.is("{"): // a property with accessors
		p.skip()
		if !p.eat("=") {
			return append(out, p.node(syntax.AnnAssign, at, "", p.name(name, at), nil, nil))
		}
		v := p.expr()
		p.eat(";")
		return append(out, p.local(at, p.name(name, at), v))
	case p.is("=>"):
		p.next()
		v := p.expr()
		p.eat(";")
		return append(out, p.local(at, p.name(name, at), v))
	}
	for {
		switch {
		case p.eat("="):
			out = append(out, p.local(at, p.name(name, at), p.expr()))
		case valued:
			out = append(out, p.local(at, p.name(name, at), p.placeholder(property, at)))
		default:
			out = append(out, p.node(syntax.AnnAssign, at, "", p.name(name, at), nil, nil))
		}
		if !p.eat(",") || p.kind != word {
			break
		}
		at, name = p.start, p.tok
		p.next()
	}
	p.end()
	return out
}

// guarded reads a member and makes sure that something was read.
func (p *parser) guarded(out []*syntax.Node, static bool) []*syntax.Node {
	at := p.pos
	n := len(out)
	out = p.member(out, false)
	if p.pos == at && p.kind != eof && !p.is("}") {
		p.next()
	}
	if static {
		for _, m := range out[n:] {
			if m.Kind == syntax.Func && m.Flag&syntax.Static == 0 {
				m.Flag |= syntax.Static
				m.Kids = slices.Insert(slices.Clone(m.Kids), 4, p.name("classmethod", int(m.Start)-p.shift))
			}
		}
	}
	return out
}

func (p *parser) throws() {
	if p.word("throws") || p.word("where") {
		for p.kind != eof && !p.is("{") && !p.is(";") && !p.is("=>") {
			p.next()
		}
	}
}

// types reads a type with its members.
func (p *parser) types(decs []*syntax.Node) *syntax.Node {
	start := p.start
	isObject, isEnum := p.tok == "object", p.tok == "enum"
	p.next()
	if p.word("class") || p.word("struct") {
		p.next()
	}
	if p.kind != word {
		if p.is("{") {
			p.skip()
		}
		return nil
	}
	name := p.tok
	at := p.start
	p.next()
	if p.is("<") {
		p.generics()
	}
	var body, bases []*syntax.Node
	for p.kind == word && modifier(p.tok) || p.word("constructor") || p.is("@") {
		if p.is("@") {
			p.annotations()
			continue
		}
		p.next()
	}
	if p.is("(") { // a primary constructor: its parameters are fields
		params := p.params()
		var pro []*syntax.Node
		for _, k := range params.Kids {
			pro = append(pro, p.node(syntax.Assign, at, "", p.node(syntax.Attr, at, k.Text, p.name("this", at)), p.name(k.Text, at)))
		}
		f := p.node(syntax.Func, at, "(init)", params, nil, nil, p.node(syntax.Block, at, "", pro...))
		body = append(body, f)
	}
	for p.is(":") || p.word("extends") || p.word("implements") || p.word("permits") || p.word("where") {
		generic := p.word("where")
		p.next()
		for p.kind == word {
			b := p.start
			n := p.qualified(p.dotted(), b)
			if p.is("<") {
				p.generics()
			}
			if p.is("(") {
				p.skip()
			}
			if !generic {
				bases = append(bases, n)
			}
			if p.word("by") {
				p.next()
				p.expr()
			}
			if !p.eat(",") {
				break
			}
		}
		if generic {
			for p.kind != eof && !p.is("{") && !p.is(";") {
				p.next()
			}
		}
	}
	p.class = append(p.class, name)
	if p.is("{") {
		p.next()
		if isEnum {
			body = p.constants(body)
		}
		for !p.is("}") && p.kind != eof {
			body = p.guarded(body, isObject)
		}
		p.eat("}")
	}
	p.class = p.class[:len(p.class)-1]
	p.eat(";")
	return p.node(syntax.Class, start, name, append([]*syntax.Node{nil, p.node(syntax.Args, at, "", bases...), p.node(syntax.Block, at, "", body...)}, decs...)...)
}

func (p *parser) qualified(name string, at int) *syntax.Node {
	var n *syntax.Node
	for i, part := range strings.Split(name, ".") {
		if i == 0 {
			n = p.name(part, at)
		} else {
			n = p.node(syntax.Attr, at, part, n)
		}
	}
	return n
}

// constants reads the members of an enumeration: A("x"), B.
func (p *parser) constants(body []*syntax.Node) []*syntax.Node {
	for p.kind == word || p.is("@") || p.is("[") {
		p.annotations()
		if p.kind != word || modifier(p.tok) {
			break
		}
		at, name := p.start, p.tok
		s := p.save()
		p.next()
		v := p.node(syntax.Number, at, "")
		switch {
		case p.is("("):
			args := p.arguments(nil)
			if len(args) > 0 && args[0] != nil && args[0].Kind == syntax.String {
				v = args[0]
			}
		case p.eat("="):
			v = p.expr()
		case !p.is(",") && !p.is(";") && !p.is("}") && !p.is("{"):
			p.restore(s)
			return body
		}
		if p.is("{") {
			p.skip()
		}
		body = append(body, p.local(at, p.name(name, at), v))
		if !p.eat(",") {
			break
		}
	}
	p.eat(";")
	return body
}

func (p *parser) local(at int, target, value *syntax.Node) *syntax.Node {
	n := p.node(syntax.Assign, at, "", target, value)
	n.Flag |= syntax.Declares
	return n
}

// end reads over what is left of a declaration.
func (p *parser) end() {
	for p.kind != eof && !p.is(";") && !p.is("}") && !p.nl {
		if p.is("(") || p.is("{") || p.is("[") {
			p.skip()
			continue
		}
		p.next()
	}
	p.eat(";")
}
