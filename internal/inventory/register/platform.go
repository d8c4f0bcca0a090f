package register

import (
	"context"
	"time"

	"github.com/modelwarden/warden"
)

// A Platform is what the registry, the gateway and access know. The server joins
// it.
type Platform interface {
	// Version differs whenever Snapshot may.
	Version(ctx context.Context) (string, error)
	Snapshot(ctx context.Context) (Snapshot, error)
}

// A Snapshot is what the platform knows at a time.
type Snapshot struct {
	Models   []Model
	Routes   []Route
	Disabled []string // people who may not sign in: user:NAME
	Rules    map[warden.RuleID]warden.Rule
}

// A Model is the newest version of a model of the registry.
type Model struct {
	Name       string
	Number     int
	Digest     string
	State      string // admitted, denied, quarantined, pending
	Verdict    warden.Verdict
	Scanned    time.Time // zero: never
	Complete   bool
	Stale      bool
	Pushed     time.Time
	Signed     bool
	Provenance bool
	Stage      string
	Files      []File
	Findings   []ModelFinding
	Demo       bool
}

// A File of a model.
type File struct{ Path, Digest string }

// A ModelFinding is what the last scan found.
type ModelFinding struct {
	Rule     warden.RuleID
	Severity warden.Severity
	Path     string // with nested members
	Message  string
	Evidence string
	Group    int64  // of the registry
	Word     string // what people said of that group: accepted, false; else ""
	Note     string
}

// A Route of a gateway, with its use in the last 30 days.
type Route struct {
	Name     string
	Model    string // of the registry, without version; "" for a provider's
	Provider string // provider/model
	Guard    string // off, shadow, standard
	Open     bool
	Requests int64
	Denied   int64 // by guards
	Last     time.Time
	Callers  int
	Demo     bool
}

// Sources that the platform itself is.
const (
	FromRegistry = "registry"
	FromGateway  = "gateway"
)

// own returns the id of a model of the registry.
func own(name string) string { return "model:registry:" + lower(name) }
