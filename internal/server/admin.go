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

	"github.com/modelwarden/warden/internal/monitor"
)

// An AdminConfig configures what operators' tools ask: metrics and health. It
// says nothing of callers or contents, and changes nothing.
type AdminConfig struct {
	Listen string `yaml:"listen"` // host:port; "off": nothing listens
}

// A TracesConfig says where spans of exchanges go.
type TracesConfig struct {
	Endpoint string            `yaml:"endpoint"` // base URL of a collector for OTLP over HTTP; "": no traces
	Headers  map[string]string `yaml:"headers"`  // field: file:PATH or env:NAME
	Sample   float64           `yaml:"sample"`   // share of exchanges that went well; the others all go
	Metrics  bool              `yaml:"metrics"`  // OpenTelemetry's metrics of generative AI go to the same collector
	Trust    bool              `yaml:"trust"`    // a traceparent of the client is the parent of its span
}

// tracer returns nil if there are to be no traces.
func (s *Server) tracer() (*monitor.Tracer, error) {
	c := s.cfg.Traces
	if c.Endpoint == "" {
		return nil, nil //nolint:nilnil // no traces is a choice
	}
	cfg := monitor.TraceConfig{Endpoint: c.Endpoint, Sample: c.Sample, Metrics: c.Metrics, Headers: map[string]string{}, Log: s.opts.Log}
	for name, ref := range c.Headers {
		v, err := secret(ref, s.opts.Getenv)
		if err != nil {
			return nil, configError("traces.headers."+name, err)
		}
		cfg.Headers[name] = v.Reveal()
	}
	t, err := monitor.NewTracer(cfg)
	if err != nil {
		return nil, configError("traces", err)
	}
	return t, nil
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
