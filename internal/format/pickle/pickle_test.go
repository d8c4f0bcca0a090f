package pickle_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/pickle"
	pt "github.com/modelwarden/warden/internal/format/pickle/pickletest"
)

func open(t *testing.T, data []byte, lim bound.Limits) ([]*pickle.Stream, []detect.Status) {
	t.Helper()
	return pickle.Open(t.Context(), bytes.NewReader(data), int64(len(data)), lim)
}

// calls lists the calls of all streams as expressions.
func calls(streams []*pickle.Stream) []string {
	var out []string
	for _, s := range streams {
		for _, e := range s.Effects {
			if e.Kind == pickle.Invoke {
				out = append(out, s.Path+" "+e.Value.Expr())
			}
		}
	}
	return out
}

// TestCalls checks what is called, opcode by opcode and trick by trick. The
// payload is a call of os.system in every row.
func TestCalls(t *testing.T) {
	system, id := pt.Named("os", "system"), pt.Str("id")
	payload := pt.Call(system, id)
	want := " os.system('id')"
	for _, tt := range []struct{ name, in, want string }{
		{"stack_global", pt.Proto(4) + payload + ".", want},
		{"global_protocol_0", "cos\nsystem\n(S'id'\ntR.", want},
		{"inst", "(S'id'\nios\nsystem\n.", want},
		{"obj", "(cos\nsystem\nS'id'\no.", want},
		{"obj_then_pop", "(cos\nsystem\nS'id'\no0N.", want},
		{"newobj_ex", pt.Proto(4) + system + pt.Tuple(id) + pt.Dict + pt.NewObjEx + ".", " os.system.__new__('id', **{})"},
		{"no_stop", pt.Proto(4) + payload, want},
		{"broken_behind", pt.Proto(4) + payload + "\xff\xff", want},
		{"result_dropped", pt.Proto(4) + payload + "0N.", want},
		{"python_2_name", "c__builtin__\neval\n(S'id'\ntR.", " eval('id')"},
		{"python_2_module", pt.Proto(2) + "ccommands\ngetoutput\nU\x02id\x85R.", " subprocess.getoutput('id')"},
		{"binstring_operands", pt.Proto(4) + "U\x02osU\x06system\x93" + id + "\x85R.", want},
		{"string_operand", pt.Proto(4) + "S'os'\n" + pt.Str("system") + "\x93" + id + "\x85R.", want},
		{"unicode_operand", pt.Proto(4) + "Vo\\u0073\n" + pt.Str("system") + "\x93" + id + "\x85R.", want},
		{"memo_mixed", pt.Proto(4) + pt.Str("os") + pt.Put(7) + "0" + pt.Str("system") + pt.Memoize + "0h\x07h\x01\x93" + id + "\x85R.", want},
		{"memo_text_index", pt.Proto(4) + pt.Str("os") + "p900\n0g900\n" + pt.Str("system") + "\x93" + id + "\x85R.", want},
		{"memo_sparse", pt.Proto(4) + pt.Str("os") + "r\xff\xff\xff\x7f0j\xff\xff\xff\x7f" + pt.Str("system") + "\x93" + id + "\x85R.", want},
		{"gaps", pt.Proto(4) + pt.Str("os") + "N0(120" + pt.Str("os") + "(1" + pt.Str("system") + "K\x0102020" + "\x93" + id + "\x85R.", want},
		{"pop_on_mark", pt.Proto(4) + pt.Str("os") + "(0" + pt.Str("system") + "\x93" + id + "\x85R.", want},
		{"dotted", pt.Proto(4) + pt.Named("ctypes.util", "os.system") + id + "\x85R.", " ctypes.util.os.system('id')"},
		{"dotted_call", pt.Proto(4) + pt.Named("os", "system.__call__") + id + "\x85R.", want},
		{"late_protocol", "cos\nsystem\n" + pt.Proto(4) + "0" + payload + ".", want},
		{"extension", pt.Proto(4) + pt.Call(pt.Named("copyreg", "add_extension"), pt.Str("os"), pt.Str("system"), pt.Int(240)) + "0\x82\xf0" + id + "\x85R.", " copyreg.add_extension('os', 'system', 240)" + want},
		{"getattr", pt.Proto(4) + pt.Call(pt.Named("builtins", "getattr"), pt.Call(pt.Named("builtins", "__import__"), pt.Str("os")), pt.Str("system")) + id + "\x85R.", " __import__('os') getattr(os, 'system')" + want},
		{"modules", pt.Proto(4) + pt.Call(pt.Call(pt.Named("operator", "methodcaller"), pt.Str("system"), id), pt.Call(pt.Named("operator", "getitem"), pt.Named("sys", "modules"), pt.Str("os"))) + ".", " operator.methodcaller('system', 'id') operator.getitem(sys.modules, 'os') operator.methodcaller('system', 'id')(os)" + want},
		{"builtins_of_numpy", pt.Proto(4) + pt.Call(pt.Call(pt.Named("builtins", "dict.get"), pt.Named("numpy", "__builtins__"), pt.Str("eval")), id) + ".", " builtins.dict.get(numpy.__builtins__, 'eval') eval('id')"},
		{"reduce", pt.Proto(4) + pt.Call(pt.Named("functools", "partial"), system, id) + ")R.", " functools.partial(os.system, 'id')" + " functools.partial(os.system, 'id')()" + want},
		{"map", pt.Proto(4) + pt.Call(pt.Named("builtins", "tuple"), pt.Call(pt.Named("builtins", "map"), system, pt.ListOf(id))) + ".", " map(os.system, ['id'])" + want + " tuple(map(os.system, ['id']))"},
		{"joined_name", pt.Proto(4) + pt.Call(pt.Named("builtins", "getattr"), pt.Named("os", "path.os"), pt.Call(pt.Named("builtins", "str.join"), pt.Str(""), pt.ListOf(pt.Str("sys"), pt.Str("tem")))) + id + "\x85R.", " builtins.str.join('', ['sys', 'tem']) getattr(os.path.os, 'system') os.path.os.system('id')"},
		{"folded_bytes", pt.Proto(4) + pt.Call(pt.Named("pickle", "loads"), pt.Call(pt.Named("base64", "b64decode"), pt.Str("Y29zCnN5c3RlbQooUydpZCcKdFIu"))) + ".", " base64.b64decode('Y29zCnN5c3RlbQooUydpZCcKdFIu') pickle.loads(b'cos\\nsystem\\n(S\\'id\\'\\ntR.')@71" + want},
		{"integer_list", pt.Proto(4) + pt.Call(pt.Named("_pickle", "loads"), pt.Call(pt.Named("builtins", "bytes"), pt.ListOf(ints("cos\nsystem\n(S'id'\ntR.")...))) + ".", "@148" + want},
		{"second_stream", "N.}.\x80\x04" + payload + ".", "#3" + want},
		{"tail_sweep_restart", pt.Proto(4) + "N\xff" + "junk\x80\x04" + payload + ".", "!@8" + want},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !pickle.Sniff(t.Context(), strings.NewReader(tt.in), int64(len(tt.in)), bound.Default()) {
				t.Error("Sniff = false")
			}
			streams, _ := open(t, []byte(tt.in), bound.Default())
			if got := strings.Join(calls(streams), ""); !strings.HasSuffix(got, tt.want) {
				t.Errorf("calls %q, want suffix %q", got, tt.want)
			}
		})
	}
}

