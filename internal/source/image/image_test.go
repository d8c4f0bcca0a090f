package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/source"
	"github.com/modelwarden/warden/internal/source/image"
)

type member struct{ name, text, link, hard string }

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.text)), Typeflag: tar.TypeReg}
		if m.link != "" {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, m.link, 0
		}
		if m.hard != "" {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, m.hard, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.text)); m.link+m.hard == "" && err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func saved(t testing.TB, layers ...[]byte) []byte {
	t.Helper()
	cfg := `{"config":{"Env":["MODEL=gpt-4o-mini"],"Entrypoint":["python"],"Cmd":["main.py"],"WorkingDir":"/app"}}`
	members := []member{{name: "config.json", text: cfg}}
	var names []string
	for i, l := range layers {
		n := string(rune('a'+i)) + "/layer.tar"
		names = append(names, n)
		members = append(members, member{name: n, text: string(l)})
	}
	m, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{"app:1"}, "Layers": names}})
	if err != nil {
		t.Fatal(err)
	}
	return tarOf(t, append(members, member{name: "manifest.json", text: string(m)})...)
}

func open(t *testing.T, b []byte) (*image.Image, *source.Tree) {
	t.Helper()
	p := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(p, b, 0o600); err != nil {
		t.Fatal(err)
	}
	im, err := image.Open(t.Context(), p, t.TempDir(), image.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = im.Close() })
	tree, err := source.Open(t.Context(), im, source.Options{Installed: true})
	if err != nil {
		t.Fatal(err)
	}
	return im, tree
}

func TestLayers(t *testing.T) {
	t.Parallel()
	const sha = "0123456789abcdef0123456789abcdef01234567"
	first := tarOf(t,
		member{name: "app/main.py", text: "import os, openai\nopenai.OpenAI().responses.create(model=os.environ['MODEL'], input='x')\n"},
		member{name: "app/gone.py", text: "import anthropic\nanthropic.Anthropic()\n"},
		member{name: "old/x.py", text: "import cohere\ncohere.Client()\n"},
		member{name: "usr/local/lib/python3.11/site-packages/torch-2.4.0.dist-info/METADATA", text: "Metadata-Version: 2.1\nName: torch\nVersion: 2.4.0\n\nlong text"},
		member{name: "usr/local/lib/python3.11/site-packages/torch/serialization.py", text: "import pickle\n"},
		member{name: "root/.cache/huggingface/hub/models--org--tiny/snapshots/" + sha + "/config.json", link: "../../blobs/x"},
	)
	second := zipped(t, tarOf(t,
		member{name: "app/.wh.gone.py"},
		member{name: "old/.wh..wh..opq"},
		member{name: "../../escape.py", text: "x = 1\n"},
		member{name: "app/leak.py", link: "/etc/passwd"},
	))
	im, tree := open(t, saved(t, first, second))
	if im.Name != "app:1" || len(im.Config.Env) != 1 {
		t.Errorf("name %q, configuration %+v", im.Name, im.Config)
	}
	var paths []string
	for _, f := range tree.Files {
		paths = append(paths, f.Path)
	}
	want := []string{"app/main.py", "escape.py", "usr/local/lib/python3.11/site-packages/torch-2.4.0.dist-info/METADATA"}
	if len(paths) != len(want) {
		t.Fatalf("files %q, want %q", paths, want)
	}
	for i := range want {
		if paths[i] != want[i] {
			t.Errorf("file %d is %q, want %q", i, paths[i], want[i])
		}
	}
	if p := tree.Packages(); len(p) != 1 || p[0].Name != "torch" || p[0].Version != "2.4.0" || !p[0].Locked {
		t.Errorf("packages %+v", p)
	}
	d := im.Doc()
	if len(d.Sightings) != 1 || d.Sightings[0].Name != "org/tiny" || !d.Sightings[0].Pinned {
		t.Errorf("cached models %+v", d.Sightings)
	}
	if len(d.Entries) != 1 || d.Entries[0].Path != "app/main.py" {
		t.Errorf("entries %+v", d.Entries)
	}
}

