package access_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/server/servertest"
)

func TestCache(t *testing.T) {
	p := servertest.New(t)
	c := access.NewCache(p.Access, 5*time.Second)
	look := func(text string) error {
		t.Helper()
		_, err := c.Key(t.Context(), text)
		return err
	}
	k, text := p.Key([]string{access.RoleClient})
	for _, refreshed := range []bool{false, true} { // it works without ever being refreshed, only slower
		if refreshed {
			if err := c.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := look(text); err != nil {
				t.Errorf("refreshed %v: %v", refreshed, err)
			}
			if err := look(flip(text, 40)); !errors.Is(err, access.ErrUnknown) {
				t.Errorf("wrong secret: %v", err)
			}
		}
	}
	// A member of a group, as soon as the group changes.
	_, bot, err := p.Access.CreateKey(t.Context(), access.NewKey{Name: "bot", Principal: "service:bot", Roles: []string{access.RoleClient}}, servertest.Admin())
	if err != nil {
		t.Fatal(err)
	}
	if err := look(bot.Reveal()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Access.SetGroup(t.Context(), "callers", access.GroupChange{Add: []string{"service:bot"}}, servertest.Admin()); err != nil {
		t.Fatal(err)
	}
	if id, err := c.Key(t.Context(), bot.Reveal()); err != nil || !slices.Equal(id.Groups, []string{"callers"}) {
		t.Errorf("groups = %v, %v", id.Groups, err)
	}
	// A change of this process counts at once, also between refreshes.
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := look(text); err != nil {
		t.Error(err)
	}
	if _, err := p.Access.RevokeKey(t.Context(), k.ID, servertest.Admin()); err != nil {
		t.Fatal(err)
	}
	if err := look(text); !errors.Is(err, access.ErrUnknown) {
		t.Errorf("revoked here: %v", err)
	}
	// One of another process counts at the next refresh.
	k, text = p.Key([]string{access.RoleClient})
	if err := errors.Join(c.Refresh(t.Context()), look(text)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Sibling().RevokeKey(t.Context(), k.ID, servertest.Admin()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(look(text), c.Refresh(t.Context())); err != nil {
		t.Errorf("remembered: %v", err)
	}
	if err := look(text); !errors.Is(err, access.ErrUnknown) {
		t.Errorf("revoked elsewhere: %v", err)
	}
	// Expiry needs no change.
	_, text = p.Key([]string{access.RoleClient})
	if err := errors.Join(c.Refresh(t.Context()), look(text)); err != nil {
		t.Fatal(err)
	}
	p.Skip(access.DefaultKeyTTL)
	if err := look(text); !errors.Is(err, access.ErrUnknown) {
		t.Errorf("expired: %v", err)
	}
}

func TestCacheTokens(t *testing.T) {
	p := servertest.New(t)
	c := access.NewCache(p.Access, time.Hour)
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	asked := 0
	ask := func(want int) {
		t.Helper()
		id, err := c.Token(t.Context(), "x.y.z", func(context.Context, string) (access.Identity, error) {
			asked++
			return access.Identity{Principal: warden.Principal{ID: "service:ci"}, Expires: p.Now().Add(30 * time.Second)}, nil
		})
		if err != nil || id.Principal.ID != "service:ci" || asked != want {
			t.Errorf("got %v, %v after %d questions, want %d", id.Principal, err, asked, want)
		}
	}
	ask(1)
	ask(1)
	p.Skip(31 * time.Second) // the token's own end
	ask(2)
}
