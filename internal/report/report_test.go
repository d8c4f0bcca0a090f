package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/report"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func rules() map[warden.RuleID]warden.Rule {
	return map[warden.RuleID]warden.Rule{
		"WDN-MF-001": {ID: "WDN-MF-001", Title: "Loading calls a dangerous function", Severity: warden.Critical, Advice: "Do not load this file.", Frameworks: []string{"owasp-llm@2025:LLM03"}},
		"WDN-MF-004": {ID: "WDN-MF-004", Title: "Builds an unknown class", Severity: warden.Medium, Advice: "Look at the class."},
	}
}

func targets() []report.Target {
	bad := report.NewTarget("models/outer.zip", warden.Artifact{Digest: warden.Sum([]byte("x")), Size: 1234, Format: "zip"}, warden.Malicious,
		[]warden.Finding{
			{Rule: "WDN-MF-001", Severity: warden.Critical, At: warden.Location{Path: "outer.zip!/inner.pkl", Span: warden.Span{Unit: warden.Bytes, Start: 12, End: 40}}, Message: "Loading runs a shell command.", Evidence: "os.system('<id>')"},
			{Rule: "WDN-MF-004", Severity: warden.Medium, At: warden.Location{Path: "outer.zip"}, Message: "Builds acme.Thing."},
		},
		[]detect.Status{{Detector: "read/zip", State: detect.Skipped, Err: errors.New("more than 8 containers inside one another")}},
		map[warden.RuleID]int{"WDN-MF-001": 1, "WDN-MF-004": 3}, true, rules())
	clean := report.NewTarget("ok\x1b.pkl", warden.Artifact{Digest: warden.Sum(nil), Format: "pickle"}, warden.Clean, nil, nil, nil, false, rules())
	return []report.Target{bad, clean}
}

func write(t *testing.T, w report.Writer, targets []report.Target) {
	t.Helper()
	started := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	if err := w.Begin(report.Tool{Name: "warden", Version: "v1", Rules: "r1"}, started); err != nil {
		t.Fatal(err)
	}
	var s report.Summary
	for _, x := range targets {
		s.Count(x.Verdict)
		if err := w.Target(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.End(s, 12*time.Millisecond); err != nil {
		t.Fatal(err)
	}
}

func TestGolden(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(*bytes.Buffer) report.Writer
	}{
		{"scan.json", func(b *bytes.Buffer) report.Writer { return report.NewJSON(b) }},
		{"scan.sarif", func(b *bytes.Buffer) report.Writer { return report.NewSARIF(b, rules()) }},
		{"scan.cdx.json", func(b *bytes.Buffer) report.Writer { return report.NewCycloneDX(b) }},
		{"scan.md", func(b *bytes.Buffer) report.Writer { return report.NewMarkdown(b) }},
		{"scan.txt", func(b *bytes.Buffer) report.Writer { return report.NewText(b, report.TextOptions{}) }},
		{"scan.colour.txt", func(b *bytes.Buffer) report.Writer { return report.NewText(b, report.TextOptions{Color: true}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			write(t, tt.make(&b), targets())
			golden := filepath.Join("testdata", tt.name+".golden")
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

// TestJSONMatchesDocument says that the stream is one document of the schema,
// with lists that are never null, also for an empty scan.
func TestJSONMatchesDocument(t *testing.T) {
	for _, ts := range [][]report.Target{nil, targets()} {
		var b bytes.Buffer
		write(t, report.NewJSON(&b), ts)
		dec := json.NewDecoder(&b)
		dec.DisallowUnknownFields()
		var doc report.Document
		if err := dec.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		if doc.Schema != report.Schema || doc.Targets == nil || len(doc.Targets) != len(ts) || doc.Summary.Files != len(ts) {
			t.Errorf("got %+v", doc)
		}
		for i, x := range doc.Targets {
			if d := cmp.Diff(ts[i], x); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		}
	}
}
