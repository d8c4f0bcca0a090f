package syntax

import "strings"

// A Kind tells what a [Node] stands for, and so what its kids are.
type Kind uint8

// The kinds. Behind each one: what Text holds, then the kids in order. A kid
// in brackets may be nil; a Block is written as {}; "…" means any number.
const (
	Bad Kind = iota // a statement that does not parse: [{}] what is indented below it

	Block // statements…

	// Statements.
	Func      // Text: name. Params, [returns], [TypeParams], {}, decorators…; flag Async
	Class     // Text: name. [TypeParams], Args, {}, decorators…
	Return    // [value]
	Delete    // targets…
	Assign    // targets…, value
	AugAssign // Text: operator without "=". target, value
	AnnAssign // target, annotation, [value]
	TypeAlias // name, [TypeParams], value
	For       // target, iterable, {}, [else {}]; flag Async
	While     // test, {}, [else {}]
	If        // test, {}, [else {}]; elif is an If alone in the else block
	With      // {}, WithItem…; flag Async
	WithItem  // value, [target]
	Match     // subject, Case…
	Case      // pattern, [guard], {}
	Raise     // [exception], [cause]
	Try       // {}, [else {}], [finally {}], Handler…; flag OneStar
	Handler   // Text: name. [type], {}
	Assert    // test, [message]
	Import    // Alias…
	From      // Text: module, dots in front. Alias…
	Alias     // Text: dotted name or "*". [Name after "as"]
	Global    // Name…
	Nonlocal  // Name…
	Expr      // value
	Pass
	Break
	Continue
	Print // Python 2 only: values…
	Exec  // Python 2 only: code, [globals], [locals]

	// Expressions.
	Name      // Text: identifier in normal form NFKC
	Number    // Text: as written
	String    // Text: value, adjacent literals joined; flag Bytes
	Constant  // Text: None, True, False or ...
	FString   // String and Field nodes…; flag Template for t-strings
	Field     // Text: conversion "r", "s", "a" or "". value, [FString of the format]
	Tuple     // elements…
	List      // elements…
	Set       // elements…
	Dict      // key, value, key, value…; a nil key stands for **
	Attr      // Text: attribute. object
	Subscript // object, index
	Slice     // [low], [high], [step]
	Call      // function, arguments…: expressions, Star, Keyword, in source order
	Args      // arguments…, of a class statement
	Star      // value
	Keyword   // Text: name, or "" for **. value
	Unary     // Text: operator. operand
	Binary    // Text: operator. left, right
	Bool      // Text: "and" or "or". operands…
	Compare   // Text: operators, a comma between. operands…
	Lambda    // Params, body: an expression, or {} for the function expressions of other languages; flag Async
	IfExp     // test, then, else
	ListComp  // element, Comp…
	SetComp   // element, Comp…
	Generator // element, Comp…
	DictComp  // key, value, Comp…
	Comp      // target, iterable, conditions…; flag Async
	Await     // value
	Yield     // [value]
	YieldFrom // value
	Walrus    // target, value
	Repr      // Python 2 only, in backquotes: value

	// Parameters.
	Params     // Param…
	Param      // Text: name. [annotation], [default]; flags PosOnly, KwOnly, OneStar, TwoStars
	TypeParams // TypeParam…
	TypeParam  // Text: name. [bound], [default]; flags OneStar, TwoStars

	// Patterns of match.
	PatValue   // value
	PatConst   // Text: None, True or False
	PatSeq     // patterns…
	PatMap     // Text: name that takes the rest. key, pattern, key, pattern…
	PatClass   // class, patterns and PatKeyword…
	PatKeyword // Text: attribute. pattern
	PatStar    // Text: name, or "" for _
	PatAs      // Text: name, or "" for _. [pattern]
	PatOr      // patterns…

	numKinds
)

var kindNames = [numKinds]string{
	"Bad", "Block", "Func", "Class", "Return", "Delete", "Assign", "AugAssign", "AnnAssign", "TypeAlias",
	"For", "While", "If", "With", "WithItem", "Match", "Case", "Raise", "Try", "Handler", "Assert", "Import",
	"From", "Alias", "Global", "Nonlocal", "Expr", "Pass", "Break", "Continue", "Print", "Exec",
	"Name", "Number", "String", "Constant", "FString", "Field", "Tuple", "List", "Set", "Dict", "Attr",
	"Subscript", "Slice", "Call", "Args", "Star", "Keyword", "Unary", "Binary", "Bool", "Compare", "Lambda",
	"IfExp", "ListComp", "SetComp", "Generator", "DictComp", "Comp", "Await", "Yield", "YieldFrom", "Walrus",
	"Repr", "Params", "Param", "TypeParams", "TypeParam", "PatValue", "PatConst", "PatSeq", "PatMap",
	"PatClass", "PatKeyword", "PatStar", "PatAs", "PatOr",
}

