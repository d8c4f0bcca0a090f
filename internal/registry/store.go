package registry

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
)

// A Store keeps the rows of the registry and the audit log in one database.
type Store interface {
	// View runs fn on one consistent state of the database.
	View(ctx context.Context, fn func(Reader) error) error
	// Update runs fn in one serialisable transaction, which is on disk when
	// Update returns nil and never was when it returns an error. fn may run
	// again after a conflict: it must have no side effects. Concurrent updates
	// may share one commit.
	Update(ctx context.Context, fn func(Tx) error) error
}

// A Reader answers questions about one state of the registry. Methods that ask
// for one thing return an error wrapping [ErrNotFound] if there is none.
type Reader interface {
	Catalog
	Evidence
	Graph
	Feed
	Governance
	AuditTrail
}

// A Tx reads what it wrote.
type Tx interface {
	Reader
	audit.Tx
	CatalogWriter
	EvidenceWriter
	GovernanceWriter
	FeedWriter
}

// A Page asks for a part of a list. The zero Page asks for its beginning.
type Page struct {
	After string // the cursor that the part before gave; opaque
	Limit int    // 0 means 50; at most 1,000
}

// Size returns the limit that holds.
func (p Page) Size() int {
	switch {
	case p.Limit <= 0:
		return 50
	case p.Limit > 1000:
		return 1000
	default:
		return p.Limit
	}
}

// A Catalog lists what there is.
type Catalog interface {
	Artifact(ctx context.Context, d warden.Digest) (Artifact, error)
	Manifest(ctx context.Context, d warden.Digest) ([]byte, error)
	// Version returns version n of a model; 0 asks for the newest.
	Version(ctx context.Context, model Name, n int) (Version, error)
	// VersionsOf returns all versions that are artifact d, by name and number.
	VersionsOf(ctx context.Context, d warden.Digest) ([]Version, error)
	// Versions lists versions, newest first.
	Versions(ctx context.Context, f VersionFilter, p Page) (vs []Version, next string, err error)
	// Models lists models by name.
	Models(ctx context.Context, f ModelFilter, p Page) (ms []Model, next string, err error)
	// Holders returns at most limit artifacts that contain the file, oldest first.
	Holders(ctx context.Context, file warden.Digest, limit int) ([]warden.Digest, error)
}

// A VersionFilter selects versions; zero fields select all.
type VersionFilter struct {
	Model  Name
	State  State
	Demo   bool   // only demo data
	Search string // part of the name, in any case
}

// A ModelFilter selects models; zero fields select all.
type ModelFilter struct {
	Namespace string
	State     State  // of the newest version
	Search    string // part of the name, in any case
}

// Evidence is what scans, signers and policies said.
type Evidence interface {
	// Scan returns the last scan of an artifact, without its findings.
	Scan(ctx context.Context, d warden.Digest) (Scan, error)
	// Findings lists findings of last scans, worst first.
	Findings(ctx context.Context, f FindingFilter, p Page) (fs []FindingRow, next string, err error)
	Group(ctx context.Context, id int64) (Group, error)
	GroupFor(ctx context.Context, rule warden.RuleID, subject warden.Ref) (Group, error)
	// Groups lists groups, worst first, then the last seen.
	Groups(ctx context.Context, f GroupFilter, p Page) (gs []Group, next string, err error)
	Members(ctx context.Context, group int64) ([]Member, error)
	// Statements returns the statements about an artifact, oldest first.
	Statements(ctx context.Context, d warden.Digest) ([]Statement, error)
	Decisions
}

// Decisions are found by digest or by what they are about.
type Decisions interface {
	Decision(ctx context.Context, d warden.Digest) (Decision, error)
	// DecisionsOn lists the decisions about an artifact, newest first.
	DecisionsOn(ctx context.Context, artifact warden.Digest, p Page) (ds []Decision, next string, err error)
	// LastDecisions returns the newest decisions about anything.
	LastDecisions(ctx context.Context, limit int) ([]Decision, error)
}

// A FindingFilter selects findings; zero fields select all.
type FindingFilter struct {
	Artifact warden.Digest
	Rule     warden.RuleID
	Severity warden.Severity // this or worse
}

// A GroupFilter selects groups; zero fields select all.
type GroupFilter struct {
	Severity warden.Severity // this or worse
	Rule     warden.RuleID
	Subject  warden.Ref
	State    GroupState
	Search   string // part of rule id or subject, in any case
}

// A Graph answers what comes from what and who has it.
type Graph interface {
	// Edges returns the edges from a subject to its origins, or with back those
	// that come to it from its derivatives.
	Edges(ctx context.Context, at warden.Ref, back bool) ([]Edge, error)
	// Reach returns everything that can be reached over edges of at least tier,
	// with the length of the shortest way, nearest first, up to depth steps. It
	// does not contain at itself. Cut says that there is more beyond.
	Reach(ctx context.Context, at warden.Ref, back bool, tier Tier, depth int) (found []Reached, cut bool, err error)
	// Retrievals returns who took an artifact, the last first.
	Retrievals(ctx context.Context, d warden.Digest) ([]Retrieval, error)
	// RetrievedBy returns what a principal took, the last first.
	RetrievedBy(ctx context.Context, principal string) ([]Retrieval, error)
}

// A Reached is one end of a walk over edges.
type Reached struct {
	Ref   warden.Ref
	Depth int
}

