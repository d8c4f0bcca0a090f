package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/modelwarden/warden/internal/audit"
)

// A Receipt shows to somebody who has only the public key of the audit log what
// the platform recorded of one exchange.
type Receipt struct {
	Request string   `json:"request"`
	Records []Proven `json:"records"`
}

// A Proven is one record with the way from its bytes to a signed checkpoint:
// record → root of its batch → details of an audit entry → leaf → checkpoint.
type Proven struct {
	Proof
	Salt    []byte      `json:"salt"`    // binds the details to the leaf of the entry
	Details string      `json:"details"` // of the entry, as they were hashed
	Audit   audit.Proof `json:"audit"`
}

// Prove completes proofs of [Service.Prove] with what the audit log says. The
// error wraps [audit.ErrUnsealed] if no checkpoint covers them yet.
func Prove(ctx context.Context, log audit.Reader, request string, ps []Proof) (Receipt, error) {
	out := Receipt{Request: request}
	for _, p := range ps {
		var err error
		x := Proven{Proof: p}
		if x.Audit, err = audit.Prove(ctx, log, p.Entry); err != nil {
			return Receipt{}, err
		}
		es, err := log.AuditEntries(ctx, p.Entry, 1)
		if err != nil {
			return Receipt{}, err
		}
		if len(es) != 1 || es[0].Payload == nil {
			return Receipt{}, fmt.Errorf("details of audit entry %d: %w", p.Entry, audit.ErrMissing)
		}
		x.Salt, x.Details = es[0].Salt, string(es[0].Payload)
		out.Records = append(out.Records, x)
	}
	return out, nil
}

// Read returns the record that is proven.
func (p Proof) Read() (r Record, err error) {
	if err = json.Unmarshal([]byte(p.Record), &r); err != nil {
		err = fmt.Errorf("record of audit entry %d: %w", p.Entry, err)
	}
	return r, err
}

// Verify checks every step of every proof, and returns the records. The error
// wraps [audit.ErrTampered].
func (r Receipt) Verify(v note.Verifier) ([]Record, error) {
	bad := func(err error) ([]Record, error) { return nil, errors.Join(audit.ErrTampered, err) }
	if len(r.Records) == 0 {
		return bad(errors.New("the receipt has no record"))
	}
	var out []Record
	for i, x := range r.Records {
		var details struct {
			Root  string `json:"root"`
			Count int    `json:"count"`
		}
		var rec Record
		leaf := []byte(x.Audit.Leaf)
		err := errors.Join(x.Verify(), audit.CheckDetails(leaf, x.Salt, []byte(x.Details)), json.Unmarshal([]byte(x.Details), &details), json.Unmarshal([]byte(x.Record), &rec))
		if err == nil {
			err = x.Audit.Check(leaf, audit.Checkpoint{Note: []byte(x.Audit.Checkpoint)}, v)
		}
		if err != nil {
			return bad(fmt.Errorf("record %d: %w", i, err))
		}
		ev, err := audit.ParseLeaf(leaf)
		switch {
		case err != nil:
			return bad(err)
		case ev.Action != trafficAction || ev.Index != x.Entry || details.Root != x.Root || details.Count != x.Count:
			return bad(fmt.Errorf("record %d is not of the batch that audit entry %d proves", i, x.Entry))
		case rec.Request != r.Request:
			return bad(fmt.Errorf("record %d is of exchange %q", i, rec.Request))
		}
		out = append(out, rec)
	}
	if err := r.whole(out); err != nil {
		return bad(err)
	}
	return out, nil
}

// whole checks that the records are those that one exchange has, each once and
// the newest first: a refusal, or an end and an admission before it. An admission
// alone is that of an exchange whose end is not proven: the log does not say that
// there is none.
func (r Receipt) whole(recs []Record) error {
	var steps []string
	for i, rec := range recs {
		steps = append(steps, string(rec.Step))
		if x := r.Records[i]; i > 0 {
			if newer := r.Records[i-1]; x.Entry > newer.Entry || x.Entry == newer.Entry && x.Index >= newer.Index {
				return fmt.Errorf("record %d is listed twice, or out of order", i)
			}
		}
	}
	switch got := strings.Join(steps, " "); got {
	case "refuse", "admit", "finish admit":
		return nil
	default:
		return fmt.Errorf("the records of one exchange are its refusal, or its end and its admission; these are: %s", got)
	}
}
