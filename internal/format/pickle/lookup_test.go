package pickle

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/format/bound"
)

// lookupScript prints what CPython looks up in each stream, by its C and by its
// Python unpickler, which must agree. Nothing is imported: find_class gives an
// inert class of its own, and a hook ends the process if anything else happens.
const lookupScript = `
import io, pickle, sys, _pickle, codecs, _compat_pickle, encodings.ascii, encodings.latin_1, encodings.raw_unicode_escape, encodings.utf_8, encodings.unicode_escape

class Stub:
    def __new__(cls, *a, **k): return object.__new__(cls)
    def __init__(self, *a, **k): pass
    def __setstate__(self, s): pass
    def append(self, x): pass
    def extend(self, x): pass
    def __setitem__(self, k, v): pass
    def __hash__(self): return 1
    def __eq__(self, other): return self is other

def run(base, data):
    seen = []
    class U(base):
        def find_class(self, module, name):
            seen.append(module + ' ' + name)
            return Stub
        def persistent_load(self, pid): return None
    try:
        U(io.BytesIO(data)).load()
        seen.append('done')
    except Exception as e:
        seen.append('error')
    return seen

import posix
lines = [l.strip() for l in sys.stdin]
def hook(event, args):
    if event.split('.')[0] in ('import', 'open', 'exec', 'os', 'subprocess', 'socket', 'ctypes'):
        sys.stderr.write('event ' + event + repr(args)); sys.stderr.flush()
        posix._exit(9)
run(_pickle.Unpickler, b'N.'); run(pickle._Unpickler, b'N.')
sys.addaudithook(hook)
for line in lines:
    data = bytes.fromhex(line)
    c, p = run(_pickle.Unpickler, data), run(pickle._Unpickler, data)
    print('|'.join(c) if c == p else '|'.join(c) + '\t' + '|'.join(p))
`

// randomCalls builds a stream that looks names up and calls them in all ways.
func randomCalls(r *rand.Rand) []byte {
	var b bytes.Buffer
	b.WriteString("\x80" + string([]byte{byte(2 + r.IntN(4))}))
	names := [][2]string{{"alpha", "f"}, {"beta.sub", "C"}, {"gamma", "g"}, {"delta", "D"}}
	pick := func() (string, string) { n := names[r.IntN(len(names))]; return n[0], n[1] }
	memo := 0
	text := func(s string) string {
		switch r.IntN(4) {
		case 0:
			return "X" + string([]byte{byte(len(s)), 0, 0, 0}) + s
		case 1:
			return "V" + s + "\n"
		case 2:
			return "U" + string([]byte{byte(len(s))}) + s
		default:
			return "\x8c" + string([]byte{byte(len(s))}) + s
		}
	}
	gap := func() string { return []string{"", "", "20", "(1", "N0", "K\x010"}[r.IntN(6)] }
	for range 1 + r.IntN(8) {
		m, n := pick()
		args := []string{")", "K\x01\x85", "(K\x01K\x02t", "NN\x86"}[r.IntN(4)]
		global := "c" + m + "\n" + n + "\n"
		if r.IntN(2) == 0 {
			global = text(m) + gap() + text(n) + gap() + "\x93"
		}
		switch r.IntN(8) {
		case 0:
			b.WriteString(global + args + "R0")
		case 1:
			b.WriteString(global + args + "\x81" + "}b0")
		case 2:
			b.WriteString("(" + "K\x01" + "i" + m + "\n" + n + "\n0")
		case 3:
			b.WriteString("(" + global + "K\x01" + "o0")
		case 4:
			b.WriteString(global + args + "}\x920")
		case 5:
			b.WriteString(global)
			fmt.Fprintf(&b, "q%c0", byte(memo))
			memo++
		case 6:
			if memo > 0 {
				fmt.Fprintf(&b, "h%c", byte(r.IntN(memo)))
				b.WriteString(args + "RK\x05a0")
			}
		case 7:
			b.WriteString("]" + global + args + "Ra0")
		}
	}
	b.WriteString("N.")
	data := b.Bytes()
	switch r.IntN(6) {
	case 0:
		data = data[:r.IntN(len(data)+1)]
	case 1:
		const damage = "N0R)(t1q2hobse.]}" // no opcode that makes the reference fill its memory
		data[r.IntN(len(data))] = damage[r.IntN(len(damage))]
	}
	return data
}

// lookups lists what the machine says a stream looks up, in order.
func lookups(t *testing.T, data []byte) (names []string, stopped bool) {
	t.Helper()
	streams, _ := Open(t.Context(), bytes.NewReader(data), int64(len(data)), bound.Default())
	if len(streams) == 0 {
		return nil, false
	}
	for _, e := range streams[0].Effects {
		if e.Kind != Import || e.Swept {
			continue
		}
		if module, path, ok := e.Value.Global(); ok {
			names = append(names, module+" "+path)
		}
	}
	return names, streams[0].Stopped
}

// TestLookupsOfCPython: what the machine looks up, and in which order, is what
// CPython looks up. Where CPython's two unpicklers differ, the machine must have
// seen what either does.
func TestLookupsOfCPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 to compare with")
	}
	r := rand.New(rand.NewPCG(3, 9))
	var in strings.Builder
	var all [][]byte
	for range 20_000 {
		data := randomCalls(r)
		all = append(all, data)
		fmt.Fprintf(&in, "%x\n", data)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", lookupScript)
	cmd.Stdin = strings.NewReader(in.String())
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the reference ended: %v %s", err, errs.String())
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(all) {
		t.Fatalf("%d answers for %d streams", len(lines), len(all))
	}
	looked, bad := 0, 0
	for i, line := range lines {
		got, _ := lookups(t, all[i])
		for one := range strings.SplitSeq(line, "\t") {
			want := strings.Split(one, "|")
			// Without a module nothing is imported; bytes above ASCII in a UNICODE line
			// are Latin-1 there and kept as they are here.
			want = slices.DeleteFunc(want[:len(want)-1], func(w string) bool {
				return strings.HasPrefix(w, " ") || strings.ContainsFunc(w, func(r rune) bool { return r > 126 })
			})
			looked += len(want)
			if !inOrder(got, want) && bad < 5 {
				bad++
				t.Errorf("stream %x\n got %q\nwant %q", all[i], got, want)
			}
		}
	}
	t.Logf("%d lookups in %d streams", looked, len(all))
}

// inOrder reports whether all of want occurs in got, in that order. The machine
// may know more: it reads on where one loader stops.
func inOrder(got, want []string) bool {
	for _, w := range want {
		i := 0
		for i < len(got) && got[i] != w {
			i++
		}
		if i == len(got) {
			return false
		}
		got = got[i+1:]
	}
	return true
}