func ints(s string) []string {
	var out []string
	for _, b := range []byte(s) {
		out = append(out, pt.Int(int32(b)))
	}
	return out
}

// TestErrors checks where a loader fails, and that this is not silent.
func TestErrors(t *testing.T) {
	for _, tt := range []struct{ name, in string }{
		{"empty", ""},
		{"truncated_string", pt.Proto(4) + "X\xff\x00\x00\x00abc"},
		{"huge_string", pt.Proto(4) + "\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"},
		{"negative_length", pt.Proto(2) + "T\xff\xff\xff\xff"},
		{"unknown_memo", pt.Proto(4) + "h\x05."},
		{"negative_memo", "N" + "p-1\n."},
		{"memo_is_no_number", "gx\n."},
		{"bytes_as_name", pt.Proto(4) + pt.Bytes("os") + pt.Str("system") + "\x93."},
		{"no_mark", pt.Proto(4) + "t."},
		{"underflow_below_mark", pt.Proto(4) + "N(R."},
		{"protocol_6", pt.Proto(6) + "N."},
		{"buffer", pt.Proto(5) + "\x97."},
		{"odd_dict", pt.Proto(4) + "}(NNNu."},
		{"set_of_lists", pt.Proto(4) + "\x8f(]\x90."},
		{"state_of_a_list", pt.Proto(4) + "]K\x01b."},
		{"call_of_text", pt.Proto(4) + pt.Str("f") + ")R."},
		{"number", "Ix\n."},
		{"stop_on_nothing", pt.Proto(4) + "."},
		{"frame_too_long", pt.Proto(4) + "\x95\xff\x00\x00\x00\x00\x00\x00\x00N."},
		{"extension_zero", pt.Proto(2) + "\x82\x00."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, sts := open(t, []byte(tt.in), bound.Default()); len(sts) == 0 {
				t.Error("no status")
			}
		})
	}
}