// String returns the name of k.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "Kind?"
}

// A Flag says more about a node of a kind.
type Flag uint16

// The flags.
const (
	Async    Flag = 1 << iota // async def, async for, async with
	Bytes                     // a bytes literal
	KwOnly                    // a parameter that is given by name only
	PosOnly                   // a parameter that is given by place only
	OneStar                   // *args, *Ts, except*
	TwoStars                  // **kwargs, **P
	Template                  // a t-string
	New                       // a call that makes an object: new C(…) of other languages than Python
	Static                    // a method or field of the class, not of its objects
	Exported                  // can be named from outside the module: export, public
	Default                   // what a module exports without a name
	Getter                    // a method that is called by reading the attribute
	Partial                   // made by a tolerant reader, which may have left something out
	Declares                  // an Assign or For that makes its names, in languages where assigning alone does not
)

// A Node is a piece of the syntax tree. What its kids are depends on its kind
// and is written there. Nodes are read only: they share memory.
type Node struct {
	Kind       Kind
	Flag       Flag
	Height     uint16 // of the tree below; whoever makes trees bounds it, so that recursion is safe
	Start, End int32  // bytes of the source
	Text       string
	Kids       []*Node
}

// Kid returns the kid at i, or nil if there is none.
func (n *Node) Kid(i int) *Node {
	if n == nil || i >= len(n.Kids) {
		return nil
	}
	return n.Kids[i]
}

// Body returns the statements that a compound statement, a case, a handler or
// a Bad node guards, those of a Block itself, and nil for everything else.
func (n *Node) Body() []*Node {
	if n == nil {
		return nil
	}
	var b *Node
	switch n.Kind {
	case Block:
		b = n
	case Bad, With, Try:
		b = n.Kid(0)
	case While, If, Handler:
		b = n.Kid(1)
	case For, Class, Case:
		b = n.Kid(2)
	case Func:
		b = n.Kid(3)
	default:
	}
	if b == nil || b.Kind != Block {
		return nil
	}
	return b.Kids
}

// Decorators returns the decorators of a function or class.
func (n *Node) Decorators() []*Node {
	switch {
	case n.Kind == Func && len(n.Kids) > 4:
		return n.Kids[4:]
	case n.Kind == Class && len(n.Kids) > 3:
		return n.Kids[3:]
	}
	return nil
}

// Walk calls visit for n and everything below it, a node before its kids. If
// visit returns false, the kids of that node are left out. The tree is never
// so high that this, or other recursion over it, overflows the stack.
func Walk(n *Node, visit func(*Node) bool) {
	if n == nil || !visit(n) {
		return
	}
	for _, k := range n.Kids {
		Walk(k, visit)
	}
}

// Dotted renders a name such as a.b.c. It returns "" for anything else.
func Dotted(n *Node) string {
	parts := 0
	for m := n; ; m = m.Kids[0] {
		if m == nil {
			return ""
		}
		parts++
		if m.Kind == Name {
			break
		}
		if m.Kind != Attr {
			return ""
		}
	}
	if parts == 1 {
		return n.Text
	}
	names := make([]string, parts)
	for i := parts - 1; i >= 0; i-- {
		names[i] = n.Text
		n = n.Kid(0)
	}
	return strings.Join(names, ".")
}

// chunk is how many nodes, and kids, are allocated at once.
const chunk = 512

// An Arena allocates nodes and lists of kids in bulk, since a tree has very many
// small ones. The zero Arena is ready to use, by one goroutine at a time.
type Arena struct {
	nodes []Node
	kids  []*Node
}

// New returns a node with nothing in it.
func (a *Arena) New() *Node {
	if len(a.nodes) == 0 {
		a.nodes = make([]Node, chunk)
	}
	n := &a.nodes[0]
	a.nodes = a.nodes[1:]
	return n
}

// List returns room for n kids.
func (a *Arena) List(n int) []*Node {
	if n > chunk/4 {
		return make([]*Node, n)
	}
	if len(a.kids) < n {
		a.kids = make([]*Node, chunk)
	}
	l := a.kids[:n:n]
	a.kids = a.kids[n:]
	return l
}
