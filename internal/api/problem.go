package api

import (
	"crypto/rand"
	"encoding/json"
	"net/http"

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

// requestID names one failure in the log and in the answer.
func requestID() string { return rand.Text()[:12] }
