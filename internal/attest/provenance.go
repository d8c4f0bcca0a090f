package attest

import (
	"strings"
	"time"

	"github.com/modelwarden/warden"
)

// ProvenanceType is the predicate type of [Provenance] (SLSA provenance v1).
const ProvenanceType = "https://slsa.dev/provenance/v1"

// RunBuildType says how to read the parameters of a provenance that was observed
// while a command ran.
const RunBuildType = "https://modelwarden.dev/attest-run/v1"

// A Provenance is how an artifact came to be.
type Provenance struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// A BuildDefinition is what went in.
type BuildDefinition struct {
	BuildType            string         `json:"buildType"`
	ExternalParameters   map[string]any `json:"externalParameters"`
	InternalParameters   map[string]any `json:"internalParameters,omitempty"`
	ResolvedDependencies []Descriptor   `json:"resolvedDependencies,omitempty"`
}

// A Descriptor names a resource by its digest.
type Descriptor struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations map[string]any    `json:"annotations,omitempty"`
}

// FileDescriptor describes a file by its SHA-256 digest.
func FileDescriptor(name string, d warden.Digest) Descriptor {
	return Descriptor{Name: name, Digest: map[string]string{"sha256": strings.TrimPrefix(d.String(), "sha256:")}}
}

// RunDetails is who made it, and when.
type RunDetails struct {
	Builder    Builder      `json:"builder"`
	Metadata   RunMetadata  `json:"metadata"`
	Byproducts []Descriptor `json:"byproducts,omitempty"`
}

// A Builder is the program that made the statement.
type Builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

// RunMetadata is when it happened.
type RunMetadata struct {
	InvocationID string    `json:"invocationId"`
	StartedOn    time.Time `json:"startedOn"`
	FinishedOn   time.Time `json:"finishedOn"`
}

// PredicateTypes are short names of predicate types, for people. Those under
// modelwarden.dev are our own, where no standard exists.
func PredicateTypes() map[string]string {
	return map[string]string{
		"scan": ScanType, "provenance": ProvenanceType,
		"approval": ApprovalType, "risk-assessment": "https://modelwarden.dev/risk-assessment/v1",
		"dataset-manifest": "https://modelwarden.dev/dataset-manifest/v1", "certify-bad": CertifyBadType, "certify-good": CertifyGoodType,
		"test-result": "https://in-toto.io/attestation/test-result/v0.1", "vulns": "https://in-toto.io/attestation/vulns/v0.2", "release": "https://in-toto.io/attestation/release/v0.1",
		"cyclonedx": "https://cyclonedx.org/bom", "spdx": "https://spdx.dev/Document", "scai": "https://in-toto.io/attestation/scai/v0.3",
		"svr": SVRType, "vsa": VSAType,
	}
}
