package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/store"
)

// TestAccess runs the whole life of keys, links and sessions on the real store.
func TestAccess(t *testing.T) { testAccess(t, open(t)) }

func testAccess(t *testing.T, st *store.Store) {
	t.Helper()
	ctx := t.Context()
	now := time.Unix(1_800_000_000, 0).UTC()
	clock := func() time.Time { return now }
	signKey, _, err := audit.GenerateKey(audit.Origin("test"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.NewSigner(signKey)
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.New(audit.Config{Origin: audit.Origin("test"), Signer: signer, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	svc, err := access.New(access.Config{Store: st, Log: log, Pepper: make([]byte, 32), Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	root := warden.Principal{ID: "user:root", Roles: []string{access.RoleAdmin}}
	denied := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, access.ErrUnknown) && !errors.Is(err, access.ErrLink) {
			t.Errorf("%s: error = %v, want ErrUnknown or ErrLink", what, err)
		}
	}

	k, secret, err := svc.CreateKey(ctx, access.NewKey{Name: "ci", Roles: []string{access.RoleEngineer}, Routes: []string{"chat"}, TTL: time.Hour}, root)
	if err != nil {
		t.Fatal(err)
	}
	id, err := svc.Key(ctx, secret.Reveal())
	if err != nil || id.KeyID != k.ID || id.Principal.ID != "key:"+k.ID || len(id.Routes) != 1 {
		t.Fatalf("Key = %+v, %v", id, err)
	}
	text := secret.Reveal()
	last := byte('0')
	if text[len(text)-1] == last {
		last = '1'
	}
	for what, bad := range map[string]string{
		"empty": "", "truncated": text[:len(text)-1], "wrong_checksum": text[:len(text)-1] + string(last), "longer": text + "0", "other_scheme": "sk-" + text,
	} {
		_, err := svc.Key(ctx, bad)
		denied(what, err)
	}
	other, otherSecret, err := svc.CreateKey(ctx, access.NewKey{Name: "demo", Roles: []string{access.RoleClient}, Demo: true}, root)
	if err != nil {
		t.Fatal(err)
	}

	sess, cookie, err := svc.SignIn(ctx, text)
	if err != nil || sess.Expires.After(k.Expires) {
		t.Fatalf("SignIn = %+v, %v", sess, err)
	}
	if _, err := svc.Session(ctx, cookie.Reveal()); err != nil {
		t.Error(err)
	}
	if _, err := svc.RevokeKey(ctx, k.ID, root); err != nil {
		t.Fatal(err)
	}
	_, err = svc.Key(ctx, text)
	denied("revoked key", err)
	_, err = svc.Session(ctx, cookie.Reveal())
	denied("session of a revoked key", err)

	link, err := svc.CreateLink(ctx, "user:admin", []string{access.RoleAdmin}, root)
	if err != nil {
		t.Fatal(err)
	}
	sess, cookie, err = svc.UseLink(ctx, link.Reveal())
	if err != nil || sess.Principal != "user:admin" {
		t.Fatalf("UseLink = %+v, %v", sess, err)
	}
	_, _, err = svc.UseLink(ctx, link.Reveal())
	denied("link used twice", err)
	who, err := svc.Session(ctx, cookie.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if err := svc.SignOut(ctx, who); err != nil {
		t.Fatal(err)
	}
	_, err = svc.Session(ctx, cookie.Reveal())
	denied("session after sign-out", err)

	stale, err := svc.CreateLink(ctx, "user:admin", []string{access.RoleAdmin}, root)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(access.DefaultKeyTTL)
	_, _, err = svc.UseLink(ctx, stale.Reveal())
	denied("expired link", err)
	_, err = svc.Key(ctx, otherSecret.Reveal())
	denied("expired key "+other.ID, err)

	if n, err := svc.RemoveDemo(ctx, root); n != 1 || err != nil {
		t.Errorf("RemoveDemo = %d, %v", n, err)
	}
	if ks, err := svc.Keys(ctx); len(ks) != 1 || err != nil {
		t.Errorf("Keys = %+v, %v", ks, err)
	}
}
