// Package registry remembers models: their versions, the artifacts these name,
// what scans and policies said about them, who took them, and what comes from
// what. An artifact is named by the digest of its manifest, so one digest leads
// from a file to a refusal.
//
// [Service] holds the rules: each of its operations is one transaction together
// with its audit event. [Store] is what it needs of a database; it keeps rows
// and knows no rules. Readers of a state always read it fresh, or hold the
// [Epoch] at which they read and listen to [Service.Changes].
package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modelwarden/warden"
)

// Errors of a Store. What a [Service] returns to users is a *warden.Error.
var (
	ErrNotFound = errors.New("not in the registry")
	ErrExists   = errors.New("already in the registry")
)

// A Name is "namespace/model": each part is 1 to 96 lower- or upper-case ASCII
// letters, digits, dots, dashes and underscores, begins and ends with a letter
// or digit, and has no two dots in a row. Names are compared as they are
// written, but two that differ only in case cannot both exist.
type Name string

// ParseName checks the rules of [Name].
func ParseName(s string) (Name, error) {
	namespace, model, ok := strings.Cut(s, "/")
	if !ok || !namePart(namespace) || !namePart(model) {
		return "", &warden.Error{
			Code:    warden.CodeInvalid,
			Message: fmt.Sprintf("model name %.200q is not namespace/model", s),
			Hint:    "use letters, digits, dots, dashes and underscores, at most 96 in each part, for example team/sentiment",
		}
	}
	return Name(s), nil
}

const namePartBytes = 96

func namePart(s string) bool {
	if s == "" || len(s) > namePartBytes || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		switch {
		case alnum:
		case i == 0 || i == len(s)-1 || !strings.ContainsRune("._-", rune(c)):
			return false
		}
	}
	return true
}

// Namespace returns the part before the slash.
func (n Name) Namespace() string {
	s, _, _ := strings.Cut(string(n), "/")
	return s
}

// Ref returns n as a subject.
func (n Name) Ref() warden.Ref { return warden.Ref{Kind: warden.KindModel, ID: string(n)} }

// A State says whether an artifact may be handed out.
type State string

// The states. Only Admitted artifacts are handed out.
const (
	Pending     State = "pending"     // no scan has finished yet
	Admitted    State = "admitted"    // the last decision allows it
	Denied      State = "denied"      // the last decision does not
	Quarantined State = "quarantined" // a person took it out; no decision overrides that
)

// An Artifact is a set of files, named by the digest of its manifest, and what
// the platform concluded about it.
type Artifact struct {
	Digest     warden.Digest
	Files      int
	Size       int64 // bytes of all files
	Created    time.Time
	Demo       bool          // was only ever pushed as demo data
	Decided    State         // what the last decision said: Pending, Admitted or Denied
	Verdict    string        // of the last scan, as warden.Verdict writes it; "" if there was none
	Complete   bool          // the last scan looked at everything
	Scanned    time.Time     // when; zero if never
	Decision   warden.Digest // the last one; zero if none
	Reason     string        // of Decided, for people
	Quarantine *Quarantine   // nil if it is not in quarantine
	Epoch      uint64        // when this row last changed
}

// A Quarantine is a person's word that an artifact must not be used.
type Quarantine struct {
	Reason string
	By     string // principal
	At     time.Time
}

// Ref returns a as a subject.
func (a Artifact) Ref() warden.Ref { return ArtifactRef(a.Digest) }

// ArtifactRef returns the artifact named d as a subject.
func ArtifactRef(d warden.Digest) warden.Ref {
	return warden.Ref{Kind: warden.KindArtifact, ID: d.String()}
}

// State returns what holds now: quarantine before the last decision.
func (a Artifact) State() State {
	switch {
	case a.Quarantine != nil:
		return Quarantined
	case a.Decided == "":
		return Pending
	default:
		return a.Decided
	}
}

// Why returns the reason of [Artifact.State], for people.
func (a Artifact) Why() string {
	switch {
	case a.Quarantine != nil:
		return "quarantined by " + a.Quarantine.By + ": " + a.Quarantine.Reason
	case a.Reason != "":
		return a.Reason
	case a.Decided == "" || a.Decided == Pending:
		return "the scan has not finished"
	default:
		return string(a.Decided)
	}
}

// Says returns the state and its reason as one phrase, for people.
func (a Artifact) Says() string { return Phrase(a.State(), a.Why()) }

// Phrase joins a state and its reason. A reason that begins with the state
// stands alone.
func Phrase(s State, why string) string {
	if strings.HasPrefix(why, string(s)) {
		return why
	}
	return string(s) + ": " + why
}

// A Version is one artifact under a model's name. Numbers count from 1 and are
// never used twice.
type Version struct {
	Model    Name
	Number   int
	Digest   warden.Digest
	PushedBy string // principal
	Created  time.Time
	Demo     bool
	Artifact Artifact // as it is now; a Store fills it in on reading
}

