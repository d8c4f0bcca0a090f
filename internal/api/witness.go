package api

import (
	"context"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/policy"
)

type witnessBody struct {
	Name  string    `json:"name"`
	URL   string    `json:"url"`
	Key   string    `json:"key" doc:"public key, as the witness publishes it"`
	Added time.Time `json:"added"`
	Size  uint64    `json:"size" doc:"entries of the newest checkpoint that it signed; 0: none"`
	At    time.Time `json:"at" doc:"when it signed that"`
	Note  string    `json:"note" doc:"what it signed"`
}

// witnesses returns the configured witnesses, or an error that says that this
// server has none.
func (s *service) witnesses() (*audit.Witnesses, error) {
	if s.Witnesses == nil {
		return nil, &warden.Error{Code: warden.CodeUnavailable, Message: "this server keeps no witnesses", Hint: "ask one that runs the platform's database"}
	}
	return s.Witnesses, nil
}

func (s *service) listWitnesses(ctx context.Context, _ *struct{}) (*body[list[witnessBody]], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	return s.witnessList(ctx)
}

func (s *service) witnessList(ctx context.Context) (*body[list[witnessBody]], error) {
	ws, err := s.witnesses()
	if err != nil {
		return nil, s.fail(err)
	}
	all, err := ws.List(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	var items []witnessBody
	for _, w := range all {
		items = append(items, witnessBody{w.Name, w.URL, w.Key, w.Added, w.Size, w.At, string(w.Note)})
	}
	return listed(items, ""), nil
}

type newWitnessInput struct {
	Body struct {
		URL string `json:"url" maxLength:"2000" doc:"address below which add-checkpoint is (tlog-witness)"`
		Key string `json:"key" maxLength:"1000" doc:"public key: name+hash+base64"`
	}
}

func (s *service) addWitness(ctx context.Context, in *newWitnessInput) (*body[list[witnessBody]], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	ws, err := s.witnesses()
	if err == nil {
		_, err = ws.Add(ctx, in.Body.URL, in.Body.Key, identity(ctx).Principal)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	return s.witnessList(ctx)
}

type witnessInput struct {
	Name string `query:"name" required:"true" maxLength:"300"`
}

func (s *service) removeWitness(ctx context.Context, in *witnessInput) (*body[list[witnessBody]], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	ws, err := s.witnesses()
	if err == nil {
		err = ws.Remove(ctx, in.Name, identity(ctx).Principal)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	return s.witnessList(ctx)
}

type pushedBody struct {
	Signed int    `json:"signed" doc:"witnesses that signed the newest checkpoint just now"`
	Failed string `json:"failed" doc:"what others answered; empty if nothing failed"`
}

func (s *service) pushWitnesses(ctx context.Context, _ *struct{}) (*body[pushedBody], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	ws, err := s.witnesses()
	if err != nil {
		return nil, s.fail(err)
	}
	if _, err := s.Registry.Seal(ctx); err != nil { // the newest entries are covered too
		return nil, s.fail(err)
	}
	signed, err := ws.Push(ctx)
	out := pushedBody{Signed: signed}
	if err != nil {
		out.Failed = err.Error()
	}
	return answer(out), nil
}
