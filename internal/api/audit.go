package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
)

type entryBody struct {
	Seq     uint64          `json:"seq"`
	Time    time.Time       `json:"time"`
	Actor   string          `json:"actor"`
	Action  string          `json:"action"`
	Object  string          `json:"object" doc:"kind:id"`
	Leaf    string          `json:"leaf" doc:"the bytes that are hashed into the log"`
	Details json.RawMessage `json:"details" doc:"null if there are none or they were erased"`
}

type auditInput struct {
	Part
	Object string `query:"object" maxLength:"300" doc:"kind:id"`
	Actor  string `query:"actor" maxLength:"200"`
	Action string `query:"action" maxLength:"100"`
}

func (s *service) listAudit(ctx context.Context, in *auditInput) (*body[list[entryBody]], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	f := registry.TrailFilter{Actor: in.Actor, Action: in.Action}
	if kind, id, ok := cutRef(in.Object); ok {
		f.Object = warden.Ref{Kind: warden.Kind(kind), ID: id}
	}
	var (
		items []entryBody
		next  string
	)
	err := s.Registry.View(ctx, func(r registry.Reader) error {
		es, n, err := r.Trail(ctx, f, in.page())
		if err != nil {
			return err
		}
		for _, e := range es {
			ev, err := audit.ParseLeaf(e.Leaf)
			if err != nil {
				return fmt.Errorf("audit entry %d: %w", e.Seq, err)
			}
			b := entryBody{e.Seq, ev.Time, ev.Actor.ID, ev.Action, ev.Object.String(), string(e.Leaf), json.RawMessage("null")}
			if e.Payload != nil {
				b.Details = e.Payload
			}
			items = append(items, b)
		}
		next = n
		return nil
	})
	if err != nil {
		return nil, s.fail(err)
	}
	return listed(items, next), nil
}

func cutRef(text string) (kind, id string, ok bool) {
	for i := range len(text) {
		if text[i] == ':' {
			return text[:i], text[i+1:], true
		}
	}
	return "", "", false
}

type proofInput struct {
	Seq uint64 `path:"seq"`
}

func (s *service) proof(ctx context.Context, in *proofInput) (*body[audit.Proof], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	var p audit.Proof
	err := s.Registry.View(ctx, func(r registry.Reader) (err error) {
		p, err = audit.Prove(ctx, r, in.Seq)
		return err
	})
	switch {
	case errors.Is(err, audit.ErrMissing):
		err = &warden.Error{Code: warden.CodeNotFound, Message: fmt.Sprintf("no audit entry %d", in.Seq), Hint: "list them with: warden audit list", Err: err}
	case errors.Is(err, audit.ErrUnsealed):
		err = &warden.Error{Code: warden.CodeUnavailable, Message: "no checkpoint covers this entry yet", Hint: "a checkpoint is signed every second: try again", Err: err}
	}
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(p), nil
}

type checkpointBody struct {
	Size         uint64 `json:"size" doc:"entries that the checkpoint covers"`
	Note         string `json:"note" doc:"signed note (tlog-checkpoint)"`
	VerifierKey  string `json:"verifier" doc:"public key of checkpoints, as package note writes it"`
	StatementKey string `json:"statement_key" doc:"PEM public key of this server's statements"`
}

func (s *service) checkpoint(ctx context.Context, _ *struct{}) (*body[checkpointBody], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	out := checkpointBody{VerifierKey: s.VerifierKey, StatementKey: string(s.PublicKey)}
	err := s.Registry.View(ctx, func(r registry.Reader) error {
		c, ok, err := audit.Latest(ctx, r)
		if ok {
			out.Size, out.Note = c.Size, c.String()
		}
		return err
	})
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(out), nil
}

type verifyInput struct {
	Body struct {
		Outside []string `json:"outside,omitempty" maxItems:"100" doc:"signed notes kept outside the database"`
	}
}

