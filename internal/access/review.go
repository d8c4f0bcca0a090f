package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/policy"
)

// MaxOverlap is how long a key that was rotated may live on.
const MaxOverlap = 30 * 24 * time.Hour

// RotateKey makes a key with a new secret and the same rights and principal, for
// as long as the old one was made for. The old one ends after the overlap, or
// earlier if it would have expired.
func (s *Service) RotateKey(ctx context.Context, id string, overlap time.Duration, by warden.Principal) (Key, Secret, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Key{}, "", invalid("an overlap is 0 to 30 days", "long enough to bring the new secret everywhere: --overlap 24h")
	}
	var k Key
	secret := encode(random(32))
	fresh := encode(random(16))
	err := s.update(ctx, func(tx Tx) error {
		old, err := tx.Key(ctx, id)
		if err != nil {
			return missing(err, "key", id, "list them with: warden access key list")
		}
		now := s.now()
		if !old.valid(now) {
			return orConflict(nil, "this key has ended already", "make a new one: warden access key create")
		}
		k = old
		k.ID, k.Hash, k.Created, k.Owner, k.Used = fresh, s.hash(secret), now, by.ID, time.Time{}
		k.Expires = now.Add(min(max(old.Expires.Sub(old.Created), time.Hour), MaxKeyTTL))
		if end := now.Add(overlap); end.Before(old.Expires) {
			old.Expires = end
		}
		if err := errors.Join(tx.PutKey(ctx, k), tx.PutKey(ctx, old)); err != nil {
			return err
		}
		return s.log(ctx, tx, by, "access.key.rotate", old.ref(), map[string]any{"by": k.ID, "ends": old.Expires, "expires": k.Expires, "roles": k.Roles, "routes": k.Routes, "actions": k.Actions})
	})
	if err != nil {
		return Key{}, "", err
	}
	text := prefix + k.ID + "_" + secret
	return k, Secret(text + checksum(text)), nil
}

// An Issue is one thing that a review of rights found.
type Issue struct {
	Kind     string
	Severity warden.Severity
	Subject  string // key:…, user:… or group:…
	Name     string
	Message  string
	Advice   string
}

// The kinds of issues.
const (
	OverPrivileged = "over_privileged" // more rights than are used
	StaleKey       = "stale_key"
	UnusedRole     = "unused_role"
	UnusedRoute    = "unused_route"
	UnusedAction   = "unused_action"
	UnusedUser     = "unused_user"
	ExpiresSoon    = "expires_soon"
	EmptyGroup     = "empty_group"
)

// A Queries says how often a key queried a route in the time of a review.
type Queries struct {
	Key, Route string
	Requests   int64
}

// A Review is what rights are held against.
type Review struct {
	Now     time.Time
	Since   time.Time // what was used before does not count
	Queries []Queries
	// Did returns whether a principal did anything since then that the audit
	// log keeps, besides queries.
	Did func(ctx context.Context, principal string) (bool, error)
}

// Times of a review.
const (
	staleAfter = 30 * 24 * time.Hour
	soon       = 14 * 24 * time.Hour
)

// Review returns what rights nobody uses and which keys need a person, the
// worst first. Rights that are younger than the time looked at are not judged.
func (s *Service) Review(ctx context.Context, in Review) ([]Issue, error) {
	keys, err := s.Keys(ctx)
	if err != nil {
		return nil, err
	}
	users, err := s.Users(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := s.Groups(ctx)
	if err != nil {
		return nil, err
	}
	out := []Issue{}
	active := map[string]bool{} // principals with a key that was used
	for _, k := range keys {
		if k.Used.After(in.Since) {
			active[k.Principal] = true
		}
		if !k.valid(in.Now) {
			continue
		}
		found, err := in.key(ctx, k)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	for _, u := range users {
		if u.Disabled || len(u.Roles)+len(u.Groups) == 0 || u.Created.After(in.Since) || u.Seen.After(in.Since) || active[u.ID] {
			continue
		}
		did, err := in.Did(ctx, u.ID)
		if err != nil {
			return nil, err
		}
		if !did {
			out = append(out, Issue{UnusedUser, warden.Medium, u.ID, u.Name, "has rights and did nothing since " + in.Since.Format(time.DateOnly), "Ask whether they still need them; else: warden access user disable " + u.ID})
		}
	}
	for _, g := range groups {
		if len(g.Roles) > 0 && len(g.Members) == 0 {
			out = append(out, Issue{EmptyGroup, warden.Low, "group:" + g.Name, g.Name, "gives " + strings.Join(g.Roles, ", ") + " to nobody", "Remove it, before somebody is added without a look at its rights: warden access group remove " + g.Name + " --all"})
		}
	}
	slices.SortStableFunc(out, func(a, b Issue) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Subject, b.Subject))
	})
	return out, nil
}

// key reviews one valid key.
func (in Review) key(ctx context.Context, k Key) (out []Issue, err error) {
	add := func(kind string, sev warden.Severity, message, advice string) {
		out = append(out, Issue{kind, sev, "key:" + k.ID, k.Name, message, advice})
	}
	if k.Expires.Sub(in.Now) < soon && k.Expires.Sub(k.Created) > soon {
		add(ExpiresSoon, warden.Low, "ends "+k.Expires.Format(time.DateOnly), "Rotate it in time: warden access key rotate "+k.ID)
	}
	if in.Now.Sub(k.Created) > staleAfter && in.Now.Sub(k.Used) > staleAfter {
		last := "never"
		if !k.Used.IsZero() {
			last = "last on " + k.Used.Format(time.DateOnly)
		}
		add(StaleKey, warden.Medium, "was used "+last, "Revoke it, unless somebody knows what it waits for: warden access key revoke "+k.ID)
		return out, nil // that its rights are not used follows
	}
	if k.Created.After(in.Since) {
		return out, nil
	}
	asked, total := map[string]bool{}, int64(0)
	for _, q := range in.Queries {
		if q.Key == k.ID && q.Requests > 0 {
			asked[q.Route], total = true, total+q.Requests
		}
	}
	since := "since " + in.Since.Format(time.DateOnly)
	if total > 0 {
		for _, r := range k.Routes {
			if !asked[r] {
				add(UnusedRoute, warden.Low, "may query "+r+", and did not "+since, "Make a key without this route, and revoke this one")
			}
		}
	}
	did, err := in.Did(ctx, k.Principal)
	if err != nil {
		return out, err
	}
	narrower := "Make a key with the role client, and revoke this one"
	for _, text := range k.Roles {
		g, err := policy.ParseGrant(text)
		if err != nil {
			return out, err
		}
		switch {
		case g.Role == RoleClient && total == 0:
			add(UnusedRole, warden.Low, "has the role client, and queried nothing "+since, "Make a key without this role, and revoke this one")
		case g.Role == RoleAdmin && !did && total > 0:
			add(OverPrivileged, warden.High, fmt.Sprintf("is an administrator's, and only queries: %d requests %s", total, since), narrower)
		case g.Role != RoleClient && g.Role != RoleReader && g.Role != RoleAdmin && !did:
			add(UnusedRole, warden.Medium, "has the role "+text+", and changed nothing "+since, "Make a key with fewer roles, and revoke this one")
		case g.Role == RoleAdmin && !did:
			add(UnusedRole, warden.Medium, "is an administrator's, and changed nothing "+since, "Make a key with the role reader, and revoke this one")
		}
	}
	if slices.Contains(k.Actions, string(policy.Query)) && total == 0 {
		add(UnusedAction, warden.Low, "may query, and did not "+since, "Make a key without this action, and revoke this one")
	}
	return out, nil
}
