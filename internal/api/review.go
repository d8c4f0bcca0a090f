package api

import (
	"context"
	"time"

	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/registry"
)

type rotateInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Overlap int `json:"overlap_seconds,omitempty" minimum:"0" maximum:"2592000" doc:"how long the old secret lives on; 0: it ends now"`
	}
}

func (s *service) rotateKey(ctx context.Context, in *rotateInput) (*body[newKeyBody], error) {
	return administered(ctx, s, func() (newKeyBody, error) {
		k, secret, err := s.Access.RotateKey(ctx, in.ID, time.Duration(in.Body.Overlap)*time.Second, identity(ctx).Principal)
		return newKeyBody{s.keyOf(k), secret.Reveal()}, err
	})
}

// An IssueBody is one thing that a review of rights found.
type IssueBody struct {
	Kind     string `json:"kind" enum:"over_privileged,stale_key,unused_role,unused_route,unused_action,unused_user,expires_soon,empty_group"`
	Severity string `json:"severity" enum:"high,medium,low"`
	Subject  string `json:"subject" doc:"key:…, user:… or group:…"`
	Name     string `json:"name"`
	Message  string `json:"message"`
	Advice   string `json:"advice"`
}

type reviewInput struct {
	Days int `query:"days" minimum:"1" maximum:"365" default:"30" doc:"what was not used for so long counts as unused"`
}

func (s *service) reviewAccess(ctx context.Context, in *reviewInput) (*body[list[IssueBody]], error) {
	return administered(ctx, s, func() (out list[IssueBody], err error) {
		now := s.Now().UTC()
		r := access.Review{Now: now, Since: now.Add(-time.Duration(in.Days) * 24 * time.Hour)}
		r.Did = func(ctx context.Context, principal string) (bool, error) { return s.didSince(ctx, principal, r.Since) }
		if s.Traffic != nil {
			us, err := s.Traffic.Used(ctx, r.Since, now.Add(time.Hour))
			if err != nil {
				return out, err
			}
			for _, u := range us {
				r.Queries = append(r.Queries, access.Queries{Key: u.Key, Route: u.Route, Requests: u.Requests})
			}
		}
		issues, err := s.Access.Review(ctx, r)
		out.Items = []IssueBody{}
		for _, i := range issues {
			out.Items = append(out.Items, IssueBody{i.Kind, i.Severity.String(), i.Subject, i.Name, i.Message, i.Advice})
		}
		return out, err
	})
}

// didSince reports whether somebody did anything since then that the audit log
// keeps. What was refused was not done.
func (s *service) didSince(ctx context.Context, principal string, since time.Time) (did bool, err error) {
	err = s.Registry.View(ctx, func(r registry.Reader) error {
		did = false
		p := registry.Page{Limit: 100}
		for {
			es, next, err := r.Trail(ctx, registry.TrailFilter{Actor: principal}, p)
			if err != nil {
				return err
			}
			for _, e := range es {
				ev, err := audit.ParseLeaf(e.Leaf)
				if err != nil {
					return err
				}
				if ev.Time.Before(since) {
					return nil
				}
				if did = ev.Action != "access.deny"; did {
					return nil
				}
			}
			if p.After = next; next == "" {
				return nil
			}
		}
	})
	return did, err
}
