package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/audit"
)

func TestGatewayCommands(t *testing.T) {
	exchange := `{"n":7,"step":"finish","at":"2026-03-01T12:00:00Z","request":"REQ1","route":"chat","principal":"user:ann","status":403,"end":"denied","guard":"deny","found":{"WDN-EX-601":2,"WDN-EX-502":1},"input_tokens":3,"output_tokens":4,"took_ms":9,"cost":1500000}`
	stored := `{"name":"chat","config":{"name":"chat","model":"team/m"},"disabled":false,"revision":2,"by":"user:ann"}`
	issue := `{"kind":"stale_key","severity":"medium","subject":"key:x","name":"ci","message":"was used never","advice":"Revoke it"}`
	run := platform(t, map[string]string{
		"GET /api/v1/gateway/routes":         `{"items":[{"name":"chat","model":"team/m","guard":"standard","source":"stored","open":true,"requests":5}],"next":""}`,
		"GET /api/v1/gateway/exchanges":      `{"items":[` + exchange + `],"next":""}`,
		"GET /api/v1/gateway/exchanges/REQ1": `{"records":[` + exchange + `],"entries":[42],"running":false,"pending":false}`,
		"GET /api/v1/gateway/use":            `{"items":[{"from":"2026-03-01T00:00:00Z","name":"ml","requests":5,"cost":2500000}],"next":""}`,
		"GET /api/v1/gateway/limits":         `{"items":[{"unit":"money","used":500000,"limit":1000000,"window":"day","per":"identity","subject":"user:ann"}],"next":""}`,
		"POST /api/v1/gateway/routes":        stored, "GET /api/v1/gateway/routes/chat": stored, "PATCH /api/v1/gateway/routes/chat": stored, "DELETE /api/v1/gateway/routes/chat": `{}`,
		"GET /api/v1/access/review": `{"items":[` + issue + `],"next":""}`,
	})
	dir := t.TempDir()
	_, key, err := audit.GenerateKey("example")
	if err != nil {
		t.Fatal(err)
	}
	file, forged := filepath.Join(dir, "route.yaml"), filepath.Join(dir, "proof.json")
	for name, text := range map[string]string{file: "name: chat\nmodel: team/m\n", filepath.Join(dir, "broken.yaml"): "name: [\n", forged: `{"request":"REQ1","records":[]}`} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		code int
		args string
		want string
	}{
		{0, "gateway routes", "chat  open   team/m  standard  5"},
		{0, "gateway exchanges --blocked --from 24h", "WDN-EX-502 WDN-EX-601×2"},
		{2, "gateway exchanges --from yesterday", "an age such as 24h"},
		{0, "gateway exchanges --format json", `"guard": "deny"`},
		{0, "gateway show REQ1", "audit entry 42"},
		{2, "gateway verify " + forged, "--key is missing"},
		{2, "gateway verify " + forged + " --key nonsense", "--key"},
		{1, "gateway verify " + forged + " --key " + key, "no record"},
		{0, "gateway use --by team --step day", "2.500000"},
		{0, "gateway limits", "0.500000  1.000000  money  day"},
		{0, "gateway route add -f " + file, "revision 2 by user:ann, enabled"},
		{2, "gateway route add", "-f is missing"},
		{2, "gateway route add -f " + filepath.Join(dir, "broken.yaml"), "broken.yaml"},
		{2, "gateway route set chat", "give -f FILE, --disable or --enable"},
		{0, "gateway route set chat --disable --revision 2", "revision 2"},
		{0, "gateway route show chat", "model: team/m"},
		{0, "gateway route remove chat", "removed chat"},
		{0, "access review", "medium  stale_key  key:x (ci) was used never"},
		{1, "access review --fail-on medium --format json", `"advice": "Revoke it"`},
		{2, "access review --fail-on worst", "--fail-on"},
		{2, "access key rotate x --overlap 1000h", "--overlap"},
	} {
		if out := run(tt.code, strings.Fields(tt.args)...); !strings.Contains(out, tt.want) {
			t.Errorf("warden %s says:\n%s", tt.args, out)
		}
	}
}
