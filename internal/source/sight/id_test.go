package sight_test

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/source/sight"
)

func TestName(t *testing.T) {
	long := strings.Repeat("SECRET12", 5)
	for in, want := range map[string]string{
		"gpt-4o":                                     "gpt-4o",
		"hf-internal-testing/tiny-random":            "hf-internal-testing/tiny-random",
		"https://mcp.example.com/sse":                "https://mcp.example.com/sse",
		"ollama:qwen3@latest":                        "ollama:qwen3@latest",
		"sk-proj-" + long:                            "sk-pr…",
		"x-sk-proj-" + long + "-{y}":                 "x-sk-pr…{y}",
		"hf_" + long:                                 "hf_SE…",
		"https://u:" + long + "@mcp.example.com/sse": "https://…@mcp.example.com/sse",
	} {
		if got := sight.Name(in); got != want {
			t.Errorf("Name(%q) = %q, want %q", in, got, want)
		}
	}
	if got := sight.Snippet(`OpenAI(base_url="https://u:` + long + `@example.com")`); strings.Contains(got, "SECRET12") {
		t.Errorf("Snippet shows the password: %q", got)
	}
}
