package gateway

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count and measure. No text of a client is a label: routes are those of
// the configuration, "unknown" for all else.
type metrics struct {
	requests *prometheus.CounterVec   // route, dialect, effect, reason
	overhead *prometheus.HistogramVec // stage
	before   prometheus.Observer      // of overhead: until a request is sent
	upstream *prometheus.HistogramVec // route
	first    *prometheus.HistogramVec // route
	inflight prometheus.Gauge
	tokens   *prometheus.CounterVec // route, kind
	cut      *prometheus.CounterVec // side
	guard    *prometheus.HistogramVec
	partial  *prometheus.CounterVec // guard results that are not complete
	limited  *prometheus.CounterVec // scope
	waiting  prometheus.Gauge
}

// fine are the bounds of what takes microseconds, in seconds.
func fine() []float64 {
	return []float64{.00001, .00002, .00005, .0001, .0002, .0005, .001, .002, .005, .01, .05, .1, 1}
}

func coarse() []float64 { return []float64{.005, .02, .05, .1, .25, .5, 1, 2, 5, 10, 30, 60, 300} }

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	count := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "warden_gateway_" + name, Help: help}, labels)
	}
	measure := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "warden_gateway_" + name, Help: help, Buckets: buckets}, labels)
	}
	m := &metrics{
		requests: count("requests_total", "Requests by what became of them.", "route", "dialect", "effect", "reason"),
		overhead: measure("overhead_seconds", "Time that the gateway itself took before a request was sent.", fine(), "stage"),
		upstream: measure("upstream_seconds", "Time from sending a request to the end of its answer.", coarse(), "route"),
		first:    measure("ttft_seconds", "Time from sending a request to the first byte of its answer.", coarse(), "route"),
		inflight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "warden_gateway_inflight", Help: "Exchanges that run now."}),
		tokens:   count("tokens_total", "Tokens by kind: input or output.", "route", "kind"),
		cut:      count("streams_cut_total", "Streams that did not end properly, by who cut them.", "side"),
		guard:    measure("guard_seconds", "Time that guards took.", fine(), "stage"),
		partial:  count("guard_incomplete_total", "Exchanges that a guard could not look at wholly.", "stage"),
		limited:  count("limit_refusals_total", "Requests refused by a limit.", "scope", "unit"),
		waiting:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "warden_gateway_audit_ring_used", Help: "Audit records that are not yet written."}),
	}
	m.before = m.overhead.WithLabelValues("before")
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(
		reg.Register(m.requests), reg.Register(m.overhead), reg.Register(m.upstream), reg.Register(m.first), reg.Register(m.inflight), reg.Register(m.tokens),
		reg.Register(m.cut), reg.Register(m.guard), reg.Register(m.partial), reg.Register(m.limited), reg.Register(m.waiting),
	)
}

// meters are those of one route, found once: to find one by its labels costs more
// than to count.
type meters struct {
	requests        *prometheus.CounterVec
	route           string
	upstream, first prometheus.Observer
	input, output   prometheus.Counter

	last atomic.Pointer[allowed]
}

// allowed counts requests of one dialect that went on.
type allowed struct {
	prometheus.Counter
	dialect string
}

func (m *metrics) of(route string) *meters {
	return &meters{
		requests: m.requests, route: route, upstream: m.upstream.WithLabelValues(route), first: m.first.WithLabelValues(route),
		input: m.tokens.WithLabelValues(route, "input"), output: m.tokens.WithLabelValues(route, "output"),
	}
}

// allowed returns the counter of a dialect. Most routes are asked in one.
func (m *meters) allowed(dialect string) prometheus.Counter {
	a := m.last.Load()
	if a == nil || a.dialect != dialect {
		a = &allowed{m.requests.WithLabelValues(m.route, dialect, "allow", ""), dialect}
		m.last.Store(a)
	}
	return a
}

func since(t time.Time) float64 { return time.Since(t).Seconds() }
