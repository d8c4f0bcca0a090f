package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/source/sight"
)

// Rules about what is used without anybody having said so.
const (
	RuleUnregistered warden.RuleID = "WDN-GV-010"
	RuleUndeclared   warden.RuleID = "WDN-GV-011"
	RuleUnseen       warden.RuleID = "WDN-GV-012"
	RuleShadow       warden.RuleID = "WDN-GV-013"
	RuleDrift        warden.RuleID = "WDN-GV-014"
	RuleBypass       warden.RuleID = "WDN-GV-015" //nolint:gosec // no password
)

// ShadowRules returns the rules of [Shadow] and of undeclared packages.
func ShadowRules() []warden.Rule {
	refs := []string{"nist-ai-rmf@1.0:GOVERN-1.6", "owasp-llm@2025:LLM03"}
	return []warden.Rule{
		{ID: RuleUnregistered, Title: "AI that nobody registered is used", Severity: warden.High, Frameworks: refs, Advice: "Register the asset with an owner and a purpose, or remove its use."},
		{ID: RuleUndeclared, Title: "A package of AI is imported but not declared", Severity: warden.Low, Frameworks: refs, Advice: "Add the package to the manifest with a version, so that scanners of dependencies see it."},
		{ID: RuleUnseen, Title: "A registered asset was not seen for a long time", Severity: warden.Info, Frameworks: refs, Advice: "Retire the asset: remove its keys, routes and copies; or say why it is kept."},
		{ID: RuleShadow, Title: "Traffic to a model that nobody registered", Severity: warden.High, Frameworks: refs, Advice: "Find out who sends it and why; register the model or close the way."},
		{ID: RuleDrift, Title: "Another revision is used than the one that was registered", Severity: warden.Medium, Frameworks: refs, Advice: "Register the revision that is used, or pin the registered one."},
		{ID: RuleBypass, Title: "A provider is reached around the gateway", Severity: warden.Medium, Frameworks: refs, Advice: "Point the client at the gateway, so that access, limits, guards and records apply."},
	}
}

// A View is what the five sources say of one asset.
type View struct {
	Asset      string // its id
	Name       string
	Kind       sight.Kind
	Registered bool      // in the register, by a person or by the registry
	Declared   bool      // by a manifest, a lock file or the approved list
	InCode     bool      // a source tree uses it
	Deployed   bool      // by containers, Kubernetes, Terraform or CI
	InTraffic  bool      // requests were seen, at the gateway or in logs
	State      string    // of its use in code, see sight.State
	Scope      string    // of its use in code
	Revision   string    // that was registered; "" for any
	Seen       []string  // revisions that code or traffic use
	Who        []string  // identities in traffic
	Gateway    bool      // traffic went through the gateway
	Bypass     []string  // hosts of providers that code reaches directly
	Last       time.Time // when it was last seen anywhere
}

// A Notice is a finding about a view.
type Notice struct {
	Rule     warden.RuleID
	Severity warden.Severity
	Asset    string
	Message  string
	Because  []string
}

