package cli_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/cli"
	"github.com/modelwarden/warden/internal/format/formattest"
)

// TestScanHub scans a model of a hub and reads only a little of its weights.
func TestScanHub(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	big := formattest.Zip(
		formattest.ZipEntry{Name: "m/data.pkl", Data: []byte("cposix\nsystem\n(S'id'\ntR.")},
		formattest.ZipEntry{Name: "m/data/0", Data: make([]byte, 24<<20)},
	)
	var sent atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer hf_test" {
			t.Errorf("%s: no token", r.URL)
		}
		switch r.URL.Path {
		case "/api/models/org/model/revision/main":
			fmt.Fprintf(w, `{"sha":%q}`, commit)
		case "/api/models/org/model/tree/" + commit:
			fmt.Fprintf(w, `[{"type":"file","path":"README.md","size":3},{"type":"file","path":"pytorch_model.bin","size":%d}]`, len(big))
		case "/org/model/resolve/" + commit + "/README.md":
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader("hi\n"))
		case "/org/model/resolve/" + commit + "/pytorch_model.bin":
			w.Header().Set("ETag", `"x"`)
			cw := &countWriter{ResponseWriter: w, n: &sent}
			http.ServeContent(cw, r, "", time.Time{}, bytes.NewReader(big))
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	env := func(name string) string {
		return map[string]string{"HF_ENDPOINT": srv.URL, "HF_TOKEN": "hf_test"}[name]
	}
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), cli.Process{Args: []string{"scan", "hf://org/model"}, Getenv: env, Stdout: &out, Stderr: &errs})
	if code != 1 || !strings.Contains(out.String(), "malicious  hf://org/model@"+commit+"/pytorch_model.bin") || !strings.Contains(out.String(), "1 malicious, 1 clean") {
		t.Errorf("exit code %d\n%s%s", code, &out, &errs)
	}
	if n := sent.Load(); n > 4<<20 {
		t.Errorf("%d bytes were fetched of %d", n, len(big))
	}
	if strings.Contains(out.String()+errs.String(), "hf_test") {
		t.Error("the token is in the output")
	}
	out.Reset()
	if code := cli.Run(t.Context(), cli.Process{Args: []string{"scan", "hf://org/missing"}, Getenv: env, Stdout: &out, Stderr: &errs}); code != 3 || !strings.Contains(out.String(), "inconclusive") {
		t.Errorf("a missing model: exit code %d\n%s", code, &out)
	}
	if code := cli.Run(t.Context(), cli.Process{Args: []string{"scan", "hf://a/b/c"}, Getenv: env, Stdout: &out, Stderr: &errs}); code != 2 {
		t.Errorf("no reference: exit code %d", code)
	}
}

type countWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}
