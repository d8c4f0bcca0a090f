package cli_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/cli"
)

// platform answers commands with fixed texts, by method and path.
func platform(t *testing.T, answers map[string]string) func(want int, args ...string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.Method+" "+r.URL.Path]
		if !ok {
			t.Errorf("asked for %s %s", r.Method, r.URL.Path)
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, text)
	}))
	t.Cleanup(srv.Close)
	env := func(name string) string {
		return map[string]string{"WARDEN_SERVER": srv.URL, "WARDEN_KEY": "wdn_x"}[name]
	}
	return func(want int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := cli.Run(t.Context(), cli.Process{Args: args, Getenv: env, Stdout: &out, Stderr: &errs}); code != want {
			t.Errorf("warden %v: exit code %d, want %d\n%s%s", args, code, want, &out, &errs)
		}
		return out.String() + errs.String()
	}
}

func TestJobsCommands(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	job := `{"kind":"scan","artifact":"` + digest + `","model":"team/m@1","state":"running","why":"push","attempts":2,"files_done":1,"files":2,"bytes_done":50,"bytes":200,"problem":"disk"}`
	run := platform(t, map[string]string{
		"GET /api/v1/jobs":                        `{"items":[` + job + `],"next":""}`,
		"GET /api/v1/find":                        `{"model":"team/m","number":1,"artifact":{"digest":"` + digest + `"}}`,
		"GET /api/v1/jobs/" + digest:              job,
		"POST /api/v1/jobs/" + digest + "/retry":  job,
		"POST /api/v1/jobs/" + digest + "/cancel": strings.Replace(job, "running", "cancelled", 1),
	})
	for _, tt := range []struct {
		code int
		args []string
		want string
	}{
		{0, []string{"jobs", "list"}, "running  25%   1/2"},
		{0, []string{"jobs", "list", "--state", "running", "--format", "json"}, `"bytes_done": 50`},
		{2, []string{"jobs", "list", "--state", "lost"}, "waiting, running, done, failed or cancelled"},
		{0, []string{"jobs", "show", "team/m"}, "25% of 200 bytes, 1 of 2 files, attempt 2"},
		{0, []string{"jobs", "retry", "team/m@1"}, "scan running  team/m@1"},
		{2, []string{"jobs", "cancel", "team/m@1"}, "--reason"},
		{0, []string{"jobs", "cancel", "team/m@1", "--reason", "wrong file"}, "scan cancelled"},
	} {
		if out := run(tt.code, tt.args...); !strings.Contains(out, tt.want) {
			t.Errorf("warden %v says:\n%s\nwant %q in it", tt.args, out, tt.want)
		}
	}
}

// A log that too few of the required witnesses signed is exit code 1, though
// nothing in it was changed.
func TestAuditVerifyWitnesses(t *testing.T) {
	run := platform(t, map[string]string{
		"POST /api/v1/audit/verify":    `{"ok":true,"summary":"audit log whole","fault":"","unwitnessed":"1 of 2 required witnesses have signed the audit log below entry 9"}`,
		"GET /api/v1/audit/checkpoint": `{"note":"x"}`,
	})
	if out := run(1, "audit", "verify"); !strings.Contains(out, "1 of 2 required witnesses") {
		t.Errorf("says:\n%s", out)
	}
	run = platform(t, map[string]string{
		"POST /api/v1/audit/verify":    `{"ok":true,"summary":"audit log whole","fault":"","unwitnessed":""}`,
		"GET /api/v1/audit/checkpoint": `{"note":"x"}`,
	})
	run(0, "audit", "verify")
}
