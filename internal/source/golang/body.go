package golang

import (
	"go/ast"
	"go/token"
	"strconv"

	"github.com/modelwarden/warden/internal/source/syntax"
)

func (l *lowerer) block(b *ast.BlockStmt) []*syntax.Node {
	if b == nil {
		return nil
	}
	return l.stmts(b.List)
}

func (l *lowerer) stmts(list []ast.Stmt) []*syntax.Node {
	var out []*syntax.Node
	for _, s := range list {
		out = l.stmt(s, out)
	}
	return out
}

func (l *lowerer) guarded(b ast.Node, list []*syntax.Node) *syntax.Node {
	return l.node(syntax.Block, b, "", list...)
}

// stmt lowers one statement and appends it.
func (l *lowerer) stmt(s ast.Stmt, out []*syntax.Node) []*syntax.Node {
	if s == nil || !l.enter() {
		return out
	}
	defer l.leave()
	switch s := s.(type) {
	case *ast.ExprStmt:
		return append(out, l.node(syntax.Expr, s, "", l.expr(s.X)))
	case *ast.GoStmt:
		return append(out, l.node(syntax.Expr, s, "", l.expr(s.Call)))
	case *ast.DeferStmt:
		return append(out, l.node(syntax.Expr, s, "", l.expr(s.Call)))
	case *ast.SendStmt:
		return append(out, l.node(syntax.Expr, s, "", l.node(syntax.Call, s, "", l.node(syntax.Attr, s, "append", l.expr(s.Chan)), l.expr(s.Value))))
	case *ast.AssignStmt:
		return append(out, l.assign(s)...)
	case *ast.DeclStmt:
		if d, ok := s.Decl.(*ast.GenDecl); ok {
			return l.general(d, out, nil)
		}
	case *ast.ReturnStmt:
		var v *syntax.Node
		switch len(s.Results) {
		case 0:
		case 1:
			v = l.expr(s.Results[0])
		default:
			v = l.node(syntax.Tuple, s, "", l.exprs(s.Results)...)
		}
		return append(out, l.node(syntax.Return, s, "", v))
	case *ast.BlockStmt:
		return append(out, l.guarded(s, l.stmts(s.List)))
	case *ast.LabeledStmt:
		return l.stmt(s.Stmt, out)
	case *ast.IfStmt:
		out = l.stmt(s.Init, out)
		test := l.expr(s.Cond)
		var no *syntax.Node
		if s.Else != nil {
			no = l.guarded(s.Else, l.stmt(s.Else, nil))
		}
		return append(out, l.node(syntax.If, s, "", test, l.guarded(s.Body, l.block(s.Body)), no))
	case *ast.ForStmt:
		out = l.stmt(s.Init, out)
		test := l.node(syntax.Constant, s, "...")
		if s.Cond != nil {
			test = l.expr(s.Cond)
		}
		return append(out, l.node(syntax.While, s, "", test, l.guarded(s.Body, l.stmt(s.Post, l.block(s.Body))), nil))
	case *ast.RangeStmt:
		return append(out, l.rangeStmt(s))
	case *ast.SwitchStmt:
		out = l.stmt(s.Init, out)
		subject := l.none(s)
		if s.Tag != nil {
			subject = l.expr(s.Tag)
		}
		return append(out, l.cases(s, subject, s.Body, nil))
	case *ast.TypeSwitchStmt:
		out = l.stmt(s.Init, out)
		subject := l.none(s)
		var name *ast.Ident
		switch a := s.Assign.(type) {
		case *ast.AssignStmt:
			if len(a.Lhs) == 1 && len(a.Rhs) == 1 {
				name, _ = a.Lhs[0].(*ast.Ident)
				subject = l.expr(a.Rhs[0])
			}
		case *ast.ExprStmt:
			subject = l.expr(a.X)
		}
		return append(out, l.cases(s, subject, s.Body, name))
	case *ast.SelectStmt:
		kids := []*syntax.Node{l.none(s)}
		for _, c := range s.Body.List {
			if c, ok := c.(*ast.CommClause); ok {
				kids = append(kids, l.node(syntax.Case, c, "", l.node(syntax.PatValue, c, "", l.none(c)), nil, l.guarded(c, append(l.stmt(c.Comm, nil), l.stmts(c.Body)...))))
			}
		}
		return append(out, l.node(syntax.Match, s, "", kids...))
	case *ast.IncDecStmt:
		return append(out, l.node(syntax.Assign, s, "", l.expr(s.X), l.node(syntax.Number, s, "")))
	}
	return out
}

