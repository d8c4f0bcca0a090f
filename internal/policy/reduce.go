package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/modelwarden/warden"
)

// Predicate types that facts come from; see package attest.
const (
	scanType        = "https://modelwarden.dev/model-scan/v1"
	approvalType    = "https://modelwarden.dev/approval/v1"
	certifyBadType  = "https://modelwarden.dev/certify-bad/v1"
	certifyGoodType = "https://modelwarden.dev/certify-good/v1"
	provenanceType  = "https://slsa.dev/provenance/v1"
	signatureType   = "https://model_signing/signature/v1.0"
)

// maxScanAge bounds how long a scan holds, whatever its signer says.
const maxScanAge = 10 * 366 * 24 * time.Hour

// scanPredicate is the part of a scan statement that facts come from.
type scanPredicate struct {
	Scanner struct {
		Rules string `json:"rules"`
	} `json:"scanner"`
	Verdict  string    `json:"verdict"`
	Complete bool      `json:"complete"`
	Code     bool      `json:"code"`
	Formats  []string  `json:"formats"`
	Scanned  time.Time `json:"scanned"`
	Expires  time.Time `json:"expires"`

	received time.Time
}

// Reduce combines the verified claims about one artifact. Of each signer the
// latest scan counts; of several signers the worst verdict does, so that one
// scanner cannot outvote another. A claim whose predicate cannot be understood
// makes the scan incomplete: it may have said something bad. What counts as
// later is when the platform received it, never what a signer says. The order of
// the claims does not matter.
func Reduce(claims []warden.Claim, now time.Time) Facts {
	claims = slices.Clone(claims)
	slices.SortFunc(claims, func(a, b warden.Claim) int {
		return cmp.Or(a.Verified.Compare(b.Verified), cmp.Compare(a.Statement.PredicateType, b.Statement.PredicateType), cmp.Compare(a.Signer, b.Signer),
			bytes.Compare(a.Statement.Predicate, b.Statement.Predicate))
	})
	r := reduction{
		facts: Facts{
			Signers: []string{}, Approvals: []Approval{}, Formats: []string{}, Provenance: ProvenanceFacts{Builders: []string{}},
			OMS: SignatureFacts{Orders: []string{}, Hashes: []string{}, IgnoredPresent: []string{}},
		},
		now: now, latest: map[string]scanPredicate{}, approvals: map[approvalKey]approvalPredicate{}, bad: map[string]time.Time{}, good: map[string]time.Time{},
	}
	for _, c := range claims {
		r.take(c)
	}
	return r.finish()
}

// A reduction takes claims in the order of their times.
type reduction struct {
	facts     Facts
	now       time.Time
	latest    map[string]scanPredicate // per signer
	broken    bool                     // some scan cannot be understood
	current   bool                     // some signature is of the current format
	approvals map[approvalKey]approvalPredicate
	bad, good map[string]time.Time // per scope, the last
}

func (r *reduction) take(c warden.Claim) {
	f, raw := &r.facts, c.Statement.Predicate
	switch c.Statement.PredicateType {
	case scanType:
		var p scanPredicate
		if err := json.Unmarshal(raw, &p); err != nil || verdictOf(p.Verdict) < 0 {
			r.broken = true
			return
		}
		p.received = c.Verified
		if end := c.Verified.Add(maxScanAge); !c.Verified.IsZero() && p.Expires.After(end) {
			p.Expires = end
		}
		if old, ok := r.latest[c.Signer]; !ok || later(p, old) {
			r.latest[c.Signer] = p
		}
	case signatureType:
		var p struct {
			Order   string   `json:"order"`
			Hash    string   `json:"hash"`
			Legacy  bool     `json:"legacy"`
			Ignored []string `json:"ignored_present"`
		}
		if json.Unmarshal(raw, &p) != nil {
			return
		}
		f.Signers, f.OMS.Orders, f.OMS.Hashes = append(f.Signers, c.Signer), append(f.OMS.Orders, p.Order), append(f.OMS.Hashes, p.Hash)
		f.OMS.IgnoredPresent = append(f.OMS.IgnoredPresent, p.Ignored...)
		r.current = r.current || !p.Legacy
	case provenanceType:
		var p struct {
			RunDetails struct {
				Builder struct {
					ID string `json:"id"`
				} `json:"builder"`
			} `json:"runDetails"`
		}
		if json.Unmarshal(raw, &p) == nil && p.RunDetails.Builder.ID != "" {
			f.Provenance.Present, f.Provenance.Builders = true, append(f.Provenance.Builders, p.RunDetails.Builder.ID)
		}
	case approvalType:
		r.approve(c, raw)
	case certifyBadType:
		scope, _ := scopeOf(raw)
		r.bad[scope] = c.Verified
	case certifyGoodType:
		if scope, ok := scopeOf(raw); ok {
			r.good[scope] = c.Verified
		}
	}
}

