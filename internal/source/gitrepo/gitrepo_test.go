package gitrepo_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/modelwarden/warden/internal/source"
	"github.com/modelwarden/warden/internal/source/gitrepo"
)

// repository makes one with a file that attributes want to hide, a link and a
// hook; it skips the test where git is missing.
func repository(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	dir := t.TempDir()
	write := func(name, text string) {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) {
		c := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.email=a@example.org", "-c", "user.name=n", "-c", "init.defaultBranch=main"}, args...)...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q")
	write("app.py", "import openai\nopenai.OpenAI().responses.create(model='gpt-4o', input='x')\n")
	write("sub/new\nline.py", "x = 1\n")
	write(".gitattributes", "*.py export-ignore filter=evil\n")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link.py")); err != nil {
		t.Fatal(err)
	}
	git("add", "-A")
	git("commit", "-q", "-m", "one")
	git("tag", "v1")
	write("app.py", "x = 2\n")
	git("commit", "-q", "-a", "-m", "two")
	return "file://" + dir
}

func open(t *testing.T, rev string) *source.Tree {
	t.Helper()
	r, err := gitrepo.Clone(t.Context(), repository(t), rev, t.TempDir(), os.Environ(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	tree, err := source.Open(t.Context(), r, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestClone(t *testing.T) {
	t.Parallel()
	tree := open(t, "v1")
	var paths []string
	for _, f := range tree.Files {
		paths = append(paths, f.Path)
	}
	if len(paths) != 2 || paths[0] != "app.py" || paths[1] != "sub/new\nline.py" {
		t.Errorf("files %q: attributes must not hide any, and the link is none", paths)
	}
	seen, err := tree.Sightings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for i := range seen {
		found = found || seen[i].Name == "gpt-4o"
	}
	if !found {
		t.Error("the model of the tagged commit is not found")
	}
	if !tree.Complete() {
		t.Errorf("a link makes the tree incomplete: %v", tree.Statuses)
	}
}

func TestNewest(t *testing.T) {
	t.Parallel()
	seen, err := open(t, "").Sightings(t.Context())
	if err != nil || len(seen) != 0 {
		t.Errorf("sightings of the newest commit: %v, %v", seen, err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	for name, address := range map[string]string{
		"transport": "ext::sh -c true", "option": "--upload-pack=true", "plain_http": "http://example.org/a", "option_in_scp": "-oProxyCommand=true@x:y",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := gitrepo.Clone(t.Context(), address, "", t.TempDir(), nil, nil)
			if !errors.Is(err, gitrepo.ErrURL) {
				t.Errorf("Clone(%q) = %v, want ErrURL", address, err)
			}
		})
	}
}

func TestNothingStays(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gitrepo.Clone(ctx, repository(t), "", temp, os.Environ(), nil); err == nil {
		t.Error("a cancelled clone succeeded")
	}
	if _, err := gitrepo.Clone(t.Context(), "file:///nowhere/at/all", "", temp, os.Environ(), nil); !errors.Is(err, gitrepo.ErrClone) {
		t.Errorf("no repository: %v", err)
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
