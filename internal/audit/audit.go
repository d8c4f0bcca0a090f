// Package audit is the transparency log of the platform: a Merkle tree of
// events (RFC 6962 hashing, as in golang.org/x/mod/sumdb/tlog) whose leaves,
// nodes and deletable payloads are written in the same database transaction as
// the state change they describe. State and leaf commit or fail together.
//
// A leaf holds who did what to which object, and a commitment to the details.
// The details live beside the log under a random salt: erasing both removes
// personal data and leaves the log valid.
//
// [Log] writes and signs, [Verify] recomputes everything and names the first
// bad index, [Prove] and [Proof.Check] show one entry to somebody who has only
// a signed checkpoint. Without a checkpoint kept outside the database, the
// owner of the database can rewrite history; Verify says since when.
package audit

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/modelwarden/warden"
)

// Errors to branch on.
var (
	ErrTampered = errors.New("audit log was tampered with") // wrapped by Verify and Proof.Check
	ErrMissing  = errors.New("not in the audit log")        // no such entry or hash
	ErrUnsealed = errors.New("no checkpoint covers this entry yet")
)

// An Entry is one row of the log. Salt and Payload are nil if the event has no
// details or if they were erased; they are always both there or both gone.
type Entry struct {
	Seq     uint64
	Leaf    []byte // canonical JSON of the event: what is hashed
	Salt    []byte // 32 random bytes
	Payload []byte // canonical JSON of the details
}

// A Head says how much a log holds.
type Head struct {
	Entries uint64 // greatest sequence number plus one
	Hashes  int64  // greatest stored hash index plus one
}

// A Reader gives what verification, proofs and exports need. It may read a log
// that grows meanwhile: rows below a Head never change.
type Reader interface {
	AuditHead(ctx context.Context) (Head, error)
	// AuditHashes returns the hashes with these indexes, in that order. It
	// returns an error wrapping ErrMissing if one is not there.
	AuditHashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error)
	// AuditEntries returns at most limit entries from sequence number from on,
	// in order. It does not fill gaps.
	AuditEntries(ctx context.Context, from uint64, limit int) ([]Entry, error)
	// AuditCheckpoints returns at most limit checkpoints whose size is at least
	// from, in order of size.
	AuditCheckpoints(ctx context.Context, from uint64, limit int) ([]Checkpoint, error)
}

// A Tx is the part of a write transaction that the log needs. What it writes
// becomes visible with everything else in the transaction, or not at all.
type Tx interface {
	AuditHead(ctx context.Context) (Head, error)
	AuditHashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error)
	PutAuditHashes(ctx context.Context, first int64, hashes []tlog.Hash) error
	PutAuditEntries(ctx context.Context, entries []Entry) error
	PutAuditCheckpoint(ctx context.Context, c Checkpoint) error
	// EraseAuditPayload removes salt and payload of an entry; the leaf stays.
	EraseAuditPayload(ctx context.Context, seq uint64) error
}

// A Record is one event to append with its details. Payload is any value with a
// canonical JSON form; nil means that there are no details.
type Record struct {
	Event   warden.Event
	Payload any
}

// A Config is what a [Log] needs; every field is required.
type Config struct {
	Origin string           // Origin(host): the name of this log, for ever
	Signer note.Signer      // of checkpoints; its name is Origin
	Now    func() time.Time // the clock of the platform

	Cosigners []note.Signer // sign checkpoints, too: the key that another takes the place of
}

// A Log appends events and signs checkpoints. It keeps no state of its own, so
// several may write to one database as long as its transactions are serialised.
type Log struct {
	cfg Config
}

// Origin returns the name of the log of a host, as it stands in checkpoints.
func Origin(host string) string { return host + "/warden" }

// GenerateKey returns a new Ed25519 signing key for checkpoints and its public
// half, both in the text form of package note. The signing key is a secret.
func GenerateKey(origin string) (signer, verifier string, err error) {
	signer, verifier, err = note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return "", "", fmt.Errorf("make checkpoint key for %q: %w", origin, err)
	}
	return signer, verifier, nil
}

