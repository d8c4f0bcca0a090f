// Package access knows who may come in: users and groups with their roles,
// access keys for programs, sessions for people at the console, and the one-time
// links that begin the first session. It says who somebody is and which roles
// they hold; what they may do is policy's answer.
//
// Secrets are shown once and stored as keyed hashes. Every failed look-up gives
// the same error, whatever was wrong, so that nobody learns which keys exist.
package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/policy"
)

// ErrUnknown is returned for every credential that does not let anybody in:
// unknown, wrong, expired or revoked alike.
var ErrUnknown = &warden.Error{
	Code: warden.CodeUnauthenticated, Message: "no valid credential",
	Hint: "send an access key as \"Authorization: Bearer wdn_…\", or sign in at the console",
}

// ErrLink is returned for a one-time link that does not begin a session: used,
// expired or never made, alike.
var ErrLink = &warden.Error{
	Code: warden.CodeUnauthenticated, Message: "this link was used already, has expired, or was never made",
	Hint: "make a new one on the server's machine with: warden access link",
}

// ErrNotFound is wrapped by a Store for a row that does not exist.
var ErrNotFound = errors.New("not found")

// Roles are the groups that the standard policies know.
const (
	RoleAdmin    = "admin"    // everything that no policy forbids
	RoleSecurity = "security" // quarantine and release, read
	RoleEngineer = "engineer" // push, download, read
	RoleReader   = "reader"   // download, read
	RoleClient   = "client"   // query routes at the gateway
)

// Roles lists the roles that a key may have.
func Roles() []string {
	return []string{RoleAdmin, RoleSecurity, RoleEngineer, RoleReader, RoleClient}
}

// Actions lists the actions that a key may be limited to.
func Actions() []string {
	var out []string
	for _, a := range []policy.Action{
		policy.Read, policy.Retrieve, policy.Query, policy.Modify, policy.Attest, policy.Approve, policy.Promote, policy.Quarantine, policy.Administer,
	} {
		out = append(out, string(a))
	}
	return out
}

// A Key is an access key of a program or a person. The secret is not in it.
type Key struct {
	ID        string   // 26 characters, public
	Name      string   // what it is for
	Principal string   // "user:…", "service:…" or "key:" and ID
	Roles     []string // texts of [policy.Grant]: a role, or a role for some namespaces
	Routes    []string // gateway routes it may query; none: every route its roles allow
	Hash      []byte   // HMAC-SHA-256 of the secret under the pepper
	Created   time.Time
	Expires   time.Time // required
	Revoked   time.Time // zero: not revoked
	Demo      bool      // made by the demo loader
	Actions   []string  // of policy that it may ask for; none: every one its roles allow
	Owner     string    // principal that made it and answers for it
	Used      time.Time // last use, to some minutes; zero: never
}

// valid reports whether k lets its holder in at time now.
func (k Key) valid(now time.Time) bool { return k.Revoked.IsZero() && now.Before(k.Expires) }

// A Session is one person signed in at the console.
type Session struct {
	Hash      []byte // SHA-256 of the cookie value; the row's name
	Principal string
	Roles     []string
	Key       string // id of the key that began it; "" for a link. A revoked key ends it
	Created   time.Time
	Expires   time.Time
}

// A Link is a one-time link that begins a session.
type Link struct {
	Hash      []byte // SHA-256 of the token
	Principal string
	Roles     []string
	Expires   time.Time
}

// A Store keeps keys, sessions and links. Look-ups wrap [ErrNotFound].
type Store interface {
	Key(ctx context.Context, id string) (Key, error)
	Keys(ctx context.Context) ([]Key, error) // by time of creation
	Session(ctx context.Context, hash []byte) (Session, error)
	Directory
	// AccessEpoch returns the number of changes of keys, users and groups.
	AccessEpoch(ctx context.Context) (uint64, error)
	// UpdateAccess runs fn in one serialisable transaction. It may run fn again
	// after a conflict: fn has no side effects.
	UpdateAccess(ctx context.Context, fn func(Tx) error) error
}

// A Tx is one transaction of a Store.
type Tx interface {
	audit.Tx
	Directory
	DirectoryWriter
	CredentialWriter
	Key(ctx context.Context, id string) (Key, error)
}

// A CredentialWriter changes keys, sessions and links.
type CredentialWriter interface {
	PutKey(ctx context.Context, k Key) error
	DeleteKeys(ctx context.Context, demo bool) (int, error)    // those with this Demo mark
	UseKey(ctx context.Context, id string, at time.Time) error // never moves the time back
	PutSession(ctx context.Context, s Session) error
	DeleteSession(ctx context.Context, hash []byte) error
	PutLink(ctx context.Context, l Link) error
	TakeLink(ctx context.Context, hash []byte) (Link, error) // returns and deletes it
}

