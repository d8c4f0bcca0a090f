package dialects_test

import (
	"testing"

	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/dialects"
)

func TestMatch(t *testing.T) {
	version := func(string) string { return "2023-06-01" }
	for _, c := range []struct {
		method, path string
		h            dialect.Header
		want         string
	}{
		{"GET", "/v2", dialect.None, "oip"},
		{"POST", "/v1/chat/completions", dialect.None, "openai"},
		{"POST", "/v1/messages", version, "anthropic"},
		{"GET", "/v1/models", dialect.None, "openai"},
		{"GET", "/v1/models", version, "anthropic"},
		{"GET", "/api/tags", dialect.None, "ollama"},
		{"GET", "/v1beta/models", dialect.None, "gemini"},
		{"POST", "/v2/repository/index", dialect.None, ""},
		{"POST", "/api/pull", dialect.None, ""},
	} {
		d, _, ok := dialects.Match(dialects.All(), c.method, c.path, "", c.h)
		if ok != (c.want != "") || ok && d.Name != c.want || ok && dialects.Named(c.want).Name != c.want {
			t.Errorf("%s %s: %v", c.method, c.path, d)
		}
	}
}