type verifyBody struct {
	OK          bool   `json:"ok"`
	Entries     uint64 `json:"entries" doc:"recomputed"`
	Root        string `json:"root"`
	Checkpoints int    `json:"checkpoints" doc:"stored checkpoints that agree"`
	Sealed      uint64 `json:"sealed" doc:"entries below are covered by a stored checkpoint"`
	Witnessed   uint64 `json:"witnessed" doc:"entries below are covered by an outside checkpoint"`
	Erased      uint64 `json:"erased" doc:"entries whose details were erased"`
	Cosigned    int    `json:"cosigned" doc:"witnesses whose newest cosignature was checked"`
	Witnesses   int    `json:"witnesses" doc:"how many there are"`
	Required    int    `json:"witnesses_required" doc:"how many must sign; 0: none"`
	Unwitnessed string `json:"unwitnessed" doc:"what too few witnesses signed; empty if they did, or none must"`
	Fault       string `json:"fault" doc:"first place where the log is not what was written; empty if none"`
	Summary     string `json:"summary"`
}

func (s *service) verifyAudit(ctx context.Context, in *verifyInput) (*body[verifyBody], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	var outside []audit.Checkpoint
	for _, text := range in.Body.Outside {
		tree, err := audit.OpenCheckpoint([]byte(text), s.Verifier)
		if err != nil {
			return nil, s.fail(&warden.Error{Code: warden.CodeInvalid, Message: "outside checkpoint: " + err.Error(), Hint: "give the note as it was signed by this server", Err: err})
		}
		outside = append(outside, audit.Checkpoint{Size: tree.Size, Note: []byte(text)})
	}
	if _, err := s.Registry.Seal(ctx); err != nil { // the newest entries are covered too
		return nil, s.fail(err)
	}
	if !s.verifying.TryLock() {
		return nil, s.fail(&warden.Error{Code: warden.CodeUnavailable, Message: "the log is being verified for somebody else", Hint: "try again when that is done"})
	}
	defer s.verifying.Unlock()
	signed, of := 0, 0
	if s.Witnesses != nil {
		cosigned, n, err := s.Witnesses.Cosigned(ctx)
		if err != nil {
			return nil, s.fail(err)
		}
		outside, signed, of = append(outside, cosigned...), len(cosigned), n
	}
	var rep audit.Report
	err := s.Registry.View(ctx, func(r registry.Reader) (err error) {
		rep, err = audit.Verify(ctx, r, s.Verifier, outside...)
		return err
	})
	if err != nil && !errors.Is(err, audit.ErrTampered) {
		return nil, s.fail(err)
	}
	out := verifyBody{
		OK: err == nil, Entries: rep.Size, Root: rep.Root.String(), Checkpoints: rep.Checkpoints,
		Sealed: rep.Sealed, Witnessed: rep.Witnessed, Erased: rep.Erased, Summary: rep.String(),
		Cosigned: signed, Witnesses: of,
	}
	if of > 0 {
		out.Summary += fmt.Sprintf(", signed by %d of %d witnesses", signed, of)
	}
	if out.Required, out.Unwitnessed, err = s.unwitnessed(ctx); err != nil {
		return nil, s.fail(err)
	}
	if rep.Fault != nil {
		out.Fault = fmt.Sprintf("entry %d: %s", rep.Fault.Index, rep.Fault.What)
	}
	return answer(out), nil
}

// unwitnessed says what too few witnesses signed; "" if nothing is wrong.
func (s *service) unwitnessed(ctx context.Context) (required int, problem string, err error) {
	if s.Witnesses == nil {
		return 0, "", nil
	}
	w, err := s.Witnesses.Watch(ctx)
	if errors.Is(err, audit.ErrTampered) {
		return w.Required, err.Error(), nil
	}
	return w.Required, w.Problem(), err
}

// tile serves the log under tlog-tiles paths, so that other programs follow it.
func (s *service) tile(w http.ResponseWriter, r *http.Request) {
	if err := s.may(r.Context(), policy.Read); err != nil {
		s.problem(w, err)
		return
	}
	var b []byte
	p := r.PathValue("path")
	err := s.Registry.View(r.Context(), func(rd registry.Reader) (err error) { //nolint:contextcheck // it is the context of the request
		if p == "checkpoint" {
			c, ok, err := audit.Latest(r.Context(), rd)
			if err == nil && !ok {
				err = audit.ErrMissing
			}
			b = c.Note
			return err
		}
		b, err = audit.Resource(r.Context(), rd, p)
		return err
	})
	if errors.Is(err, audit.ErrMissing) {
		err = &warden.Error{Code: warden.CodeNotFound, Message: "no such tile", Err: err}
	}
	if err != nil {
		s.problem(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(b) //nolint:errcheck // the client is gone
}
