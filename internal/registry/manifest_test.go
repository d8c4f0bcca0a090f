package registry_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

func file(path, text string) registry.File {
	return registry.File{Path: path, Digest: warden.Sum([]byte(text)), Size: int64(len(text))}
}

// The bytes and digest are fixed for ever: they name artifacts. The digest was
// computed with Python's json.dumps (sorted keys, no spaces) and hashlib.
func TestManifestGolden(t *testing.T) {
	m := registry.Manifest{Files: []registry.File{file("tokenizer.json", "{}"), file("ärger/𝛼.bin", "x"), file("config.json", ""), file("tokenizer/a", "a"), file("ﬀ", "y")}}
	const want = `{"files":[` +
		`{"path":"config.json","sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},` +
		`{"path":"tokenizer.json","sha256":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},` +
		`{"path":"tokenizer/a","sha256":"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb","size":1},` +
		`{"path":"ärger/𝛼.bin","sha256":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","size":1},` +
		`{"path":"ﬀ","sha256":"a1fce4363854ff888cff4b8e7875d600c2682390412a8cf79b37d0b11148b0fa","size":1}],` +
		`"schema":"https://modelwarden.dev/manifest/v1"}`
	got, err := m.Encode()
	if err != nil || string(got) != want {
		t.Fatalf("Encode = %s, %v; want %s", got, err, want)
	}
	if d := warden.Sum(got).String(); d != "sha256:82736047ab1ebdcdaab2c0cf5541e26e55b115a7ed6aa28acec295838366a237" {
		t.Errorf("digest %s", d)
	}
	back, err := registry.DecodeManifest(got)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.Encode()
	if err != nil || !bytes.Equal(again, got) {
		t.Errorf("decoded and encoded: %s, %v", again, err)
	}
}

func TestManifestRefused(t *testing.T) {
	for name, m := range map[string]registry.Manifest{
		"empty": {}, "absolute": {Files: []registry.File{file("/etc/passwd", "x")}}, "parent": {Files: []registry.File{file("a/../b", "x")}},
		"dot": {Files: []registry.File{file("./a", "x")}}, "double_slash": {Files: []registry.File{file("a//b", "x")}},
		"trailing_slash": {Files: []registry.File{file("a/", "x")}}, "no_path": {Files: []registry.File{file("", "x")}},
		"not_text": {Files: []registry.File{file("a\xff", "x")}}, "nul": {Files: []registry.File{file("a\x00", "x")}},
		"long": {Files: []registry.File{file(strings.Repeat("a", 4097), "x")}}, "twice": {Files: []registry.File{file("a", "x"), file("a", "y")}},
		"negative": {Files: []registry.File{{Path: "a", Digest: warden.Sum(nil), Size: -1}}}, "no_digest": {Files: []registry.File{{Path: "a"}}},
		"huge": {Files: []registry.File{{Path: "a", Digest: warden.Sum(nil), Size: 1<<53 + 1}}},
	} {
		if b, err := m.Encode(); !errors.Is(err, registry.ErrManifest) {
			t.Errorf("%s: Encode = %s, %v; want ErrManifest", name, b, err)
		}
	}
	b, err := registry.Manifest{Files: []registry.File{file("a", "x"), file("b", "y")}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	for name, text := range map[string]string{
		"space": good + " ", "trailing": good + "{}", "cut": good[:len(good)-1], "order": strings.Replace(strings.Replace(good, `"a"`, `"c"`, 1), `"x"`, `"y"`, 1),
		"unknown_field": strings.Replace(good, `{"files"`, `{"extra":1,"files"`, 1), "schema": strings.Replace(good, "v1", "v2", 1),
		"upper_hex": strings.Replace(good, `"sha256":"2d`, `"sha256":"2D`, 1), "duplicate_key": strings.Replace(good, `"size":1`, `"size":1,"size":1`, 1),
		"case_of_key": strings.Replace(good, `"files"`, `"Files"`, 1), "float": strings.Replace(good, `"size":1`, `"size":1.0`, 1), "escape": strings.Replace(good, `"a"`, `"\u0061"`, 1),
		"null": "null", "nothing": "",
	} {
		if m, err := registry.DecodeManifest([]byte(text)); !errors.Is(err, registry.ErrManifest) {
			t.Errorf("%s: DecodeManifest = %v, %v; want ErrManifest", name, m, err)
		}
	}
}

func TestCollisions(t *testing.T) {
	m := registry.Manifest{Files: []registry.File{
		file("README", ""), file("readme", ""), file("é", ""), file("e\u0301", ""), file("x", ""), file("x/y", ""), file("ok/a", ""), file("ok/b", ""), file("straße", ""), file("STRASSE", ""),
	}}
	want := [][]string{{"README", "readme"}, {"straße", "STRASSE"}, {"x", "x/y"}, {"é", "e\u0301"}}
	if diff := cmp.Diff(want, m.Collisions()); diff != "" {
		t.Errorf("Collisions (-want +got):\n%s", diff)
	}
}

func TestParseName(t *testing.T) {
	for _, s := range []string{"a/b", "team/bert-base_uncased.v2", "A/B9", strings.Repeat("a", 96) + "/b"} {
		if n, err := registry.ParseName(s); err != nil || string(n) != s {
			t.Errorf("ParseName(%q) = %v, %v", s, n, err)
		}
	}
	for _, s := range []string{"", "a", "/", "a/", "/b", "a/b/c", "a b/c", "../b", "a/..", "a/.b", "a/b.", "-a/b", "a/b@1", "a..b/c", "ä/b", "a/b\n", "a/\u202eb", strings.Repeat("a", 97) + "/b"} {
		if n, err := registry.ParseName(s); err == nil {
			t.Errorf("ParseName(%q) = %v, want an error", s, n)
		}
	}
}

// Whatever is decoded is what its bytes say: encoding gives them back.
func FuzzDecode(f *testing.F) {
	for _, m := range []registry.Manifest{{Files: []registry.File{file("a", "x")}}, {Files: []registry.File{file("a/b", "x"), file("ä", "")}}} {
		b, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"files":[],"schema":"https://modelwarden.dev/manifest/v1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := registry.DecodeManifest(b)
		if err != nil {
			if !errors.Is(err, registry.ErrManifest) {
				t.Errorf("error %v does not wrap ErrManifest", err)
			}
			return
		}
		m.Collisions()
		again, err := m.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("encoded again: %s, %v", again, err)
		}
	})
}
