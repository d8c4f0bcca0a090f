package registrytest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/registry"
)

// Memory is the trivial store: maps, of which each update changes a copy. It is
// for tests and says in few words what a store does.
type Memory struct {
	write sync.Mutex // held by an update

	mu  sync.Mutex // guards now
	now *state     // never changed once it is here
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{now: &state{
		payloads: map[uint64][2][]byte{}, checkpoints: map[uint64][]byte{}, artifacts: map[warden.Digest]registry.Artifact{},
		manifests: map[warden.Digest][]byte{}, files: map[warden.Digest][]registry.File{}, models: map[string]int{}, scans: map[warden.Digest]registry.Scan{},
		members: map[int64]map[warden.Digest]registry.Member{}, retrievals: map[[2]string]registry.Retrieval{}, wanted: map[warden.Digest]registry.Wanted{}, jobs: map[warden.Digest]registry.Job{},
		governance: governance{content: map[warden.Digest][]byte{}, counters: map[string]int64{}},
	}}
}

// state is one state of the database, and a transaction on its own copy.
type state struct {
	entries     []audit.Entry
	payloads    map[uint64][2][]byte
	hashes      []tlog.Hash
	checkpoints map[uint64][]byte
	epoch       uint64
	serial      int64 // the last id that was given
	artifacts   map[warden.Digest]registry.Artifact
	manifests   map[warden.Digest][]byte
	files       map[warden.Digest][]registry.File
	models      map[string]int // last number of each
	versions    []row[registry.Version]
	scans       map[warden.Digest]registry.Scan
	findings    []registry.FindingRow
	groups      []registry.Group
	members     map[int64]map[warden.Digest]registry.Member
	statements  []registry.Statement
	decisions   []row[registry.Decision]
	edges       []registry.Edge
	retrievals  map[[2]string]registry.Retrieval
	wanted      map[warden.Digest]registry.Wanted
	jobs        map[warden.Digest]registry.Job
	governance
}

type row[T any] struct {
	id int64
	v  T
}

func (s *state) clone() *state {
	c := *s
	c.entries, c.hashes = slices.Clone(s.entries), slices.Clone(s.hashes)
	c.payloads, c.checkpoints = maps.Clone(s.payloads), maps.Clone(s.checkpoints)
	c.artifacts, c.manifests, c.files, c.models = maps.Clone(s.artifacts), maps.Clone(s.manifests), maps.Clone(s.files), maps.Clone(s.models)
	c.versions, c.scans, c.findings, c.groups = slices.Clone(s.versions), maps.Clone(s.scans), slices.Clone(s.findings), slices.Clone(s.groups)
	c.members = map[int64]map[warden.Digest]registry.Member{}
	for id, m := range s.members {
		c.members[id] = maps.Clone(m)
	}
	c.statements, c.decisions, c.edges = slices.Clone(s.statements), slices.Clone(s.decisions), slices.Clone(s.edges)
	c.retrievals, c.wanted, c.jobs = maps.Clone(s.retrievals), maps.Clone(s.wanted), maps.Clone(s.jobs)
	c.trust, c.policies, c.stages = slices.Clone(s.trust), slices.Clone(s.policies), slices.Clone(s.stages)
	c.content, c.counters = maps.Clone(s.content), maps.Clone(s.counters)
	return &c
}

// View implements [registry.Store].
func (m *Memory) View(ctx context.Context, fn func(registry.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	now := m.now
	m.mu.Unlock()
	return fn(now)
}

// Update implements [registry.Store].
func (m *Memory) Update(ctx context.Context, fn func(registry.Tx) error) error {
	m.write.Lock()
	defer m.write.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	next := m.now.clone()
	m.mu.Unlock()
	if err := fn(next); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = next
	return nil
}

func (s *state) id() int64 {
	s.serial++
	return s.serial
}

func got[K comparable, V any](m map[K]V, k K) (V, error) {
	v, ok := m[k]
	if !ok {
		return v, fmt.Errorf("%v: %w", k, registry.ErrNotFound)
	}
	return v, nil
}

// find returns the first of rows for which is holds.
func find[T any](rows []T, is func(T) bool) (T, error) {
	if i := slices.IndexFunc(rows, is); i >= 0 {
		return rows[i], nil
	}
	var zero T
	return zero, registry.ErrNotFound
}

// keep returns the rows for which is holds, in a new slice.
func keep[T any](rows []T, is func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(rows), func(v T) bool { return !is(v) })
}

// part returns a page of rows, which are sorted and selected already. Rows are
// passed over up to and with the one whose cursor the page names.
func part[T any](rows []T, p registry.Page, cursor func(T) string) ([]T, string, error) {
	if p.After != "" {
		i := slices.IndexFunc(rows, func(v T) bool { return cursor(v) == p.After })
		if i < 0 {
			return nil, "", &warden.Error{Code: warden.CodeInvalid, Message: "no such cursor", Hint: "begin with the first page"}
		}
		rows = rows[i+1:]
	}
	if len(rows) <= p.Size() {
		return rows, "", nil
	}
	rows = rows[:p.Size()]
	return rows, cursor(rows[len(rows)-1]), nil
}

func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

// AuditHead implements [audit.Reader].
func (s *state) AuditHead(context.Context) (audit.Head, error) {
	return audit.Head{Entries: uint64(len(s.entries)), Hashes: int64(len(s.hashes))}, nil
}

// AuditHashes implements [audit.Reader].
func (s *state) AuditHashes(_ context.Context, indexes []int64) (out []tlog.Hash, err error) {
	for _, i := range indexes {
		if i < 0 || i >= int64(len(s.hashes)) {
			return nil, fmt.Errorf("hash %d: %w", i, audit.ErrMissing)
		}
		out = append(out, s.hashes[i])
	}
	return out, nil
}

