package monitor

import (
	"context"
	"encoding/json"
	"log/slog"
	"sort"
	"strconv"
	"sync"
	"time"
)

// A Measure is what one exchange adds to the metrics of OpenTelemetry's semantic
// conventions for generative AI (status: development).
type Measure struct {
	Operation string // "chat"
	Provider  string
	Asked     string // model, as the client names it
	Answered  string // the same, as the answer does; "": none came
	Fault     string // "": it went well

	Server        time.Duration // from the request to the end of its answer
	Client        time.Duration // the same of the upstream; 0: it was not asked
	Input, Output int64         // tokens that the upstream counted
}

// durations and tokens are the bounds of the buckets that the conventions ask for.
var (
	durations = []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	tokens    = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
)

// instruments are the metrics, in the order in which they are sent.
var instruments = []struct {
	name, unit, doc string
	bounds          []float64
}{
	{"gen_ai.client.operation.duration", "s", "Time of operations at upstreams", durations},
	{"gen_ai.server.request.duration", "s", "Time of requests to the gateway", durations},
	{"gen_ai.client.token.usage", "{token}", "Tokens that upstreams count", tokens},
}

const (
	metricsEvery = 15 * time.Second
	maxSeries    = 2000 // of all metrics; what comes then is one series, as the specification of the SDK says
)

// A series is one set of attributes of one metric.
type series struct {
	metric                                                 int
	operation, provider, asked, answered, fault, tokenType string
	overflow                                               bool
}

type buckets struct {
	counts   []uint64
	sum      float64
	min, max float64
}

// A meter keeps sums since it began, which is what it sends each time.
type meter struct {
	begun time.Time

	mu     sync.Mutex // guards series
	series map[series]*buckets
}

// Measure adds an exchange to the metrics, if they are wanted.
func (t *Tracer) Measure(m Measure) {
	if t.meter == nil {
		return
	}
	s := series{operation: m.Operation, provider: m.Provider, asked: m.Asked, answered: m.Answered, fault: m.Fault}
	t.meter.mu.Lock()
	defer t.meter.mu.Unlock()
	if s.metric = 0; m.Client > 0 {
		t.meter.add(s, m.Client.Seconds())
	}
	s.metric = 1
	t.meter.add(s, m.Server.Seconds())
	s.metric, s.fault = 2, ""
	for kind, n := range map[string]int64{"input": m.Input, "output": m.Output} {
		if s.tokenType = kind; n > 0 {
			t.meter.add(s, float64(n))
		}
	}
}

// add is called with the lock.
func (t *meter) add(s series, v float64) {
	h := t.series[s]
	if h == nil && len(t.series) >= maxSeries {
		s = series{metric: s.metric, overflow: true}
		h = t.series[s]
	}
	bounds := instruments[s.metric].bounds
	if h == nil {
		h = &buckets{counts: make([]uint64, len(bounds)+1), min: v, max: v}
		t.series[s] = h
	}
	h.counts[sort.SearchFloat64s(bounds, v)]++ // a bound belongs to the bucket below it
	h.sum += v
	h.min, h.max = min(h.min, v), max(h.max, v)
}

func (h *buckets) count() (n uint64) {
	for _, c := range h.counts {
		n += c
	}
	return n
}

func (s series) attributes() object {
	if s.overflow {
		return object{"otel.metric.overflow": true}
	}
	a := object{"gen_ai.operation.name": s.operation, "gen_ai.request.model": s.asked}
	for name, v := range map[string]string{"gen_ai.provider.name": s.provider, "gen_ai.response.model": s.answered, "error.type": s.fault, "gen_ai.token.type": s.tokenType} {
		if v != "" {
			a[name] = v
		}
	}
	return a
}

// otlp is the JSON form of OTLP: counts are text.
func (t *meter) otlp(now time.Time) object {
	t.mu.Lock()
	defer t.mu.Unlock()
	points := make([][]object, len(instruments))
	for s, h := range t.series {
		counts := make([]string, len(h.counts))
		for i, c := range h.counts {
			counts[i] = strconv.FormatUint(c, 10)
		}
		points[s.metric] = append(points[s.metric], object{
			"attributes": attributes(s.attributes()), "startTimeUnixNano": strconv.FormatInt(t.begun.UnixNano(), 10), "timeUnixNano": strconv.FormatInt(now.UnixNano(), 10),
			"count": strconv.FormatUint(h.count(), 10), "sum": h.sum, "min": h.min, "max": h.max, "bucketCounts": counts, "explicitBounds": instruments[s.metric].bounds,
		})
	}
	metrics := []object{}
	for i, in := range instruments {
		if len(points[i]) > 0 {
			metrics = append(metrics, object{"name": in.name, "unit": in.unit, "description": in.doc, "histogram": object{"aggregationTemporality": 2, "dataPoints": points[i]}}) // cumulative
		}
	}
	return object{"resourceMetrics": []object{{
		"resource":     object{"attributes": attributes(object{"service.name": "warden"})},
		"scopeMetrics": []object{{"scope": object{"name": "github.com/modelwarden/warden/internal/gateway"}, "metrics": metrics}},
	}}}
}

// export sends the metrics, if there are any. What cannot be sent is in the next.
func (t *Tracer) export(ctx context.Context) {
	if t.meter == nil {
		return
	}
	t.meter.mu.Lock()
	none := len(t.meter.series) == 0
	t.meter.mu.Unlock()
	if none {
		return
	}
	body, err := json.Marshal(t.meter.otlp(time.Now()))
	if err == nil {
		err = t.post(ctx, t.metrics, body)
	}
	if err != nil {
		t.cfg.Log.WarnContext(ctx, "metrics cannot be sent", slog.Any("error", err))
	}
}
