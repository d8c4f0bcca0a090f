package web_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/modelwarden/warden/web"
)

func get(t *testing.T, target string) *http.Response {
	t.Helper()
	rec := httptest.NewRecorder()
	web.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, target, nil))
	return rec.Result()
}

// TestFirstLoad: everything the first page needs is small.
func TestFirstLoad(t *testing.T) {
	const limit = 250_000 // bytes, compressed
	var page bytes.Buffer
	if _, err := page.ReadFrom(get(t, "/").Body); err != nil {
		t.Fatal(err)
	}
	parts := [][]byte{page.Bytes()}
	for _, m := range regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllSubmatch(page.Bytes(), -1) {
		resp := get(t, string(m[1]))
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("the page names %s, which answers %s", m[1], resp.Status)
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, b.Bytes())
	}
	if len(parts) < 3 {
		t.Fatalf("the page names %d files, want at least a script and a style: build the console", len(parts)-1)
	}
	total := 0
	for _, p := range parts {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(p)
		w.Close()
		total += z.Len()
	}
	t.Logf("first load: %d bytes compressed in %d files", total, len(parts))
	if total > limit {
		t.Errorf("first load is %d bytes compressed, at most %d", total, limit)
	}
}

// TestPolicy: the page allows no script or style but its own files.
func TestPolicy(t *testing.T) {
	resp := get(t, "/")
	csp := resp.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'self'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("policy %q lacks %q", csp, want)
		}
	}
	var page bytes.Buffer
	if _, err := page.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	if regexp.MustCompile(`<style|style=|<script(?:\s[^>]*)?>[^<]|\son[a-z]+=`).Match(page.Bytes()) {
		t.Errorf("the page has inline script or style:\n%s", page.Bytes())
	}
	if got := get(t, "/assets/none.js").StatusCode; got != http.StatusNotFound {
		t.Errorf("a file that does not exist: status %d, want 404", got)
	}
}

// TestDistIsCurrent: dist was built from the sources that are beside it.
func TestDistIsCurrent(t *testing.T) {
	want, err := os.ReadFile("dist/source.txt")
	if err != nil {
		t.Fatalf("%v: run make web", err)
	}
	names := []string{"index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts"}
	for _, dir := range []string{"public", "src"} {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				names = append(names, filepath.ToSlash(name))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(names)
	var got strings.Builder
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%x  %s\n", sha256.Sum256(b), name)
	}
	if got.String() != string(want) {
		t.Error("dist is not what src makes: run make web and commit web/dist")
	}
}

// TestTypesAreCurrent: src/api/types.ts was made from the committed description
// of the API.
func TestTypesAreCurrent(t *testing.T) {
	api, err := os.ReadFile(filepath.Join("..", "docs", "api", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	types, err := os.ReadFile(filepath.Join("src", "api", "types.ts"))
	if err != nil {
		t.Fatal(err)
	}
	section := regexp.MustCompile(`(?m)^components:\n(?:[ \n].*\n?|\n)*`).Find(api)
	sum := sha256.Sum256(section)
	if !bytes.Contains(types, []byte("sha256:"+hex.EncodeToString(sum[:])+"\n")) {
		t.Error("src/api/types.ts is not made from docs/api/openapi.yaml: run npm run types and npm run build in web")
	}
}
