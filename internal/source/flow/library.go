package flow

import "maps"

// A Library says how things outside the tree behave, by the path that their
// names have; see [Callee]. What is not named there gives a new outside object
// when it is called, and calls nothing back. A Library is not changed by the
// analysis and may be shared. A nil Library knows nothing; [PythonLibrary]
// knows the standard one.
type Library struct {
	Calls     map[string]Summary
	Constants map[string]string // what names outside stand for: openai.GPT4o is "gpt-4o"
}

// A Summary says what a call of an outside function does. The zero Summary is
// that of a call that is not named.
type Summary struct {
	Returns   string   // path of the object that is returned; "" for the path of the callee with "()"
	Argument  int      // 1 and on: it returns what this argument is, or its elements if Elements is set
	Elements  bool     // see Argument
	Callbacks []int    // places, from 0, of arguments that are called
	Keywords  []string // names of arguments that are called
	With      int      // 1 and on: callbacks get this argument, unpacked if it is a tuple; 0: what they get is unknown
	Result    bool     // it returns what the callbacks return
	Text      bool     // it returns text that is not known
}

// With returns a library that has the entries of l and of more, where those of
// more count first. Neither is changed.
func (l *Library) With(more map[string]Summary) *Library {
	out := &Library{Calls: map[string]Summary{}}
	if l != nil {
		out.Constants = l.Constants
		maps.Copy(out.Calls, l.Calls)
	}
	maps.Copy(out.Calls, more)
	return out
}

func (l *Library) summary(path string) (Summary, bool) {
	if l == nil {
		return Summary{}, false
	}
	s, ok := l.Calls[path]
	return s, ok
}

// PythonLibrary returns what is known of Python's standard library and of a few
// packages that call back.
func PythonLibrary() *Library {
	first := Summary{Argument: 1}
	target := Summary{Keywords: []string{"target", "function"}, Callbacks: []int{1}}
	submit := Summary{Callbacks: []int{0}}
	text := Summary{Text: true}
	calls := map[string]Summary{
		"functools.wraps()":             first,
		"functools.update_wrapper":      first,
		"functools.lru_cache":           first,
		"functools.lru_cache()":         first,
		"functools.cache":               first,
		"functools.singledispatch":      first,
		"functools.total_ordering":      first,
		"functools.reduce":              {Callbacks: []int{0}, Result: true},
		"contextlib.contextmanager":     first,
		"contextlib.suppress()":         {},
		"contextlib.closing":            first,
		"contextlib.aclosing":           first,
		"contextlib.nullcontext":        first,
		"typing.cast":                   {Argument: 2},
		"typing.no_type_check":          first,
		"typing.overload":               first,
		"typing.final":                  first,
		"typing.runtime_checkable":      first,
		"abc.abstractmethod":            first,
		"dataclasses.dataclass":         first,
		"dataclasses.dataclass()":       first,
		"copy.copy":                     first,
		"copy.deepcopy":                 first,
		"types.coroutine":               first,
		"atexit.register":               {Callbacks: []int{0}, Argument: 1},
		"signal.signal":                 {Callbacks: []int{1}, Keywords: []string{"handler"}},
		"threading.Thread":              target,
		"threading.Timer":               target,
		"multiprocessing.Process":       target,
		"asyncio.run":                   first,
		"asyncio.create_task":           first,
		"asyncio.ensure_future":         first,
		"asyncio.wait_for":              first,
		"asyncio.shield":                first,
		"asyncio.to_thread":             {Callbacks: []int{0}, Result: true},
		"itertools.starmap":             submit,
		"itertools.filterfalse":         submit,
		"itertools.takewhile":           submit,
		"itertools.dropwhile":           submit,
		"itertools.chain":               first,
		"itertools.chain.from_iterable": {Argument: 1, Elements: true},
		"itertools.islice":              first,
		"itertools.cycle":               first,
		"itertools.groupby":             {Callbacks: []int{1}, Keywords: []string{"key"}},
		"inspect.unwrap":                first,
		"operator.methodcaller":         {},
		"os.path.abspath":               first,
		"os.path.expanduser":            first,
		"os.path.realpath":              first,
		"os.path.normpath":              first,
		"os.fspath":                     first,
		"os.getcwd":                     text,
		"os.path.dirname":               text,
		"os.path.basename":              text,
	}
	for _, ex := range []string{"ThreadPoolExecutor", "ProcessPoolExecutor"} {
		for _, m := range []string{"concurrent.futures.", "concurrent.futures.thread.", "concurrent.futures.process."} {
			calls[m+ex+"().submit"] = submit
			calls[m+ex+"().map"] = submit
		}
	}
	for _, p := range []string{"multiprocessing.Pool()", "multiprocessing.pool.ThreadPool()", "multiprocessing.pool.Pool()"} {
		for _, m := range []string{"map", "imap", "imap_unordered", "starmap", "apply", "apply_async", "map_async"} {
			calls[p+"."+m] = submit
		}
	}
	for _, loop := range []string{"asyncio.get_event_loop()", "asyncio.get_running_loop()", "asyncio.new_event_loop()"} {
		calls[loop+".run_in_executor"] = Summary{Callbacks: []int{1}}
		calls[loop+".run_until_complete"] = first
		calls[loop+".create_task"] = first
		calls[loop+".call_soon"] = submit
		calls[loop+".call_later"] = Summary{Callbacks: []int{1}}
	}
	return &Library{Calls: calls}
}
