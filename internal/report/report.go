// Package report renders results for people and programs: text, the JSON
// contract, SARIF. It reads no files and knows no engine; callers convert.
package report

import (
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
)

// Schema names the JSON contract of a scan. Fields may be added to it; none is
// removed or changes its meaning.
const Schema = "warden.scan/v1"

// A Tool says what made a report.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Rules   string `json:"rules"` // version and digest of the rule pack
}

// A Target is one top-level input file in a report.
type Target struct {
	Path      string         `json:"path"`
	Digest    string         `json:"digest"` // "" when not all bytes were hashed
	Size      int64          `json:"size"`   // bytes; -1 if unknown
	Format    string         `json:"format"` // "" if unknown
	Verdict   string         `json:"verdict"`
	Complete  bool           `json:"complete"` // false if and only if Statuses has a row
	Truncated bool           `json:"truncated"`
	Counts    map[string]int `json:"counts"` // findings per rule before cutting
	Findings  []Finding      `json:"findings"`
	Statuses  []Status       `json:"statuses"`
}

// A Finding is one finding in a report.
type Finding struct {
	Rule       string   `json:"rule"`
	Severity   string   `json:"severity"`
	At         At       `json:"at"`
	Message    string   `json:"message"`
	Evidence   string   `json:"evidence"`
	Advice     string   `json:"advice"`
	Frameworks []string `json:"frameworks"`
	Waiver     *Waiver  `json:"waiver,omitempty"` // accepted by the baseline
}

// At is a place. Start and End are half-open and counted in the innermost
// member after decompression; both are -1 when there is no place.
type At struct {
	Path  string `json:"path"`
	Unit  string `json:"unit"`
	Start int64  `json:"start"`
	End   int64  `json:"end"`
}

// A Status says what could not be finished.
type Status struct {
	Detector string `json:"detector"`
	State    string `json:"state"` // "failed" or "skipped"
	Error    string `json:"error"`
}

// A Summary counts targets by verdict.
type Summary struct {
	Files        int `json:"files"`
	Malicious    int `json:"malicious"`
	Unsafe       int `json:"unsafe"`
	Review       int `json:"review"`
	Clean        int `json:"clean"`
	Inconclusive int `json:"inconclusive"`
}

// Count adds a target of verdict v.
func (s *Summary) Count(v string) {
	s.Files++
	switch v {
	case warden.Malicious.String():
		s.Malicious++
	case warden.Unsafe.String():
		s.Unsafe++
	case warden.Review.String():
		s.Review++
	case warden.Clean.String():
		s.Clean++
	default:
		s.Inconclusive++
	}
}

// A Document is a whole report. Large scans are written target by target with
// [Writer] instead.
type Document struct {
	Schema     string    `json:"schema"`
	Tool       Tool      `json:"tool"`
	Started    time.Time `json:"started"`
	Targets    []Target  `json:"targets"`
	Summary    Summary   `json:"summary"`
	DurationMS int64     `json:"duration_ms"`
}

// errorBytes bounds the text of a status.
const errorBytes = 1024

// NewTarget converts what a scan knows of one file. Rules supplies the advice
// and the framework references, which findings do not repeat.
func NewTarget(path string, a warden.Artifact, v warden.Verdict, findings []warden.Finding, statuses []detect.Status,
	counts map[warden.RuleID]int, truncated bool, rules map[warden.RuleID]warden.Rule,
) Target {
	t := Target{
		Path: text(path), Size: a.Size, Format: a.Format, Verdict: v.String(),
		Complete: len(statuses) == 0, Truncated: truncated,
		Counts: make(map[string]int, len(counts)), Findings: make([]Finding, 0, len(findings)), Statuses: make([]Status, 0, len(statuses)),
	}
	if a.Digest != (warden.Digest{}) {
		t.Digest = a.Digest.String()
	}
	for id, n := range counts {
		t.Counts[string(id)] = n
	}
	for _, f := range findings {
		t.Findings = append(t.Findings, NewFinding(f, rules[f.Rule]))
	}
	t.Statuses = append(t.Statuses, NewStatuses(statuses)...)
	return t
}

// NewStatuses converts statuses.
func NewStatuses(all []detect.Status) []Status {
	out := make([]Status, 0, len(all))
	for _, s := range all {
		msg := ""
		if s.Err != nil {
			msg = detect.Printable(s.Err.Error(), errorBytes)
		}
		out = append(out, Status{Detector: s.Detector, State: string(s.State), Error: msg})
	}
	return out
}

// NewFinding converts one finding of rule r.
func NewFinding(f warden.Finding, r warden.Rule) Finding {
	at := At{Path: text(f.At.Path), Unit: string(f.At.Span.Unit), Start: f.At.Span.Start, End: f.At.Span.End}
	if at.Unit == "" || at.End <= at.Start && at.Start == 0 {
		at.Unit, at.Start, at.End = string(warden.Bytes), -1, -1
	}
	frameworks := r.Frameworks
	if frameworks == nil {
		frameworks = []string{}
	}
	return Finding{
		Rule: string(f.Rule), Severity: f.Severity.String(), At: at, Message: f.Message, Evidence: f.Evidence,
		Advice: r.Advice, Frameworks: frameworks,
	}
}

// text makes names of a hostile file safe to print, at any length they can have.
func text(s string) string { return detect.Printable(s, 4096) }
