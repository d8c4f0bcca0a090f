package attest

import (
	"time"
)

// Predicate types of decisions, which are statements too.
const (
	SVRType = "https://in-toto.io/attestation/svr/v0.2"
	VSAType = "https://slsa.dev/verification_summary/v1"
)

// VerifierID names what verified: a server of this program.
const VerifierID = "https://modelwarden.dev/warden"

// A Summary is the predicate of [VSAType] (SLSA verification summary v1): who
// decided by which policy, over what, and how.
type Summary struct {
	Verifier           Builder      `json:"verifier"`
	TimeVerified       time.Time    `json:"timeVerified"`
	ResourceURI        string       `json:"resourceUri"`
	Policy             Descriptor   `json:"policy"`
	InputAttestations  []Descriptor `json:"inputAttestations"`
	VerificationResult string       `json:"verificationResult"` // PASSED or FAILED
	VerifiedLevels     []string     `json:"verifiedLevels"`
}

// A Verification is the predicate of [SVRType] (simple verification result):
// which properties were verified.
type Verification struct {
	Verifier    Builder      `json:"verifier"`
	TimeCreated time.Time    `json:"timeCreated"`
	Policy      Descriptor   `json:"policy"`
	Decision    Descriptor   `json:"decision"`
	Properties  []string     `json:"properties"`
	Inputs      []Descriptor `json:"inputs"`
}

// An Approval is the predicate of [ApprovalType]: a person wants something done
// with a version of a model. The server signs it on behalf of whom it
// authenticated.
type Approval struct {
	Who       string    `json:"who"`  // principal
	Role      string    `json:"role"` // in which it is given; may be ""
	Action    string    `json:"action"`
	Model     string    `json:"model"`
	Version   int       `json:"version"`
	Stage     string    `json:"stage"`
	Reason    string    `json:"reason"`
	Withdrawn bool      `json:"withdrawn"`
	Given     time.Time `json:"given"`
	Expires   time.Time `json:"expires"`
}

// A Certification is the predicate of [CertifyBadType] and [CertifyGoodType]: an
// artifact must not be used, or may be again. Certifications of one scope end
// each other.
type Certification struct {
	Scope         string    `json:"scope"`
	Justification string    `json:"justification"`
	KnownSince    time.Time `json:"knownSince,omitzero"`
}