// Ref returns v as a subject.
func (v Version) Ref() warden.Ref {
	return warden.Ref{Kind: warden.KindModel, ID: fmt.Sprintf("%s@%d", v.Model, v.Number)}
}

// A Model is a name and its newest version.
type Model struct {
	Name     Name
	Versions int // how many there are
	Latest   Version
}

// A Scan is the outcome of examining an artifact once.
type Scan struct {
	ID       int64 // given by the store, ascending
	Artifact warden.Digest
	At       time.Time
	By       string // who scanned: "worker", a principal
	RuleSet  string // version of the rules
	Verdict  warden.Verdict
	Complete bool
	Findings []warden.Finding
	Statuses []Status
	Report   json.RawMessage // the scanner's own report (warden.scan/v1), as given
}

// A Status is what one detector said about its own run.
type Status struct {
	Detector string `json:"detector"`
	State    string `json:"state"`
	Error    string `json:"error,omitempty"`
	Findings int    `json:"findings"` // exact, also past the cap
}

// A FindingRow is a finding with where it was found.
type FindingRow struct {
	ID       int64 // given by the store
	Artifact warden.Digest
	Found    time.Time // by the scan that it is of
	Finding  warden.Finding
}

// A GroupState says what people think of a group of findings.
type GroupState string

// The states of groups. Resolved is set and unset by scans, the others by people.
const (
	Open     GroupState = "open"
	Resolved GroupState = "resolved" // the last scans do not find it any more
	Accepted GroupState = "accepted" // the risk is accepted
	False    GroupState = "false"    // it is not a true finding
)

// A Group is everything one rule found in one model, or in one artifact that
// belongs to no model: what a person handles as one thing.
type Group struct {
	ID        int64 // given by the store
	Rule      warden.RuleID
	Subject   warden.Ref // of kind model, else artifact
	Severity  warden.Severity
	State     GroupState
	Note      string // why it is in that state
	Count     int    // findings of it in the last scans of all its artifacts
	Artifacts int    // artifacts that have it now
	First     time.Time
	Last      time.Time
	Demo      bool
}

// A Member is the share that one artifact has in a [Group].
type Member struct {
	Artifact warden.Digest
	Count    int // 0: had it once, does not have it now
	Severity warden.Severity
	Last     time.Time
}

// A Statement is a signed envelope as it was received.
type Statement struct {
	ID            warden.Digest // its name here; zero means Payload
	Payload       warden.Digest // of the envelope's payload
	PredicateType string
	Signer        string // as the trust store named it when it was received; "" if it was not verified
	Subjects      []warden.Digest
	Received      time.Time
	By            string // principal who attached it; "" if this server made it
	Envelope      []byte // DSSE envelope or bundle, JSON
}

// A Decision is one policy decision with all that is needed to make it again.
// Equal inputs and outcome give an equal Record, so a decision that is made
// twice is kept once; the audit log says when it was made.
type Decision struct {
	Digest   warden.Digest // of Record; filled in by Service
	Artifact warden.Digest // what it is about
	Action   string        // "admit", "retrieve", "promote"
	At       time.Time     // when it was first made
	Effect   warden.Effect
	Policy   string   // name@digest of the policy set
	Because  []string // ids of the policies that determined it, in order
	Reason   string   // one sentence for people; not part of Record
	Request  json.RawMessage
	Facts    json.RawMessage
	Trust    int64           // version of the trust store
	Engine   string          // what evaluated it, with version
	Policies []byte          // canonical text of the policy set, kept under its digest; not filled in on reading
	Inputs   []warden.Digest // payloads of the statements that the facts come from; not filled in on reading
	Envelope []byte          // DSSE: the decision as a statement signed by this server; nil if it has no signer
	Record   []byte          // canonical JSON; filled in by Service
}

// An Edge relates two artifacts, or an artifact and something outside.
type Edge struct {
	From, To warden.Ref // From comes from To: From is the derivative
	Kind     string     // "base", "adapter", "quantised_from", …
	Tier     Tier
	Evidence string // digest of a statement, or path and offset; part of the identity
	Created  time.Time
	Demo     bool
}

// A Tier is how much an edge is worth, from least to most.
type Tier int

// The tiers.
const (
	Declared Tier = iota // a model card or configuration says so
	Inferred             // the bytes look so
	Attested             // a trusted signer says so
	Verified             // attested, and the bytes agree
)

// A Retrieval says that a principal took an artifact.
type Retrieval struct {
	Artifact  warden.Digest
	Principal string
	Count     int
	First     time.Time
	Last      time.Time
}

// A Wanted is an artifact that must be scanned: the only truth about work. Jobs
// on a queue are hints at these rows.
type Wanted struct {
	Artifact warden.Digest
	Class    string // class of queue
	Since    time.Time
	Why      string // "push", "rules", "request"
}