// TestLimits checks that a limit keeps what ran before it and is told.
func TestLimits(t *testing.T) {
	payload := pt.Call(pt.Named("os", "system"), pt.Str("id"))
	for _, tt := range []struct {
		name string
		set  func(*bound.Limits)
		body string
	}{
		{"ops", func(l *bound.Limits) { l.Ops = 5000 }, payload + strings.Repeat("N0", 5000) + payload},
		{"stack", func(l *bound.Limits) { l.Stack = 5000 }, payload + strings.Repeat("N", 10000)},
		{"memo", func(l *bound.Limits) { l.Memo = 5000 }, payload + strings.Repeat("N\x940", 10000)},
		{"arena", func(l *bound.Limits) { l.Arena = 1 << 16 }, payload + strings.Repeat(pt.Str("text")+pt.Memoize, 10000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lim := bound.Default()
			tt.set(&lim)
			streams, sts := open(t, pt.Stream(tt.body), lim)
			if len(sts) != 1 || sts[0].State != detect.Skipped || !errors.Is(sts[0].Err, detect.ErrLimit) {
				t.Errorf("statuses %+v", sts)
			}
			if got := calls(streams); len(got) == 0 || got[0] != " os.system('id')" {
				t.Errorf("calls %q", got)
			}
		})
	}
	t.Run("nesting", func(t *testing.T) {
		body := payload + "."
		for range 12 {
			body = pt.Call(pt.Named("pickle", "loads"), pt.Bytes(pt.Proto(4)+body)) + "."
		}
		if _, sts := open(t, []byte(pt.Proto(4)+body), bound.Default()); len(sts) == 0 {
			t.Error("no status for 12 streams inside one another")
		}
	})
}

// TestPadding checks that the padding of the design reaches no budget.
func TestPadding(t *testing.T) {
	payload := pt.Call(pt.Named("os", "system"), pt.Str("id"))
	for _, tt := range []struct{ name, pad string }{
		{"neutral_pairs", strings.Repeat("N0(1", 1_100_000)},
		{"literal_12_MB", "B\x00\x00\xc0\x00" + strings.Repeat("x", 12<<20) + "0"},
		{"strings", strings.Repeat(pt.Str("x")+"0", 1_000_000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			streams, sts := open(t, pt.Stream(tt.pad+payload), bound.Default())
			if got := calls(streams); len(sts) > 0 || len(got) != 1 {
				t.Errorf("calls %q, statuses %v", got, sts)
			}
		})
	}
}

// TestFrames is the case of the design that the three views read differently:
// only a source without peek yields a value.
func TestFrames(t *testing.T) {
	streams, sts := open(t, []byte("\x80\x04\x95\x03\x00\x00\x00\x00\x00\x00\x00\x55\x02\x7a\x01\x79\x4b\x09\x2e"), bound.Default())
	if len(streams) != 1 || !streams[0].Stopped || streams[0].Result.Expr() != "9" || len(sts) == 0 {
		t.Errorf("streams %+v, statuses %v", streams, sts)
	}
	honest := pt.Proto(4) + pt.Frame(pt.Str("a")+"0N") + pt.Frame("0N.")
	if streams, sts := open(t, []byte(honest), bound.Default()); len(sts) > 0 || !streams[0].Stopped {
		t.Errorf("honest frames: %v", sts)
	}
}

// wrapper is a joblib array of n doubles without padding.
func wrapper(dtype string, n int32) string {
	f8 := pt.Call(pt.Named("numpy", "dtype"), pt.Str(dtype), pt.None, pt.None) + pt.Tuple(pt.Int(3), pt.Str("<"), "N", "N", "N", pt.Int(-1), pt.Int(-1), pt.Int(0)) + pt.Build
	return pt.New(pt.Named("joblib.numpy_pickle", "NumpyArrayWrapper")) +
		pt.DictOf(pt.Str("shape"), pt.Tuple(pt.Int(n)), pt.Str("dtype"), f8, pt.Str("order"), pt.Str("C")) + pt.Build
}

func TestJoblib(t *testing.T) {
	payload := pt.Call(pt.Named("os", "system"), pt.Str("id"))
	has := func(data string) (bool, int) {
		streams, sts := open(t, []byte(data), bound.Default())
		return strings.Contains(fmt.Sprint(calls(streams)), "os.system('id')"), len(sts)
	}
	for _, tt := range []struct {
		name, in string
		hit      bool
		statuses int
	}{
		{"numbers", pt.Proto(4) + wrapper("f8", 2) + "\x00\xff\x00\xff\x00\xff\x00\xff\x00\xff\x00\xff\x00\xff\x00\xff" + ".", false, 0},
		{"behind_numbers", pt.Proto(4) + wrapper("i1", 2) + "\xff\xff0" + payload + ".", true, 0},
		{"as_numbers_for_pickle_load", pt.Proto(4) + wrapper("i1", int32(len(payload))) + payload + "0N.", true, 0},
		{"objects", pt.Proto(4) + wrapper("O8", 1) + pt.Proto(4) + payload + ".0N.", true, 0},
		{"shape_beyond_end", pt.Proto(4) + wrapper("f8", 1<<30) + payload + "0N.", true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if hit, n := has(tt.in); hit != tt.hit || n != tt.statuses {
				t.Errorf("hit %v, %d statuses; want %v, %d", hit, n, tt.hit, tt.statuses)
			}
		})
	}
}

