package access_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/server/servertest"
)

func code(t *testing.T, what string, err error, want warden.Code) {
	t.Helper()
	var we *warden.Error
	if !errors.As(err, &we) || we.Code != want || we.Hint == "" {
		t.Errorf("%s: %v, want %s with a hint", what, err, want)
	}
}

// signIn begins a session of a user by a link without roles of its own.
func signIn(t *testing.T, p *servertest.Platform, user string) string {
	t.Helper()
	link, err := p.Access.CreateLink(t.Context(), user, nil, servertest.Admin())
	if err != nil {
		t.Fatal(err)
	}
	_, cookie, err := p.Access.UseLink(t.Context(), link.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return cookie.Reveal()
}

// What a person holds counts from the next request on: own roles, those of
// groups, and none at all once they are disabled.
func TestStanding(t *testing.T) {
	p := servertest.New(t)
	ctx, by := t.Context(), servertest.Admin()
	if _, err := p.Access.AddUser(ctx, access.User{ID: "user:ann", Name: "Ann", Mail: "Ann@Example.com", Roles: []string{"reader", "engineer@b,a", "reader"}}, by); err != nil {
		t.Fatal(err)
	}
	cookie := signIn(t, p, "user:ann")
	roles := func() []string {
		t.Helper()
		id, err := p.Access.Session(ctx, cookie)
		if err != nil {
			t.Fatal(err)
		}
		return id.Principal.Roles
	}
	if diff := cmp.Diff([]string{"engineer@a,b", "reader"}, roles()); diff != "" {
		t.Error(diff)
	}
	if _, err := p.Access.SetGroup(ctx, "ml", access.GroupChange{Roles: &[]string{"security"}, Add: []string{"user:ann", "service:trainer"}}, by); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"engineer@a,b", "group:ml", "reader", "security"}, roles()); diff != "" {
		t.Error(diff)
	}
	if us, err := p.Access.Users(ctx); err != nil || len(us) != 1 || us[0].Mail != "ann@example.com" || !slices.Equal(us[0].Groups, []string{"ml"}) {
		t.Errorf("Users = %+v, %v", us, err)
	}
	if g, err := p.Access.SetGroup(ctx, "ml", access.GroupChange{Remove: []string{"user:ann"}}, by); err != nil || !slices.Equal(g.Members, []string{"service:trainer"}) {
		t.Errorf("SetGroup = %+v, %v", g, err)
	}
	if diff := cmp.Diff([]string{"engineer@a,b", "reader"}, roles()); diff != "" {
		t.Error(diff)
	}
	if err := p.Access.RemoveGroup(ctx, "ml", by); err != nil {
		t.Error(err)
	}
	if gs, err := p.Access.Groups(ctx); err != nil || len(gs) != 0 {
		t.Errorf("Groups = %+v, %v", gs, err)
	}
	// A key of the person falls with them.
	_, key, err := p.Access.CreateKey(ctx, access.NewKey{Name: "laptop", Principal: "user:ann", Roles: []string{"reader"}}, by)
	if err != nil {
		t.Fatal(err)
	}
	off := true
	if _, err := p.Access.SetUser(ctx, "user:ann", access.UserChange{Disabled: &off}, by); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Access.Session(ctx, cookie); !errors.Is(err, access.ErrUnknown) {
		t.Errorf("session of a disabled user: %v", err)
	}
	if _, err := p.Access.Key(ctx, key.Reveal()); !errors.Is(err, access.ErrUnknown) {
		t.Errorf("key of a disabled user: %v", err)
	}
	for action, n := range map[string]int{"access.user.add": 1, "access.user.disable": 1, "access.group.add": 1, "access.group.change": 1, "access.group.remove": 1} {
		if got := len(p.Trail(action)); got != n {
			t.Errorf("%d entries %s, want %d", got, action, n)
		}
	}
}

