package pickle

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/format/bound"
)

// trace runs data and lists position and opcode of every step.
func trace(t *testing.T, data []byte) (steps []string, err error) {
	t.Helper()
	m := newMachine(job{r: bytes.NewReader(data), size: int64(len(data)), lim: bound.Default(), work: &work{}}, 0, viewMemory)
	m.trial = true
	for {
		m.opStart = m.cur.pos
		op, err := m.cur.byte(t.Context())
		if err != nil {
			return steps, err
		}
		if known[op] {
			steps = append(steps, fmt.Sprintf("%d:%02x", m.opStart, op))
		}
		if err := m.step(t.Context(), op); err != nil {
			return steps, err
		}
	}
}

// random builds a stream that keeps a stack in mind, and damages some.
func random(r *rand.Rand) []byte {
	var b bytes.Buffer
	depth, memo := 0, 0
	if r.IntN(3) > 0 {
		b.WriteString("\x80" + string([]byte{byte(r.IntN(6))}))
	}
	push := []string{"N", "\x88", "K\x05", "M\x01\x02", "J\x01\x02\x03\xff", "I12\n", "I01\n", "L5L\n", "F1.5\n", "G\x3f\xf8\x00\x00\x00\x00\x00\x00", "\x8a\x02\xff\xff", "\x8a\x00", "S'a\\x41'\n", "U\x02ab", "X\x03\x00\x00\x00abc", "Vab\\u0041\n", "\x8c\x01a", "C\x02\x00\xff", "B\x01\x00\x00\x00x", "]", "}", ")", "\x8f", "cos\npath\n", "\x8d\x01\x00\x00\x00\x00\x00\x00\x00z", "\x8e\x01\x00\x00\x00\x00\x00\x00\x00z", "Pid\n"}
	for range 1 + r.IntN(30) {
		switch {
		case depth == 0 || r.IntN(3) == 0:
			b.WriteString(push[r.IntN(len(push))])
			depth++
		case r.IntN(6) == 0:
			fmt.Fprintf(&b, "q%c", byte(memo))
			memo++
		case r.IntN(6) == 0 && memo > 0:
			fmt.Fprintf(&b, "h%c", byte(r.IntN(min(memo, 100))))
			depth++
		case r.IntN(6) == 0:
			b.WriteString("2")
			depth++
		case depth > 1 && r.IntN(2) == 0:
			b.WriteString("\x86")
			depth--
		case r.IntN(3) == 0:
			b.WriteString("(" + push[r.IntN(len(push))] + push[r.IntN(len(push))] + string("tld1"[r.IntN(4)]))
			depth++
		default:
			b.WriteString("0")
			depth--
		}
	}
	b.WriteString("N.")
	data := b.Bytes()
	switch r.IntN(8) {
	case 0:
		data = data[:r.IntN(len(data)+1)]
	case 1:
		data[r.IntN(len(data))] = byte(r.IntN(256))
	}
	return data
}

// TestGenops compares the positions of opcodes with those that CPython's
// pickletools finds. Genops knows no stack, so it may go on where a loader
// fails, but it never disagrees on what was read before.
func TestGenops(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 to compare with")
	}
	const seed = 15
	const script = `
import sys, pickletools
for line in sys.stdin:
    out = []
    try:
        for op, arg, pos in pickletools.genops(bytes.fromhex(line.strip())):
            out.append('%d:%02x' % (pos, ord(op.code)))
    except Exception as e:
        out.append('error')
    print(' '.join(out))
`
	r := rand.New(rand.NewPCG(1, seed))
	var in strings.Builder
	var all [][]byte
	for range 5000 {
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
	lines := strings.Split(string(out), "\n")
	for i, data := range all {
		want := strings.Fields(lines[i])
		got, err := trace(t, data)
		failed := len(want) > 0 && want[len(want)-1] == "error"
		if failed {
			want = want[:len(want)-1]
		}
		n := min(len(got), len(want))
		if failed && len(got) > n && strings.Contains(":53 :49 :4c", got[n][strings.IndexByte(got[n], ':'):]) {
			// Loaders take STRING that is not ASCII if asked for latin1, and INT
			// and LONG in base 0; genops does not.
			got, err = got[:n], nil
		}
		same := strings.Join(got[:n], " ") == strings.Join(want[:n], " ")
		// The machine counts an opcode whose operand is cut off, genops does not.
		if !same || len(got) > len(want)+1 || len(got) > len(want) && !failed ||
			errors.Is(err, errStop) && (failed || len(got) != len(want)) {
			t.Fatalf("stream %x\n got %v, %v\nwant %v, error %v", data, got, err, want, failed)
		}
	}
}