func TestWhiteouts(t *testing.T) {
	below := tarOf(t, member{name: "app/a.py", text: "x = 1"}, member{name: "app/sub/b.py", text: "x = 1"})
	for _, c := range []struct {
		name  string
		layer []member
		want  string
		told  bool
	}{
		{"file", []member{{name: "app/.wh.a.py"}}, "app/sub/b.py", false},
		{"folder", []member{{name: "app/.wh.sub"}}, "app/a.py", false},
		{"opaque_after_own_file", []member{{name: "app/c.py", text: "x = 1"}, {name: "app/.wh..wh..opq"}}, "app/c.py", false},
		{"file_after_own_file", []member{{name: "app/a.py", text: "x = 2"}, {name: "app/.wh.a.py"}}, "app/a.py app/sub/b.py", false},
		{"no_name", []member{{name: ".wh."}}, "app/a.py app/sub/b.py", true},
		{"dot", []member{{name: ".wh.."}}, "app/a.py app/sub/b.py", true},
		{"parent", []member{{name: "app/.wh..."}}, "app/a.py app/sub/b.py", true},
		{"hard_link", []member{{name: "app/c.py", hard: "app/a.py"}, {name: "app/.wh.a.py"}}, "app/c.py app/sub/b.py", false},
		{"hard_link_to_what_is_not_kept", []member{{name: "data.txt", text: "import openai"}, {name: "app/c.py", hard: "data.txt"}}, "app/a.py app/sub/b.py", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, tree := open(t, saved(t, below, tarOf(t, c.layer...)))
			var got []string
			for _, f := range tree.Files {
				got = append(got, f.Path)
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
			if tree.Complete() == c.told {
				t.Errorf("statuses %+v, told: %v", tree.Statuses, c.told)
			}
		})
	}
}

// A layout may not name files outside its folder.
func TestLayoutStaysInside(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "layout")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"secret.json":          `{"config":{"Cmd":["outside"]}}`,
		"layout/oci-layout":    `{"imageLayoutVersion":"1.0.0"}`,
		"layout/index.json":    `{}`,
		"layout/manifest.json": `[{"Config":"../secret.json","Layers":["../secret.json"]}]`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	im, err := image.Open(t.Context(), inner, t.TempDir(), image.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	if len(im.Config.Cmd) > 0 {
		t.Errorf("read %q from outside the layout", im.Config.Cmd)
	}
}

func TestBroken(t *testing.T) {
	t.Parallel()
	whole := saved(t, tarOf(t, member{name: "app/main.py", text: "x = 1\n"}))
	for name, b := range map[string][]byte{"empty": nil, "cut": whole[:len(whole)-2048], "text": []byte("not an image at all, but text that is long enough to be one block of a tar file"), "no_manifest": tarOf(t, member{name: "x", text: "y"})} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := filepath.Join(t.TempDir(), "image.tar")
			if err := os.WriteFile(p, b, 0o600); err != nil {
				t.Fatal(err)
			}
			temp := t.TempDir()
			if _, err := image.Open(t.Context(), p, temp, image.Limits{}); !errors.Is(err, image.ErrImage) {
				t.Errorf("Open = %v, want ErrImage", err)
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	p := filepath.Join(t.TempDir(), "image.tar")
	big := bytes.Repeat([]byte("x = 1\n"), 1<<18)
	if err := os.WriteFile(p, saved(t, zipped(t, tarOf(t, member{name: "app/a.py", text: string(big)}, member{name: "app/b.py", text: "y = 1\n"}))), 0o600); err != nil {
		t.Fatal(err)
	}
	im, err := image.Open(t.Context(), p, t.TempDir(), image.Limits{Bytes: 1 << 20, File: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	tree, err := source.Open(t.Context(), im, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if tree.Complete() {
		t.Error("an image that was cut is complete")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(saved(f, tarOf(f, member{name: "app/main.py", text: "x = 1\n"})))
	f.Add(zipped(f, saved(f, zipped(f, tarOf(f, member{name: ".wh.x"})))))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		p := filepath.Join(dir, "fuzz.tar")
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		im, err := image.Open(t.Context(), p, t.TempDir(), image.Limits{Members: 1000, Bytes: 8 << 20, Kept: 1 << 20})
		if err != nil {
			return
		}
		if _, err := source.Open(t.Context(), im, source.Options{Installed: true}); err != nil {
			t.Error(err)
		}
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	})
}