// TestData checks that streams that lie in data are told as such.
func TestData(t *testing.T) {
	inner := pt.Proto(4) + pt.Call(pt.Named("os", "system"), pt.Str("id")) + "."
	for _, tt := range []struct{ name, text string }{
		{"raw", pt.Bytes(inner)},
		{"base64", pt.Str("gASMAm9zjAZzeXN0ZW2TKIwCaWR0Ui4=")},
		{"hex", pt.Str(fmt.Sprintf("%x", inner))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			streams, sts := open(t, pt.Stream(pt.DictOf(pt.Str("weights"), tt.text)), bound.Default())
			if len(sts) > 0 || len(streams) != 2 || streams[1].Via != pickle.Data {
				t.Errorf("streams %+v, statuses %v", streams, sts)
			}
		})
	}
}

func TestLegacyTorch(t *testing.T) {
	magic := pt.Proto(2) + "\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
	in := magic + pt.Proto(2) + "M\xe9\x03." + pt.Proto(2) + "}." + pt.Proto(2) + "}." + pt.Proto(2) + "](U\x011e." + "\x80\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("\x00\x01", 100)
	streams, sts := open(t, []byte(in), bound.Default())
	var ends []int64
	for _, s := range streams {
		ends = append(ends, s.End)
	}
	if diff := cmp.Diff([]int64{15, 21, 25, 29, 38}, ends); diff != "" || len(sts) > 0 {
		t.Errorf("ends differ (-want +got)\n%s%v", diff, sts)
	}
}

func TestSniffText(t *testing.T) {
	for _, s := range []string{"", "hello", "import os\nprint(1)\n", "cat\ndog\nSally\n", "cat\ndog\nemu\n", `{"a": 1}`, "[1, 2]", "import numpy as np\n\nclass A:\n    pass\n", "(a\nb\n", "I am fine.", "Lorem ipsum\n", "# title\n", "\x00\x01\x02"} {
		if pickle.Sniff(t.Context(), strings.NewReader(s), int64(len(s)), bound.Default()) {
			t.Errorf("Sniff(%q) = true", s)
		}
	}
}

// TestExpansion checks that values that multiply themselves are told.
func TestExpansion(t *testing.T) {
	body := pt.ListOf(pt.Str("lol"), pt.Str("lol")) + pt.Put(0) + "0"
	for range 30 {
		body += pt.ListOf(strings.Repeat(pt.Get(0), 10)) + pt.Put(0) + "0"
	}
	streams, _ := open(t, pt.Stream(body+pt.Get(0)), bound.Default())
	for _, e := range streams[0].Effects {
		if e.Kind == pickle.Expansion {
			return
		}
	}
	t.Error("no Expansion effect")
}

// TestStraddle: an opcode whose bytes lie over the end of its frame is read by
// the loaders of today, and written by no pickler. It is told, not trusted.
func TestStraddle(t *testing.T) {
	const body = "B\x14\x00\x00\x00AAAAAAAAAAAAAAAAAAAA."
	for _, tt := range []struct {
		name, text string
		told       bool
	}{
		{"straddles", "\x80\x05\x95\x05\x00\x00\x00\x00\x00\x00\x00" + body, true},
		{"fits", "\x80\x05\x95\x1a\x00\x00\x00\x00\x00\x00\x00" + body, false},
	} {
		_, sts := pickle.Open(t.Context(), strings.NewReader(tt.text), int64(len(tt.text)), bound.Default())
		if (len(sts) > 0) != tt.told {
			t.Errorf("%s: statuses %v, want some: %v", tt.name, sts, tt.told)
		}
	}
}

// A memo index that is far beyond what the stream could fill makes the loader
// reserve memory for it; indexes that are used in turn do not.
func TestReserve(t *testing.T) {
	for text, want := range map[string]int{
		"]r\xff\xff\xff\x7f.": 1, "]r\x00\x00\x00\x01.": 1, "]p2147483647\n.": 1, "]r\xff\xff\x00\x00.": 0, "]q\x05.": 0, "]\x94.": 0,
	} {
		n := 0
		streams, _ := open(t, []byte(text), bound.Default())
		for _, s := range streams {
			for _, e := range s.Effects {
				if e.Kind == pickle.Reserve {
					n++
				}
			}
		}
		if n != want {
			t.Errorf("%q: %d reservations, want %d", text, n, want)
		}
	}
}
