// Package policy reduces claims about an artifact to facts and decides by Cedar
// policies over them. Both steps are pure: the same claims, policies and time
// give the same facts, decision and reasons, which is what makes a decision
// replayable.
package policy

import (
	"time"

	"github.com/modelwarden/warden"
)

// Facts are the typed attributes of one artifact at one time that policies see.
// The zero value says that nothing is known, which no standard policy permits.
type Facts struct {
	Scan        ScanFacts       `json:"scan"`
	Signed      bool            `json:"signed"`  // somebody who is trusted for it signed the files
	Signers     []string        `json:"signers"` // who did, as the trust store names them; sorted
	OMS         SignatureFacts  `json:"oms"`
	Approvals   []Approval      `json:"approvals"` // sorted
	Provenance  ProvenanceFacts `json:"provenance"`
	Quarantined bool            `json:"quarantined"` // a trusted signer certified it as bad, and none as good again
	Formats     []string        `json:"formats"`     // sorted
	HasPickle   bool            `json:"has_pickle"`  // a format that runs code when it is loaded the usual way
	HasCode     bool            `json:"has_code"`    // programs lie beside the weights, or in them
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

// SignatureFacts say how the files were signed.
type SignatureFacts struct {
	Legacy         bool     `json:"legacy"`          // every signature has the format of version 0.2.0
	Orders         []string `json:"orders"`          // sorted
	Hashes         []string `json:"hashes"`          // sorted
	IgnoredPresent []string `json:"ignored_present"` // files that some signature leaves out; sorted
}

// ProvenanceFacts say whether it is known how the artifact came to be.
type ProvenanceFacts struct {
	Present  bool     `json:"present"`
	Builders []string `json:"builders"` // sorted
}

// An Approval is one person's word for one step of one version.
type Approval struct {
	Who     string    `json:"who"`
	Role    string    `json:"role"`
	Model   string    `json:"model"`
	Version int       `json:"version"`
	Stage   string    `json:"stage"`
	Expires time.Time `json:"expires"`
}

// Digest names the facts: SHA-256 of their canonical JSON.
func (f Facts) Digest() (warden.Digest, error) {
	b, err := warden.Canonical(f)
	if err != nil {
		return warden.Digest{}, err
	}
	return warden.Sum(b), nil
}
