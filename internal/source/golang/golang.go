// Package golang reads Go into the tree of package syntax.
//
// A struct type is a [syntax.Class] whose embedded types are its bases and whose
// methods take their receiver as the first parameter; a composite literal is a
// call of its type with the flag [syntax.New] and a keyword for each field; a
// conversion of a named type is a call of a function that returns what it gets.
// Pointers are what they point to. Files that do not parse give what the parser
// of the standard library could make of them.
package golang

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

const (
	maxDepth  = 500
	maxHeight = 2000
)

// An Error is a place that could not be read.
type Error struct {
	Start   int // byte of the source
	Message string
}

// A File is a file of Go.
type File struct {
	syntax.File
	Package string // its name
}

// Parse reads a file. It always returns one, of what could be read.
func Parse(ctx context.Context, data []byte) (*File, []Error) {
	l := &lowerer{done: ctx.Done(), types: map[string]bool{}}
	out := &File{File: syntax.File{Source: string(data)}}
	if deep(data) {
		return out, []Error{{0, "nested too deeply"}}
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "x.go", data, parser.SkipObjectResolution)
	var errs []Error
	if list, ok := errors.AsType[scanner.ErrorList](err); ok {
		for _, e := range list {
			if len(errs) < 32 {
				errs = append(errs, Error{e.Pos.Offset, e.Msg})
			}
		}
	}
	if f == nil {
		return out, errs
	}
	l.base = fset.File(f.FileStart).Base()
	l.size = len(data)
	if f.Name != nil {
		out.Package = f.Name.Name
	}
	out.Body = l.file(f)
	if l.broken {
		errs = append(errs, Error{0, "nested too deeply, or stopped"})
	}
	return out, errs
}

// deep reports whether brackets are nested deeper than anyone writes: the
// parser of the standard library recurses for each.
func deep(b []byte) bool {
	depth := 0
	for _, c := range b {
		switch c {
		case '(', '[', '{':
			if depth++; depth > 5000 {
				return true
			}
		case ')', ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return false
}

// A lowerer makes nodes of one file.
type lowerer struct {
	arena  syntax.Arena
	base   int
	size   int
	done   <-chan struct{}
	types  map[string]bool // structs that this file declares
	steps  int
	depth  int
	broken bool
}

func (l *lowerer) at(p token.Pos) int32 {
	return int32(min(max(int(p)-l.base, 0), l.size)) //nolint:gosec // files are smaller than 2 GiB
}

func (l *lowerer) node(k syntax.Kind, n ast.Node, text string, kids ...*syntax.Node) *syntax.Node {
	out := l.arena.New()
	out.Kind, out.Text = k, text
	if n != nil {
		out.Start, out.End = l.at(n.Pos()), l.at(n.End())
	}
	h := uint16(0)
	for _, k := range kids {
		if k != nil && k.Height > h {
			h = k.Height
		}
	}
	if h >= maxHeight {
		l.broken = true
		out.Height, out.Kind, out.Text = 1, syntax.Constant, "None"
		return out
	}
	if len(kids) > 0 {
		out.Kids = l.arena.List(len(kids))
		copy(out.Kids, kids)
	}
	out.Height = h + 1
	return out
}

func (l *lowerer) none(n ast.Node) *syntax.Node { return l.node(syntax.Constant, n, "None") }

// enter counts depth and steps.
func (l *lowerer) enter() bool {
	if l.steps++; l.steps&1023 == 0 {
		select {
		case <-l.done:
			l.broken = true
			l.depth = maxDepth + 1
		default:
		}
	}
	if l.depth > maxDepth {
		l.broken = true
		return false
	}
	l.depth++
	return true
}

func (l *lowerer) leave() { l.depth-- }

func (l *lowerer) local(n ast.Node, target, value *syntax.Node) *syntax.Node {
	a := l.node(syntax.Assign, n, "", target, value)
	a.Flag |= syntax.Declares
	return a
}

func (l *lowerer) file(f *ast.File) []*syntax.Node {
	var out []*syntax.Node
	for _, s := range f.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err != nil || p == "" {
			continue
		}
		name := packageName(p)
		if s.Name != nil {
			name = s.Name.Name
		}
		switch name {
		case ".":
			out = append(out, l.node(syntax.From, s, p, l.node(syntax.Alias, s, "*", nil)))
		case "_":
			out = append(out, l.node(syntax.From, s, p))
		default:
			out = append(out, l.node(syntax.Import, s, "", l.node(syntax.Alias, s, p, l.node(syntax.Name, s, name))))
		}
	}
	methods := map[string][]*ast.FuncDecl{}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if r := receiver(d); r != "" {
				methods[r] = append(methods[r], d)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if t, ok := s.(*ast.TypeSpec); ok && t.Name != nil {
					l.types[t.Name.Name] = true
				}
			}
		}
	}
	for _, tok := range [...]token.Token{token.TYPE, token.CONST} { // they hold wherever they stand
		for _, d := range f.Decls {
			if d, ok := d.(*ast.GenDecl); ok && d.Tok == tok {
				out = l.general(d, out, methods)
			}
		}
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			r := receiver(d)
			switch {
			case r == "":
				out = append(out, l.function(d, d.Name.Name))
			case !l.types[r]: // the type is in another file of the package
				fn := l.function(d, r+"."+d.Name.Name)
				out = append(out, fn, l.node(syntax.Assign, d.Name, "", l.node(syntax.Attr, d.Name, d.Name.Name, l.node(syntax.Name, d.Name, r)), l.node(syntax.Name, d.Name, fn.Text)))
			}
		case *ast.GenDecl:
			if d.Tok == token.VAR {
				out = l.general(d, out, methods)
			}
		}
	}
	return out
}