// Shadow compares the views of each asset and reports what does not fit, by the
// table of the design: used in code but not registered, seen in traffic but in no
// repository, registered but not seen for unseen, drift of revisions, and ways
// around the gateway. now and unseen decide what is long; unseen of 0 leaves that
// out.
func Shadow(views []View, now time.Time, unseen time.Duration) []Notice {
	var out []Notice
	for i := range views {
		out = append(out, views[i].notices(now, unseen)...)
	}
	slices.SortFunc(out, func(a, b Notice) int {
		return cmp.Or(-cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Asset, b.Asset), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return out
}

func (v *View) notices(now time.Time, unseen time.Duration) []Notice {
	var out []Notice
	add := func(rule warden.RuleID, s warden.Severity, because []string, format string, args ...any) {
		out = append(out, Notice{Rule: rule, Severity: s, Asset: v.Asset, Message: fmt.Sprintf(format, args...), Because: because})
	}
	switch {
	case (v.InCode || v.Deployed) && !v.Registered:
		s, because := warden.Medium, []string{"used in code", "not registered"}
		if !v.InCode {
			because[0] = "deployed"
		}
		if v.State == string(sight.Reachable) && v.Scope == string(sight.Production) {
			s = warden.High
			because = append(because, "reachable in production")
		}
		if v.Scope != "" && v.Scope != string(sight.Production) {
			s = warden.Low
			because = append(because, "scope "+v.Scope)
		}
		add(RuleUnregistered, s, because, "%s %s is used and not registered", v.Kind, v.Name)
	case v.InTraffic && !v.InCode && !v.Declared && !v.Registered:
		because := []string{"seen in traffic", "in no repository", "not registered"}
		if len(v.Who) > 0 {
			because = append(because, "used by "+strings.Join(v.Who[:min(len(v.Who), 5)], ", "))
		}
		add(RuleShadow, warden.High, because, "%s %s is used by nobody who is known", v.Kind, v.Name)
	}
	if v.Registered && !v.InCode && !v.InTraffic && !v.Deployed && unseen > 0 && !v.Last.IsZero() && now.Sub(v.Last) > unseen {
		add(RuleUnseen, warden.Info, []string{"registered", "last seen " + v.Last.UTC().Format(time.DateOnly)}, "%s %s was not seen for %d days", v.Kind, v.Name, int(now.Sub(v.Last).Hours()/24))
	}
	if v.Registered && v.Revision != "" {
		for _, r := range v.Seen {
			if r != "" && r != v.Revision {
				add(RuleDrift, warden.Medium, []string{"registered revision " + v.Revision, "used revision " + r}, "%s %s: another revision is used than the registered one", v.Kind, v.Name)
			}
		}
	}
	for _, host := range v.Bypass {
		add(RuleBypass, warden.Medium, []string{"direct address " + host}, "%s is reached around the gateway", host)
	}
	return out
}

// same lists packages that install one module under several names.
var same = [...][]string{
	{"faiss-cpu", "faiss-gpu", "faiss"},
	{"pinecone", "pinecone-client"},
	{"onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"},
	{"haystack-ai", "farm-haystack"},
	{"autogen", "pyautogen", "ag2", "autogen-agentchat"},
	{"dspy", "dspy-ai"},
	{"pydantic-ai", "pydantic-ai-slim"},
	{"tensorflow", "tensorflow-cpu", "tf-nightly", "tensorflow-macos"},
	{"llama-index", "llama-index-core"},
	{"huggingface-hub", "transformers", "diffusers", "sentence-transformers"},
	{"langchain-core", "langchain", "langgraph"},
	{"torch", "pytorch", "torchvision"},
	{"chromadb", "chromadb-client"},
	{"keras", "tensorflow"},
	{"trulens", "trulens-eval"},
	{"mcp", "fastmcp"},
	{"tokenizers", "transformers"},
	{"safetensors", "transformers"},
	{"google-cloud-aiplatform", "vertexai"},
	{"joblib", "scikit-learn"},
	{"weaviate-client", "weaviate-ts-client"},
}

// undeclared reports packages of AI that code imports and no manifest of their
// ecosystem declares. A tree without manifest declares elsewhere, or nothing:
// then nothing is said.
func (d *Document) undeclared(declared map[string]bool, ecosystems map[string]bool) {
	for i := range d.Assets {
		a := &d.Assets[i]
		if a.Kind != sight.Framework || a.Scope != sight.Production {
			continue
		}
		eco := ecosystemOf(a.PURL)
		if !ecosystems[eco] || declared[eco+"\x00"+strings.ToLower(a.Name)] || declaredAs(declared, eco, a.Name) {
			continue
		}
		for _, e := range a.Evidence {
			if e.Via != "import" {
				continue
			}
			d.Findings = append(d.Findings, Finding{
				Rule: RuleUndeclared, Flag: "undeclared", CWE: []string{"CWE-1357"}, Severity: "low", Path: e.Path, Line: e.Line, Cell: e.Cell,
				Message: a.Name + " is imported but not declared", Advice: "Add the package to the manifest with a version.", Priority: 4, Because: []string{"imported", "no manifest declares it"},
			})
			break
		}
	}
}

func declaredAs(declared map[string]bool, eco, name string) bool {
	for _, group := range same {
		if slices.Contains(group, name) && slices.ContainsFunc(group, func(n string) bool { return declared[eco+"\x00"+n] }) {
			return true
		}
	}
	return false
}

func ecosystemOf(purl string) string {
	eco, _, _ := strings.Cut(strings.TrimPrefix(purl, "pkg:"), "/")
	if eco == "golang" {
		return "go"
	}
	return eco
}
