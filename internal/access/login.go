package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/modelwarden/warden"
)

// A Login is what an identity provider said of somebody, after it was checked.
type Login struct {
	Issuer, Subject string
	Name            string
	Mail            string   // as the provider verified it; "": it did not
	Roles           []string // texts of grants that the provider's groups give
	Token           []byte   // hash of what began the login: it works once
	Until           time.Time
}

// Errors of [Service.LogIn] that pages tell apart.
var (
	ErrUsedTwice = &warden.Error{Code: warden.CodeUnauthenticated, Message: "this login was used already", Hint: "sign in again"}
	ErrDisabled  = &warden.Error{Code: warden.CodeUnauthenticated, Message: "this user is disabled", Hint: "ask an administrator"}
)

// LogIn begins a session of somebody whom an identity provider vouches for. The
// first login makes the user, or takes the one that an administrator made for
// this verified mail address and that nobody signed in as yet.
func (s *Service) LogIn(ctx context.Context, l Login) (Session, Secret, error) {
	roles, err := checkRoles(l.Roles)
	if err != nil {
		return Session{}, "", err
	}
	var (
		sess   Session
		cookie Secret
	)
	err = s.update(ctx, func(tx Tx) error {
		fresh, err := tx.Spend(ctx, l.Token, s.now(), l.Until)
		if err != nil {
			return err
		}
		if !fresh {
			return ErrUsedTwice
		}
		u, err := s.userOf(ctx, tx, l)
		if err != nil {
			return err
		}
		if u.Disabled {
			return ErrDisabled
		}
		u.Seen = s.now()
		if err := tx.PutUser(ctx, u); err != nil {
			return err
		}
		sess, cookie = s.newSession(u.ID, roles, "", s.cfg.Now().Add(SessionTTL))
		return s.begin(ctx, tx, sess, "identity provider "+l.Issuer)
	})
	if err != nil {
		return Session{}, "", err
	}
	return sess, cookie, nil
}

// userOf finds or makes the user of a login.
func (s *Service) userOf(ctx context.Context, tx Tx, l Login) (User, error) {
	id, err := tx.Login(ctx, l.Issuer, l.Subject)
	if err == nil {
		return tx.User(ctx, id)
	}
	if !errors.Is(err, ErrNotFound) {
		return User{}, err
	}
	u, err := s.invited(ctx, tx, l)
	if err != nil {
		return u, err
	}
	action := "access.user.link"
	if u.ID == "" {
		sum := sha256.Sum256([]byte(l.Issuer + "\x00" + l.Subject))
		u = User{ID: "user:" + l.Mail, Name: clip(l.Name), Mail: l.Mail, Created: s.now()}
		if _, err := tx.User(ctx, u.ID); checkUser(&u) != nil || l.Mail == "" || err == nil {
			u.ID = "user:" + hex.EncodeToString(sum[:8]) // the address is somebody else's, or none
		}
		if err := checkUser(&u); err != nil {
			return u, err
		}
		action = "access.user.add"
	}
	if err := s.putUser(ctx, tx, u, warden.Principal{ID: u.ID}, action, map[string]any{"name": u.Name, "mail": u.Mail, "issuer": l.Issuer, "subject": l.Subject}); err != nil {
		return u, err
	}
	return u, tx.PutLogin(ctx, l.Issuer, l.Subject, u.ID, s.now())
}

// invited returns the user that an administrator made for the address, if nobody
// signed in as them yet. Who was disabled does not come back by a new identity.
func (s *Service) invited(ctx context.Context, tx Tx, l Login) (User, error) {
	if l.Mail == "" {
		return User{}, nil
	}
	us, err := tx.Users(ctx)
	if err != nil {
		return User{}, err
	}
	var found []User
	for _, u := range us {
		if u.Mail != l.Mail {
			continue
		}
		if u.Disabled {
			return User{}, ErrDisabled
		}
		if u.Seen.IsZero() {
			found = append(found, u)
		}
	}
	if len(found) != 1 {
		return User{}, nil
	}
	return found[0], nil
}

// clip bounds a text that a provider gave.
func clip(s string) string { return s[:min(len(s), maxText)] }

// Service returns the identity of a program that an identity provider vouches
// for, with what it holds here.
func (s *Service) Service(ctx context.Context, principal string, roles []string, expires time.Time) (Identity, error) {
	all, err := s.standing(ctx, principal, roles)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Principal: warden.Principal{ID: principal, Roles: all}, Expires: expires}, nil
}
