package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/gateway"
)

// An error of an upstream is no way around the guard of answers, and tells
// nothing of the inside.
func TestUpstreamError(t *testing.T) {
	b := newBench(t)
	_, key := b.Key([]string{access.RoleClient})
	watch, err := guard.New(guard.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var status int
	var body string
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(up.Close)
	const plainError, mail = `{ "error":{"message":"at most 8192 tokens","type":"invalid_request_error"} }`, "mara.lindqvist@acme-corp.io"
	answered := `{"error":{"message":"x"},"choices":[{"index":0,"message":{"content":"write to ` + mail + `"}}]}`
	for _, tt := range []struct {
		name   string
		guard  *gateway.GuardConfig
		status int
		body   string
		passes bool
	}{
		{"as_it_came", &gateway.GuardConfig{Guard: watch}, 400, plainError, true},
		{"found_in_message", &gateway.GuardConfig{Guard: watch}, 400, `{"error":{"message":"not for ` + mail + `"}}`, false},
		{"answer_beside_it", &gateway.GuardConfig{Guard: watch}, 422, answered, false},
		{"shadow", &gateway.GuardConfig{Guard: watch, Shadow: true}, 422, answered, true},
		{"no_guard", nil, 422, answered, true},
		{"inner_host", nil, 503, `{"error":{"message":"out of memory on gpu-17.internal"}}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body = tt.status, tt.body
			b.routes(up.URL, gateway.Route{Name: "m", Guard: tt.guard})
			resp, text, err := b.post(key, chatBody("m"))
			if err != nil || resp.StatusCode != tt.status {
				t.Fatalf("status %d, %v, want %d: %s", resp.StatusCode, err, tt.status, text)
			}
			if tt.passes != (text == tt.body) || !tt.passes && !strings.Contains(text, `"upstream_refused"`) {
				t.Errorf("got %s, as it came: %v", text, tt.passes)
			}
		})
	}
}
