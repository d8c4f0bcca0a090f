package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/report"
)

// anInventory has an asset of every kind, links with a cycle, and texts that
// try to be markup, escapes and paths.
func anInventory() *report.Inventory {
	at := func(path string, line int) []report.Place {
		return []report.Place{{Path: path, Line: line, Snippet: "load(\"x\")", Via: "default parameter"}, {Path: "nb.ipynb", Line: 2, Cell: 3}}
	}
	use := report.Use{
		Rule: "WDN-SC-006", Flag: "pickle", Severity: "high", At: report.Place{Path: "app/a b:c.py", Line: 7, Snippet: "pickle.load(f)"}, Message: "A file is unpickled",
		Advice: "Load safetensors.", CWE: []string{"CWE-502"}, Because: []string{"reachable"}, Priority: 2,
	}
	n := &report.Inventory{
		Tool: report.Tool{Name: "warden", Version: "v1", Rules: "r1"}, Name: "shop", Complete: false, Files: 12, Bytes: 123456, Took: 1200 * time.Millisecond,
		Gaps: []report.Gap{
			{Reader: "source/python", State: "skipped", Path: "big.py", Error: "over 8 MiB"},
			{Reader: "source/js", State: "not_examined", Path: "a.vue", Error: "no reader"},
			{Reader: "source/js", State: "not_examined", Path: "b.vue", Error: "no reader"},
		},
		Skipped: []string{"node_modules"},
		Assets: []report.Asset{
			{ID: "model:huggingface:acme/m", Kind: "model", Name: "acme/m", Provider: "huggingface", PURL: "pkg:huggingface/acme/m", State: "reachable", Scope: "production", Loads: "pickle", Priority: 2, Because: []string{"reachable", "the file was not scanned"}, Places: at("app/a b:c.py", 7), Stack: []string{"app.main", "app.main.run", "app.main.load"}, Flags: []string{"pickle"}, Uses: []report.Use{use}, Scores: []report.Score{{Name: "security", Value: 4.5}}, Known: 0.5, Owner: "@team"},
			{ID: "model:huggingface:acme/base", Kind: "model", Name: "acme/base", Provider: "huggingface", Revision: "607a30d783dfa663caf39e06633721c8d4cfcd7e", Pinned: true, State: "unreachable", Scope: "test", Places: at("t.py", 1)},
			{ID: "model:openai:?x", Kind: "model", Dynamic: "pick(name)", Provider: "openai", State: "possibly_reachable", Scope: "example", Selectable: true},
			{ID: "model_file:w.pt", Kind: "model_file", Name: "w.pt", Digest: "sha256:" + strings.Repeat("ab", 32), Size: 10, Verdict: "malicious", Loads: "pickle", Priority: 1, State: "reachable", Scope: "production"},
			{ID: "provider:huggingface", Kind: "provider", Name: "huggingface", Provider: "huggingface", State: "reachable", Scope: "production", Places: at("x.py", 3), Stack: []string{"m"}},
			{ID: "endpoint:https://api.example.org/v1", Kind: "endpoint", Name: "https://api.example.org/v1", State: "config_only", Scope: "production"},
			{ID: "dataset:huggingface:d", Kind: "dataset", Name: "d", Provider: "huggingface", State: "reachable", Scope: "production"},
			{ID: "framework:torch", Kind: "framework", Name: "torch", Version: "2.3.1", PURL: "pkg:pypi/torch@2.3.1", State: "reachable", Scope: "production"},
			{ID: "vector_store:chroma", Kind: "vector_store", Name: "chroma", State: "reachable", Scope: "production"},
			{ID: "mcp_server:s", Kind: "mcp_server", Name: "s", State: "reachable", Scope: "production"},
			{ID: "mcp_client:c", Kind: "mcp_client", Name: "c", State: "inactive", Scope: "production"},
			{ID: "agent:a", Kind: "agent", Name: "a", State: "reachable", Scope: "production"},
			{ID: "tool:t", Kind: "tool", Name: "t", State: "reachable", Scope: "production"},
			{ID: "prompt:p", Kind: "prompt", Name: "</script><script>alert(1)</script>\x1b[31m\u202e", State: "reachable", Scope: "docs", Note: "\"onload=alert(1) x=\"", Implicit: "javascript:alert(1)"},
			{ID: "key:openai:OPENAI_API_KEY", Kind: "key", Name: "OPENAI_API_KEY", Provider: "openai", State: "reachable", Scope: "production"},
			{ID: "container:i", Kind: "container", Name: "ollama/ollama:latest", State: "config_only", Scope: "production"},
			{ID: "assistant:x", Kind: "assistant", Name: "AGENTS.md", State: "commented", Scope: "production", Places: at("AGENTS.md", 0)},
		},
		Links: []report.Link{
			{From: "framework:torch", To: "model:huggingface:acme/m", Kind: "loads"},
			{From: "model:huggingface:acme/m", To: "model:huggingface:acme/base", Kind: "adapter_of"},
			{From: "model:huggingface:acme/m", To: "dataset:huggingface:d", Kind: "trained_on"},
			{From: "model:huggingface:acme/m", To: "provider:huggingface", Kind: "provided_by"},
			{From: "agent:a", To: "tool:t", Kind: "uses"},
			{From: "tool:t", To: "agent:a", Kind: "calls"},
			{From: "agent:a", To: "gone", Kind: "uses"},
		},
		Uses: []report.Use{{Rule: "WDN-SC-024", Flag: "hardcoded_key", Severity: "critical", At: report.Place{Path: "k.py", Line: 1}, Message: "A key stands in the code", Priority: 1}},
	}
	n.Tidy()
	return n
}

