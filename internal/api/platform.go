package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
)

type body[T any] struct{ Body T }

func answer[T any](v T) *body[T] { return &body[T]{v} }

type healthBody struct {
	Status  string `json:"status" enum:"ok"`
	Version string `json:"version"`
}

func (s *service) health(context.Context, *struct{}) (*body[healthBody], error) {
	return answer(healthBody{"ok", s.Tool.Version}), nil
}

type sessionInput struct {
	Body struct {
		Key  string `json:"key,omitempty" doc:"access key wdn_…"`
		Link string `json:"link,omitempty" doc:"token of a one-time link"`
	}
}

type sessionOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      meBody
}

type meBody struct {
	Principal string    `json:"principal"`
	Roles     []string  `json:"roles"`
	Expires   time.Time `json:"expires"`
	May       []string  `json:"may" doc:"actions on the platform that policy allows"`
}

func (s *service) beginSession(ctx context.Context, in *sessionInput) (*sessionOutput, error) {
	var (
		sess   access.Session
		cookie access.Secret
		err    error
	)
	switch {
	case in.Body.Link != "" && in.Body.Key == "":
		sess, cookie, err = s.Access.UseLink(ctx, in.Body.Link)
	case in.Body.Key != "" && in.Body.Link == "":
		sess, cookie, err = s.Access.SignIn(ctx, strings.TrimSpace(in.Body.Key))
	default:
		err = &warden.Error{Code: warden.CodeInvalid, Message: "send either a key or a link"}
	}
	if err != nil {
		return nil, s.fail(err)
	}
	who := warden.Principal{ID: sess.Principal, Roles: sess.Roles}
	return &sessionOutput{
		SetCookie: http.Cookie{ //nolint:gosec // Secure follows the configured URL: the default is plain HTTP on loopback
			Name: cookieName, Value: cookie.Reveal(), Path: "/", Expires: sess.Expires, HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode,
		},
		Body: s.meOf(access.Identity{Principal: who, Expires: sess.Expires}),
	}, nil
}

type endSessionOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

func (s *service) endSession(ctx context.Context, _ *struct{}) (*endSessionOutput, error) {
	if err := s.Access.SignOut(ctx, identity(ctx)); err != nil {
		return nil, s.fail(err)
	}
	return &endSessionOutput{http.Cookie{ //nolint:gosec // as beginSession
		Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode}}, nil
}

func (s *service) me(ctx context.Context, _ *struct{}) (*body[meBody], error) {
	return answer(s.meOf(identity(ctx))), nil
}

func (s *service) meOf(id access.Identity) meBody {
	m := meBody{Principal: id.Principal.ID, Roles: id.Principal.Roles, Expires: id.Expires, May: []string{}}
	for _, a := range []policy.Action{policy.Read, policy.Administer} {
		if id.Allows(a) && s.Judge.Thing(onPlatform(id.Principal, a), a, policy.Resource{Ref: warden.Ref{Kind: policy.KindPlatform, ID: "warden"}}).Effect == warden.Allow {
			m.May = append(m.May, string(a))
		}
	}
	// Rights on artifacts and models depend on each; the roles say what to offer.
	people := []string{access.RoleAdmin, access.RoleSecurity, access.RoleEngineer}
	for a, roles := range map[policy.Action][]string{
		policy.Quarantine: {access.RoleAdmin, access.RoleSecurity}, policy.Modify: {access.RoleAdmin, access.RoleEngineer}, policy.Promote: people, policy.Approve: people,
	} {
		if slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(policy.Anywhere(id.Principal.Roles), r) }) && id.Allows(a) {
			m.May = append(m.May, string(a))
		}
	}
	slices.Sort(m.May)
	return m
}

type postureBody struct {
	Models         int    `json:"models"`
	Versions       int    `json:"versions"`
	Artifacts      int    `json:"artifacts"`
	Pending        int    `json:"pending"`
	Admitted       int    `json:"admitted"`
	Denied         int    `json:"denied"`
	Quarantined    int    `json:"quarantined"`
	Files          int    `json:"files"`
	Bytes          int64  `json:"bytes"`
	OpenCritical   int    `json:"open_critical"`
	OpenHigh       int    `json:"open_high"`
	OpenMedium     int    `json:"open_medium"`
	OpenLow        int    `json:"open_low"`
	Decisions      int    `json:"decisions"`
	Retrievals     int    `json:"retrievals"`
	Wanted         int    `json:"wanted" doc:"artifacts that wait for a scan"`
	RoutesOpen     int    `json:"routes_open"`
	RoutesClosed   int    `json:"routes_closed"`
	AuditEntries   uint64 `json:"audit_entries"`
	Policy         string `json:"policy" doc:"name@digest of the policy set that decides"`
	RulesVersion   string `json:"rules_version"`
	Version        string `json:"version"`
	DemoDataLoaded bool   `json:"demo"`
	Unwitnessed    string `json:"unwitnessed" doc:"what of the audit log too few witnesses signed; empty if nothing is wrong"`
}

