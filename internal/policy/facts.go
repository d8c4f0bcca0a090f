// Package policy reduces claims about an artifact to facts and decides by Cedar
// policies over them. Both steps are pure: the same claims, policies and time
// give the same facts, decision and reasons, which is what makes a decision
// replayable.
package policy

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/modelwarden/warden"
)

// Facts are the typed attributes of one artifact at one time that policies see.
// The zero value says that nothing is known, which no standard policy permits.
type Facts struct {
	Scan    ScanFacts `json:"scan"`
	Signed  bool      `json:"signed"`
	Signers []string  `json:"signers"` // sorted
	Formats []string  `json:"formats"` // sorted
}

// ScanFacts say what trusted scanners concluded, combined.
type ScanFacts struct {
	Present  bool      `json:"present"`
	Verdict  string    `json:"verdict"` // the worst of the scanners; "" if not Present
	Complete bool      `json:"complete"`
	Rules    string    `json:"rules"`   // rule pack of the statement that decided
	Expires  time.Time `json:"expires"` // zero if not Present
	Stale    bool      `json:"stale"`
}

// Digest names the facts: SHA-256 of their canonical JSON.
func (f Facts) Digest() (warden.Digest, error) {
	b, err := warden.Canonical(f)
	if err != nil {
		return warden.Digest{}, err
	}
	return warden.Sum(b), nil
}

// scanType is the predicate type of scan statements; see package attest.
const scanType = "https://modelwarden.dev/model-scan/v1"

// scanPredicate is the part of a scan statement that facts come from.
type scanPredicate struct {
	Scanner struct {
		Rules string `json:"rules"`
	} `json:"scanner"`
	Verdict  string    `json:"verdict"`
	Complete bool      `json:"complete"`
	Formats  []string  `json:"formats"`
	Scanned  time.Time `json:"scanned"`
	Expires  time.Time `json:"expires"`
}

// Reduce combines the verified claims about one artifact. Of each signer the
// latest scan counts; of several signers the worst verdict does, so that one
// scanner cannot outvote another. A claim whose predicate cannot be understood
// makes the scan incomplete: it may have said something bad. The order of the
// claims does not matter.
func Reduce(claims []warden.Claim, now time.Time) Facts {
	facts := Facts{Signers: []string{}, Formats: []string{}}
	latest := map[string]scanPredicate{}
	broken := false
	for _, c := range claims {
		if !slices.Contains(facts.Signers, c.Signer) {
			facts.Signers = append(facts.Signers, c.Signer)
		}
		if c.Statement.PredicateType != scanType {
			continue
		}
		var p scanPredicate
		if err := json.Unmarshal(c.Statement.Predicate, &p); err != nil || verdictOf(p.Verdict) < 0 {
			broken = true
			continue
		}
		if old, ok := latest[c.Signer]; !ok || later(p, old) {
			latest[c.Signer] = p
		}
	}
	slices.Sort(facts.Signers)
	facts.Signed = len(facts.Signers) > 0
	facts.Scan = combine(facts.Signers, latest, now)
	facts.Scan.Complete = facts.Scan.Complete && !broken
	for _, p := range latest {
		facts.Formats = append(facts.Formats, p.Formats...)
	}
	slices.Sort(facts.Formats)
	facts.Formats = slices.Compact(facts.Formats)
	return facts
}

// later orders scans of one signer; of two of the same second the worse counts.
func later(a, b scanPredicate) bool {
	if !a.Scanned.Equal(b.Scanned) {
		return a.Scanned.After(b.Scanned)
	}
	return verdictOf(a.Verdict) > verdictOf(b.Verdict)
}

func combine(signers []string, latest map[string]scanPredicate, now time.Time) ScanFacts {
	out := ScanFacts{Complete: len(latest) > 0, Present: len(latest) > 0}
	for _, s := range signers {
		p, ok := latest[s]
		if !ok {
			continue
		}
		if out.Verdict == "" || verdictOf(p.Verdict) > verdictOf(out.Verdict) {
			out.Verdict, out.Rules = p.Verdict, p.Scanner.Rules
		}
		if out.Expires.IsZero() || p.Expires.Before(out.Expires) {
			out.Expires = p.Expires
		}
		out.Complete = out.Complete && p.Complete
	}
	out.Stale = out.Present && now.After(out.Expires)
	return out
}

// verdictOf returns the rank of a verdict's name, or -1.
func verdictOf(name string) int {
	for v := warden.Clean; v <= warden.Malicious; v++ {
		if v.String() == name {
			return int(v)
		}
	}
	return -1
}
