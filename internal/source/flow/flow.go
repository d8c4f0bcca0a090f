// Package flow finds, for a whole tree of source, which function calls which,
// and which values an expression can have, each with the path it came by.
//
// [Analyse] runs the program abstractly. A function is summarised once, for all
// its callers; what a frame reads is remembered, and the frame runs again when
// that changes, until nothing does. Assignments to names, members and
// attributes of one known object replace what was there; where branches meet,
// both stay. So the graph is that of PyCG (Salis et al., ICSE 2021) with the
// order of statements respected, as in JARVIS (Huang et al., 2023).
//
// Nothing is executed, no file is read. What is outside the tree ends at a
// library boundary: an object there is named by the path it came by, such as
// openai.OpenAI().chat, and a [Library] says which calls are otherwise.
//
// Hostile input is bounded: sets hold 32 values, then they are marked unknown;
// all work is counted. A graph that ran out of its bounds says so in
// [Graph.Incomplete], and must not be read as "there is nothing".
package flow

import (
	"errors"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// ErrLimit says that the analysis ended before nothing changed any more.
var ErrLimit = errors.New("the call graph is incomplete: the limit of work is reached")

// A Unit is one file of the program.
type Unit struct {
	Name     string // dotted name of the module relative to the root, an __init__ by its folder
	Path     string // of the file, with slashes, relative to the root
	Package  bool   // the unit is an __init__, or an index
	Group    string // units of one group share their names: a package of Go; "" if that is not so
	Notebook bool   // its module code are the cells, which people run
	Language *Language
	File     *syntax.File
}

// Options bound the analysis and bring what is known from elsewhere. The zero
// Options work.
type Options struct {
	Work int // nodes that are looked at; default 400 million
	// Environment holds the variables that deployment files of the tree set.
	Environment map[string][]Given
	// File gives the content of a configuration file that the program opens, as
	// plain data. The path is as the program writes it.
	File func(path string) (Data, bool)
}

// A Given is a value from outside the program, and where it stands.
type Given struct {
	Text string
	Path string // of the file
	Line int
}

// Data is the content of a configuration file: text, a number, true, a list or
// a map. It is a tree.
type Data struct {
	Kind    Kind // String, Number, Bool, None, List or Dict
	Text    string
	Keys    []string // of a Dict, beside Items
	Items   []Data
	Path    string // where it stands, for the reader of a report
	Line    int
	Unknown bool // something is there, but what it is cannot be said
}

// A Kind tells what a [Value] is.
type Kind uint8

// The kinds of values.
const (
	Other    Kind = iota
	String        // Text is the value
	Pattern       // a string that is known in part: * in Text stands for the rest
	Number        // Text is as written, or "" where only the type is known
	Bool          // Text is True or False
	None          // also null and undefined
	List          // a list, tuple, set or generator; see [Graph.Members]
	Dict          // see [Graph.Members]
	Object        // Text is the name of its class, which is in the tree
	Class         // Text is its name
	Function      // Text is its name; Func tells which
	Module        // Text is its name
	External      // something outside the tree: Text is the path it came by, calls marked
)

var kindNames = [...]string{
	"other", "string", "pattern", "number", "bool", "none", "list", "dict",
	"object", "class", "function", "module", "external",
}

// String returns the name of k.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind?"
}

// A Value is one thing that an expression can be.
type Value struct {
	Kind    Kind
	Text    string
	Steps   []Step // the path it came by, where it is written first
	Default bool   // it holds only where no one says otherwise: of a parameter, of the environment
	Func    FuncID // of a Function; else -1
	Made    int    // the site that made an External object, an Object or a Class instance; -1 if none

	id val
}

// A Step is one place on the path of a value.
type Step struct {
	Via  Via
	Text string // the name of the variable, parameter or member
	Unit int    // -1: File and Line tell the place, not a node
	Node *syntax.Node
	File string
	Line int
}

// A Via tells how a value went on from a place.
type Via string

// The ways of values.
const (
	Literal            Via = "literal"
	Constant           Via = "constant" // a variable of a module or a class
	Member             Via = "dict member"
	Attribute          Via = "attribute"
	Caller             Via = "caller"
	DefaultParameter   Via = "default parameter"
	EnvironmentDefault Via = "environment default"
	Environment        Via = "environment"
	ConfigurationFile  Via = "configuration file"
	Returned           Via = "return"
	Folded             Via = "folded"
	OptionDefault      Via = "option default" // of a command line
)

// A Set is what an expression can be. Unknown says that it can be something
// else besides.
type Set struct {
	Values  []Value
	Unknown bool
}

// A Keyed value is a member of a list or dict.
type Keyed struct {
	Key   string // a number for a list; "" where it is not known
	Known bool   // of the key
	Value Set
}

// A FuncID is the place of a function in [Graph.Funcs].
type FuncID int

// A Func is a function, a method, a lambda or the code of a module.
type Func struct {
	Name    string // dotted, from the root; lambdas are scope.<lambda1>
	Unit    int
	Node    *syntax.Node // nil for the code of a module
	Class   string       // the name of the class that has it; "" if none
	Parent  FuncID       // whose code defines it; -1 for modules
	Escapes bool         // its name goes where the analysis does not see it called
}

// A Site is a place that calls.
type Site struct {
	Unit       int
	Node       *syntax.Node // the Call; a decorator that is only named is the node of its name
	In         FuncID
	Callees    []Callee
	Unresolved bool // it may call something else besides
}

// A Callee is what a site can call.
type Callee struct {
	Func FuncID // -1 if it is outside the tree
	Name string // as in [Graph.Calls]
	// Path is the way an outside callee came by: "openai.OpenAI" is the class,
	// "openai.OpenAI().chat.completions.create" a method of an object of it.
	// It is the class too where a class of the tree that extends it is called,
	// or where that one calls super().__init__. Builtins are builtins.open.
	Path     string
	Made     int  // the site that made the object whose method this is; -1 if none
	Callback bool // it is not called here by name, but given to someone who calls it
}

// Line tells where a step is.
func (g *Graph) Line(s Step) (path string, line int) {
	if s.Unit < 0 || s.Unit >= len(g.units) || s.Node == nil {
		return s.File, s.Line
	}
	u := g.units[s.Unit]
	return u.Path, u.File.Line(s.Node.Start)
}