func (l *lowerer) cases(s ast.Node, subject *syntax.Node, body *ast.BlockStmt, name *ast.Ident) *syntax.Node {
	kids := []*syntax.Node{subject}
	var last *syntax.Node
	for _, c := range body.List {
		c, ok := c.(*ast.CaseClause)
		if !ok {
			continue
		}
		stmts := l.stmts(c.Body)
		if name != nil {
			stmts = append([]*syntax.Node{l.local(name, l.node(syntax.Name, name, name.Name), subject)}, stmts...)
		}
		b := l.guarded(c, stmts)
		if len(c.List) == 0 {
			last = l.node(syntax.Case, c, "", l.node(syntax.PatAs, c, "", nil), nil, b)
			continue
		}
		var tests []*syntax.Node
		for _, v := range c.List {
			if name == nil {
				tests = append(tests, l.node(syntax.PatValue, v, "", l.expr(v)))
			}
		}
		if len(tests) == 0 {
			tests = append(tests, l.node(syntax.PatValue, c, "", l.none(c)))
		}
		kids = append(kids, l.node(syntax.Case, c, "", l.node(syntax.PatOr, c, "", tests...), nil, b))
	}
	if last != nil {
		kids = append(kids, last)
	}
	return l.node(syntax.Match, s, "", kids...)
}

// rangeStmt lowers for k, v := range x: the builtin range gives pairs.
func (l *lowerer) rangeStmt(s *ast.RangeStmt) *syntax.Node {
	it := l.expr(s.X)
	target := l.node(syntax.Name, s, "_")
	switch {
	case s.Value != nil:
		var key *syntax.Node
		if s.Key != nil {
			key = l.expr(s.Key)
		} else {
			key = l.node(syntax.Name, s, "_")
		}
		target = l.node(syntax.Tuple, s, "", key, l.expr(s.Value))
		it = l.node(syntax.Call, s.X, "", l.node(syntax.Name, s.X, "range"), it)
	case s.Key != nil:
		target = l.expr(s.Key)
	}
	n := l.node(syntax.For, s, "", target, it, l.guarded(s.Body, l.block(s.Body)), nil)
	if s.Tok == token.DEFINE {
		n.Flag |= syntax.Declares
	}
	return n
}

func (l *lowerer) assign(s *ast.AssignStmt) []*syntax.Node {
	var out []*syntax.Node
	add := func(target, value *syntax.Node) {
		n := l.node(syntax.Assign, s, "", target, value)
		if s.Tok == token.DEFINE {
			n.Flag |= syntax.Declares
		}
		out = append(out, n)
	}
	switch {
	case s.Tok != token.ASSIGN && s.Tok != token.DEFINE && len(s.Lhs) == 1 && len(s.Rhs) == 1:
		op := s.Tok.String()
		t := l.expr(s.Lhs[0])
		add(t, l.node(syntax.Binary, s, op[:len(op)-1], t, l.expr(s.Rhs[0])))
	case len(s.Lhs) == len(s.Rhs):
		values := l.exprs(s.Rhs)
		for i, t := range s.Lhs {
			add(l.expr(t), values[i])
		}
	case len(s.Rhs) == 1 && len(s.Lhs) > 1:
		v := l.expr(s.Rhs[0])
		if v.Kind == syntax.Call {
			add(l.node(syntax.Tuple, s, "", l.exprs(s.Lhs)...), v)
		} else { // v, ok := m[k]
			add(l.expr(s.Lhs[0]), v)
			for _, t := range s.Lhs[1:] {
				add(l.expr(t), l.node(syntax.Compare, s, "=="))
			}
		}
	}
	return out
}

func (l *lowerer) exprs(list []ast.Expr) []*syntax.Node {
	out := make([]*syntax.Node, len(list))
	for i, e := range list {
		out[i] = l.expr(e)
	}
	return out
}

// expr lowers an expression; it never returns nil.
func (l *lowerer) expr(e ast.Expr) *syntax.Node {
	if e == nil || !l.enter() {
		return l.node(syntax.Constant, nil, "None")
	}
	defer l.leave()
	switch e := e.(type) {
	case *ast.Ident:
		switch e.Name {
		case "nil":
			return l.none(e)
		case "true":
			return l.node(syntax.Constant, e, "True")
		case "false":
			return l.node(syntax.Constant, e, "False")
		case "iota":
			return l.node(syntax.Number, e, "")
		}
		return l.node(syntax.Name, e, e.Name)
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, err := strconv.Unquote(e.Value)
			if err == nil {
				return l.node(syntax.String, e, s)
			}
			return l.none(e)
		}
		return l.node(syntax.Number, e, e.Value)
	case *ast.ParenExpr:
		return l.expr(e.X)
	case *ast.StarExpr:
		return l.expr(e.X)
	case *ast.SelectorExpr:
		return l.node(syntax.Attr, e, e.Sel.Name, l.expr(e.X))
	case *ast.UnaryExpr:
		switch e.Op {
		case token.AND:
			return l.expr(e.X)
		case token.NOT:
			return l.node(syntax.Unary, e, "not", l.expr(e.X))
		case token.ARROW:
			return l.node(syntax.Subscript, e, "", l.expr(e.X), l.node(syntax.Number, e, ""))
		default:
		}
		return l.node(syntax.Unary, e, e.Op.String(), l.expr(e.X))
	case *ast.BinaryExpr:
		a, b := l.expr(e.X), l.expr(e.Y)
		switch e.Op {
		case token.LAND, token.LOR, token.EQL, token.NEQ, token.LSS, token.GTR, token.LEQ, token.GEQ:
			return l.node(syntax.Compare, e, e.Op.String(), a, b)
		default:
		}
		return l.node(syntax.Binary, e, e.Op.String(), a, b)
	case *ast.CallExpr:
		return l.call(e)
	case *ast.IndexExpr:
		return l.node(syntax.Subscript, e, "", l.expr(e.X), l.expr(e.Index))
	case *ast.SliceExpr:
		var low, high *syntax.Node
		if e.Low != nil {
			low = l.expr(e.Low)
		}
		if e.High != nil {
			high = l.expr(e.High)
		}
		return l.node(syntax.Subscript, e, "", l.expr(e.X), l.node(syntax.Slice, e, "", low, high, nil))
	case *ast.TypeAssertExpr:
		return l.expr(e.X)
	case *ast.FuncLit:
		body := l.guarded(e.Body, l.results(e.Type, l.block(e.Body)))
		return l.node(syntax.Lambda, e, "", l.node(syntax.Params, e.Type, "", l.params(e.Type, nil)...), body)
	case *ast.CompositeLit:
		return l.composite(e, e.Type)
	}
	return l.none(e)
}

