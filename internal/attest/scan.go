package attest

import (
	"cmp"
	"slices"
	"time"

	"github.com/modelwarden/warden"
)

// ScanType is the predicate type of [Scan].
const ScanType = "https://modelwarden.dev/model-scan/v1"

// scanFindings is how many findings a statement names; the report has all.
const scanFindings = 50

// A Scan is the predicate of [ScanType]: what a scan of an artifact concluded.
// The first subject of its statement is the manifest (or the single file), the
// rest its files.
type Scan struct {
	Scanner  Scanner        `json:"scanner"`
	Verdict  string         `json:"verdict"`
	Complete bool           `json:"complete"`
	Code     bool           `json:"code"`     // some file is a program that a loader may run
	Counts   map[string]int `json:"counts"`   // findings per rule
	Formats  []string       `json:"formats"`  // sorted
	Report   string         `json:"report"`   // digest of the whole report, warden.scan/v1
	Scanned  time.Time      `json:"scanned"`  // RFC 3339, UTC, seconds
	Expires  time.Time      `json:"expires"`  // the fact is stale after this
	Findings []ScanFinding  `json:"findings"` // the worst, at most 50
}

// A Scanner names what scanned.
type Scanner struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Rules   string `json:"rules"` // version and digest of the rule pack
}

// A ScanFinding is one finding in a [Scan].
type ScanFinding struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Path     string `json:"path"`
}

// NewScan returns the predicate of a scan in which no file was looked at yet:
// clean and complete until a file says otherwise.
func NewScan(by Scanner, scanned time.Time, validFor time.Duration) Scan {
	at := scanned.UTC().Truncate(time.Second)
	return Scan{
		Scanner: by, Verdict: warden.Clean.String(), Complete: true, Scanned: at, Expires: at.Add(validFor),
		Counts: map[string]int{}, Formats: []string{}, Findings: []ScanFinding{},
	}
}

// Add merges what the scan of one file concluded. The worst verdict and the
// worst findings stay.
func (s *Scan) Add(verdict warden.Verdict, complete bool, format string, counts map[string]int, findings []ScanFinding) {
	if old, err := warden.ParseVerdict(s.Verdict); err == nil {
		verdict = max(old, verdict)
	}
	s.Verdict, s.Complete = verdict.String(), s.Complete && complete
	if format != "" {
		s.Formats = append(s.Formats, format)
		slices.Sort(s.Formats)
		s.Formats = slices.Compact(s.Formats)
	}
	for rule, n := range counts {
		s.Counts[rule] += n
	}
	s.Findings = append(s.Findings, findings...)
	slices.SortStableFunc(s.Findings, func(a, b ScanFinding) int { return cmp.Compare(rank(b.Severity), rank(a.Severity)) })
	s.Findings = s.Findings[:min(len(s.Findings), scanFindings)]
}

// rank orders severities by name. What is not one is the worst.
func rank(severity string) warden.Severity {
	s, err := warden.ParseSeverity(severity)
	if err != nil {
		return warden.Critical + 1
	}
	return s
}