func TestPeopleRefuses(t *testing.T) {
	p := servertest.New(t)
	ctx, by := t.Context(), servertest.Admin()
	for what, u := range map[string]access.User{
		"no_kind": {ID: "ann"}, "other_kind": {ID: "service:ann"}, "upper_case": {ID: "user:Ann"}, "slash": {ID: "user:a/b"}, "empty": {ID: "user:"}, "long": {ID: "user:" + strings.Repeat("a", 101)},
		"way_back_in": {ID: "user:admin"}, "machine": {ID: "user:local"}, "mail": {ID: "user:ann", Mail: "ann"}, "mail_header": {ID: "user:ann", Mail: "a@b\r\nBcc: c"},
		"role": {ID: "user:ann", Roles: []string{"root"}}, "pattern": {ID: "user:ann", Roles: []string{"reader@["}}, "client_scope": {ID: "user:ann", Roles: []string{"client@a"}},
	} {
		_, err := p.Access.AddUser(ctx, u, by)
		code(t, what, err, warden.CodeInvalid)
	}
	for _, id := range []string{"user:ann", "user:bob"} {
		if _, err := p.Access.AddUser(ctx, access.User{ID: id}, by); err != nil {
			t.Fatal(err)
		}
	}
	_, err := p.Access.AddUser(ctx, access.User{ID: "user:ann"}, by)
	code(t, "twice", err, warden.CodeConflict)
	_, err = p.Access.SetGroup(ctx, "x", access.GroupChange{Add: []string{"user:nobody"}}, by)
	code(t, "unknown member", err, warden.CodeNotFound)
	_, err = p.Access.SetGroup(ctx, "x", access.GroupChange{Add: []string{"key:abc"}}, by)
	code(t, "key as member", err, warden.CodeInvalid)
	code(t, "unknown group", p.Access.RemoveGroup(ctx, "x", by), warden.CodeNotFound)
	person := "user:bob"
	if _, err := p.Access.SetUser(ctx, "user:ann", access.UserChange{Person: &person}, by); err != nil {
		t.Fatal(err)
	}
	person = "user:ann"
	_, err = p.Access.SetUser(ctx, "user:bob", access.UserChange{Person: &person}, by)
	code(t, "circle", err, warden.CodeInvalid)
}

// Four eyes count people: a key stands for whoever made it, also over several
// keys, and a linked user for the one they are linked to.
func TestPerson(t *testing.T) {
	p := servertest.New(t)
	ctx := t.Context()
	for _, id := range []string{"user:ann", "user:ann.admin"} {
		if _, err := p.Access.AddUser(ctx, access.User{ID: id}, servertest.Admin()); err != nil {
			t.Fatal(err)
		}
	}
	person := "user:ann"
	if _, err := p.Access.SetUser(ctx, "user:ann.admin", access.UserChange{Person: &person}, servertest.Admin()); err != nil {
		t.Fatal(err)
	}
	by := warden.Principal{ID: "user:ann.admin", Roles: []string{"admin"}}
	first, _, err := p.Access.CreateKey(ctx, access.NewKey{Name: "a", Roles: []string{"admin"}}, by)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := p.Access.CreateKey(ctx, access.NewKey{Name: "b", Roles: []string{"admin"}}, warden.Principal{ID: first.Principal})
	if err != nil {
		t.Fatal(err)
	}
	for principal, want := range map[string]string{
		second.Principal: "user:ann", "user:ann.admin": "user:ann", "user:ann": "user:ann", "user:nobody": "user:nobody", "key:nothing": "key:nothing", "service:registry": "service:registry",
	} {
		if got, err := p.Access.Person(ctx, principal); got != want || err != nil {
			t.Errorf("Person(%s) = %s, %v, want %s", principal, got, err, want)
		}
	}
}

func TestKeyUse(t *testing.T) {
	p := servertest.New(t)
	ctx := t.Context()
	k, secret, err := p.Access.CreateKey(ctx, access.NewKey{Name: "ci", Roles: []string{"engineer@team-a"}, Actions: []string{"modify"}}, servertest.Admin())
	if err != nil {
		t.Fatal(err)
	}
	id, err := p.Access.Key(ctx, secret.Reveal())
	if err != nil || !id.Allows("modify") || id.Allows("retrieve") {
		t.Fatalf("Key = %+v, %v", id, err)
	}
	last := func() time.Time {
		t.Helper()
		ks, err := p.Access.Keys(ctx)
		if err != nil || len(ks) != 1 || ks[0].ID != k.ID || ks[0].Owner != "user:admin" {
			t.Fatalf("Keys = %+v, %v", ks, err)
		}
		return ks[0].Used
	}
	if !last().IsZero() {
		t.Error("used before it is written down")
	}
	if err := p.Access.KeepUses(ctx); err != nil || last().IsZero() {
		t.Errorf("KeepUses: %v, %v", last(), err)
	}
	if _, _, err := p.Access.CreateKey(ctx, access.NewKey{Name: "ci", Roles: []string{"reader"}, Actions: []string{"sudo"}}, servertest.Admin()); err == nil {
		t.Error("unknown action accepted")
	}
}
