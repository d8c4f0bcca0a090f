// Package monitor remembers what passes the gateways: a record of each step of
// each exchange, proven by the audit log, and sums of what callers used. It
// never holds what was said.
package monitor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
)

// A Step is what a record is about.
type Step string

// The steps. An exchange that is refused has one record, every other two.
const (
	Admitted Step = "admit"  // before the request goes on
	Finished Step = "finish" // when its answer ended
	Refused  Step = "refuse" // instead of both
)

// A Record is one step of one exchange. Numbers count the records of a replica:
// a gap shows that some are missing.
type Record struct {
	Number  int64     `json:"n"`
	Step    Step      `json:"step"`
	At      time.Time `json:"at"`
	Request string    `json:"request"` // id of the exchange

	Principal string   `json:"principal,omitempty"`
	Key       string   `json:"key,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	Route     string   `json:"route"`
	Dialect   string   `json:"dialect,omitempty"`
	Digest    string   `json:"digest,omitempty"`   // of the model
	Provider  string   `json:"provider,omitempty"` // of a model without one
	Policies  string   `json:"policies,omitempty"` // set that decided
	Because   []string `json:"because,omitempty"`

	Status  int            `json:"status,omitempty"`
	Code    string         `json:"code,omitempty"` // of a refusal
	End     string         `json:"end,omitempty"`  // complete, client_gone, cut_upstream, withdrawn, denied, limit, upstream_error
	Stream  bool           `json:"stream,omitempty"`
	Input   int64          `json:"input_tokens,omitempty"`
	Output  int64          `json:"output_tokens,omitempty"`
	Rows    int64          `json:"rows,omitempty"`
	Guessed bool           `json:"estimated,omitempty"` // the counts are not the upstream's
	Cost    int64          `json:"cost,omitempty"`      // millionths
	Asked   int64          `json:"request_bytes,omitempty"`
	Sent    int64          `json:"answer_bytes,omitempty"`
	Body    string         `json:"request_sha256,omitempty"`
	Model   string         `json:"upstream_model,omitempty"` // as the answer names it
	Guard   warden.Effect  `json:"guard,omitempty"`
	Found   map[string]int `json:"found,omitempty"`   // rules, with how often each fired
	Places  []Place        `json:"places,omitempty"`  // of what fired, at most [MaxPlaces]
	Partial []string       `json:"partial,omitempty"` // what guards could not look at

	Own   int64 `json:"own_us,omitempty"`   // microseconds until the request was sent
	Guess int64 `json:"guard_us,omitempty"` // of guards
	First int64 `json:"first_ms,omitempty"` // milliseconds of the upstream until the first byte
	Took  int64 `json:"took_ms,omitempty"`  // milliseconds in all
}

// A Place says where a rule fired, and what was done. It never holds what stands
// there.
type Place struct {
	Rule  warden.RuleID `json:"rule"`
	At    string        `json:"at" doc:"part of the request (messages/0/parts/0), lane of the answer (choices/0/text/0), or citations"`
	Start int64         `json:"start" doc:"byte of the part's text as it came"`
	End   int64         `json:"end"`
	Did   warden.Effect `json:"did" doc:"allow, review, redact or deny"`
}

// MaxPlaces is how many places a record has; Found counts all.
const MaxPlaces = 32

// A Batch is some records of one replica that one entry of the audit log proves.
type Batch struct {
	Entry   uint64 // of the audit log
	Replica string
	First   int64 // number of the first record
	Count   int
	From    time.Time
	Until   time.Time
	Root    tlog.Hash // of the tree over the records' bytes
	Packed  []byte    // the records, one JSON a line, compressed; nil when they were deleted
}

// Limits of a batch.
const (
	MaxBatch  = 4096    // records
	maxPacked = 8 << 20 // bytes of records
)

// Use is what somebody used in an hour.
type Use struct {
	Hour      time.Time
	Route     string
	Principal string
	Key       string
	Team      string // the first group of the principal's
	Model     string // digest, or the provider's name
	Requests  int64
	Refused   int64
	Denied    int64 // by guards
	Input     int64
	Output    int64
	Rows      int64
	Cost      int64
	Errors    int64 // of upstreams
	Took      int64 // milliseconds, of all exchanges together
}

// A Store keeps batches and sums.
type Store interface {
	// UpdateTraffic runs fn in one serialisable transaction. It may run fn again
	// after a conflict.
	UpdateTraffic(ctx context.Context, fn func(Tx) error) error
	// Batches returns those that hold records of a time, newest first.
	Batches(ctx context.Context, from, until time.Time, before uint64, limit int) ([]Batch, error)
	// Used returns sums of the hours in [from, until), by hour.
	Used(ctx context.Context, from, until time.Time) ([]Use, error)
}

// A Tx is one transaction of a Store.
type Tx interface {
	audit.Tx
	// PutBatch keeps b, but not the memory of b.Packed, which is used again.
	PutBatch(ctx context.Context, b Batch) error
	AddUse(ctx context.Context, us []Use) error
	// DropRecords deletes the records of batches that ended before a time, and
	// the sums of hours before another.
	DropRecords(ctx context.Context, records, sums time.Time) (int, error)
}

// A Config is what a [Service] needs; every field is required.
type Config struct {
	Store Store
	Log   *audit.Log
	Now   func() time.Time
}

// A Service keeps traffic. It is safe for concurrent use.
type Service struct {
	cfg  Config
	pack *zstd.Encoder
	open *zstd.Decoder

	packings sync.Pool // of *packing

	window window
}

// New checks cfg. It starts nothing.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Log == nil || cfg.Now == nil {
		return nil, errors.New("monitor: store, log and clock are required")
	}
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	open, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxPacked), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, pack: pack, open: open}, nil
}

const trafficAction = "gateway.traffic" // of entries that prove batches

// gatewayService is who writes batches.
func gatewayService() warden.Principal { return warden.Principal{ID: "service:gateway"} }

// Keep writes records of one replica: the entry that proves them and what
// callers used, all or nothing.
func (s *Service) Keep(ctx context.Context, replica string, records []Record) error {
	if len(records) == 0 {
		return nil
	}
	if len(records) > MaxBatch {
		return fmt.Errorf("keep %d records: at most %d at once", len(records), MaxBatch)
	}
	b := Batch{Replica: replica, First: records[0].Number, Count: len(records), From: records[0].At, Until: records[0].At}
	for i := range records {
		r := &records[i]
		if r.At.Before(b.From) {
			b.From = r.At
		}
		if r.At.After(b.Until) {
			b.Until = r.At
		}
	}
	p, ok := s.packings.Get().(*packing)
	if !ok {
		p = &packing{}
	}
	defer s.packings.Put(p)
	var err error
	if b.Root, err = p.fill(records); err != nil {
		return err
	}
	p.packed = s.pack.EncodeAll(p.lines, p.packed[:0])
	b.Packed = p.packed
	used := sums(records)
	err = s.cfg.Store.UpdateTraffic(ctx, func(tx Tx) error {
		ev, err := s.cfg.Log.Append(ctx, tx, warden.Event{Actor: gatewayService(), Action: trafficAction, Object: warden.Ref{Kind: "gateway", ID: replica}}, map[string]any{
			"replica": replica, "first": b.First, "count": b.Count, "root": hex.EncodeToString(b.Root[:]), "from": b.From, "until": b.Until,
		})
		if err != nil {
			return err
		}
		b.Entry = ev.Index
		if err := tx.PutBatch(ctx, b); err != nil {
			return err
		}
		return tx.AddUse(ctx, used)
	})
	if err != nil {
		return fmt.Errorf("keep records of traffic: %w", err)
	}
	return nil
}

// treeOf holds the hashes of a small tree.
func treeOf(leaves [][]byte) (tlog.HashReader, error) {
	var hashes []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			if x < 0 || x >= int64(len(hashes)) {
				return nil, fmt.Errorf("hash %d of %d", x, len(hashes))
			}
			out[i] = hashes[x]
		}
		return out, nil
	})
	for i, l := range leaves {
		hs, err := tlog.StoredHashes(int64(i), l, read)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hs...)
	}
	return read, nil
}

// sums adds up what records say was used.
func sums(records []Record) []Use {
	type key struct {
		hour                               time.Time
		route, principal, key, team, model string
	}
	at := map[key]int{}
	var out []Use
	for _, r := range records {
		if r.Step == Admitted {
			continue
		}
		k := key{hour: r.At.UTC().Truncate(time.Hour), route: r.Route, principal: r.Principal, key: r.Key, model: cmp.Or(r.Digest, r.Provider)}
		if len(r.Groups) > 0 {
			k.team = r.Groups[0]
		}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, Use{Hour: k.hour, Route: k.route, Principal: k.principal, Key: k.key, Team: k.team, Model: k.model})
		}
		u := &out[i]
		if r.Step == Refused {
			u.Refused++
			continue
		}
		u.Requests++
		u.Input, u.Output, u.Rows, u.Cost, u.Took = u.Input+r.Input, u.Output+r.Output, u.Rows+r.Rows, u.Cost+r.Cost, u.Took+r.Took
		if r.Guard == warden.Deny {
			u.Denied++
		}
		if r.End == "upstream_error" || r.End == "cut_upstream" {
			u.Errors++
		}
	}
	return out
}

// unpack returns the lines of a batch.
func (s *Service) unpack(b Batch) ([][]byte, error) {
	if b.Packed == nil {
		return nil, nil
	}
	text, err := s.open.DecodeAll(b.Packed, nil)
	if err != nil {
		return nil, fmt.Errorf("records of audit entry %d: %w", b.Entry, err)
	}
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if len(lines) != b.Count {
		return nil, fmt.Errorf("records of audit entry %d: %d, want %d", b.Entry, len(lines), b.Count)
	}
	return lines, nil
}

// Lines returns all records of a step that are kept, oldest first, as JSON.
func (s *Service) Lines(ctx context.Context, step Step) ([]string, error) {
	bs, err := s.cfg.Store.Batches(ctx, time.Time{}, s.cfg.Now().Add(time.Hour), 0, 100_000)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, b := range slices.Backward(bs) {
		lines, err := s.unpack(b)
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			if bytes.Contains(line, []byte(`"step":"`+string(step)+`"`)) {
				out = append(out, string(line))
			}
		}
	}
	return out, nil
}

// ErrNoRecord is returned by Prove for an exchange that has no record.
var ErrNoRecord = &warden.Error{Code: warden.CodeNotFound, Message: "no record of this exchange", Hint: "list them with: warden gateway exchanges"}

// A Proof shows that a record is in the audit log: its bytes are leaf Index of a
// tree of Count leaves (RFC 6962), whose root stands in the payload of an entry.
type Proof struct {
	Entry  uint64   `json:"entry"`
	Index  int      `json:"index"`
	Count  int      `json:"count"`
	Root   string   `json:"root"`   // hex
	Path   []string `json:"path"`   // hex, from the leaf up
	Record string   `json:"record"` // the bytes that are hashed, as they are
}

// Prove returns proofs of the records of one exchange, newest first.
func (s *Service) Prove(ctx context.Context, request string) ([]Proof, error) {
	var out []Proof
	_, err := s.batches(ctx, time.Time{}, s.cfg.Now().Add(time.Minute), 0, math.MaxInt, func(b Batch, lines [][]byte) error {
		for i, line := range slices.Backward(lines) {
			if !bytes.Contains(line, []byte(`"request":"`+request+`"`)) {
				continue
			}
			p, err := prove(b, lines, i)
			if err != nil {
				return err
			}
			out = append(out, p)
		}
		if slices.ContainsFunc(out, Proof.admits) {
			return errStop
		}
		return nil
	})
	if err == nil && len(out) == 0 {
		err = ErrNoRecord
	}
	return out, err
}

func prove(b Batch, lines [][]byte, i int) (Proof, error) {
	tree, err := treeOf(lines)
	if err != nil {
		return Proof{}, err
	}
	path, err := tlog.ProveRecord(int64(len(lines)), int64(i), tree)
	if err != nil {
		return Proof{}, err
	}
	p := Proof{Entry: b.Entry, Index: i, Count: len(lines), Root: hex.EncodeToString(b.Root[:]), Record: string(lines[i]), Path: []string{}}
	for _, h := range path {
		p.Path = append(p.Path, hex.EncodeToString(h[:]))
	}
	return p, nil
}

func (p Proof) admits() bool {
	var r Record
	return json.Unmarshal([]byte(p.Record), &r) == nil && r.Step != Finished
}

// Verify checks that the records of a batch are those that its entry proves.
func (p Proof) Verify() error {
	var path tlog.RecordProof
	for _, h := range p.Path {
		b, err := hex.DecodeString(h)
		if err != nil || len(b) != tlog.HashSize {
			return fmt.Errorf("proof: %q is no hash", h)
		}
		path = append(path, tlog.Hash(b))
	}
	root, err := hex.DecodeString(p.Root)
	if err != nil || len(root) != tlog.HashSize {
		return fmt.Errorf("proof: %q is no root", p.Root)
	}
	return tlog.CheckRecord(path, int64(p.Count), tlog.Hash(root), int64(p.Index), tlog.RecordHash([]byte(p.Record)))
}

// Used returns what was used in the hours of a time.
func (s *Service) Used(ctx context.Context, from, until time.Time) ([]Use, error) {
	return s.cfg.Store.Used(ctx, from.UTC().Truncate(time.Hour), until)
}

// How long records and sums are kept.
const (
	KeepRecords = 30 * 24 * time.Hour
	KeepSums    = 400 * 24 * time.Hour
)

// Sweep deletes what is kept long enough. The entries of the audit log stay.
func (s *Service) Sweep(ctx context.Context) (n int, err error) {
	now := s.cfg.Now()
	err = s.cfg.Store.UpdateTraffic(ctx, func(tx Tx) error {
		n, err = tx.DropRecords(ctx, now.Add(-KeepRecords), now.Add(-KeepSums))
		return err
	})
	return n, err
}
