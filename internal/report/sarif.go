package report

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
)

// NewSARIF returns a Writer of SARIF 2.1.0 (OASIS, 2023). It holds the results
// until End, because SARIF refers to artifacts by index. Members of containers
// are artifacts with a parentIndex; what could not be read is a
// toolExecutionNotification, so that a viewer shows it as a gap.
func NewSARIF(w io.Writer, rules map[warden.RuleID]warden.Rule) Writer {
	s := &sarifWriter{w: w, artifacts: map[string]int{}}
	for _, r := range rules {
		s.rules = append(s.rules, r)
	}
	slices.SortFunc(s.rules, func(a, b warden.Rule) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

type sarifWriter struct {
	w         io.Writer
	rules     []warden.Rule
	tool      Tool
	started   time.Time
	artifacts map[string]int // path → index in run.Artifacts
	run       sarifRun
}

type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool        sarifTool         `json:"tool"`
	Invocations []sarifInvocation `json:"invocations"`
	Artifacts   []sarifArtifact   `json:"artifacts"`
	Results     []sarifResult     `json:"results"`
	ColumnKind  string            `json:"columnKind"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name            string      `json:"name"`
	SemanticVersion string      `json:"version"`
	Rules           []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID            string            `json:"id"`
	Short         sarifText         `json:"shortDescription"`
	Help          sarifText         `json:"help"`
	Configuration sarifRuleDefaults `json:"defaultConfiguration"`
	Properties    sarifRuleProps    `json:"properties"`
}

type sarifRuleDefaults struct {
	Level string `json:"level"`
}

type sarifRuleProps struct {
	Tags             []string `json:"tags"`
	SecuritySeverity string   `json:"security-severity"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifInvocation struct {
	Successful    bool                `json:"executionSuccessful"`
	Start         string              `json:"startTimeUtc"`
	End           string              `json:"endTimeUtc"`
	Notifications []sarifNotification `json:"toolExecutionNotifications"`
}

type sarifNotification struct {
	Level     string          `json:"level"`
	Message   sarifText       `json:"message"`
	Locations []sarifLocation `json:"locations"`
}

type sarifArtifact struct {
	Location    sarifArtifactLocation `json:"location"`
	ParentIndex *int                  `json:"parentIndex,omitempty"`
	Length      *int64                `json:"length,omitempty"`
	Hashes      map[string]string     `json:"hashes,omitempty"`
}

type sarifArtifactLocation struct {
	URI   string `json:"uri"`
	Index *int   `json:"index,omitempty"`
}

type sarifResult struct {
	RuleID       string             `json:"ruleId"`
	RuleIndex    int                `json:"ruleIndex"`
	Level        string             `json:"level"`
	Message      sarifText          `json:"message"`
	Locations    []sarifLocation    `json:"locations"`
	Fingerprints map[string]string  `json:"partialFingerprints"`
	Suppressions []sarifSuppression `json:"suppressions,omitempty"`
}

type sarifSuppression struct {
	Kind          string `json:"kind"`
	Justification string `json:"justification"`
}

type sarifLocation struct {
	Physical sarifPhysical `json:"physicalLocation"`
}

type sarifPhysical struct {
	Artifact sarifArtifactLocation `json:"artifactLocation"`
	Region   *sarifRegion          `json:"region,omitempty"`
}

type sarifRegion struct {
	ByteOffset *int64 `json:"byteOffset,omitempty"`
	ByteLength *int64 `json:"byteLength,omitempty"`
	StartLine  int64  `json:"startLine,omitempty"`
	EndLine    int64  `json:"endLine,omitempty"`
}

func (s *sarifWriter) Begin(tool Tool, started time.Time) error {
	s.tool, s.started = tool, started
	return nil
}

func (s *sarifWriter) Target(t Target) error {
	top := s.artifact(t.Path, -1)
	if t.Size >= 0 {
		s.run.Artifacts[top].Length = &t.Size
	}
	if hex, ok := strings.CutPrefix(t.Digest, "sha256:"); ok {
		s.run.Artifacts[top].Hashes = map[string]string{"sha-256": hex}
	}
	for _, f := range t.Findings {
		s.result(t, top, f)
	}
	for _, st := range t.Statuses {
		s.notifications().Notifications = append(s.notifications().Notifications, sarifNotification{
			Level: "error", Message: sarifText{fmt.Sprintf("%s (%s): %s", st.Detector, st.State, st.Error)},
			Locations: []sarifLocation{{sarifPhysical{Artifact: s.run.Artifacts[top].at(top)}}},
		})
	}
	return nil
}

func (s *sarifWriter) notifications() *sarifInvocation {
	if len(s.run.Invocations) == 0 {
		s.run.Invocations = []sarifInvocation{{Notifications: []sarifNotification{}}}
	}
	return &s.run.Invocations[0]
}

func (a sarifArtifact) at(index int) sarifArtifactLocation {
	return sarifArtifactLocation{URI: a.Location.URI, Index: &index}
}

// artifact returns the index of the artifact at path, adding it if needed.
func (s *sarifWriter) artifact(path string, parent int) int {
	if i, ok := s.artifacts[path]; ok {
		return i
	}
	i := len(s.run.Artifacts)
	a := sarifArtifact{Location: sarifArtifactLocation{URI: (&url.URL{Path: path}).EscapedPath()}}
	if parent >= 0 {
		a.ParentIndex = &parent
	}
	s.artifacts[path] = i
	s.run.Artifacts = append(s.run.Artifacts, a)
	return i
}

func (s *sarifWriter) result(t Target, top int, f Finding) {
	at, path := top, t.Path
	if parts := strings.Split(f.At.Path, "!"); len(parts) > 1 { // "outer.zip!/inner.pkl!#2"
		for _, p := range parts[1:] {
			path += "!" + p
			at = s.artifact(path, at)
		}
	}
	loc := sarifLocation{sarifPhysical{Artifact: s.run.Artifacts[at].at(at)}}
	if f.At.Start >= 0 {
		n := f.At.End - f.At.Start
		if f.At.Unit == string(warden.Lines) {
			loc.Physical.Region = &sarifRegion{StartLine: f.At.Start + 1, EndLine: f.At.End}
		} else {
			loc.Physical.Region = &sarifRegion{ByteOffset: &f.At.Start, ByteLength: &n}
		}
	}
	text := f.Message
	if f.Evidence != "" {
		text += "\n" + f.Evidence
	}
	index := slices.IndexFunc(s.rules, func(r warden.Rule) bool { return string(r.ID) == f.Rule })
	var accepted []sarifSuppression
	if f.Waiver != nil {
		accepted = []sarifSuppression{{"external", f.Waiver.Reason + " (" + f.Waiver.By + ", until " + f.Waiver.Expires + ")"}}
	}
	s.run.Results = append(s.run.Results, sarifResult{
		Suppressions: accepted,
		RuleID:       f.Rule, RuleIndex: index, Level: level(f.Severity), Message: sarifText{text},
		Locations:    []sarifLocation{loc},
		Fingerprints: map[string]string{"warden/v1": warden.Sum([]byte(f.Rule + "\x00" + t.Digest + "\x00" + f.At.Path + "\x00" + f.Evidence)).String()[7:39]},
	})
}

func level(severity string) string {
	switch severity {
	case "critical", "high":
		return "error"
	case "medium":
		return "warning"
	default:
		return "note"
	}
}

// score is the number that code-scanning services sort by.
func score(s warden.Severity) string {
	return map[warden.Severity]string{warden.Critical: "9.5", warden.High: "8.0", warden.Medium: "5.5", warden.Low: "3.0", warden.Info: "0.5"}[s]
}

func (s *sarifWriter) End(_ Summary, took time.Duration) error {
	s.run.Tool.Driver = sarifDriver{Name: s.tool.Name, SemanticVersion: s.tool.Version, Rules: make([]sarifRule, 0, len(s.rules))}
	for _, r := range s.rules {
		s.run.Tool.Driver.Rules = append(s.run.Tool.Driver.Rules, sarifRule{
			ID: string(r.ID), Short: sarifText{r.Title}, Help: sarifText{r.Advice},
			Configuration: sarifRuleDefaults{level(r.Severity.String())},
			Properties:    sarifRuleProps{Tags: append([]string{"security"}, r.Frameworks...), SecuritySeverity: score(r.Severity)},
		})
	}
	inv := s.notifications()
	inv.Successful = len(inv.Notifications) == 0
	inv.Start, inv.End = s.started.UTC().Format(time.RFC3339), s.started.Add(took).UTC().Format(time.RFC3339)
	s.run.ColumnKind = "unicodeCodePoints"
	if s.run.Results == nil {
		s.run.Results = []sarifResult{}
	}
	if s.run.Artifacts == nil {
		s.run.Artifacts = []sarifArtifact{}
	}
	b, err := marshal(sarifLog{
		Schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{s.run},
	}, "")
	if err != nil {
		return err
	}
	_, err = s.w.Write(append(b, '\n'))
	return err
}
