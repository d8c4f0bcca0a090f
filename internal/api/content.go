package api

import (
	"context"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/monitor"
	"github.com/modelwarden/warden/internal/policy"
)

type contentInput struct {
	ID string `path:"id" maxLength:"100"`
}

// content shows what an exchange said, to administrators only. That it was read,
// and by whom, is recorded before it is shown.
func (s *service) content(ctx context.Context, in *contentInput) (*body[monitor.Content], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	if s.Archive == nil {
		return nil, s.fail(monitor.ErrNoContent)
	}
	c, err := s.Archive.Content(ctx, in.ID)
	if err != nil {
		return nil, s.fail(err)
	}
	_, err = s.Registry.Record(ctx, audit.Record{
		Event:   warden.Event{Actor: identity(ctx).Principal, Action: "gateway.read-content", Object: warden.Ref{Kind: policy.KindRoute, ID: c.Route}},
		Payload: map[string]any{"request": c.Request, "mode": string(c.Mode)},
	})
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(c), nil
}
