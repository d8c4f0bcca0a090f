package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/modelwarden/warden/internal/cli"
	"github.com/modelwarden/warden/internal/report"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"warden": func() {
			os.Exit(cli.Run(context.Background(), cli.Process{Args: os.Args[1:], Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
		},
	})
}

// TestScripts runs the stories in testdata/script through the real command line.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// exits CODE COMMAND… runs a command that must end with that code.
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				code := "0"
				if err != nil {
					code = strings.TrimPrefix(err.Error(), "exit status ")
				}
				if code != args[0] {
					ts.Fatalf("exit code %s, want %s", code, args[0])
				}
			},
			// dated FILE… replaces SOON with a date in thirty days.
			"dated": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, name := range args {
					text := strings.ReplaceAll(ts.ReadFile(name), "SOON", time.Now().AddDate(0, 0, 30).Format(time.DateOnly))
					ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
				}
			},
			// unescape FILE… replaces \xNN in files, to write bytes in scripts.
			"unescape": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, name := range args {
					text := strings.TrimSuffix(ts.ReadFile(name), "\n")
					var b bytes.Buffer
					for i := 0; i < len(text); i++ {
						if strings.HasPrefix(text[i:], `\x`) && i+4 <= len(text) {
							n := strings.IndexByte("0123456789abcdef", text[i+2])<<4 | strings.IndexByte("0123456789abcdef", text[i+3])
							b.WriteByte(byte(n))
							i += 3
							continue
						}
						b.WriteByte(text[i])
					}
					ts.Check(os.WriteFile(ts.MkAbs(name), b.Bytes(), 0o600))
				}
			},
		},
	})
}

// TestJSONContract decodes what the command prints as the documented schema.
func TestJSONContract(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bad.pkl"), []byte("cos\nsystem\n(S'id'\ntR."), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), cli.Process{Args: []string{"scan", "--format", "json", dir}, Getenv: func(string) string { return "" }, Stdout: &out, Stderr: &errs})
	if code != 1 {
		t.Fatalf("exit code %d\n%s", code, &errs)
	}
	dec := json.NewDecoder(&out)
	dec.DisallowUnknownFields()
	var doc report.Document
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if doc.Schema != report.Schema || len(doc.Targets) != 1 || doc.Targets[0].Verdict != "malicious" || doc.Targets[0].Digest == "" || !doc.Targets[0].Complete || doc.Summary.Malicious != 1 {
		t.Errorf("got %+v", doc)
	}
}

// TestHelpNamesEveryCommand also keeps Commands right.
func TestHelpNamesEveryCommand(t *testing.T) {
	for _, name := range cli.Commands() {
		var out, errs bytes.Buffer
		args := append(strings.Fields(name), "--help")
		if code := cli.Run(t.Context(), cli.Process{Args: args, Getenv: func(string) string { return "" }, Stdout: &out, Stderr: &errs}); code != 0 || !strings.Contains(out.String(), "Usage:") {
			t.Errorf("warden %s --help: code %d\n%s%s", name, code, &out, &errs)
		}
	}
	for _, want := range []string{"scan", "registry push", "access key create", "audit verify", "demo load"} {
		if !slices.Contains(cli.Commands(), want) {
			t.Errorf("no command %q", want)
		}
	}
}
