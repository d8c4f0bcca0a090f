package file

import (
	"fmt"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	pt "github.com/modelwarden/warden/internal/format/pickle/pickletest"
)

// pickleGadgets are callables that passed at least one scanner (picklescan and
// fickling advisories, modelscan issues, public bypass logs), and dotted paths
// to them.
const pickleGadgets = `
asyncio.unix_events:_UnixSubprocessTransport._start timeit:timeit cProfile:run cProfile:runctx profile:Profile.run profile:run trace:Trace.run trace:Trace.runctx
pdb:run bdb:Bdb bdb:Bdb.run doctest:debug_script pydoc:locate pydoc:pipepager operator:methodcaller pty:spawn ctypes:CDLL ctypes:cast
distutils.file_util:write_file numpy.f2py.crackfortran:getlincoef numpy.f2py.crackfortran:_eval_length numpy.testing._private.utils:runstring
lib2to3.pgen2.grammar:Grammar.loads lib2to3.pgen2.pgen:ParserGenerator.make_label idlelib.pyshell:ModifiedInterpreter.runcode idlelib.run:Executive.runcode
idlelib.autocomplete:AutoComplete.get_entity idlelib.calltip:Calltip.fetch_tip idlelib.debugobj:ObjectTreeItem.SetText code:InteractiveInterpreter.runcode
ensurepip:_run_pip pip:main venv:create torch.utils.bottleneck.__main__:run_cprofile torch._dynamo.guards:GuardBuilder.get
torch.fx.experimental.symbolic_shapes:ShapeEnv.evaluate_guards_expression torch.utils.collect_env:run torch.utils.collect_env:run_and_read_all
torch.jit.unsupported_tensor_ops:execWrapper torch.utils._config_module:ConfigModule.load_config torch.utils.data.datapipes.utils.decoder:basichandlers
torch._inductor.codecache:compile_file torch:load torch.hub:load torch.serialization:load ssl:get_server_certificate pkgutil:resolve_name
uuid:_get_command_stdout _osx_support:_read_output _osx_support:_find_build_tool _aix_support:_read_cmd_output _pyrepl.pager:pipe_pager
imaplib:IMAP4_stream test.support.script_helper:assert_python_ok logging:FileHandler _io:FileIO io:FileIO types:CodeType types:FunctionType
cloudpickle.cloudpickle:_make_function cloudpickle.cloudpickle:subimport urllib.request:urlopen importlib:import_module importlib.util:x marshal:loads
builtins:__import__ builtins:setattr builtins:map builtins:filter multiprocessing.util:spawnv_passfds threading:Thread codecs:open tempfile:mktemp
zipfile:ZipFile yaml:load joblib:load numpy:load pandas:read_pickle pandas:eval pandas.io.parsers.readers:read_csv site:addsitedir site:main
typing:_eval_type typing:get_type_hints dataclasses:_create_fn mlflow.projects.backend.local:_run_entry_point numpy:__builtins__ mailcap:findmatch
setuptools._distutils.file_util:write_file pipes:Template operator:call _operator:methodcaller itertools:starmap itertools:takewhile itertools:dropwhile
itertools:filterfalse itertools:groupby itertools:accumulate functools:reduce functools:cmp_to_key functools:cached_property types:MethodType
inspect:getmembers builtins:hasattr sched:scheduler concurrent.futures:ThreadPoolExecutor concurrent.futures.thread:ThreadPoolExecutor.submit
contextvars:Context.run weakref:finalize contextlib:ExitStack contextlib:ExitStack.callback pathlib:Path.write_text pathlib:Path.open mailbox:mbox.add
dotenv:set_key numpy:savetxt click:File click.utils:LazyFile io:open _io:open builtins:__dict__ site:os.system random:_os.system
six.moves.cPickle:loads botocore.vendored.six.moves.cPickle:loads torch:os.system pkgutil:iter_importers execnet:makegateway gc:get_objects
linecache:getline difflib:sys.modules _posixsubprocess:fork_exec atexit:register _interpreters:create _xxsubinterpreters:create platform:popen
fickling.hook:remove_hook picklescan:some modelscan:some modelaudit:some posix:system nt:system builtins:eval.__call__ builtins:exec builtins:compile
collections:OrderedDict.__init__.__globals__ numpy:__builtins__.eval logging:config.dictConfig logging.config:listen encodings:codecs.sys.modules
encodings.codecs:sys.modules fileinput:input fileinput:os.popen string:Formatter.get_field glob:glob select:select json:codecs.open sklearn:os.system
builtins:object.__subclasses__ numpy:f2py.crackfortran.getlincoef pickle:_load pickle:Unpickler
copyreg:add_extension tarfile:TarFile.extractall http.client:HTTPSConnection webbrowser:open telnetlib:Telnet imp:load_source zipimport:zipimporter
smtplib:SMTP ftplib:FTP poplib:POP3 nntplib:NNTP xmlrpc.client:ServerProxy requests.api:get aiohttp.client:ClientSession socketserver:TCPServer
shutil:copyfile shutil:rmtree os:remove os:execv os:spawnv subprocess:Popen subprocess:call commands:getoutput runpy:run_path runpy:_run_code
dill:load_session dill:loads unittest.mock:patch unittest.loader:TestLoader.discover py_compile:compile resource:setrlimit sys:settrace sys:exit
signal:signal syslog:syslog ast:parse bz2:open lzma:open gzip:open plistlib:load wave:open sqlite3:connect shelve:open dbm:open
hydra.utils:instantiate sympy:sympify numexpr:evaluate transformers.dynamic_module_utils:get_class_in_module keras.models:load_model
numba:jit cffi:FFI Cython.Build:cythonize torch.utils.cpp_extension:load_inline torch.ops:load_library torch.package:PackageImporter`

