package recognise_test

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/source/recognise"
	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/rules"
)

func rows(t *testing.T) (*rules.Catalogue, *recognise.Rows) {
	t.Helper()
	cat, err := rules.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	return cat, recognise.Compile(cat)
}

// TestRows: every row of the catalogue matches some name that it stands for, so
// that none is dead, and no other row with another provider takes that name first.
func TestRows(t *testing.T) {
	t.Parallel()
	cat, r := rows(t)
	for lang, list := range map[string][]rules.CallRow{"python": cat.Python, "javascript": cat.JavaScript, "go": cat.Go, "java": cat.Java, "csharp": cat.CSharp} {
		for _, row := range list {
			name := example(row.Call)
			if !r.Matches(lang, name, row.Call) {
				t.Errorf("%s: no row for %q, written for %q", lang, name, row.Call)
			}
		}
	}
}

// example writes one name that a pattern stands for: the last alternative of
// each brace that is not empty, x for what is open.
func example(call string) string {
	for strings.Contains(call, "{") {
		end := strings.IndexByte(call, '}')
		start := strings.LastIndexByte(call[:end], '{')
		alts := strings.Split(call[start+1:end], ",")
		pick := alts[len(alts)-1]
		if !strings.Contains(pick, "**") {
			pick = strings.ReplaceAll(pick, "*", "X")
		}
		call = call[:start] + pick + call[end+1:]
	}
	call = strings.ReplaceAll(strings.ReplaceAll(call, "***.", "."), "***", "x.y().")
	for _, pair := range [...][2]string{{"**.", "x.y."}, {"**(", "x("}, {"**", "x.y."}} {
		call = strings.ReplaceAll(call, pair[0], pair[1])
	}
	call = strings.ReplaceAll(call, "*", "x")
	return strings.TrimSuffix(strings.TrimSuffix(call, "."), "()")
}

func TestHost(t *testing.T) {
	t.Parallel()
	_, r := rows(t)
	for address, want := range map[string]string{
		"https://api.openai.com/v1": "openai", "https://API.OPENAI.COM": "openai", "api.openai.com": "openai", "https://x.openai.azure.com/openai": "azure-openai",
		"http://localhost:11434": "ollama", "http://10.0.0.5:11434/api": "ollama", "http://localhost:8080": "", "https://bedrock-runtime.eu-west-1.amazonaws.com": "aws-bedrock",
		"https://api.openai.com.evil.example/v1": "", "https://evil.example/?u=api.openai.com": "", "https://platform.openai.com/docs": "", "https://storage.googleapis.com/x": "",
		"https://huggingface.co/docs": "", "ftp://api.openai.com": "", "not an address": "", "": "",
	} {
		if got, _ := r.Host(address); got != want {
			t.Errorf("Host(%q) = %q, want %q", address, got, want)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"gpt-4o": true, "acme/chat-7b": true, "qwen3:8b": true, "anthropic.claude-3-haiku-20240307-v1:0": true, "ft:gpt-4o:acme::x": true, "command": true,
		"": false, "model": false, "your-model": false, "<model>": false, "${MODEL}": false, "a b": false, "1": false, "0.7": false, "path/to/model": false,
		"https://x.y/z": false, "True": false, "org/model": false, "x.py": false, "name\n": false,
	} {
		if got := sight.IsID(id); got != want {
			t.Errorf("IsID(%q) = %v, want %v", id, got, want)
		}
	}
}