func useRules() []report.UseRule {
	return []report.UseRule{
		{Rule: warden.Rule{ID: "WDN-SC-006", Title: "A file is unpickled", Severity: warden.High, Advice: "Load safetensors.", Frameworks: []string{"owasp-llm@2025:LLM03"}}, CWE: []string{"CWE-502"}},
		{Rule: warden.Rule{ID: "WDN-SC-024", Title: "A key stands in the code", Severity: warden.Critical, Advice: "Take it out."}, CWE: []string{"CWE-798"}},
	}
}

func render(t *testing.T, n *report.Inventory, format string) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch format {
	case "cdx.json":
		err = n.WriteCycloneDX(&b)
	case "spdx.json":
		err = n.WriteSPDX(&b)
	case "sarif":
		err = n.WriteSARIF(&b, useRules())
	case "html":
		err = n.WriteHTML(&b)
	case "colour.txt":
		err = n.WriteText(&b, report.TextOptions{Color: true})
	case "quiet.txt":
		err = n.WriteText(&b, report.TextOptions{Quiet: true})
	default:
		err = n.WriteText(&b, report.TextOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestInventoryGolden(t *testing.T) {
	for _, format := range []string{"txt", "colour.txt", "quiet.txt", "cdx.json", "spdx.json", "sarif", "html"} {
		t.Run(format, func(t *testing.T) {
			got := render(t, anInventory(), format)
			if again := render(t, anInventory(), format); !bytes.Equal(got, again) {
				t.Error("two runs differ")
			}
			golden := filepath.Join("testdata", "inventory."+format+".golden")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestInventorySchemas validates what is written against the published schemas:
// that of CycloneDX lies in the module that the writer is built with, the
// others in the folder that WARDEN_TEST_SCHEMAS names.
func TestInventorySchemas(t *testing.T) {
	empty := &report.Inventory{Tool: report.Tool{Name: "warden"}, Name: "empty", Complete: true}
	for _, tt := range []struct{ format, file string }{{"cdx.json", "bom-1.7.schema.json"}, {"sarif", "sarif-schema-2.1.0.json"}, {"spdx.json", "spdx-3.0.1.schema.json"}} {
		t.Run(tt.format, func(t *testing.T) {
			dir := os.Getenv("WARDEN_TEST_SCHEMAS")
			if dir == "" && tt.format == "cdx.json" {
				out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
				if err != nil {
					t.Skip("go list does not find the module with the schema")
				}
				dir = filepath.Join(strings.TrimSpace(string(out)), "schema")
			}
			if _, err := os.Stat(filepath.Join(dir, tt.file)); dir == "" || err != nil {
				t.Skipf("no %s: set WARDEN_TEST_SCHEMAS to a folder with the published schemas", tt.file)
			}
			schema := compile(t, dir, tt.file)
			if schema.Validate(map[string]any{"@graph": 1.0}) == nil {
				t.Error("the schema lets anything pass")
			}
			for _, n := range []*report.Inventory{anInventory(), empty} {
				doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(render(t, n, tt.format)))
				if err != nil {
					t.Fatal(err)
				}
				if err := schema.Validate(doc); err != nil {
					t.Errorf("%s: %v", n.Name, err)
				}
			}
		})
	}
}

// compile reads a schema. Those that it names beside it are read too; where one
// is absent, what it would check is let pass.
func compile(t *testing.T, dir, file string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.UseLoader(besides{dir})
	c.UseRegexpEngine(func(s string) (jsonschema.Regexp, error) {
		if s == `^(?!_:).+:.+` { // an IRI that is no blank node; package regexp looks at nothing ahead
			return iri{}, nil
		}
		return regexp.Compile(s)
	})
	f, err := os.Open(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource("http://schema.test/"+file, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("http://schema.test/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type iri struct{}

func (iri) String() string { return `^(?!_:).+:.+` }

func (iri) MatchString(s string) bool {
	i := strings.IndexByte(s, ':')
	return i > 0 && i < len(s)-1 && !strings.HasPrefix(s, "_:")
}

type besides struct{ dir string }

func (b besides) Load(url string) (any, error) {
	f, err := os.Open(filepath.Join(b.dir, filepath.Base(url)))
	if err != nil {
		return map[string]any{"definitions": map[string]any{"signature": true, "signer": true, "algorithmFamiliesEnum": true, "ellipticCurvesEnum": true}}, nil
	}
	defer f.Close()
	return jsonschema.UnmarshalJSON(f)
}

// TestInventorySPDXGraph checks what a schema cannot: that every name leads to
// an element of the document, and that elements are of the classes of 3.0.1
// with the fields that these demand.
func TestInventorySPDXGraph(t *testing.T) {
	var doc struct {
		Graph []map[string]any `json:"@graph"`
	}
	if err := json.Unmarshal(render(t, anInventory(), "spdx.json"), &doc); err != nil {
		t.Fatal(err)
	}
	must := map[string][]string{
		"CreationInfo": {"specVersion", "created", "createdBy"}, "SoftwareAgent": {"name"}, "Tool": {"name"}, "Organization": {"name"},
		"software_Package": {"software_primaryPurpose"}, "ai_AIPackage": {"software_primaryPurpose"}, "dataset_DatasetPackage": {"dataset_datasetType"},
		"Relationship": {"from", "to", "relationshipType"}, "Annotation": {"annotationType", "subject", "statement"},
		"software_Sbom": {"rootElement", "element"}, "SpdxDocument": {"rootElement", "element"},
	}
	ids, count := map[string]bool{"expandedlicensing_NoAssertionLicense": true}, map[string]int{}
	for _, g := range doc.Graph {
		kind, _ := g["type"].(string)
		count[kind]++
		fields, ok := must[kind]
		if !ok {
			t.Errorf("class %q", kind)
		}
		for _, f := range fields {
			if g[f] == nil {
				t.Errorf("%v has no %s", g["spdxId"], f)
			}
		}
		id, _ := g["spdxId"].(string)
		if kind == "CreationInfo" {
			continue
		}
		if ids[id] || !strings.HasPrefix(id, "urn:uuid:") || g["creationInfo"] != "_:made" {
			t.Errorf("element %q: no id of its own, or not made", id)
		}
		ids[id] = true
	}
	for _, g := range doc.Graph {
		for _, f := range []string{"from", "to", "subject", "suppliedBy", "rootElement", "element", "createdBy", "createdUsing"} {
			for _, id := range list(g[f]) {
				if !ids[id] {
					t.Errorf("%v: %s leads to %q, which is nowhere", g["spdxId"], f, id)
				}
			}
		}
	}
	if count["ai_AIPackage"] != 4 || count["dataset_DatasetPackage"] != 1 || count["SpdxDocument"] != 1 || count["CreationInfo"] != 1 {
		t.Errorf("classes %v", count)
	}
}

func list(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, x := range v {
			s, _ := x.(string)
			out = append(out, s)
		}
		return out
	}
	return nil
}

// TestInventoryPageIsClosed says that nothing in the page comes from elsewhere,
// and that texts of the tree stay texts.
func TestInventoryPageIsClosed(t *testing.T) {
	page := string(render(t, anInventory(), "html"))
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("%d scripts", n)
	}
	for _, bad := range []string{"alert(1)</script>", "<link", "<img", "<iframe", "@import", "url(", " style=", `"onload=`, `href="javascript`, "\x1b", "\u202e", "ZgotmplZ"} {
		if i := strings.Index(page, bad); i >= 0 {
			t.Errorf("page holds %q: %.120q", bad, page[max(0, i-40):])
		}
	}
	for _, m := range regexp.MustCompile(`(?:href|src|action)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "#") {
			t.Errorf("link to %q", m[1])
		}
	}
	if !strings.Contains(page, "default-src &#39;none&#39;") && !strings.Contains(page, "default-src 'none'") {
		t.Error("no policy")
	}
}

// TestFingerprintsSurviveMoves says that lines that move do not make new results.
func TestFingerprintsSurviveMoves(t *testing.T) {
	prints := func(n *report.Inventory) string {
		var log struct {
			Runs []struct {
				Results []struct {
					Fingerprints map[string]string `json:"partialFingerprints"`
				}
			}
		}
		if err := json.Unmarshal(render(t, n, "sarif"), &log); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, r := range log.Runs[0].Results {
			b.WriteString(r.Fingerprints["warden/v1"] + "\n")
		}
		return b.String()
	}
	moved := anInventory()
	for i := range moved.Assets {
		for k := range moved.Assets[i].Uses {
			moved.Assets[i].Uses[k].At.Line += 40
		}
	}
	if d := cmp.Diff(prints(anInventory()), prints(moved)); d != "" {
		t.Errorf("-before +after:\n%s", d)
	}
	other := anInventory()
	other.Uses[0].At.Path = "other.py"
	if prints(anInventory()) == prints(other) {
		t.Error("another file gives the same fingerprints")
	}
}

// TestEachResultHasARule says that uses of rules that nobody listed, and those
// without one, have a rule in the log.
func TestEachResultHasARule(t *testing.T) {
	n := anInventory()
	n.Uses = append(n.Uses, report.Use{Rule: "WDN-SC-030", Flag: "image_latest", Severity: "low", Message: "An image without digest"}, report.Use{Flag: "new_flag", Severity: "low", Message: "Something new"})
	var log struct {
		Runs []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID    string
				RuleIndex int
			}
		}
	}
	if err := json.Unmarshal(render(t, n, "sarif"), &log); err != nil {
		t.Fatal(err)
	}
	rules := log.Runs[0].Tool.Driver.Rules
	if len(log.Runs[0].Results) != 4 || len(rules) != 4 {
		t.Fatalf("%d results of %d rules", len(log.Runs[0].Results), len(rules))
	}
	for _, r := range log.Runs[0].Results {
		if r.RuleID == "" || rules[r.RuleIndex].ID != r.RuleID {
			t.Errorf("result of %q has rule %d, %q", r.RuleID, r.RuleIndex, rules[r.RuleIndex].ID)
		}
	}
}

// TestGraphBoxesStandApart says that no two boxes of the drawing overlap.
func TestGraphBoxesStandApart(t *testing.T) {
	page := render(t, anInventory(), "html")
	at := map[string]bool{}
	for _, m := range regexp.MustCompile(`<rect x="(\d+)" y="(\d+)" width="210"`).FindAllSubmatch(page, -1) {
		x, _ := strconv.Atoi(string(m[1]))
		y, _ := strconv.Atoi(string(m[2]))
		for dy := range 36 {
			key := fmt.Sprint(x, y+dy)
			if at[key] {
				t.Fatalf("two boxes at %d, %d", x, y+dy)
			}
			at[key] = true
		}
	}
	if len(at) != 17*36 { // the application and sixteen assets: assistants are not drawn
		t.Errorf("%d boxes", len(at)/36)
	}
}

func aDiff() *report.InventoryDiff {
	n := anInventory()
	d := &report.InventoryDiff{
		Appeared: n.Assets[:2], Vanished: n.Assets[12:14],
		Changed: []report.AssetChange{{Kind: "model", Name: "acme/`m`|x", Worse: true, Fields: []report.FieldChange{{Name: "revision_pinned", Old: "true", New: "false"}, {Name: "flags", New: "pickle"}}}},
		New:     []report.DiffUse{{Asset: "acme/m|</td>", Use: n.Assets[1].Uses[0]}}, Gone: []report.DiffUse{{Asset: "@team", Use: n.Uses[0]}},
	}
	d.Tidy()
	return d
}

func TestInventoryDiffGolden(t *testing.T) {
	for name, write := range map[string]func(*bytes.Buffer) error{
		"txt":        func(b *bytes.Buffer) error { return aDiff().WriteText(b, report.TextOptions{}) },
		"colour.txt": func(b *bytes.Buffer) error { return aDiff().WriteText(b, report.TextOptions{Color: true}) },
		"md":         func(b *bytes.Buffer) error { return aDiff().WriteMarkdown(b) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "inventorydiff."+name+".golden")
			if *update {
				if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), b.String()); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestLargeGraph says that drawing many assets, all linked with all, ends soon.
func TestLargeGraph(t *testing.T) {
	n := &report.Inventory{Tool: report.Tool{Name: "warden"}, Name: "large", Complete: true}
	for i := range 400 {
		n.Assets = append(n.Assets, report.Asset{ID: id(i), Kind: "model", Name: id(i), State: "reachable", Scope: "production"})
		for k := range 20 {
			n.Links = append(n.Links, report.Link{From: id(i), To: id((i*7 + k*13) % 400), Kind: "uses"})
		}
	}
	n.Tidy()
	began := time.Now()
	page := render(t, n, "html")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if !bytes.Contains(page, []byte("260 more assets are in the table only")) {
		t.Error("the page does not say what it left out")
	}
}

func id(i int) string {
	return "model:x:" + string(rune('a'+i/26%26)) + string(rune('a'+i%26)) + strings.Repeat("z", i/676)
}
