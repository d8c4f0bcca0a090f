package server

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// An AdminConfig configures what operators' tools ask: metrics and health. It
// says nothing of callers or contents, and changes nothing.
type AdminConfig struct {
	Listen string `yaml:"listen"` // host:port; "off": nothing listens
}

const adminOff = "off"

func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// admin serves /metrics, /healthz (the process answers) and /readyz (it can do
// its work).
func (s *Server) admin() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n")) //nolint:errcheck // the client is gone
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		faults := map[string]string{}
		if err := s.judge.Refresh(ctx); err != nil {
			faults["records"] = "the database cannot be asked"
		}
		if s.cfg.does(RoleGateway) {
			maps.Copy(faults, s.gateway.Ready())
		}
		w.Header().Set("Content-Type", "application/json")
		if len(faults) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		json.NewEncoder(w).Encode(map[string]any{"ready": len(faults) == 0, "faults": faults}) //nolint:errcheck,errchkjson // the client is gone
	})
	return mux
}