// A Config is what a Service needs; every field is required.
type Config struct {
	Store  Store
	Log    *audit.Log
	Pepper []byte // at least 32 secret bytes, kept outside the database
	Now    func() time.Time
}

// A Service makes and checks credentials. It is safe for concurrent use.
type Service struct {
	cfg Config

	changes atomic.Uint64 // of the directory, by this process

	mu   sync.Mutex           // guards used
	used map[string]time.Time // uses of keys that are not yet kept
}

// New checks cfg. It starts nothing.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Log == nil || cfg.Now == nil || len(cfg.Pepper) < 32 {
		return nil, errors.New("access: store, log, clock and a pepper of 32 bytes are required")
	}
	return &Service{cfg: cfg, used: map[string]time.Time{}}, nil
}

const prefix = "wdn_"

// A Secret is the text of a credential. It does not show itself in logs.
type Secret string

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// String hides the secret; use Reveal.
func (Secret) String() string { return "[secret]" }

// MarshalText hides the secret, also inside of other values in JSON or YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// GoString hides the secret.
func (Secret) GoString() string { return "[secret]" }

// Reveal returns the text, to be shown once.
func (s Secret) Reveal() string { return string(s) }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func encode(b []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// A NewKey says what key to make.
type NewKey struct {
	Name      string
	Principal string // "": the key is its own principal
	Roles     []string
	Routes    []string
	Actions   []string      // none: every action that the roles allow
	TTL       time.Duration // zero: 90 days; at most one year
	Demo      bool
}

// Lifetimes.
const (
	DefaultKeyTTL = 90 * 24 * time.Hour
	MaxKeyTTL     = 366 * 24 * time.Hour
	SessionTTL    = 12 * time.Hour
	LinkTTL       = 24 * time.Hour
)

// CreateKey makes a key. The secret has the form wdn_<id>_<secret><crc>, so that
// secret scanners can recognise and confirm one; it cannot be shown again.
func (s *Service) CreateKey(ctx context.Context, nk NewKey, by warden.Principal) (Key, Secret, error) {
	if nk.TTL == 0 {
		nk.TTL = DefaultKeyTTL
	}
	switch {
	case nk.Name == "" || len(nk.Name) > 100:
		return Key{}, "", invalid("a key needs a name of at most 100 bytes", "say what it is for: --name ci-pipeline")
	case len(nk.Roles) == 0:
		return Key{}, "", invalid("a key needs at least one role", "roles are "+strings.Join(Roles(), ", "))
	case nk.TTL < 0 || nk.TTL > MaxKeyTTL:
		return Key{}, "", invalid("a key lives longer than 0 and at most 366 days", "rotate keys instead of letting them live for ever")
	}
	roles, err := checkRoles(nk.Roles)
	if err != nil {
		return Key{}, "", err
	}
	for _, a := range nk.Actions {
		if !slices.Contains(Actions(), a) {
			return Key{}, "", invalid(fmt.Sprintf("unknown action %q", detail(a)), "actions are "+strings.Join(Actions(), ", "))
		}
	}
	now := s.now()
	secret := encode(random(32))
	k := Key{
		ID: encode(random(16)), Name: nk.Name, Principal: nk.Principal, Roles: roles, Routes: slices.Clone(nk.Routes), Actions: slices.Clone(nk.Actions),
		Hash: s.hash(secret), Created: now, Expires: now.Add(nk.TTL), Demo: nk.Demo, Owner: by.ID,
	}
	if k.Principal == "" {
		k.Principal = "key:" + k.ID
	}
	err = s.update(ctx, func(tx Tx) error {
		if err := tx.PutKey(ctx, k); err != nil {
			return err
		}
		return s.log(ctx, tx, by, "access.key.create", k.ref(), map[string]any{"name": k.Name, "roles": k.Roles, "routes": k.Routes, "actions": k.Actions, "expires": k.Expires})
	})
	if err != nil {
		return Key{}, "", fmt.Errorf("create key: %w", err)
	}
	text := prefix + k.ID + "_" + secret
	return k, Secret(text + checksum(text)), nil
}

func (k Key) ref() warden.Ref { return warden.Ref{Kind: warden.KindPrincipal, ID: "key:" + k.ID} }

func (s *Service) hash(secret string) []byte {
	h := hmac.New(sha256.New, s.cfg.Pepper)
	h.Write([]byte(secret))
	return h.Sum(nil)
}

func checksum(text string) string {
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text)))
}

// Lengths of the parts of a key's text.
const (
	idLen     = 26
	secretLen = 52
	crcLen    = 8
)

// parse splits the text of a key. It does not say what is wrong.
func parse(text string) (id, secret string, ok bool) {
	rest, found := strings.CutPrefix(text, prefix)
	if !found || len(rest) != idLen+1+secretLen+crcLen || rest[idLen] != '_' {
		return "", "", false
	}
	body := text[:len(text)-crcLen]
	if checksum(body) != text[len(text)-crcLen:] {
		return "", "", false
	}
	return rest[:idLen], rest[idLen+1 : idLen+1+secretLen], true
}

