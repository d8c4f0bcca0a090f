package pickle

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/modelwarden/warden/detect"
)

func TestDisassemble(t *testing.T) {
	data := "\x80\x04cposix\nsystem\n\x8c\x02id\x85RJ\xff\xff\xff\xffG?\xf0\x00\x00\x00\x00\x00\x00C\x01\xfe."
	got, err := Disassemble(t.Context(), strings.NewReader(data), int64(len(data)), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, i := range got {
		fmt.Fprintf(&text, "%d-%d %s %s\n", i.Start, i.End, i.Name, i.Arg)
	}
	const want = "0-2 PROTO 4\n2-16 GLOBAL posix system\n16-20 SHORT_BINUNICODE id\n20-21 TUPLE1 \n21-22 REDUCE \n22-27 BININT -1\n27-36 BINFLOAT 1\n36-39 SHORT_BINBYTES fe\n39-40 STOP \n"
	if text.String() != want {
		t.Errorf("got:\n%swant:\n%s", text.String(), want)
	}
	if _, err := Disassemble(t.Context(), strings.NewReader(data), int64(len(data)), 0, 3); !errors.Is(err, detect.ErrLimit) {
		t.Errorf("three of nine: %v, want a limit", err)
	}
}

// TestDisassembleAgrees compares names and places with pickletools.genops.
func TestDisassembleAgrees(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 to compare with")
	}
	const script = `
import sys, pickletools
for line in sys.stdin:
    out = []
    try:
        for op, arg, pos in pickletools.genops(bytes.fromhex(line.strip())):
            out.append('%d:%s' % (pos, op.name))
    except Exception as e:
        pass
    print(' '.join(out))
`
	r := rand.New(rand.NewPCG(1, 77))
	var in strings.Builder
	var all [][]byte
	for range 3000 {
		data := random(r)
		all = append(all, data)
		fmt.Fprintf(&in, "%x\n", data)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", script)
	cmd.Stdin = strings.NewReader(in.String())
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("python3 cannot run the comparison: %v", err)
	}
	for i, want := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		data := all[i]
		got, _ := Disassemble(t.Context(), bytes.NewReader(data), int64(len(data)), 0, 1<<20) // where it ends early is not the same on purpose
		var text []string
		for _, g := range got {
			text = append(text, fmt.Sprintf("%d:%s", g.Start, g.Name))
		}
		// genops also refuses operands that make no sense; what it lists must agree.
		if n := len(strings.Fields(want)); n > len(text) || strings.Join(text[:n], " ") != want {
			t.Fatalf("stream %x\n got %v\nwant %s", data, text, want)
		}
	}
}
