package register

import (
	"context"
	"errors"

	"github.com/modelwarden/warden/internal/audit"
)

// ErrNotFound is wrapped by a Store for a row that does not exist.
var ErrNotFound = errors.New("not in the register")

// A Store keeps the register and the audit log in one database.
type Store interface {
	// ViewRegister runs fn on one consistent state.
	ViewRegister(ctx context.Context, fn func(Reader) error) error
	// UpdateRegister runs fn in one serialisable transaction. It may run fn
	// again after a conflict.
	UpdateRegister(ctx context.Context, fn func(Tx) error) error
}

// A Reader reads one state.
type Reader interface {
	// RegisterEpoch returns the number of changes so far.
	RegisterEpoch(ctx context.Context) (uint64, error)
	Assets(ctx context.Context) ([]Asset, error) // by id
	Asset(ctx context.Context, id string) (Asset, error)
	Sources(ctx context.Context) ([]Source, error) // by name, with findings
	FindingGroups(ctx context.Context) ([]Group, error)
	FindingGroup(ctx context.Context, id string) (Group, error)
	OwnerRules(ctx context.Context) ([]OwnerRule, error) // in order
}

// A Tx also writes. Every write counts in the epoch.
type Tx interface {
	audit.Tx
	Reader
	PutAsset(ctx context.Context, a Asset) error
	PutSource(ctx context.Context, s Source) error
	PutFindingGroup(ctx context.Context, g Group) error
	PutOwnerRules(ctx context.Context, rs []OwnerRule) error
	// DeleteRegisterDemo removes what is only demo data.
	DeleteRegisterDemo(ctx context.Context) (assets int, err error)
}
