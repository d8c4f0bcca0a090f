package inventory_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/inventory"
)

func anAsset(id string, edit func(*inventory.Asset)) inventory.Asset {
	a := inventory.Asset{ID: id, Kind: "model", Name: id, State: "reachable", Scope: "production", Flags: []string{}, Findings: []inventory.Finding{}}
	if edit != nil {
		edit(&a)
	}
	return a
}

func aDocument(assets ...inventory.Asset) *inventory.Document {
	return &inventory.Document{Schema: inventory.Schema, Complete: true, Assets: assets, Summary: inventory.Summary{Assets: map[string]int{}}}
}

func finding(path string, line int, severity string) inventory.Finding {
	return inventory.Finding{Rule: "WDN-SC-003", Flag: "trust_remote_code", Path: path, Line: line, Severity: severity, Priority: 2}
}

func TestCompareFields(t *testing.T) {
	for _, tt := range []struct {
		name     string
		old, now func(*inventory.Asset)
		fields   string
		worse    bool
	}{
		{"same", nil, nil, "", false},
		{"reachable_now", func(a *inventory.Asset) { a.State = "unreachable" }, nil, "state:unreachable→reachable", true},
		{"unreachable_now", nil, func(a *inventory.Asset) { a.State = "unreachable" }, "state:reachable→unreachable", false},
		{"unpinned", func(a *inventory.Asset) { a.Revision, a.Pinned = "abc", true }, nil, "revision:abc→ revision_pinned:true→false", true},
		{"pinned", nil, func(a *inventory.Asset) { a.Revision, a.Pinned = "abc", true }, "revision:→abc revision_pinned:false→true", false},
		{"flag_more", nil, func(a *inventory.Asset) { a.Flags = []string{"pickle"} }, "flags:→pickle", true},
		{"flag_less", func(a *inventory.Asset) { a.Flags = []string{"pickle"} }, nil, "flags:pickle→", false},
		{"more_urgent", func(a *inventory.Asset) { a.Priority = 4 }, func(a *inventory.Asset) { a.Priority = 1 }, "priority:4→1", true},
		{"less_urgent", func(a *inventory.Asset) { a.Priority = 1 }, func(a *inventory.Asset) { a.Priority = 4 }, "priority:1→4", false},
		{"verdict", func(a *inventory.Asset) { a.Verdict = "clean" }, func(a *inventory.Asset) { a.Verdict = "malicious" }, "verdict:clean→malicious", true},
		{"version", func(a *inventory.Asset) { a.Version = "1" }, func(a *inventory.Asset) { a.Version = "2" }, "version:1→2", false},
		{"evidence_moves", func(a *inventory.Asset) { a.CallStack = []string{"x"} }, nil, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := inventory.Compare(aDocument(anAsset("m", tt.old)), aDocument(anAsset("m", tt.now)))
			var fields []string
			worse := false
			for _, c := range d.Changed {
				worse = c.Worse
				for _, f := range c.Fields {
					fields = append(fields, f.Name+":"+f.Old+"→"+f.New)
				}
			}
			if got := strings.Join(fields, " "); got != tt.fields || worse != tt.worse {
				t.Errorf("got %q, worse %v; want %q, %v", got, worse, tt.fields, tt.worse)
			}
		})
	}
}

func TestCompareFindings(t *testing.T) {
	with := func(list ...inventory.Finding) *inventory.Document {
		return aDocument(anAsset("m", func(a *inventory.Asset) { a.Findings = list }))
	}
	for _, tt := range []struct {
		name      string
		old, now  *inventory.Document
		new, gone int
	}{
		{"none", with(), with(), 0, 0},
		{"moved_lines", with(finding("a.py", 3, "high"), finding("a.py", 9, "high")), with(finding("a.py", 5, "high"), finding("a.py", 11, "high")), 0, 0},
		{"one_more_in_the_file", with(finding("a.py", 3, "high")), with(finding("a.py", 3, "high"), finding("a.py", 9, "high")), 1, 0},
		{"one_less", with(finding("a.py", 3, "high"), finding("a.py", 9, "high")), with(finding("a.py", 9, "high")), 0, 1},
		{"other_file", with(finding("a.py", 3, "high")), with(finding("b.py", 3, "high")), 1, 1},
		{"asset_appeared", aDocument(), with(finding("a.py", 3, "high")), 1, 0},
		{"asset_vanished", with(finding("a.py", 3, "high")), aDocument(), 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := inventory.Compare(tt.old, tt.now)
			if len(d.New) != tt.new || len(d.Gone) != tt.gone {
				t.Errorf("new %v, gone %v", d.New, d.Gone)
			}
			if worst, ok := d.Worst(); ok != (tt.new > 0) || ok && worst != warden.High {
				t.Errorf("worst %v, %v", worst, ok)
			}
		})
	}
}

func TestWorstCountsVerdicts(t *testing.T) {
	bad := anAsset("f", func(a *inventory.Asset) { a.Verdict = "malicious" })
	if worst, ok := inventory.Compare(aDocument(), aDocument(bad)).Worst(); !ok || worst != warden.Critical {
		t.Errorf("a malicious file that appeared: %v, %v", worst, ok)
	}
	if worst, ok := inventory.Compare(aDocument(anAsset("f", nil)), aDocument(bad)).Worst(); !ok || worst != warden.Critical {
		t.Errorf("a file that became malicious: %v, %v", worst, ok)
	}
}

func TestOnly(t *testing.T) {
	old := aDocument(anAsset("a", nil), anAsset("b", func(a *inventory.Asset) { a.Findings = []inventory.Finding{finding("b.py", 1, "high")} }))
	now := aDocument(anAsset("a", nil), anAsset("b", func(a *inventory.Asset) {
		a.Findings = []inventory.Finding{finding("b.py", 4, "high"), finding("c.py", 1, "high")}
	}), anAsset("c", nil))
	now.Edges = []inventory.Edge{{From: "a", To: "c", Kind: "uses"}, {From: "b", To: "c", Kind: "uses"}}
	got := inventory.Only(old, now)
	var ids []string
	for _, a := range got.Assets {
		ids = append(ids, a.ID)
		if a.ID == "b" && (len(a.Findings) != 1 || a.Findings[0].Path != "c.py") {
			t.Errorf("findings of b: %v", a.Findings)
		}
	}
	if d := cmp.Diff([]string{"b", "c"}, ids); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if d := cmp.Diff([]inventory.Edge{{From: "b", To: "c", Kind: "uses"}}, got.Edges); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if len(now.Assets) != 3 || len(now.Assets[1].Findings) != 2 {
		t.Error("the document itself was changed")
	}
}

func TestReadRefuses(t *testing.T) {
	for _, s := range []string{"", "null", "[]", "{}", `{"schema":"warden.scan/v1"}`, `{"schema":"warden.inventory/v1","assets":7}`} {
		if _, err := inventory.Read(strings.NewReader(s)); !errors.Is(err, inventory.ErrSchema) {
			t.Errorf("Read(%q) = %v", s, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	b, err := json.Marshal(aDocument(anAsset("a", func(a *inventory.Asset) { a.Findings = []inventory.Finding{finding("a.py", 1, "high")} })))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"schema":"warden.inventory/v1","assets":[{"id":"a"},{"id":"a","findings":[{"line":-1}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := inventory.Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		if diff := inventory.Compare(d, d); len(diff.New)+len(diff.Gone)+len(diff.Appeared)+len(diff.Vanished) > 0 {
			t.Errorf("a document differs from itself: %+v", diff)
		}
		inventory.Only(&inventory.Document{}, d)
	})
}
