package flow

// A Language tells the engine how a language differs from Python. Values of it
// are shared and read only.
type Language struct {
	Name        string
	Constructor string // name of the method that a new object runs: __init__
	This        string // name of the receiver where it is no parameter; "" if it is the first parameter
	Hoist       bool   // functions are known before the statements of their scope run
	Members     bool   // o.x and o["x"] are the same
	Declares    bool   // only declarations make names: see syntax.Declares
	Implicit    bool   // members of the object around need no receiver, and names may be of any package that is imported as a whole
	Builtins    string // what names of the language itself belong to: <builtin>
	Types       map[Kind]string
	// IsBuiltin tells whether a name is known without being bound.
	IsBuiltin func(name string) bool
	// Import tells the path of the unit that an import names, or "" if it is
	// outside of the tree. If it is nil, the rules of Python's packages hold.
	Import func(from Unit, name string) string
}

// Python returns the rules of Python.
func Python() *Language {
	return &Language{
		Name: "python", Constructor: "__init__", Builtins: "<builtin>",
		Types: map[Kind]string{
			String: "<**PyStr**>", Pattern: "<**PyStr**>", Number: "<**PyNum**>", Bool: "<**PyBool**>",
			None: "<**PyNone**>", List: "<**PyList**>", Dict: "<**PyDict**>",
		},
		IsBuiltin: func(name string) bool { return pythonBuiltins[name] },
	}
}

// pythonBuiltins are the names of Python's module builtins.
var pythonBuiltins = wordSet(`
ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError BrokenPipeError
BufferError BytesWarning ChildProcessError ConnectionAbortedError ConnectionError ConnectionRefusedError
ConnectionResetError DeprecationWarning EOFError Ellipsis EncodingWarning EnvironmentError Exception ExceptionGroup
FileExistsError FileNotFoundError FloatingPointError FutureWarning GeneratorExit IOError ImportError ImportWarning
IndentationError IndexError InterruptedError IsADirectoryError KeyError KeyboardInterrupt LookupError MemoryError
ModuleNotFoundError NameError NotADirectoryError NotImplemented NotImplementedError OSError OverflowError
PendingDeprecationWarning PermissionError ProcessLookupError RecursionError ReferenceError ResourceWarning RuntimeError
RuntimeWarning StopAsyncIteration StopIteration SyntaxError SyntaxWarning SystemError SystemExit TabError TimeoutError
TypeError UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError UnicodeWarning
UserWarning ValueError Warning ZeroDivisionError __build_class__ __debug__ __import__ abs aiter all
anext any ascii bin bool breakpoint bytearray bytes callable chr classmethod compile complex copyright credits delattr
dict dir divmod enumerate eval exec exit filter float format frozenset getattr globals hasattr hash help hex id input
int isinstance issubclass iter len license list locals map max memoryview min next object oct open ord pow print
property quit range repr reversed round set setattr slice sorted staticmethod str sum super tuple type vars zip
unicode xrange raw_input basestring long unichr reduce cmp execfile file reload`)
