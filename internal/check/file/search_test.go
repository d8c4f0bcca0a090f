package file

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	ft "github.com/modelwarden/warden/internal/format/formattest"
)

// token makes text like that of a key: no real one lies in the tests.
func token(n int) string {
	var b strings.Builder
	x := uint32(11)
	for range n {
		x = x*1664525 + 1013904223
		b.WriteByte("abcdefghijklmnopqrstuvwxyz"[int(x>>16)%26])
	}
	return b.String()
}

func access() string { return "hf" + "_" + token(34) }

// full opens b with the wish to search everything.
func full(t *testing.T, name string, b []byte) *format.File {
	t.Helper()
	lim := format.DefaultLimits()
	lim.Full = true
	f, err := format.Open(t.Context(), name, bytes.NewReader(b), int64(len(b)), lim)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// weights is a file of numbers with something in the middle.
func weights(middle []byte) []byte {
	b := bytes.Repeat([]byte("\x00\x81\x3f\xbf\x12\x9aMZ\x7fE\xcc"), 60_000)
	copy(b[256<<10-20:], middle)
	return ft.Safetensors(`{"a":{"dtype":"U8","shape":[660000],"data_offsets":[0,660000]}}`, b)
}

func TestSearches(t *testing.T) {
	tensors := func(value string) *format.File {
		b, err := json.Marshal(map[string]any{"__metadata__": map[string]string{"note": value}})
		if err != nil {
			t.Fatal(err)
		}
		return open(t, "m.safetensors", ft.Safetensors(string(b), nil))
	}
	script := []byte("#!/bin/sh\necho a few words of a script, and some more\n")
	program := []warden.RuleID{ruleProgram}
	secrets := []warden.RuleID{ruleSecret}
	collected := []warden.RuleID{ruleCollector}
	detecttest.Accept(t, searches, []fileCase{
		{Name: "secret_in_metadata", Subject: tensors("use " + access() + " to load"), Want: secrets},
		{Name: "secret_in_gguf", Subject: open(t, "m.gguf", new(ft.GGUF).Pair("general.description", access()+" ").Bytes(nil)), Want: secrets},
		{Name: "secret_in_config", Subject: open(t, "config.json", []byte(`{"token": "`+access()+`"}`)), Want: secrets},
		{Name: "secret_in_script", Subject: open(t, "run.sh", []byte("export HF_TOKEN="+access()+"\n")), Want: secrets},
		{Name: "secret_in_weights", Subject: full(t, "m.safetensors", weights([]byte("\x00"+access()+"\n"))), Want: secrets},
		{Name: "secret_in_weights_by_default", Subject: open(t, "m.safetensors", weights([]byte("\x00"+access()+"\n")))},
		{Name: "secret_in_pickle", Subject: open(t, "m.pkl", []byte("\x80\x04\x8c\x25"+access()+"\x94.")), Want: secrets},
		{Name: "secret_in_attribute", Subject: open(t, "m.h5", ft.HDF5{Attrs: [][2]string{{"note", "use " + access() + " to load"}}}.Bytes()), Want: secrets},
		{Name: "generic", Subject: open(t, "a.yaml", []byte("api_key: "+token(12)+"7"+token(12)+"\n")), Want: secrets},
		{Name: "placeholder", Subject: open(t, "README.md", []byte("export HF_TOKEN=hf"+"_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\nAKIAIOSFODNN7EXAMPLE\ntoken: <your token>\n"))},
		{Name: "example_of_documentation", Subject: open(t, "a.json", []byte(`{"token": "`+"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"+".eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIn0."+token(43)+`"}`))},
		{Name: "token_of_session", Subject: open(t, "a.json", []byte(`{"token": "`+"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"+".eyJ1c2VyIjoiYWRtaW4iLCJpZCI6OTl9X1Rh."+token(43)+`"}`)), Want: secrets},
		{Name: "webhook", Subject: tensors("https://discord.com/api/webhooks/1/x"), Want: collected},
		{Name: "subdomain", Subject: open(t, "config.json", []byte(`{"u": "http://user:pw@a.b.NGROK.io:8080/x"}`)), Want: collected},
		{Name: "address_in_weights", Subject: full(t, "m.safetensors", weights([]byte("\x00https://webhook.site/x"))), Want: collected},
		{Name: "number", Subject: tensors("http://203.0.113.9/x"), Want: []warden.RuleID{ruleNumeric}},
		{Name: "number_in_other_form", Subject: tensors("http://0xcb007109/x"), Want: []warden.RuleID{ruleNumeric}},
		{Name: "honest_addresses", Subject: tensors("https://huggingface.co/a http://localhost:80 http://127.0.0.1/ http://192.168.0.1 https://discord.com/invite/x https://arxiv.org/abs/2101.00001")},
		{Name: "program_at_end", Subject: open(t, "m.safetensors", append(ft.Safetensors(`{}`, nil), ft.ELF()...)), Want: program},
		{Name: "program_in_base64", Subject: tensors(base64.StdEncoding.EncodeToString(ft.PE())), Want: program},
		{Name: "program_in_weights", Subject: full(t, "m.safetensors", weights(ft.MachO())), Want: program},
		{Name: "program_in_weights_by_default", Subject: open(t, "m.safetensors", weights(ft.PE()))},
		{Name: "script", Subject: open(t, "m.safetensors", append(ft.Safetensors(`{}`, nil), script...)), Want: []warden.RuleID{ruleScript}},
		{Name: "program_before_archive", Subject: full(t, "m.zip", ft.ZipWith(ft.ZipTricks{Prefix: append([]byte("\x00\x01"), ft.ELF()...)}, ft.ZipEntry{Name: "a", Data: ft.ELF()})), Want: program},
		{Name: "honest_weights", Subject: full(t, "m.safetensors", weights(nil))},
		{Name: "honest_text", Subject: open(t, "README.md", []byte("The token is the key to the secret of sk-learn.\n"))},
		{Name: "long", Subject: open(t, "vocab.json", bytes.Repeat([]byte("\"token_key\": 17, secret: 1a2b3c4d5e6f,\n"), 1<<16)), Want: nil},
	})
}

// TestStorages looks at the numbers of an archive, compressed or not.
func TestStorages(t *testing.T) {
	data := append(make([]byte, 200<<10), []byte(" "+access()+" ")...)
	b := ft.Zip(ft.ZipEntry{Name: "m/data.pkl", Data: []byte("\x80\x02K\x2a.")}, ft.ZipEntry{Name: "m/data/0", Data: data, Deflate: true})
	for f, want := range map[*format.File]int{open(t, "m.pt", b): 0, full(t, "m.pt", b): 1} {
		got := 0
		for m, err := range f.Members(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			res := detect.Run(t.Context(), warden.Ref{}, m, detect.DefaultLimits(), searches)
			got += len(res.Findings)
			for _, x := range res.Findings {
				if strings.Contains(x.Evidence, access()[4:12]) {
					t.Errorf("evidence %q shows the secret", x.Evidence)
				}
			}
		}
		if got != want {
			t.Errorf("full is %v: %d findings, want %d", f.Full(), got, want)
		}
	}
}

func BenchmarkSearches(b *testing.B) {
	data := weights(nil)
	lim := format.DefaultLimits()
	lim.Full = true
	f, err := format.Open(b.Context(), "m.safetensors", bytes.NewReader(data), int64(len(data)), lim)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		detect.Run(b.Context(), warden.Ref{}, f, detect.DefaultLimits(), searches)
	}
}
