package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/modelwarden/warden"
)

// CreateLink makes a one-time link token for a person with roles. It is valid
// for LinkTTL and for one use.
func (s *Service) CreateLink(ctx context.Context, principal string, roles []string, by warden.Principal) (Secret, error) {
	token := encode(random(32))
	sum := sha256.Sum256([]byte(token))
	l := Link{Hash: sum[:], Principal: principal, Roles: roles, Expires: s.cfg.Now().UTC().Add(LinkTTL)}
	err := s.cfg.Store.UpdateAccess(ctx, func(tx Tx) error {
		if err := tx.PutLink(ctx, l); err != nil {
			return err
		}
		return s.log(ctx, tx, by, "access.link.create", warden.Ref{Kind: warden.KindPrincipal, ID: principal}, map[string]any{"roles": roles, "expires": l.Expires})
	})
	return Secret(token), err
}

// UseLink begins a session with a one-time link token and uses it up.
func (s *Service) UseLink(ctx context.Context, token string) (Session, Secret, error) {
	if len(token) != secretLen {
		return Session{}, "", ErrLink // no link has such a token: nothing to write
	}
	sum := sha256.Sum256([]byte(token))
	var sess Session
	var cookie Secret
	err := s.cfg.Store.UpdateAccess(ctx, func(tx Tx) error {
		l, err := tx.TakeLink(ctx, sum[:])
		if errors.Is(err, ErrNotFound) || err == nil && !s.cfg.Now().Before(l.Expires) {
			return ErrLink
		}
		if err != nil {
			return err
		}
		sess, cookie = s.newSession(l.Principal, l.Roles, "", s.cfg.Now().Add(SessionTTL))
		return s.begin(ctx, tx, sess, "link")
	})
	if err != nil {
		return Session{}, "", err
	}
	return sess, cookie, nil
}

// SignIn begins a session with an access key. It ends with the key at the latest.
func (s *Service) SignIn(ctx context.Context, key string) (Session, Secret, error) {
	id, err := s.Key(ctx, key)
	if err != nil {
		return Session{}, "", err
	}
	expires := s.cfg.Now().Add(SessionTTL)
	if id.Expires.Before(expires) {
		expires = id.Expires
	}
	sess, cookie := s.newSession(id.Principal.ID, id.Principal.Roles, id.KeyID, expires)
	err = s.cfg.Store.UpdateAccess(ctx, func(tx Tx) error { return s.begin(ctx, tx, sess, "key") })
	if err != nil {
		return Session{}, "", err
	}
	return sess, cookie, nil
}

func (s *Service) newSession(principal string, roles []string, key string, expires time.Time) (Session, Secret) {
	token := encode(random(32))
	sum := sha256.Sum256([]byte(token))
	now := s.cfg.Now().UTC().Truncate(time.Second)
	return Session{Hash: sum[:], Principal: principal, Roles: roles, Key: key, Created: now, Expires: expires.UTC().Truncate(time.Second)}, Secret(token)
}

func (s *Service) begin(ctx context.Context, tx Tx, sess Session, with string) error {
	if err := tx.PutSession(ctx, sess); err != nil {
		return err
	}
	return s.log(ctx, tx, warden.Principal{ID: sess.Principal, Roles: sess.Roles}, "access.session.begin",
		warden.Ref{Kind: warden.KindPrincipal, ID: sess.Principal}, map[string]any{"with": with})
}

// Session authenticates the value of a session cookie.
func (s *Service) Session(ctx context.Context, cookie string) (Identity, error) {
	sum := sha256.Sum256([]byte(cookie))
	sess, err := s.cfg.Store.Session(ctx, sum[:])
	if errors.Is(err, ErrNotFound) {
		return Identity{}, ErrUnknown
	}
	if err != nil {
		return Identity{}, fmt.Errorf("look up session: %w", err)
	}
	if !s.cfg.Now().Before(sess.Expires) {
		return Identity{}, ErrUnknown
	}
	if sess.Key != "" {
		k, err := s.cfg.Store.Key(ctx, sess.Key)
		if err != nil || !k.valid(s.cfg.Now()) || s.enabled(ctx, k) != nil {
			return Identity{}, ErrUnknown
		}
		return Identity{Principal: warden.Principal{ID: sess.Principal, Roles: sess.Roles}, KeyID: sess.Key, Routes: k.Routes, Actions: k.Actions, Expires: sess.Expires, Session: sess.Hash}, nil
	}
	// A person has what they signed in with and what they hold now: a change of
	// their roles or groups counts at once.
	roles, err := s.standing(ctx, sess.Principal, sess.Roles)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Principal: warden.Principal{ID: sess.Principal, Roles: roles}, Expires: sess.Expires, Session: sess.Hash}, nil
}

// SignOut ends a session. Ending one that is gone is no error.
func (s *Service) SignOut(ctx context.Context, id Identity) error {
	if id.Session == nil {
		return nil
	}
	return s.cfg.Store.UpdateAccess(ctx, func(tx Tx) error {
		if err := tx.DeleteSession(ctx, id.Session); err != nil {
			return err
		}
		return s.log(ctx, tx, id.Principal, "access.session.end", warden.Ref{Kind: warden.KindPrincipal, ID: id.Principal.ID}, nil)
	})
}