func (s *service) posture(ctx context.Context, _ *struct{}) (*body[postureBody], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	t, entries, err := s.Registry.Totals(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	b := postureBody{
		Models: t.Models, Versions: t.Versions, Artifacts: t.Artifacts, Pending: t.Pending, Admitted: t.Admitted, Denied: t.Denied,
		Quarantined: t.Quarantined, Files: t.Files, Bytes: t.Bytes, OpenCritical: t.OpenCritical, OpenHigh: t.OpenHigh, OpenMedium: t.OpenMedium,
		OpenLow: t.OpenLow, Decisions: t.Decisions, Retrievals: t.Retrievals, Wanted: t.Wanted, AuditEntries: entries,
		Policy: s.Judge.Policies().Name(), RulesVersion: s.Tool.Rules, Version: s.Tool.Version, DemoDataLoaded: t.Demo,
	}
	if _, b.Unwitnessed, err = s.unwitnessed(ctx); err != nil {
		return nil, s.fail(err)
	}
	for _, r := range s.routeStatuses(ctx) {
		if r.Open {
			b.RoutesOpen++
		} else {
			b.RoutesClosed++
		}
	}
	return answer(b), nil
}

func (s *service) routeStatuses(ctx context.Context) []RouteStatus {
	if s.Routes == nil {
		return []RouteStatus{}
	}
	return s.Routes(ctx)
}

type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next" doc:"cursor of the next part; empty at the end"`
}

func listed[T any](items []T, next string) *body[list[T]] {
	if items == nil {
		items = []T{}
	}
	return answer(list[T]{items, next})
}

func (s *service) listRoutes(ctx context.Context, _ *struct{}) (*body[list[RouteStatus]], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	return listed(s.routeStatuses(ctx), ""), nil
}

func (s *service) demo(ctx context.Context, run func(Demo) (DemoSummary, error)) (*body[DemoSummary], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	if s.Demo == nil {
		return nil, s.fail(&warden.Error{Code: warden.CodeUnavailable, Message: "this server has no demo data", Hint: "start it with demo: true"})
	}
	sum, err := run(s.Demo)
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(sum), nil
}

func (s *service) loadDemo(ctx context.Context, _ *struct{}) (*body[DemoSummary], error) {
	return s.demo(ctx, func(d Demo) (DemoSummary, error) { return d.Load(ctx, identity(ctx).Principal) })
}

func (s *service) removeDemo(ctx context.Context, _ *struct{}) (*body[DemoSummary], error) {
	return s.demo(ctx, func(d Demo) (DemoSummary, error) { return d.Remove(ctx, identity(ctx).Principal) })
}

type searchInput struct {
	Q string `query:"q" minLength:"2" maxLength:"200"`
}

type hit struct {
	Kind  string `json:"kind" enum:"model,artifact,rule,finding"`
	ID    string `json:"id"`
	Title string `json:"title"`
}

func (s *service) search(ctx context.Context, in *searchInput) (*body[list[hit]], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	hits := []hit{}
	err := s.Registry.View(ctx, func(r registry.Reader) error {
		ms, _, err := r.Models(ctx, registry.ModelFilter{Search: in.Q}, registry.Page{Limit: 20})
		if err != nil {
			return err
		}
		for _, m := range ms {
			hits = append(hits, hit{"model", string(m.Name), string(m.Latest.Artifact.State())})
		}
		if d, err := parseDigest(in.Q); err == nil {
			if a, err := r.Artifact(ctx, d); err == nil {
				hits = append(hits, hit{"artifact", d.String(), string(a.State())})
			}
		}
		return nil
	})
	if err != nil {
		return nil, s.fail(err)
	}
	for id, r := range s.Rules {
		if strings.Contains(strings.ToLower(string(id)+" "+r.Title), strings.ToLower(in.Q)) {
			hits = append(hits, hit{"rule", string(id), r.Title})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return strings.Compare(a.Kind+a.ID, b.Kind+b.ID) })
	return listed(hits, ""), nil
}

// pageOf answers with one part of a list that the registry reads, each row as
// show makes it.
func pageOf[R, B any](ctx context.Context, s *service, read func(registry.Reader) ([]R, string, error), show func(R) B) (*body[list[B]], error) {
	var (
		items []B
		next  string
	)
	err := s.Registry.View(ctx, func(r registry.Reader) error {
		rows, n, err := read(r)
		items, next = make([]B, 0, len(rows)), n // again from the start, should the view run twice
		for _, row := range rows {
			items = append(items, show(row))
		}
		return err
	})
	if err != nil {
		return nil, s.fail(err)
	}
	return listed(items, next), nil
}
