package access_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/server/servertest"
)

// Whatever is wrong with a key, the answer is the same.
func TestKey(t *testing.T) {
	p := servertest.New(t)
	k, text := p.Key([]string{access.RoleReader})
	other, otherText := p.Key([]string{access.RoleAdmin})
	if id, err := p.Access.Key(t.Context(), text); err != nil || id.KeyID != k.ID || id.Principal.ID != "key:"+k.ID {
		t.Fatalf("Key = %+v, %v", id, err)
	}
	for name, bad := range map[string]string{
		"empty": "", "prefix_only": "wdn_", "upper_case": strings.ToUpper(text), "space_before": " " + text, "cut": text[:len(text)-1], "longer": text + "0",
		"flipped_secret": flip(text, 40), "flipped_crc": flip(text, len(text)-1), "secret_of_another": text[:4+26] + otherText[4+26:],
		"id_of_another": otherText[:4+26] + text[4+26:], "sql": "wdn_' OR 1=1 --", "huge": "wdn_" + strings.Repeat("a", 1<<20),
	} {
		if _, err := p.Access.Key(t.Context(), bad); !errors.Is(err, error(access.ErrUnknown)) {
			t.Errorf("%s: %v, want ErrUnknown itself", name, err)
		}
	}
	p.Skip(access.DefaultKeyTTL - time.Minute)
	if _, err := p.Access.Key(t.Context(), text); err != nil {
		t.Errorf("a minute before the end: %v", err)
	}
	p.Skip(time.Minute)
	if _, err := p.Access.Key(t.Context(), text); !errors.Is(err, access.ErrUnknown) {
		t.Errorf("at the end: %v", err)
	}
	p.Skip(-access.DefaultKeyTTL)
	for range 2 {
		if _, err := p.Access.RevokeKey(t.Context(), other.ID, servertest.Admin()); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.Access.Key(t.Context(), otherText); !errors.Is(err, access.ErrUnknown) {
		t.Errorf("revoked: %v", err)
	}
	if n := len(p.Trail("access.key.revoke")); n != 1 {
		t.Errorf("%d revocations in the log, want 1", n)
	}
	for _, rec := range p.Trail("access.key.create") {
		if strings.Contains(rec, text[31:60]) {
			t.Errorf("a record holds a secret: %s", rec)
		}
	}
}

func flip(s string, at int) string {
	c := byte('a')
	if s[at] == c {
		c = 'b'
	}
	return s[:at] + string(c) + s[at+1:]
}

func TestCreateKeyRefuses(t *testing.T) {
	p := servertest.New(t)
	for name, nk := range map[string]access.NewKey{
		"no_name":      {Roles: []string{"reader"}},
		"long_name":    {Name: strings.Repeat("x", 101), Roles: []string{"reader"}},
		"no_role":      {Name: "x"},
		"unknown_role": {Name: "x", Roles: []string{"reader", "root"}},
		"for_ever":     {Name: "x", Roles: []string{"reader"}, TTL: 367 * 24 * time.Hour},
		"past":         {Name: "x", Roles: []string{"reader"}, TTL: -time.Hour},
	} {
		var we *warden.Error
		if _, _, err := p.Access.CreateKey(t.Context(), nk, servertest.Admin()); !errors.As(err, &we) || we.Code != warden.CodeInvalid || we.Hint == "" {
			t.Errorf("%s: %v, want invalid with a hint", name, err)
		}
	}
}

func TestSession(t *testing.T) {
	p := servertest.New(t)
	k, text := p.Key([]string{access.RoleReader})
	first, cookie, err := p.Access.SignIn(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	_, again, err := p.Access.SignIn(t.Context(), text)
	if err != nil || again == cookie {
		t.Fatalf("two sessions share a cookie (%v)", err)
	}
	id, err := p.Access.Session(t.Context(), cookie.Reveal())
	if err != nil || id.Principal.ID != first.Principal {
		t.Fatalf("Session = %+v, %v", id, err)
	}
	if _, err := p.Access.Key(t.Context(), cookie.Reveal()); !errors.Is(err, access.ErrUnknown) {
		t.Error("a cookie is taken for a key")
	}
	if _, err := p.Access.Session(t.Context(), text); !errors.Is(err, access.ErrUnknown) {
		t.Error("a key is taken for a cookie")
	}
	if err := p.Access.SignOut(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Access.Session(t.Context(), cookie.Reveal()); !errors.Is(err, access.ErrUnknown) {
		t.Errorf("after sign-out: %v", err)
	}
	if _, err := p.Access.RevokeKey(t.Context(), k.ID, servertest.Admin()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Access.Session(t.Context(), again.Reveal()); !errors.Is(err, access.ErrUnknown) {
		t.Errorf("session of a revoked key: %v", err)
	}
}

// A link works once, also when many use it at the same moment.
func TestLink(t *testing.T) {
	p := servertest.New(t)
	link := func() string {
		token, err := p.Access.CreateLink(t.Context(), "user:admin", []string{access.RoleAdmin}, servertest.Admin())
		if err != nil {
			t.Fatal(err)
		}
		return token.Reveal()
	}
	token := link()
	var (
		wg   sync.WaitGroup
		used atomic.Int32
	)
	for range 8 {
		wg.Go(func() {
			if _, _, err := p.Access.UseLink(t.Context(), token); err == nil {
				used.Add(1)
			} else if !errors.Is(err, access.ErrLink) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if used.Load() != 1 {
		t.Errorf("used %d times, want once", used.Load())
	}
	late := link()
	p.Skip(access.LinkTTL)
	if _, _, err := p.Access.UseLink(t.Context(), late); !errors.Is(err, access.ErrLink) {
		t.Errorf("old link: %v", err)
	}
}

func TestSecretIsHidden(t *testing.T) {
	s := access.Secret("wdn_very_secret")
	var logged strings.Builder
	log := slog.New(slog.NewJSONHandler(&logged, nil))
	log.Info("x", slog.Any("plain", s), slog.Any("inside", struct{ S access.Secret }{s}), slog.Any("list", []access.Secret{s}))
	b, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{logged.String(), string(b), fmt.Sprintf("%v %s %q %+v %#v", s, s, s, struct{ S access.Secret }{s}, struct{ S access.Secret }{s})} {
		if strings.Contains(text, "very_secret") {
			t.Errorf("the secret shows: %s", text)
		}
	}
}
