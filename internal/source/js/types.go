package js

// typ reads over a type.
func (p *parser) typ() {
	if !p.enter() {
		return
	}
	defer p.leave()
	if p.kind == tName && (p.text == "asserts" || p.text == "abstract") {
		s := p.mark()
		p.next()
		if p.kind != tName || p.nl {
			p.reset(s)
		}
	}
	p.union()
	if p.word("is") && !p.nl {
		p.next()
		p.typ()
		return
	}
	if p.word("extends") && !p.nl { // A extends B ? C : D
		p.next()
		p.union()
		if p.eat("?") {
			p.typ()
			p.want(":")
			p.typ()
		}
	}
}

func (p *parser) union() {
	for p.is("|") || p.is("&") {
		p.next()
	}
	for {
		p.typeUnary()
		if !p.is("|") && !p.is("&") {
			return
		}
		p.next()
	}
}

func (p *parser) typeUnary() {
	for p.kind == tName && (p.text == "keyof" || p.text == "unique" || p.text == "readonly" || p.text == "infer") {
		s := p.mark()
		p.next()
		if p.kind == tPunct && p.text != "(" && p.text != "[" && p.text != "{" || p.kind == tEOF || p.nl {
			p.reset(s)
			break
		}
	}
	switch p.kind {
	case tString, tNumber:
		p.next()
	case tTemplate:
		p.template()
	case tName:
		p.typeName()
	case tPunct:
		switch p.text {
		case "(":
			if p.functionType() {
				return
			}
			p.next()
			p.typ()
			p.want(")")
		case "[":
			p.next()
			for !p.is("]") && p.kind != tEOF {
				p.eat("...")
				p.typ()
				if p.eat("?") {
					p.eat(":")
					if !p.is(",") && !p.is("]") {
						p.typ()
					}
				} else if p.eat(":") {
					p.typ()
				}
				if !p.eat(",") {
					break
				}
			}
			p.want("]")
		case "{":
			p.braces()
		case "<":
			p.typeParams()
			if !p.functionType() {
				p.fail("expected a type")
			}
			return
		case "-", "+":
			p.next()
			p.next()
		case "...":
			p.next()
			p.typ()
		default:
			p.fail("expected a type")
			return
		}
	default:
		p.fail("expected a type")
		return
	}
	for p.is("[") && !p.nl {
		p.next()
		if !p.is("]") {
			p.typ()
		}
		p.want("]")
	}
}

func (p *parser) typeName() {
	switch p.text {
	case "new":
		p.next()
		if p.is("<") {
			p.typeParams()
		}
		if !p.functionType() {
			p.fail("expected a type")
		}
		return
	case "import":
		p.next()
		p.want("(")
		p.typ()
		if p.eat(",") {
			p.braces()
		}
		p.want(")")
	case "typeof":
		p.next()
		if p.word("import") {
			p.typeName()
			return
		}
		p.next()
	case "case", "const", "default", "do", "else", "export", "for", "if", "return", "switch", "try", "var", "while":
		p.fail("expected a type")
		return
	default:
		p.next()
	}
	for p.is(".") {
		p.next()
		p.next()
	}
	if (p.is("<") || p.is("<<")) && !p.nl {
		p.typeArgs()
	}
}

// functionType reads (a: A) => B, if that is what stands here.
func (p *parser) functionType() bool {
	at := p.start
	if !p.is("(") {
		return false
	}
	s := p.mark()
	p.quiet = true
	end, ok := p.closing(at)
	if ok {
		p.pos, p.end, p.broken = end, end, false
		p.next()
		ok = p.is("=>")
	}
	if !ok {
		p.reset(s)
		return false
	}
	p.quiet = s.quiet
	p.next()
	p.typ()
	return true
}

// braces reads over {…} of a type.
func (p *parser) braces() {
	depth := 0
	for p.kind != tEOF {
		switch {
		case p.kind == tTemplate:
			p.skipTemplate()
		case p.is("{"):
			depth++
		case p.is("}"):
			if depth--; depth == 0 {
				p.next()
				return
			}
		}
		p.next()
	}
	p.fail("expected }")
}

// typeArgs reads over <A, B>.
func (p *parser) typeArgs() {
	if p.is("<<") { // f<<T>(x: T) => T>
		p.text, p.end, p.pos = "<", p.start+1, p.start+1
	}
	p.want("<")
	for !p.is(">") && p.kind != tEOF {
		p.typ()
		p.split()
		if !p.eat(",") {
			break
		}
	}
	p.split()
	p.want(">")
}

// typeParams reads over <const T extends A = B>.
func (p *parser) typeParams() {
	p.want("<")
	for !p.is(">") && p.kind != tEOF {
		for p.kind == tName && (p.text == "const" || p.text == "in" || p.text == "out") {
			p.next()
		}
		if p.kind != tName {
			p.fail("expected a name")
			return
		}
		p.next()
		if p.eatWord("extends") {
			p.typ()
		}
		p.split()
		if p.is("=") {
			p.next()
			p.typ()
			p.split()
		}
		if !p.eat(",") {
			break
		}
	}
	p.split()
	p.want(">")
}
