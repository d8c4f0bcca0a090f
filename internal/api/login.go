package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/access/idp"
)

// The two halves of a login with an identity provider.
const (
	loginPath    = "/api/v1/login"
	loginBegin   = loginPath + "/begin"
	loginFinish  = loginPath + "/callback"
	flowCookie   = "warden_login"
	loginProblem = "/#/login?problem="
)

type loginBody struct {
	Provider string `json:"provider" doc:"issuer of the identity provider that people sign in with; empty: none is configured"`
	Begin    string `json:"begin" doc:"where a browser begins; empty: nowhere"`
}

func (s *service) loginWays(context.Context, *struct{}) (*body[loginBody], error) {
	if s.Login == nil {
		return answer(loginBody{}), nil
	}
	return answer(loginBody{s.Login.Issuer(), loginBegin}), nil
}

// beginLogin sends a browser to the provider.
func (s *service) beginLogin(w http.ResponseWriter, r *http.Request) {
	if s.Login == nil {
		s.unknown(w, r)
		return
	}
	to, cookie, err := s.Login.Begin(r.Context(), r.URL.Query().Get("next"))
	if err != nil {
		s.refuseLogin(w, r, err)
		return
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // as beginSession
		Name: flowCookie, Value: cookie.Reveal(), Path: loginPath, MaxAge: int(idp.FlowTTL.Seconds()), HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode,
	})
	http.Redirect(w, r, to, http.StatusSeeOther) //nolint:gosec // the address is the provider's own, from its discovery document
}

// finishLogin takes a browser back from the provider and begins its session.
// One that it had ends: a session never outlives the login that began it.
func (s *service) finishLogin(w http.ResponseWriter, r *http.Request) {
	if s.Login == nil {
		s.unknown(w, r)
		return
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // as beginSession
		Name: flowCookie, Path: loginPath, MaxAge: -1, HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode})
	flow, err := r.Cookie(flowCookie)
	if err != nil {
		s.refuseLogin(w, r, idp.ErrFlow)
		return
	}
	ctx := r.Context()
	l, next, err := s.Login.Finish(ctx, flow.Value, r.URL.Query())
	if err != nil {
		s.refuseLogin(w, r, err)
		return
	}
	sess, cookie, err := s.Access.LogIn(ctx, l)
	if err != nil {
		s.refuseLogin(w, r, err)
		return
	}
	if old, err := r.Cookie(cookieName); err == nil {
		if id, err := s.Access.Session(ctx, old.Value); err == nil {
			if err := s.Access.SignOut(ctx, id); err != nil {
				s.Log.WarnContext(ctx, "session before a login cannot be ended", slog.Any("error", err))
			}
		}
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // as beginSession
		Name: cookieName, Value: cookie.Reveal(), Path: "/", Expires: sess.Expires, HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode,
	})
	http.Redirect(w, r, "/#"+next, http.StatusSeeOther) //nolint:gosec // next is sealed by us, checked by idp.Page, and a fragment of our own page
}

// refuseLogin sends a browser back to the login page with a word for what was
// wrong; the whole of it is in the log.
func (s *service) refuseLogin(w http.ResponseWriter, r *http.Request, err error) {
	word := "internal"
	for _, x := range []struct {
		err  error
		word string
	}{
		{idp.ErrFlow, "flow"},
		{idp.ErrProvider, "provider"},
		{idp.ErrRefused, "refused"},
		{idp.ErrMail, "mail"},
		{idp.ErrDomain, "domain"},
		{idp.ErrToken, "token"},
		{access.ErrDisabled, "disabled"},
		{access.ErrUsedTwice, "flow"},
	} {
		if errors.Is(err, x.err) {
			word = x.word
			break
		}
	}
	s.Log.WarnContext(r.Context(), "login refused", slog.String("why", word), slog.Any("error", err))
	http.Redirect(w, r, loginProblem+word, http.StatusSeeOther)
}

// workload authenticates the token of a program.
func (s *service) workload(r *http.Request, token string) (access.Identity, error) {
	id, err := s.Workloads.Identify(r.Context(), token)
	if err != nil {
		s.Log.WarnContext(r.Context(), "token refused", slog.Any("error", err))
	}
	return id, err
}