// New returns a Log. It starts nothing.
func New(cfg Config) (*Log, error) {
	switch {
	case cfg.Origin == "" || strings.ContainsAny(cfg.Origin, " +\n"):
		return nil, fmt.Errorf("audit: origin %q: must be a name without space, plus sign or line end", cfg.Origin)
	case cfg.Signer == nil:
		return nil, errors.New("audit: no signer for checkpoints")
	case cfg.Signer.Name() != cfg.Origin:
		return nil, fmt.Errorf("audit: checkpoint key is named %q, want %q: make one for this log", cfg.Signer.Name(), cfg.Origin)
	case cfg.Now == nil:
		return nil, errors.New("audit: no clock")
	}
	return &Log{cfg}, nil
}

// Origin returns the name of the log.
func (l *Log) Origin() string { return l.cfg.Origin }

// Append adds one event in the caller's transaction and returns it with Index,
// Time and Payload filled in.
func (l *Log) Append(ctx context.Context, tx Tx, ev warden.Event, payload any) (warden.Event, error) {
	evs, err := l.AppendAll(ctx, tx, []Record{{ev, payload}})
	if err != nil {
		return warden.Event{}, err
	}
	return evs[0], nil
}

// AppendAll adds events in order, in the caller's transaction, with one read of
// the head and one write of rows. It returns them as [Log.Append] does.
func (l *Log) AppendAll(ctx context.Context, tx Tx, records []Record) ([]warden.Event, error) {
	if len(records) == 0 {
		return nil, nil
	}
	head, err := tx.AuditHead(ctx)
	if err != nil {
		return nil, fmt.Errorf("read head of audit log: %w", err)
	}
	if want := tlog.StoredHashCount(int64(head.Entries)); head.Hashes != want {
		return nil, fmt.Errorf("%w: %d entries have %d hashes, want %d: run warden audit verify", ErrTampered, head.Entries, head.Hashes, want)
	}
	var (
		now     = l.cfg.Now().UTC()
		events  = make([]warden.Event, len(records))
		entries = make([]Entry, len(records))
		grown   = &overlay{ctx: ctx, tx: tx, first: head.Hashes}
	)
	for i, r := range records {
		ev := r.Event
		ev.Index, ev.Time, ev.Payload = head.Entries+uint64(i), now, warden.Digest{}
		e := Entry{Seq: ev.Index}
		if r.Payload != nil {
			if e.Payload, err = warden.Canonical(r.Payload); err != nil {
				return nil, fmt.Errorf("details of event %s: %w", ev.Action, err)
			}
			e.Salt = make([]byte, sha256.Size)
			rand.Read(e.Salt)
			ev.Payload = commit(e.Salt, e.Payload)
		}
		if e.Leaf, err = Leaf(ev); err != nil {
			return nil, err
		}
		hs, err := tlog.StoredHashes(int64(ev.Index), e.Leaf, grown)
		if err != nil {
			return nil, fmt.Errorf("hash event %d: %w", ev.Index, err)
		}
		grown.hashes = append(grown.hashes, hs...)
		events[i], entries[i] = ev, e
	}
	if err := tx.PutAuditEntries(ctx, entries); err != nil {
		return nil, fmt.Errorf("append %d events to the audit log: %w", len(entries), err)
	}
	if err := tx.PutAuditHashes(ctx, head.Hashes, grown.hashes); err != nil {
		return nil, fmt.Errorf("append %d hashes to the audit log: %w", len(grown.hashes), err)
	}
	return events, nil
}

// Erase removes the details of entries from the database, in the caller's
// transaction, and appends an event that says so and why.
func (l *Log) Erase(ctx context.Context, tx Tx, seqs []uint64, actor warden.Principal, reason string) (warden.Event, error) {
	for _, seq := range seqs {
		if err := tx.EraseAuditPayload(ctx, seq); err != nil {
			return warden.Event{}, fmt.Errorf("erase details of event %d: %w", seq, err)
		}
	}
	object := warden.Ref{Kind: warden.KindPrincipal, ID: actor.ID}
	return l.Append(ctx, tx, warden.Event{Actor: actor, Action: "audit.erase", Object: object},
		map[string]any{"entries": seqs, "reason": reason})
}