// A Feed says what changed and what is to be done.
type Feed interface {
	// Epoch returns the number of changes of state so far.
	Epoch(ctx context.Context) (uint64, error)
	// ChangedSince returns at most limit artifacts that changed after an epoch,
	// in order.
	ChangedSince(ctx context.Context, epoch uint64, limit int) ([]Artifact, error)
	// Wanted returns at most limit artifacts to scan, the longest wanted first.
	Wanted(ctx context.Context, limit int) ([]Wanted, error)
	Totals(ctx context.Context) (Totals, error)
	// Job returns the job about an artifact.
	Job(ctx context.Context, d warden.Digest) (Job, error)
	// Jobs lists jobs in a state, or all, the last changed first.
	Jobs(ctx context.Context, state JobState, p Page) (js []Job, next string, err error)
}

// Totals are the numbers of a posture page.
type Totals struct {
	Models, Versions, Artifacts                 int
	Pending, Admitted, Denied, Quarantined      int // artifacts
	Files                                       int
	Bytes                                       int64 // of distinct files
	OpenCritical, OpenHigh, OpenMedium, OpenLow int   // groups that are open; low includes info
	Decisions, Retrievals                       int
	Wanted                                      int
	Demo                                        bool // some of it is demo data
}

// An AuditTrail reads the audit log, also by what its entries are about.
type AuditTrail interface {
	audit.Reader
	// Trail lists entries, newest first.
	Trail(ctx context.Context, f TrailFilter, p Page) (es []audit.Entry, next string, err error)
}

// A TrailFilter selects entries; zero fields select all.
type TrailFilter struct {
	Object warden.Ref
	Actor  string
	Action string
}

// A CatalogWriter changes the catalog.
type CatalogWriter interface {
	// PutArtifact inserts an artifact with its manifest, whose files are those
	// of m. It returns an error wrapping ErrExists if the digest is there.
	PutArtifact(ctx context.Context, a Artifact, m Manifest, encoded []byte) error
	// SetArtifact changes all but Digest, Files, Size and Created.
	SetArtifact(ctx context.Context, a Artifact) error
	// PutVersion inserts v under the next number of its model, which it
	// returns. It returns an error wrapping ErrExists if there is a model whose
	// name differs in case only.
	PutVersion(ctx context.Context, v Version) (number int, err error)
	// DeleteDemo removes demo versions, artifacts that are only demo data with
	// all that is known about them, demo edges, and groups left empty. It
	// returns how many versions and artifacts went.
	DeleteDemo(ctx context.Context) (versions, artifacts int, err error)
}

// An EvidenceWriter keeps what was said.
type EvidenceWriter interface {
	// PutScan keeps a scan and makes its findings those of its artifact.
	PutScan(ctx context.Context, s Scan) (id int64, err error)
	// PutGroup inserts a group (ID 0) or changes one, and returns its id. Count,
	// Artifacts and Severity are those of its members and not written.
	PutGroup(ctx context.Context, g Group) (id int64, err error)
	PutMember(ctx context.Context, group int64, m Member) error
	// GroupsOf returns the groups of a subject in which an artifact has or had
	// a share.
	GroupsOf(ctx context.Context, subject warden.Ref, artifact warden.Digest) ([]Group, error)
	// PutStatement keeps a statement; that it is there is not an error.
	PutStatement(ctx context.Context, s Statement) error
	// PutDecision keeps a decision; that it is there is not an error.
	PutDecision(ctx context.Context, d Decision) error
	// PutEdge keeps an edge, or raises the tier of one that is there.
	PutEdge(ctx context.Context, e Edge) error
	// AddRetrieval counts one more retrieval.
	AddRetrieval(ctx context.Context, d warden.Digest, principal string, at time.Time) error
}

// A FeedWriter says what changed and what is to be done.
type FeedWriter interface {
	// BumpEpoch counts one change and returns its number.
	BumpEpoch(ctx context.Context) (uint64, error)
	// WantScan wants an artifact scanned; the class and time of a row that is
	// there stay.
	WantScan(ctx context.Context, w Wanted) error
	UnwantScan(ctx context.Context, d warden.Digest) error
	// PutJob keeps the job about its artifact; ID is not written.
	PutJob(ctx context.Context, j Job) error
	// DeleteJobs removes jobs in a state that changed last before a time, and
	// returns how many.
	DeleteJobs(ctx context.Context, state JobState, before time.Time) (int, error)
}

// Cursor returns the cursor after a row whose sort keys are given. Stores use
// it for lists that are sorted by numbers.
func Cursor(keys ...int64) string {
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = strconv.FormatInt(k, 36)
	}
	return strings.Join(parts, ".")
}

// ParseCursor is the inverse of [Cursor] for n keys. The error is a
// *warden.Error, as cursors come back from users.
func ParseCursor(text string, n int) ([]int64, error) {
	parts := strings.Split(text, ".")
	keys := make([]int64, 0, n)
	for _, p := range parts {
		k, err := strconv.ParseInt(p, 36, 64)
		if err != nil || len(parts) != n {
			return nil, &warden.Error{
				Code: warden.CodeInvalid, Message: fmt.Sprintf("cursor %.60q is not one of this list", text),
				Hint: "use the cursor that the page before gave, or none for the first page",
			}
		}
		keys = append(keys, k)
	}
	return keys, nil
}
