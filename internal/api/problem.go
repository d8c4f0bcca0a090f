package api

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modelwarden/warden"
)

// A problem is an error on the wire: RFC 9457 with the code that programs branch
// on and a hint for people.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Hint   string `json:"hint,omitempty"`
}

// Error returns the detail.
func (p *problem) Error() string { return p.Detail }

// GetStatus returns the HTTP status, for huma.
func (p *problem) GetStatus() int { return p.Status }

// ContentType is the media type of problems, for huma.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// status maps each code to one HTTP status; this is the only place.
func status(c warden.Code) int {
	switch c {
	case warden.CodeInvalid:
		return http.StatusBadRequest
	case warden.CodeUnauthenticated:
		return http.StatusUnauthorized
	case warden.CodeDenied:
		return http.StatusForbidden
	case warden.CodeNotFound:
		return http.StatusNotFound
	case warden.CodeConflict:
		return http.StatusConflict
	case warden.CodeLimit:
		return http.StatusRequestEntityTooLarge
	case warden.CodeUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

func newProblem(e *warden.Error) *problem {
	st := status(e.Code)
	return &problem{Type: "about:blank", Title: http.StatusText(st), Status: st, Detail: e.Message, Code: string(e.Code), Hint: e.Hint}
}

// fail converts err for huma.
func (s *service) fail(err error) error { return newProblem(s.asError(err)) }

// problem answers a plain request with err.
func (s *service) problem(w http.ResponseWriter, err error) {
	p := newProblem(s.asError(err))
	h := w.Header()
	h.Set("Content-Type", p.ContentType(""))
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="warden"`)
	}
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) //nolint:errcheck,errchkjson // the client is gone
}

// transform gives errors that huma found, before an operation ran, the form of
// all others. Values of the request are left out: one may be a secret.
func (s *service) transform(_ huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &problem{Type: "about:blank", Title: http.StatusText(e.Status), Status: e.Status, Detail: e.Detail, Code: string(codeOf(e.Status))}
	for i, d := range e.Errors {
		if i == 0 {
			p.Detail += ":"
		} else {
			p.Detail += ";"
		}
		if p.Detail += " " + d.Location + " " + d.Message; len(p.Detail) > 1000 {
			p.Detail = strings.ToValidUTF8(p.Detail[:1000], "") + "…"
			break
		}
	}
	switch {
	case e.Status >= http.StatusInternalServerError:
		p.Detail = "internal error"
	case e.Status == http.StatusRequestTimeout:
		p.Hint = "send the body without pauses"
	default:
		p.Hint = "see /api/openapi.yaml for what this operation takes"
	}
	return p, nil
}

// codeOf is the code for a status that huma chose.
func codeOf(status int) warden.Code {
	switch {
	case status == http.StatusRequestEntityTooLarge:
		return warden.CodeLimit
	case status == http.StatusNotFound:
		return warden.CodeNotFound
	case status >= http.StatusInternalServerError:
		return warden.CodeInternal
	default:
		return warden.CodeInvalid
	}
}

// requestID names one failure in the log and in the answer.
func requestID() string { return rand.Text()[:12] }
