package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelwarden/warden/internal/check/code"
	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/report"
	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/rules"
)

// inventoryFormats lists what --format of the inventory takes.
const inventoryFormats = "text, json, cyclonedx, spdx, sarif or html"

func knownInventoryFormat(s string) bool {
	return slices.Contains([]string{"text", "json", "cyclonedx", "spdx", "sarif", "html"}, s)
}

// An output says how an inventory is shown.
type inventoryOutput struct {
	format        string
	name          string // of the application
	took          time.Duration
	created       time.Time // zero: formats that need a time take the epoch
	colour, quiet bool
}

// renderInventory writes the document in a format.
func renderInventory(w io.Writer, o inventoryOutput, d *inventory.Document) error {
	if o.format == "json" {
		return encodeJSON(w, d)
	}
	n := reportOf(d)
	n.Name, n.Created = o.name, o.created
	n.Tidy()
	switch o.format {
	case "cyclonedx":
		return n.WriteCycloneDX(w)
	case "spdx":
		return n.WriteSPDX(w)
	case "html":
		return n.WriteHTML(w)
	case "sarif":
		all, err := useRules()
		if err != nil {
			return err
		}
		return n.WriteSARIF(w, all)
	default:
		n.Took = o.took
		return n.WriteText(w, report.TextOptions{Color: o.colour, Quiet: o.quiet})
	}
}

func encodeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// useRules lists the rules of unsafe uses with their weaknesses.
func useRules() ([]report.UseRule, error) {
	cat, err := rules.LoadCatalogue()
	if err != nil {
		return nil, err
	}
	weakness := map[string][]string{}
	for _, u := range cat.Unsafe {
		weakness[string(code.RuleOf(u.Flag))] = u.CWE
	}
	var out []report.UseRule
	for _, r := range code.Rules(cat) {
		out = append(out, report.UseRule{Rule: r, CWE: weakness[string(r.ID)]})
	}
	return out, nil
}

// applicationName is what an inventory calls the tree: the last part of the
// folder, repository or image.
func applicationName(arg string) string {
	if abs, err := filepath.Abs(arg); err == nil && !strings.Contains(arg, "://") {
		arg = abs
	}
	name := strings.TrimSuffix(filepath.Base(strings.TrimRight(arg, "/")), ".git")
	if name == "" || name == "." || name == string(filepath.Separator) {
		return "application"
	}
	return name
}

// createdTime reads SOURCE_DATE_EPOCH, with which builds that are repeated set
// the time of what they write.
func createdTime(getenv func(string) string) time.Time {
	sec, err := strconv.ParseInt(getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil || sec < 0 {
		return time.Time{}
	}
	return time.Unix(sec, 0).UTC()
}

// reportOf converts the document into what reports are rendered from.
func reportOf(d *inventory.Document) *report.Inventory {
	n := &report.Inventory{
		Tool: tool(), Name: d.Root, Complete: d.Complete, Files: d.Summary.Files, Bytes: d.Summary.Bytes, Skipped: slices.Clone(d.Summary.Skipped),
	}
	for _, s := range d.Statuses {
		if s.State != "complete" {
			n.Gaps = append(n.Gaps, report.Gap{Reader: s.Detector, State: s.State, Path: s.Path, Line: s.Line, Error: s.Error})
		}
	}
	for i := range d.Assets {
		n.Assets = append(n.Assets, reportAsset(&d.Assets[i]))
	}
	for _, e := range d.Edges {
		n.Links = append(n.Links, report.Link{From: e.From, To: e.To, Kind: e.Kind})
	}
	for i := range d.Findings {
		n.Uses = append(n.Uses, reportUse(&d.Findings[i]))
	}
	return n
}

func reportAsset(a *inventory.Asset) report.Asset {
	out := report.Asset{
		ID: a.ID, Kind: string(a.Kind), Name: a.Name, Dynamic: a.Dynamic, Revision: a.Revision, Version: a.Version, Pinned: a.Pinned,
		Provider: a.Provider, PURL: a.PURL, Digest: a.Digest, Size: a.Size, State: string(a.State), Scope: string(a.Scope),
		Selectable: a.Selectable, Implicit: a.Implicit, Note: a.Note, Loads: a.Loads, Verdict: a.Verdict, Owner: a.Owner,
		Priority: a.Priority, Because: a.Because, Stack: slices.Clone(a.CallStack), Flags: a.Flags, Known: a.Scores.Known,
	}
	for _, p := range a.Evidence {
		out.Places = append(out.Places, reportPlace(p))
	}
	for i := range a.Findings {
		out.Uses = append(out.Uses, reportUse(&a.Findings[i]))
	}
	for _, s := range []struct {
		name  string
		value *float64
	}{{"popularity", a.Scores.Popularity}, {"activity", a.Scores.Activity}, {"operational", a.Scores.Operational}, {"security", a.Scores.Security}} {
		if s.value != nil {
			out.Scores = append(out.Scores, report.Score{Name: s.name, Value: *s.value})
		}
	}
	return out
}

func reportPlace(p sight.Place) report.Place {
	return report.Place{Path: p.Path, Line: p.Line, Cell: p.Cell, Snippet: p.Snippet, Via: p.Via}
}

func reportUse(f *inventory.Finding) report.Use {
	message := f.Message
	if message == "" {
		message = fmt.Sprintf("Unsafe use: %s", f.Flag)
	}
	return report.Use{
		Rule: string(f.Rule), Flag: f.Flag, Severity: f.Severity, At: report.Place{Path: f.Path, Line: f.Line, Cell: f.Cell},
		Message: message, Advice: f.Advice, CWE: f.CWE, Because: f.Because, Conditional: f.Conditional, Priority: f.Priority,
	}
}