// An Identity is somebody who showed a valid credential.
type Identity struct {
	Principal warden.Principal
	KeyID     string   // "" for a session that a link began
	Routes    []string // gateway routes a key is limited to; none: no limit
	Actions   []string // actions a key is limited to; none: no limit
	Expires   time.Time
	Session   []byte // hash of the session; nil for a key
	// Groups are the names of the groups that the principal is in; only a
	// [Cache] tells them.
	Groups []string
	Owner  string // principal that made the key; "" for a session
}

// Key authenticates the text of an access key.
func (s *Service) Key(ctx context.Context, text string) (Identity, error) {
	id, secret, ok := parse(text)
	if !ok {
		return Identity{}, ErrUnknown
	}
	k, err := s.cfg.Store.Key(ctx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Identity{}, fmt.Errorf("look up key: %w", err)
	}
	// The hash is computed for unknown keys too: they take as long as wrong ones.
	if match := subtle.ConstantTimeCompare(s.hash(secret), k.Hash) == 1; err != nil || !match || !k.valid(s.cfg.Now()) {
		return Identity{}, ErrUnknown
	}
	if err := s.enabled(ctx, k); err != nil {
		return Identity{}, err
	}
	s.use(k.ID)
	return k.identity(), nil
}

// enabled returns ErrUnknown for a key of a user who is disabled.
func (s *Service) enabled(ctx context.Context, k Key) error {
	if !strings.HasPrefix(k.Principal, "user:") {
		return nil
	}
	u, err := s.cfg.Store.User(ctx, k.Principal)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("look up user: %w", err)
	}
	if u.Disabled {
		return ErrUnknown
	}
	return nil
}

// Allows reports whether the credential may be used for an action at all; what
// the roles allow is policy's answer.
func (i Identity) Allows(action policy.Action) bool {
	return len(i.Actions) == 0 || slices.Contains(i.Actions, string(action))
}

// use notes the use of a key. It waits for no database.
func (s *Service) use(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[id] = s.now()
}

// KeepUses writes down when keys were last used. It is called from time to
// time; what is lost with a crash is nothing but the time of a use.
func (s *Service) KeepUses(ctx context.Context) error {
	s.mu.Lock()
	used := s.used
	s.used = map[string]time.Time{}
	s.mu.Unlock()
	if len(used) == 0 {
		return nil
	}
	return s.cfg.Store.UpdateAccess(ctx, func(tx Tx) error {
		for id, at := range used {
			if err := tx.UseKey(ctx, id, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// Keys lists all keys.
func (s *Service) Keys(ctx context.Context) ([]Key, error) { return s.cfg.Store.Keys(ctx) }

// RevokeKey ends a key at once. Revoking twice is no error.
func (s *Service) RevokeKey(ctx context.Context, id string, by warden.Principal) (Key, error) {
	var k Key
	err := s.update(ctx, func(tx Tx) (err error) {
		if k, err = tx.Key(ctx, id); err != nil {
			return missing(err, "key", id, "list them with: warden access key list")
		}
		if !k.Revoked.IsZero() {
			return nil
		}
		k.Revoked = s.now()
		if err := tx.PutKey(ctx, k); err != nil {
			return err
		}
		return s.log(ctx, tx, by, "access.key.revoke", k.ref(), nil)
	})
	return k, err
}

// RemoveDemo deletes the keys of the demo.
func (s *Service) RemoveDemo(ctx context.Context, by warden.Principal) (int, error) {
	var n int
	err := s.update(ctx, func(tx Tx) (err error) {
		if n, err = tx.DeleteKeys(ctx, true); err != nil || n == 0 {
			return err
		}
		return s.log(ctx, tx, by, "access.demo.remove", warden.Ref{Kind: warden.KindPrincipal, ID: "demo"}, map[string]any{"keys": n})
	})
	return n, err
}

// update changes the directory: what a [Cache] remembers does not count any more.
func (s *Service) update(ctx context.Context, fn func(Tx) error) error {
	defer s.changes.Add(1)
	return s.cfg.Store.UpdateAccess(ctx, fn)
}

func (s *Service) log(ctx context.Context, tx Tx, by warden.Principal, action string, on warden.Ref, payload any) error {
	_, err := s.cfg.Log.Append(ctx, tx, warden.Event{Actor: by, Action: action, Object: on}, payload)
	return err
}

func invalid(message, hint string) error {
	return &warden.Error{Code: warden.CodeInvalid, Message: message, Hint: hint}
}

// detail bounds text from a request that is echoed in an error.
func detail(s string) string { return s[:min(len(s), 64)] }