// overlay reads hashes that the transaction has, and those about to be written.
type overlay struct {
	ctx context.Context //nolint:containedctx // lives for one call of AppendAll; tlog.HashReader passes none
	tx  interface {
		AuditHashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error)
	}
	first  int64
	hashes []tlog.Hash
}

// ReadHashes implements [tlog.HashReader].
func (o *overlay) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	var stored []int64
	for i, x := range indexes {
		if x >= o.first {
			if x-o.first >= int64(len(o.hashes)) {
				return nil, fmt.Errorf("%w: hash %d", ErrMissing, x)
			}
			out[i] = o.hashes[x-o.first]
			continue
		}
		stored = append(stored, x)
	}
	if len(stored) == 0 {
		return out, nil
	}
	hs, err := o.tx.AuditHashes(o.ctx, stored)
	if err != nil {
		return nil, err
	}
	for i, x := range indexes {
		if x < o.first {
			out[i], hs = hs[0], hs[1:]
		}
	}
	return out, nil
}

// commit binds payload without revealing it: HMAC-SHA-256 under the salt.
func commit(salt, payload []byte) warden.Digest {
	mac := hmac.New(sha256.New, salt)
	mac.Write(payload)
	return warden.Digest(mac.Sum(nil))
}

// leaf is the wire form of an event. Its field names never change.
type leaf struct {
	Seq     uint64 `json:"seq"`
	Time    string `json:"time"` // RFC 3339, UTC
	Actor   actor  `json:"actor"`
	Action  string `json:"action"`
	Object  string `json:"object"` // kind:id
	Payload string `json:"payload,omitempty"`
}

type actor struct {
	ID    string   `json:"id"`
	Roles []string `json:"roles,omitempty"`
}

// Leaf returns the bytes of an event that are hashed into the log.
func Leaf(ev warden.Event) ([]byte, error) {
	if ev.Action == "" || ev.Actor.ID == "" || ev.Object.Kind == "" {
		return nil, fmt.Errorf("event %q by %q on %q: actor, action and object are required", ev.Action, ev.Actor.ID, ev.Object)
	}
	roles := slices.Clone(ev.Actor.Roles)
	slices.Sort(roles)
	l := leaf{
		Seq: ev.Index, Time: ev.Time.UTC().Format(time.RFC3339Nano),
		Actor: actor{ev.Actor.ID, roles}, Action: ev.Action, Object: ev.Object.String(),
	}
	if ev.Payload != (warden.Digest{}) {
		l.Payload = ev.Payload.String()
	}
	b, err := warden.Canonical(l)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", ev.Action, err)
	}
	return b, nil
}

// ParseLeaf is the inverse of [Leaf]. It accepts only bytes that Leaf makes.
func ParseLeaf(b []byte) (warden.Event, error) {
	var l leaf
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return warden.Event{}, fmt.Errorf("audit leaf: %w", err)
	}
	at, err := time.Parse(time.RFC3339Nano, l.Time)
	if err != nil {
		return warden.Event{}, fmt.Errorf("audit leaf: %w", err)
	}
	kind, id, ok := strings.Cut(l.Object, ":")
	if !ok {
		return warden.Event{}, fmt.Errorf("audit leaf: object %q is not kind:id", l.Object)
	}
	ev := warden.Event{
		Index: l.Seq, Time: at, Actor: warden.Principal{ID: l.Actor.ID, Roles: l.Actor.Roles},
		Action: l.Action, Object: warden.Ref{Kind: warden.Kind(kind), ID: id},
	}
	if l.Payload != "" {
		if ev.Payload, err = warden.ParseDigest(l.Payload); err != nil {
			return warden.Event{}, fmt.Errorf("audit leaf: %w", err)
		}
	}
	if again, err := Leaf(ev); err != nil || !bytes.Equal(again, b) {
		return warden.Event{}, fmt.Errorf("audit leaf %d is not canonical", l.Seq)
	}
	return ev, nil
}
