package api

import (
	"net/http"
	"time"
)

// Paced gives h bodies that may stand still for stall.
func Paced(h http.Handler, stall time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(pace(w, r, stall))
	})
}