func verdictOf(t *testing.T, b string) (detect.Result, warden.Verdict) {
	t.Helper()
	f := pickled(t, b)
	res := detect.Run(t.Context(), warden.Ref{}, f, detect.DefaultLimits(), pickles)
	v := res.Verdict()
	if len(f.Unread) > 0 {
		v = max(v, warden.Inconclusive)
	}
	return res, v
}

func TestGadgets(t *testing.T) {
	for g := range strings.FieldsSeq(pickleGadgets) {
		for how, in := range map[string]string{
			"call": p4(call(g, pt.Str("id"))), "obj": p4(pt.Mark + named(g) + pt.Str("id") + pt.Obj), "import": p4(named(g)),
			"getattr": p4(pt.Call(call("builtins:getattr", call("importlib:import_module", pt.Str(strings.Split(g, ":")[0])), pt.Str(strings.Split(g, ":")[1])), pt.Str("id"))),
		} {
			if _, v := verdictOf(t, in); v < warden.Unsafe {
				t.Errorf("%s by %s: %v", g, how, v)
			}
		}
	}
}

// TestHonest holds names that look like gadgets and are not.
func TestHonest(t *testing.T) {
	for c := range strings.FieldsSeq(`sklearn.svm._classes:SVC sklearn.pipeline:Pipeline scipy.stats._continuous_distns:norm_gen torch.nn.modules.conv:Conv2d
transformers.models.bert.configuration_bert:BertConfig lightgbm.basic:Booster xgboost.core:Booster pandas.core.frame:DataFrame`) {
		if res, v := verdictOf(t, p4(pt.New(named(c))+pt.DictOf(pt.Str("a"), pt.Int(1))+pt.Build)); v != warden.Clean {
			t.Errorf("%s: %v %+v", c, v, res.Findings)
		}
	}
	for c := range strings.FieldsSeq(`mypkg.trace:Trace mypkg.signal:Filter audio.code:Codec research.os:Layer mypkg:Outer.Inner __main__:Net fastai.learner:Learner pkg.subprocess:Runner`) {
		if res, v := verdictOf(t, p4(pt.New(named(c))+pt.DictOf(pt.Str("a"), pt.Int(1))+pt.Build)); v != warden.Review {
			t.Errorf("%s: %v %+v", c, v, res.Findings)
		}
	}
}