// packageName guesses the name of a package from its path.
func packageName(p string) string {
	parts := strings.Split(p, "/")
	last := parts[len(parts)-1]
	if len(parts) > 1 && len(last) > 1 && last[0] == 'v' && strings.Trim(last[1:], "0123456789") == "" {
		last = parts[len(parts)-2]
	}
	if i := strings.Index(last, ".v"); i > 0 {
		last = last[:i]
	}
	last = strings.TrimPrefix(strings.TrimSuffix(last, "-go"), "go-")
	last = strings.TrimSuffix(last, ".go")
	if known, ok := named[p]; ok {
		return known
	}
	if i := strings.LastIndexByte(last, '-'); i >= 0 {
		last = last[i+1:]
	}
	return last
}

// named are packages that are not named like the end of their path.
var named = map[string]string{
	"github.com/openai/openai-go": "openai", "github.com/openai/openai-go/v2": "openai", "github.com/openai/openai-go/v3": "openai",
	"github.com/anthropics/anthropic-sdk-go": "anthropic", "github.com/sashabaranov/go-openai": "openai",
	"github.com/yalue/onnxruntime_go": "onnxruntime_go", "github.com/amikos-tech/chroma-go": "chroma", "github.com/mark3labs/mcp-go": "mcp",
	"github.com/philippgille/chromem-go": "chromem", "github.com/go-skynet/go-llama.cpp": "llama", "github.com/qdrant/go-client": "qdrant",
	"github.com/pgvector/pgvector-go": "pgvector", "github.com/cohere-ai/cohere-go/v2": "cohere", "github.com/replicate/replicate-go": "replicate",
}

func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	t := d.Recv.List[0].Type
	for range 8 {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.ParenExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
	return ""
}

func (l *lowerer) function(d *ast.FuncDecl, name string) *syntax.Node {
	var params []*syntax.Node
	if d.Recv != nil && len(d.Recv.List) > 0 {
		r := "(receiver)"
		if names := d.Recv.List[0].Names; len(names) > 0 {
			r = names[0].Name
		}
		params = append(params, l.node(syntax.Param, d.Recv, r, nil, nil))
	}
	params = l.params(d.Type, params)
	body := l.node(syntax.Block, d, "", l.results(d.Type, l.block(d.Body))...)
	f := l.node(syntax.Func, d, name, l.node(syntax.Params, d.Type, "", params...), nil, nil, body)
	if ast.IsExported(d.Name.Name) {
		f.Flag |= syntax.Exported
	}
	return f
}

