package python_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/source/python"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// dump writes the tree in the form of testdata/dump.py.
func dump(b *strings.Builder, n *syntax.Node, quiet bool) {
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	if n == nil {
		b.WriteByte('_')
		return
	}
	kind, pos, text, flag := n.Kind.String(), "", n.Text, ""
	if n.Flag != 0 {
		flag = fmt.Sprint(uint8(n.Flag))
	}
	if !quiet {
		switch n.Kind {
		case syntax.Block, syntax.Params, syntax.Param, syntax.Args, syntax.TypeParams, syntax.WithItem, syntax.Case, syntax.PatKeyword, syntax.Comp:
		default:
			pos = fmt.Sprintf("%d-%d", n.Start, n.End)
		}
	}
	kids := n.Kids
	switch n.Kind {
	case syntax.String:
		text = fmt.Sprintf("%d:%d", len(n.Text), crc32.ChecksumIEEE([]byte(n.Text)))
	case syntax.Number:
		text = ""
	case syntax.FString:
		quiet = true
	case syntax.Return, syntax.Expr, syntax.Raise, syntax.Assert, syntax.Yield:
		kids = pad(kids, map[syntax.Kind]int{syntax.Return: 1, syntax.Raise: 2, syntax.Assert: 2, syntax.Yield: 1}[n.Kind])
	case syntax.AnnAssign:
		kids = pad(kids, 3)
	case syntax.Field:
		kids = pad(kids, 2)
	default:
	}
	fmt.Fprintf(b, "(%s%s %s %s", kind, flag, pos, text)
	for _, k := range kids {
		inner := quiet
		if n.Kind == syntax.Alias || n.Kind == syntax.Global || n.Kind == syntax.Nonlocal {
			inner = true
		}
		dump(b, k, inner)
	}
	b.WriteString("\n)")
}

func pad(kids []*syntax.Node, n int) []*syntax.Node {
	out := append([]*syntax.Node(nil), kids...)
	for len(out) < n {
		out = append(out, nil)
	}
	return out
}

func dumpFile(t *testing.T, name string) (string, []python.Error) {
	t.Helper()
	src, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	m, errs := python.Parse(t.Context(), src, python.Limits{})
	var b strings.Builder
	for _, n := range m.Body {
		dump(&b, n, false)
	}
	return b.String(), errs
}

// TestOracle compares trees with those of the reference, where it is
// installed: over every file of the folder that WARDEN_ORACLE names, or of its
// standard library if that is "all", else over a sample of the latter.
// WARDEN_PYTHON names another interpreter than python3, of 3.10 or later.
func TestOracle(t *testing.T) {
	py := os.Getenv("WARDEN_PYTHON")
	if py == "" {
		py = "python3"
	}
	py, err := exec.LookPath(py)
	if err != nil {
		t.Skip("python3 is not installed")
	}
	root, every := os.Getenv("WARDEN_ORACLE"), 1
	if root == "" || root == "all" {
		if root == "" {
			every = 12
		}
		out, err := exec.Command(py, "-c", "import os; print(os.path.dirname(os.__file__))").Output()
		if err != nil {
			t.Skip("python3 does not run:", err)
		}
		root = strings.TrimSpace(string(out))
	}
	var names []string
	n := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".py") {
			if n++; n%every == 0 {
				names = append(names, path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	run := func(in string, args ...string) string {
		cmd := exec.CommandContext(ctx, py, append([]string{filepath.Join("testdata", "dump.py")}, args...)...)
		cmd.Stdin, cmd.Stderr = strings.NewReader(in), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Skip("the reference does not run:", err)
		}
		return string(out)
	}
	same, rejected, bytes := 0, 0, 0
	for line := range strings.Lines(run(strings.Join(names, "\n"))) {
		name, want, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if want == "skip" {
			continue
		}
		got, errs := dumpFile(t, name)
		if want == "error" || len(errs) > 0 && strings.Contains(errs[0].Message, "encoding") {
			rejected++
			continue
		}
		if info, err := os.Stat(name); err == nil {
			bytes += int(info.Size())
		}
		sum := sha256.Sum256([]byte(got))
		if hex.EncodeToString(sum[:]) == want && len(errs) == 0 {
			same++
			continue
		}
		w, g := strings.Split(run(name, "-full"), "\n"), strings.Split(got, "\n")
		at := 0
		for at < len(w) && at < len(g) && w[at] == g[at] {
			at++
		}
		t.Errorf("%s: trees differ at line %d:\n got %q\nwant %q\nerrors %v", name, at, g[at:min(at+4, len(g))], w[at:min(at+4, len(w))], errs)
	}
	t.Logf("%d files, %d bytes: the same tree; %d the reference does not read either", same, bytes, rejected)
}