// TestMetamorphic changes streams in ways that change nothing for a loader.
func TestMetamorphic(t *testing.T) {
	system, id := named("os:system"), pt.Str("id")
	bodies := map[string]struct {
		body string
		want warden.Verdict
	}{
		"call":     {pt.Call(system, id), warden.Malicious},
		"map":      {call("builtins:tuple", call("builtins:map", system, pt.ListOf(id))), warden.Malicious},
		"nested":   {call("pickle:loads", pt.Bytes("cos\nsystem\n(S'id'\ntR.")), warden.Malicious},
		"getattr":  {pt.Call(call("builtins:getattr", call("builtins:__import__", pt.Str("os")), pt.Str("system")), id), warden.Malicious},
		"patch":    {named("sys:modules") + id + "N" + pt.SetItem, warden.Malicious},
		"function": {call("pkg:run", id), warden.Unsafe},
		"class":    {pt.New(named("pkg:Model")), warden.Review},
		"data":     {pt.DictOf(id, call("collections:OrderedDict")), warden.Clean},
	}
	changes := map[string]func(string) string{
		"same":           func(b string) string { return p4(b) },
		"pairs_before":   func(b string) string { return p4(strings.Repeat("N0(1"+id+"0", 5000) + b) },
		"pairs_between":  func(b string) string { return p4(strings.ReplaceAll(b, pt.StackGlobal, "N0(120"[:4]+pt.StackGlobal)) },
		"result_dropped": func(b string) string { return p4(b + "0N") },
		"in_a_list":      func(b string) string { return p4(pt.ListOf(b, pt.Int(3))) },
		"framed":         func(b string) string { return p4(pt.Frame(b)) },
		"many_frames":    func(b string) string { return p4(pt.Frame("N0") + b + pt.Frame("N0")) },
		"protocol_again": func(b string) string { return p4(b + pt.Proto(5)) },
		"memoized": func(b string) string {
			return p4(strings.ReplaceAll(b, pt.StackGlobal, pt.StackGlobal+"r\x00\x01\x02\x00"))
		},
		"long_strings": func(b string) string {
			return p4(strings.NewReplacer("\x8c\x02os", "X\x02\x00\x00\x00os", "\x8c\x06system", "\x8d\x06\x00\x00\x00\x00\x00\x00\x00system").Replace(b))
		},
		"bytes_behind":  func(b string) string { return p4(b) + strings.Repeat("\x00\xff", 500) },
		"second":        func(b string) string { return p4("N") + p4(b) },
		"literal_first": func(b string) string { return p4(pt.Bytes(strings.Repeat("x", 2<<20)) + "0" + b) },
	}
	for bn, body := range bodies {
		for cn, change := range changes {
			t.Run(fmt.Sprintf("%s_%s", bn, cn), func(t *testing.T) {
				if res, v := verdictOf(t, change(body.body)); v != body.want {
					t.Errorf("%v, want %v: %+v", v, body.want, res.Findings)
				}
			})
		}
	}
}

// What the pure Python unpickler does before it fails, and the C one never: it
// takes an unfinished last line for a name, less its last byte, and calls it.
func TestCutOffInst(t *testing.T) {
	for name, stream := range map[string]string{
		"inst":              "(S'id'\niposix\nsystemX",
		"inst_without_mark": "\x80\x02iposix\nsystem\n.",
		"global":            "\x80\x04cposix\nsystemX",
	} {
		want := warden.Unsafe
		if name == "inst" {
			want = warden.Malicious
		}
		if _, v := verdictOf(t, stream); v < want {
			t.Errorf("%s: %v, want at least %v", name, v, want)
		}
	}
	if _, v := verdictOf(t, "\x80\x02K\x05}b."); v != warden.Clean {
		t.Errorf("an empty state for a number: %v, want clean: one loader takes it, and nothing happens", v)
	}
}