func (l *lowerer) call(e *ast.CallExpr) *syntax.Node {
	fun := e.Fun
	switch x := fun.(type) { // f[T](x)
	case *ast.IndexExpr:
		if _, ok := x.Index.(*ast.BasicLit); !ok {
			fun = x.X
		}
	case *ast.IndexListExpr:
		fun = x.X
	case *ast.ArrayType: // []byte(x)
		if len(e.Args) == 1 {
			return l.expr(e.Args[0])
		}
	}
	kids := []*syntax.Node{l.expr(fun)}
	for i, a := range e.Args {
		v := l.expr(a)
		if e.Ellipsis.IsValid() && i == len(e.Args)-1 {
			v = l.node(syntax.Star, a, "", v)
		}
		kids = append(kids, v)
	}
	if id, ok := fun.(*ast.Ident); ok && (id.Name == "new" || id.Name == "make") && len(e.Args) > 0 {
		switch e.Args[0].(type) {
		case *ast.MapType:
			return l.node(syntax.Dict, e, "")
		case *ast.ArrayType, *ast.ChanType:
			return l.node(syntax.List, e, "")
		case *ast.Ident, *ast.SelectorExpr:
			return l.made(e, kids[1], nil)
		}
	}
	return l.node(syntax.Call, e, "", kids...)
}

// composite lowers a literal of a type; inside of others the type may be left
// out.
func (l *lowerer) composite(e *ast.CompositeLit, t ast.Expr) *syntax.Node {
	if !l.enter() {
		return l.none(e)
	}
	defer l.leave()
	var inner ast.Expr
	element := func(x ast.Expr) *syntax.Node {
		if c, ok := x.(*ast.CompositeLit); ok && c.Type == nil {
			return l.composite(c, inner)
		}
		return l.expr(x)
	}
	if s, ok := t.(*ast.StarExpr); ok {
		t = s.X
	}
	switch t := t.(type) {
	case *ast.ArrayType:
		inner = t.Elt
		var kids []*syntax.Node
		for _, x := range e.Elts {
			if kv, ok := x.(*ast.KeyValueExpr); ok {
				x = kv.Value
			}
			kids = append(kids, element(x))
		}
		return l.node(syntax.List, e, "", kids...)
	case *ast.MapType:
		inner = t.Value
		var kids []*syntax.Node
		for _, x := range e.Elts {
			if kv, ok := x.(*ast.KeyValueExpr); ok {
				kids = append(kids, l.expr(kv.Key), element(kv.Value))
			}
		}
		return l.node(syntax.Dict, e, "", kids...)
	case *ast.Ident, *ast.SelectorExpr, *ast.IndexExpr:
		if x, ok := t.(*ast.IndexExpr); ok {
			t = x.X
		}
		var kids []*syntax.Node
		for _, x := range e.Elts {
			kv, ok := x.(*ast.KeyValueExpr)
			if !ok {
				kids = append(kids, element(x))
				continue
			}
			if k, ok := kv.Key.(*ast.Ident); ok {
				kids = append(kids, l.node(syntax.Keyword, kv, k.Name, element(kv.Value)))
			} else { // a named map or list
				kids = append(kids, l.node(syntax.Keyword, kv, l.expr(kv.Key).Text, element(kv.Value)))
			}
		}
		return l.made(e, l.expr(t), kids)
	}
	var kids []*syntax.Node
	for _, x := range e.Elts {
		if kv, ok := x.(*ast.KeyValueExpr); ok {
			key := l.expr(kv.Key)
			if key.Kind == syntax.Name {
				key.Kind = syntax.String
			}
			kids = append(kids, key, element(kv.Value))
		}
	}
	return l.node(syntax.Dict, e, "", kids...)
}