func (l *lowerer) params(t *ast.FuncType, out []*syntax.Node) []*syntax.Node {
	if t == nil || t.Params == nil {
		return out
	}
	for _, f := range t.Params.List {
		flag := syntax.Flag(0)
		if _, ok := f.Type.(*ast.Ellipsis); ok {
			flag = syntax.OneStar
		}
		names := f.Names
		if len(names) == 0 {
			names = []*ast.Ident{{NamePos: f.Pos(), Name: "_" + strconv.Itoa(len(out))}}
		}
		for _, n := range names {
			name := n.Name
			if name == "_" {
				name = "_" + strconv.Itoa(len(out))
			}
			p := l.node(syntax.Param, n, name, nil, nil)
			p.Flag |= flag
			out = append(out, p)
		}
	}
	return out
}

// results makes the named results known, with their zero values.
func (l *lowerer) results(t *ast.FuncType, body []*syntax.Node) []*syntax.Node {
	if t == nil || t.Results == nil {
		return body
	}
	var pro []*syntax.Node
	for _, f := range t.Results.List {
		for _, n := range f.Names {
			pro = append(pro, l.zero(n, f.Type))
		}
	}
	return append(pro, body...)
}

// zero declares a variable without a value.
func (l *lowerer) zero(n *ast.Ident, t ast.Expr) *syntax.Node {
	name := l.node(syntax.Name, n, n.Name)
	switch t := t.(type) {
	case *ast.SelectorExpr:
		return l.local(n, name, l.made(n, l.expr(t), nil))
	case *ast.Ident:
		if l.types[t.Name] {
			return l.local(n, name, l.made(n, l.expr(t), nil))
		}
	}
	return l.node(syntax.AnnAssign, n, "", name, nil, nil)
}

func (l *lowerer) made(n ast.Node, t *syntax.Node, kids []*syntax.Node) *syntax.Node {
	c := l.node(syntax.Call, n, "", append([]*syntax.Node{t}, kids...)...)
	c.Flag |= syntax.New
	return c
}

// general lowers const, var and type.
func (l *lowerer) general(d *ast.GenDecl, out []*syntax.Node, methods map[string][]*ast.FuncDecl) []*syntax.Node {
	var before *ast.ValueSpec // whose values a constant without repeats
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.ValueSpec:
			values := s.Values
			if d.Tok == token.CONST {
				if len(values) == 0 && before != nil {
					values = before.Values
				} else {
					before = s
				}
			}
			if len(values) == 1 && len(s.Names) > 1 {
				var ts []*syntax.Node
				for _, n := range s.Names {
					ts = append(ts, l.node(syntax.Name, n, n.Name))
				}
				out = append(out, l.local(s, l.node(syntax.Tuple, s, "", ts...), l.expr(values[0])))
				continue
			}
			for i, n := range s.Names {
				if i < len(values) {
					out = append(out, l.local(s, l.node(syntax.Name, n, n.Name), l.expr(values[i])))
				} else {
					out = append(out, l.zero(n, s.Type))
				}
			}
		case *ast.TypeSpec:
			out = append(out, l.typeSpec(s, methods[s.Name.Name]))
		}
	}
	return out
}

func (l *lowerer) typeSpec(s *ast.TypeSpec, methods []*ast.FuncDecl) *syntax.Node {
	st, isStruct := s.Type.(*ast.StructType)
	_, isInterface := s.Type.(*ast.InterfaceType)
	if s.Assign.IsValid() {
		return l.local(s, l.node(syntax.Name, s.Name, s.Name.Name), l.expr(s.Type))
	}
	if !isStruct && !isInterface && len(methods) == 0 { // T(x) is x
		p := l.node(syntax.Param, s, "x", nil, nil)
		ret := l.node(syntax.Return, s, "", l.node(syntax.Name, s, "x"))
		return l.node(syntax.Func, s, s.Name.Name, l.node(syntax.Params, s, "", p), nil, nil, l.node(syntax.Block, s, "", ret))
	}
	var bases, body []*syntax.Node
	if isStruct && st.Fields != nil {
		for _, f := range st.Fields.List {
			if len(f.Names) == 0 {
				if b := l.expr(f.Type); b.Kind == syntax.Name || b.Kind == syntax.Attr {
					bases = append(bases, b)
				}
			}
		}
	}
	for _, m := range methods {
		body = append(body, l.function(m, m.Name.Name))
	}
	return l.node(syntax.Class, s, s.Name.Name, nil, l.node(syntax.Args, s, "", bases...), l.node(syntax.Block, s, "", body...))
}