func (s *state) entry(e audit.Entry) audit.Entry {
	e.Salt, e.Payload = s.payloads[e.Seq][0], s.payloads[e.Seq][1]
	return e
}

// AuditEntries implements [audit.Reader].
func (s *state) AuditEntries(_ context.Context, from uint64, limit int) (out []audit.Entry, err error) {
	for i := from; i < uint64(len(s.entries)) && len(out) < limit; i++ {
		out = append(out, s.entry(s.entries[i]))
	}
	return out, nil
}

// AuditCheckpoints implements [audit.Reader].
func (s *state) AuditCheckpoints(_ context.Context, from uint64, limit int) (out []audit.Checkpoint, err error) {
	for size, note := range s.checkpoints {
		if size >= from {
			out = append(out, audit.Checkpoint{Size: size, Note: note})
		}
	}
	return firstBy(out, limit, func(x, y audit.Checkpoint) int { return cmp.Compare(x.Size, y.Size) }), nil
}

// Trail implements [registry.AuditTrail].
func (s *state) Trail(_ context.Context, f registry.TrailFilter, p registry.Page) ([]audit.Entry, string, error) {
	var out []audit.Entry
	for _, e := range slices.Backward(s.entries) {
		ev, err := audit.ParseLeaf(e.Leaf)
		if err != nil {
			return nil, "", err
		}
		if (f.Object.Kind == "" || ev.Object == f.Object) && (f.Actor == "" || ev.Actor.ID == f.Actor) && (f.Action == "" || ev.Action == f.Action) {
			out = append(out, s.entry(e))
		}
	}
	return part(out, p, func(e audit.Entry) string { return registry.Cursor(int64(e.Seq)) })
}

// PutAuditHashes implements [audit.Tx].
func (s *state) PutAuditHashes(_ context.Context, _ int64, hashes []tlog.Hash) error {
	s.hashes = append(s.hashes, hashes...)
	return nil
}

// PutAuditEntries implements [audit.Tx].
func (s *state) PutAuditEntries(_ context.Context, entries []audit.Entry) error {
	for _, e := range entries {
		if e.Salt != nil {
			s.payloads[e.Seq] = [2][]byte{e.Salt, e.Payload}
		}
		s.entries = append(s.entries, e)
	}
	return nil
}

// PutAuditCheckpoint implements [audit.Tx].
func (s *state) PutAuditCheckpoint(_ context.Context, c audit.Checkpoint) error {
	s.checkpoints[c.Size] = c.Note
	return nil
}

// EraseAuditPayload implements [audit.Tx].
func (s *state) EraseAuditPayload(_ context.Context, seq uint64) error {
	delete(s.payloads, seq)
	return nil
}

// Epoch implements [registry.Feed].
func (s *state) Epoch(context.Context) (uint64, error) { return s.epoch, nil }

// BumpEpoch implements [registry.FeedWriter].
func (s *state) BumpEpoch(context.Context) (uint64, error) {
	s.epoch++
	return s.epoch, nil
}

// ChangedSince implements [registry.Feed].
func (s *state) ChangedSince(_ context.Context, epoch uint64, limit int) (out []registry.Artifact, err error) {
	for _, a := range s.artifacts {
		if a.Epoch > epoch {
			out = append(out, a)
		}
	}
	return firstBy(out, limit, func(x, y registry.Artifact) int { return cmp.Compare(x.Epoch, y.Epoch) }), nil
}

// Wanted implements [registry.Feed].
func (s *state) Wanted(_ context.Context, limit int) ([]registry.Wanted, error) {
	return firstBy(slices.Collect(maps.Values(s.wanted)), limit, func(x, y registry.Wanted) int {
		return cmp.Or(x.Since.Compare(y.Since), bytes.Compare(x.Artifact[:], y.Artifact[:]))
	}), nil
}

// WantScan implements [registry.FeedWriter].
func (s *state) WantScan(_ context.Context, w registry.Wanted) error {
	if _, ok := s.wanted[w.Artifact]; !ok {
		s.wanted[w.Artifact] = w
	}
	return nil
}

// UnwantScan implements [registry.FeedWriter].
func (s *state) UnwantScan(_ context.Context, d warden.Digest) error {
	delete(s.wanted, d)
	return nil
}

// AddRetrieval implements [registry.EvidenceWriter].
func (s *state) AddRetrieval(_ context.Context, d warden.Digest, principal string, at time.Time) error {
	key := [2]string{d.String(), principal}
	r, ok := s.retrievals[key]
	if !ok {
		r = registry.Retrieval{Artifact: d, Principal: principal, First: at}
	}
	r.Count, r.Last = r.Count+1, at
	s.retrievals[key] = r
	return nil
}

func (s *state) retrieved(is func(registry.Retrieval) bool) []registry.Retrieval {
	return firstBy(keep(slices.Collect(maps.Values(s.retrievals)), is), len(s.retrievals), func(x, y registry.Retrieval) int {
		return cmp.Or(y.Last.Compare(x.Last), strings.Compare(x.Principal, y.Principal), bytes.Compare(x.Artifact[:], y.Artifact[:]))
	})
}

// Retrievals implements [registry.Graph].
func (s *state) Retrievals(_ context.Context, d warden.Digest) ([]registry.Retrieval, error) {
	return s.retrieved(func(r registry.Retrieval) bool { return r.Artifact == d }), nil
}

// RetrievedBy implements [registry.Graph].
func (s *state) RetrievedBy(_ context.Context, principal string) ([]registry.Retrieval, error) {
	return s.retrieved(func(r registry.Retrieval) bool { return r.Principal == principal }), nil
}
