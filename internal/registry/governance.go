package registry

import (
	"context"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
)

// A Stage says how far a version of a model has come. Only a promotion, which
// policies decide on, moves a version to another stage.
type Stage string

// The stages. A version begins in Dev.
const (
	Dev      Stage = "dev"
	Staging  Stage = "staging"
	Prod     Stage = "prod"
	Archived Stage = "archived"
)

// Stages lists the stages in order.
func Stages() []Stage { return []Stage{Dev, Staging, Prod, Archived} }

// A StageChange is one step in the history of a version.
type StageChange struct {
	Model    Name
	Number   int
	Artifact warden.Digest
	Before   Stage
	After    Stage
	At       time.Time
	By       string // principal
	Reason   string
	Decision warden.Digest // that allowed it
}

// A TrustList is one version of the trust store. Versions count from 1; version
// 0 is the list that only has the key of the server.
type TrustList struct {
	Version int64
	At      time.Time
	By      string // principal
	Action  string // "add" or "revoke"
	Entry   string // id of the entry that changed
	Entries []attest.Entry
}

// A PolicyState says whether a policy set holds.
type PolicyState string

// The states of policy sets.
const (
	Proposed PolicyState = "proposed" // waits for another person
	Applied  PolicyState = "applied"  // the last one that was applied holds
)

// A PolicyVersion is one policy set that somebody proposed. Versions count from
// 1; version 0 is the set that the server was started with. The text is kept
// under Digest.
type PolicyVersion struct {
	Version    int64
	Name       string
	Digest     warden.Digest
	State      PolicyState
	Reason     string
	ProposedBy string
	ProposedAt time.Time
	DecidedBy  string // who applied it
	DecidedAt  time.Time
}

// Names of counters that a store keeps.
const (
	JudgedTrust  = "judged_trust"  // version of the trust store that all artifacts were judged by
	JudgedPolicy = "judged_policy" // version of the policies, likewise
)

// Governance is what people decided about trust, policies and stages.
type Governance interface {
	// TrustVersion returns the number of the newest version, 0 for none.
	TrustVersion(ctx context.Context) (int64, error)
	Trust(ctx context.Context, version int64) (TrustList, error)
	// PolicyApplied returns the number of the set that holds, 0 for that of the
	// configuration.
	PolicyApplied(ctx context.Context) (int64, error)
	// PolicyVersions lists all versions, newest first.
	PolicyVersions(ctx context.Context) ([]PolicyVersion, error)
	// StageChanges returns the history of one version, or with number 0 of all
	// versions of a model, oldest first.
	StageChanges(ctx context.Context, model Name, number int) ([]StageChange, error)
	// Attested returns at most limit artifacts after a digest that somebody
	// attached statements to.
	Attested(ctx context.Context, after warden.Digest, limit int) ([]warden.Digest, error)
	// Content returns bytes that were kept under their digest.
	Content(ctx context.Context, d warden.Digest) ([]byte, error)
	Counter(ctx context.Context, name string) (int64, error)
}

// A GovernanceWriter keeps what people decided.
type GovernanceWriter interface {
	// PutTrust adds a version. It returns an error wrapping ErrExists if the
	// number is taken.
	PutTrust(ctx context.Context, l TrustList) error
	// PutPolicyVersion adds a version, or changes state, decider and time of one.
	PutPolicyVersion(ctx context.Context, v PolicyVersion) error
	PutStageChange(ctx context.Context, c StageChange) error
	// PutContent keeps b under its digest; that it is there is not an error.
	PutContent(ctx context.Context, b []byte) error
	SetCounter(ctx context.Context, name string, value int64) error
}
