package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/cli"
	"github.com/modelwarden/warden/internal/registry"
)

// TestScanStatement follows a folder from scan to verified claim: the statement
// is about the digest that a push of the folder would register, and names the
// report that was written.
func TestScanStatement(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) registry.File {
		t.Helper()
		full := filepath.Join(dir, "model", name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return registry.File{Path: name, Digest: warden.Sum([]byte(text)), Size: int64(len(text))}
	}
	files := []registry.File{
		write("bad.pkl", "cposix\nsystem\n(S'id'\ntR."), write("sub/config.json", `{"model_type": "bert"}`),
	}
	write(".git/config", "[core]\n")
	raw, err := registry.Manifest{Files: files}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	run := func(want int, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := cli.Run(t.Context(), cli.Process{Args: args, Getenv: func(string) string { return "" }, Stdin: bytes.NewReader(nil), Stdout: &out, Stderr: &errs}); code != want {
			t.Fatalf("%v: exit %d, want %d\n%s%s", args, code, want, out.String(), errs.String())
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	run(0, "key", "generate", "--type", "p384", "--out", in("k"))
	run(1, "scan", "--attest", in("s.json"), "--key", in("k.key"), "--format", "json", "--output", in("r.json"), in("model"))

	pub, err := os.ReadFile(in("k.pub"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := attest.ParsePublicPEM(pub)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := os.ReadFile(in("s.json"))
	if err != nil {
		t.Fatal(err)
	}
	trust := attest.TrustStore{{ID: "release", Key: key, Predicates: []string{attest.ScanType}}}
	claims, rejected := attest.Verify(warden.Sum(raw), [][]byte{envelope}, trust, time.Now())
	if len(claims) != 1 {
		t.Fatalf("no claim: %+v", rejected)
	}
	var s attest.Scan
	if err := json.Unmarshal(claims[0].Statement.Predicate, &s); err != nil {
		t.Fatal(err)
	}
	rep, err := os.ReadFile(in("r.json"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Verdict != "malicious" || !s.Complete || s.Report != warden.Sum(rep).String() || len(s.Findings) == 0 {
		t.Errorf("predicate %+v", s)
	}
	if got := claims[0].Statement.Subjects; len(got) != 3 {
		t.Errorf("%d subjects, want the manifest and two files", len(got))
	}
	if err := os.Remove(in("s.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in("k.key"), pub, 0o600); err != nil {
		t.Fatal(err)
	}
	run(2, "scan", "--attest", in("s.json"), "--key", in("k.key"), in("model"))
	if _, err := os.Stat(in("s.json")); err == nil {
		t.Error("a statement was written without a private key")
	}
}
