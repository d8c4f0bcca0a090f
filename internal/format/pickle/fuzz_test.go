package pickle_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/pickle"
	pt "github.com/modelwarden/warden/internal/format/pickle/pickletest"
)

// FuzzOpen checks that no bytes make the machine panic, that the same bytes
// give the same effects, and that a complete stream leaves nothing unsaid.
func FuzzOpen(f *testing.F) {
	payload := pt.Call(pt.Named("os", "system"), pt.Str("id"))
	for _, s := range []string{
		"", "N.", "cos\nsystem\n(S'id'\ntR.", "(S'id'\nios\nsystem\n.", "(cos\nsystem\nS'id'\no.",
		pt.Proto(4) + pt.Frame(payload) + ".", pt.Proto(5) + payload + "\xff", pt.Proto(4) + wrapper("f8", 2) + strings.Repeat("\xff", 16) + ".",
		pt.Proto(4) + wrapper("O8", 1) + pt.Proto(4) + payload + ".0N.",
		pt.Proto(4) + pt.Call(pt.Named("functools", "partial"), pt.Named("os", "system"), pt.Str("id")) + ")R.",
		pt.Proto(4) + pt.Call(pt.Named("pickle", "loads"), pt.Call(pt.Named("base64", "b64decode"), pt.Str("Y29zCnN5c3RlbQooUydpZCcKdFIu"))) + ".",
		pt.Proto(4) + pt.Call(pt.Named("builtins", "str.format"), pt.Str("{}{1}%s"), pt.Str("a"), pt.Int(4)) + ".",
		pt.Proto(4) + pt.Call(pt.Named("operator", "mod"), pt.Str("%s-%d"), pt.Tuple(pt.Str("a"), pt.Int(4))) + ".",
		pt.Proto(4) + pt.Call(pt.Call(pt.Named("operator", "methodcaller"), pt.Str("join"), pt.ListOf(pt.Str("a"))), pt.Str("-")) + ".",
		pt.Proto(4) + pt.Call(pt.Named("marshal", "loads"), pt.Bytes("\xe3"+strings.Repeat("\x00", 40)+"z\x06system")) + ".",
		pt.Proto(4) + pt.Call(pt.Named("zlib", "decompress"), pt.Bytes("x\x9c")) + ".",
		pt.Proto(4) + pt.Call(pt.Named("copyreg", "add_extension"), pt.Str("os"), pt.Str("system"), pt.Int(240)) + "0\x82\xf0.",
		"\x80\x04\x95\x03\x00\x00\x00\x00\x00\x00\x00\x55\x02\x7a\x01\x79\x4b\x09\x2e",
		pt.Proto(2) + "\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + "M\xe9\x03.}.}.]." + "\x80\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lim := bound.Default()
		lim.Ops = 100_000
		pickle.Sniff(t.Context(), bytes.NewReader(data), int64(len(data)), lim)
		one, sts := pickle.Open(t.Context(), bytes.NewReader(data), int64(len(data)), lim)
		two, _ := pickle.Open(t.Context(), bytes.NewReader(data), int64(len(data)), lim)
		if diff := cmp.Diff(describe(one), describe(two)); diff != "" {
			t.Fatalf("two runs differ: %s", diff)
		}
		if len(one) == 0 && len(sts) == 0 {
			t.Fatal("nothing found and nothing said")
		}
	})
}

func describe(streams []*pickle.Stream) []string {
	var out []string
	for _, s := range streams {
		out = append(out, s.Path)
		for _, e := range s.Effects {
			x := e.Value.Expr()
			if len(x) > 256 {
				x = "too long"
			}
			out = append(out, x, e.State.Expr())
			e.Value.Callables(8)
		}
	}
	return out
}