// scopeOf returns the scope of a certification. One that cannot be understood
// has a scope of its own, which nothing ends.
func scopeOf(raw []byte) (scope string, ok bool) {
	var p struct {
		Scope string `json:"scope"`
	}
	if json.Unmarshal(raw, &p) != nil {
		return "not understood: " + warden.Sum(raw).String(), false
	}
	return p.Scope, true
}

type approvalKey struct {
	who, model, stage string
	version           int
}

type approvalPredicate struct {
	Approval
	Action    string `json:"action"`
	Withdrawn bool   `json:"withdrawn"`

	received time.Time
}

// approve takes the last word of a person. Of two at the same time, taking back
// counts.
func (r *reduction) approve(c warden.Claim, raw []byte) {
	var p approvalPredicate
	if json.Unmarshal(raw, &p) != nil || p.Who == "" || p.Action != string(Promote) {
		return
	}
	p.received = c.Verified
	k := approvalKey{p.Who, p.Model, p.Stage, p.Version}
	if old, ok := r.approvals[k]; ok && old.received.Equal(p.received) && old.Withdrawn {
		return
	}
	r.approvals[k] = p
}

func (r *reduction) finish() Facts {
	f := &r.facts
	f.Scan = combine(r.latest, r.now)
	f.Scan.Complete = f.Scan.Complete && !r.broken
	for _, p := range r.latest {
		f.Formats = append(f.Formats, p.Formats...)
		f.HasCode = f.HasCode || p.Code
	}
	for _, s := range []*[]string{&f.Formats, &f.Signers, &f.OMS.Orders, &f.OMS.Hashes, &f.OMS.IgnoredPresent, &f.Provenance.Builders} {
		slices.Sort(*s)
		*s = slices.Compact(*s)
	}
	f.Signed = len(f.Signers) > 0
	f.OMS.Legacy = f.Signed && !r.current
	f.HasPickle = slices.ContainsFunc(f.Formats, func(s string) bool { return slices.Contains(pickles(), s) })
	f.HasCode = f.HasCode || slices.ContainsFunc(f.Formats, func(s string) bool { return slices.Contains(programs(), s) })
	for _, p := range r.approvals {
		if !p.Withdrawn && p.Expires.After(r.now) {
			p.Expires = p.Expires.UTC()
			f.Approvals = append(f.Approvals, p.Approval)
		}
	}
	slices.SortFunc(f.Approvals, func(a, b Approval) int {
		return cmp.Or(cmp.Compare(a.Who, b.Who), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Version, b.Version))
	})
	for scope, at := range r.bad {
		if end, ok := r.good[scope]; !ok || !end.After(at) {
			f.Quarantined = true
		}
	}
	return *f
}

// pickles are the formats whose usual loader runs what the file says.
func pickles() []string {
	return []string{"joblib", "nemo", "pickle", "skops", "torch-legacy", "torch-package", "torch-tar", "torch-zip", "torch7"}
}

// programs are the formats that hold code beside or instead of weights.
func programs() []string { return []string{"torch-package", "torchscript"} }

// later orders scans of one signer; of two of the same second the worse counts.
func later(a, b scanPredicate) bool {
	if !a.received.Equal(b.received) {
		return a.received.After(b.received)
	}
	if !a.Scanned.Equal(b.Scanned) {
		return a.Scanned.After(b.Scanned)
	}
	return verdictOf(a.Verdict) > verdictOf(b.Verdict)
}

func combine(latest map[string]scanPredicate, now time.Time) ScanFacts {
	out := ScanFacts{Complete: len(latest) > 0, Present: len(latest) > 0}
	signers := make([]string, 0, len(latest))
	for s := range latest {
		signers = append(signers, s)
	}
	slices.Sort(signers)
	for _, s := range signers {
		p := latest[s]
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
