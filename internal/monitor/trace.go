package monitor

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// A Span is one exchange as tracing tools see it. Its attributes have the names
// of OpenTelemetry's semantic conventions for generative AI (status:
// development); contents are never among them.
type Span struct {
	Trace      [16]byte
	ID, Parent [8]byte // Parent zero: it is the root
	Name       string
	Start, End time.Time
	Attributes map[string]any // string, int64, float64, bool or []string
	Fault      string         // "": it went well
}

// A TraceConfig says where spans go.
type TraceConfig struct {
	Endpoint string            // base URL of a collector for OTLP over HTTP; "/v1/traces" is added
	Headers  map[string]string // for example a token
	Sample   float64           // share of exchanges that went well; those that did not all go
	Metrics  bool              // metrics go to "/v1/metrics" of the same collector
	Client   *http.Client      // nil: one with a time-out
	Log      *slog.Logger
}

// A Tracer sends spans in batches as OTLP in JSON. It never holds up an
// exchange: spans that cannot be sent are counted and dropped.
type Tracer struct {
	cfg     TraceConfig
	queue   chan Span
	dropped atomic.Uint64
	meter   *meter // nil: no metrics
	metrics string // where they go
}

const (
	spansWaiting = 4096
	spanBatch    = 512
	spanEvery    = 2 * time.Second
)

// NewTracer checks cfg. Run Serve.
func NewTracer(cfg TraceConfig) (*Tracer, error) {
	u, err := url.Parse(cfg.Endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil:
		return nil, errors.New("traces: the endpoint must be http(s)://host[:port][/path]")
	case cfg.Sample < 0 || cfg.Sample > 1 || math.IsNaN(cfg.Sample):
		return nil, fmt.Errorf("traces: sample %v, want 0 to 1", cfg.Sample)
	case cfg.Log == nil:
		return nil, errors.New("traces: a log is required")
	}
	cfg.Endpoint = u.JoinPath("v1", "traces").String()
	t := &Tracer{queue: make(chan Span, spansWaiting), metrics: u.JoinPath("v1", "metrics").String()}
	if cfg.Metrics {
		t.meter = &meter{begun: time.Now(), series: map[series]*buckets{}}
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	t.cfg = cfg
	return t, nil
}

// NewIDs returns random ids for a trace and a span.
func NewIDs() (trace [16]byte, span [8]byte) {
	rand.Read(trace[:])
	rand.Read(span[:])
	return trace, span
}

// Parent reads a traceparent field (W3C Trace Context, version 00).
func Parent(field string) (trace [16]byte, span [8]byte, ok bool) {
	if len(field) != 55 || field[:3] != "00-" || field[35] != '-' || field[52] != '-' {
		return trace, span, false
	}
	_, err1 := hex.Decode(trace[:], []byte(field[3:35]))
	_, err2 := hex.Decode(span[:], []byte(field[36:52]))
	return trace, span, err1 == nil && err2 == nil && trace != [16]byte{} && span != [8]byte{}
}

// Keep takes a span to be sent, if it is one of those that go. The choice
// depends on the trace's id alone, so that all who see the trace choose alike.
func (t *Tracer) Keep(s Span) {
	if s.Fault == "" && float64(binary.BigEndian.Uint64(s.Trace[8:]))/math.MaxUint64 >= t.cfg.Sample {
		return
	}
	select {
	case t.queue <- s:
	default:
		t.dropped.Add(1)
	}
}

// Dropped returns how many spans were not sent.
func (t *Tracer) Dropped() uint64 { return t.dropped.Load() }

// Serve sends spans until ctx ends, and then what is left, once.
func (t *Tracer) Serve(ctx context.Context) {
	var batch []Span
	tick := time.NewTicker(spanEvery)
	defer tick.Stop()
	measure := time.NewTicker(metricsEvery)
	defer measure.Stop()
	flush := func(ctx context.Context) {
		if len(batch) == 0 {
			return
		}
		if err := t.send(ctx, batch); err != nil {
			t.dropped.Add(uint64(len(batch)))
			t.cfg.Log.WarnContext(ctx, "traces cannot be sent", slog.Any("error", err), slog.Int("spans", len(batch)))
		}
		batch = batch[:0]
	}
	for {
		select {
		case s := <-t.queue:
			if batch = append(batch, s); len(batch) >= spanBatch {
				flush(ctx)
			}
		case <-tick.C:
			flush(ctx)
		case <-measure.C:
			t.export(ctx)
		case <-ctx.Done():
			for len(t.queue) > 0 && len(batch) < spansWaiting {
				batch = append(batch, <-t.queue)
			}
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			flush(last)
			t.export(last)
			return
		}
	}
}

func (t *Tracer) send(ctx context.Context, spans []Span) error {
	body, err := json.Marshal(otlp(spans))
	if err != nil {
		return err
	}
	return t.post(ctx, t.cfg.Endpoint, body)
}

// post sends OTLP to a collector.
func (t *Tracer) post(ctx context.Context, to string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range t.cfg.Headers {
		req.Header.Set(name, value)
	}
	resp, err := t.cfg.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()                                //nolint:errcheck // only read
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) //nolint:errcheck // so that the connection can be kept
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answers with status %d", resp.StatusCode)
	}
	return nil
}

type object = map[string]any

// otlp is the JSON form of OTLP: ids in hex, times and integers as text.
func otlp(spans []Span) object {
	out := make([]object, len(spans))
	for i, s := range spans {
		o := object{
			"traceId": hex.EncodeToString(s.Trace[:]), "spanId": hex.EncodeToString(s.ID[:]), "name": s.Name, "kind": 2, // server
			"startTimeUnixNano": strconv.FormatInt(s.Start.UnixNano(), 10), "endTimeUnixNano": strconv.FormatInt(s.End.UnixNano(), 10),
			"attributes": attributes(s.Attributes),
		}
		if s.Parent != [8]byte{} {
			o["parentSpanId"] = hex.EncodeToString(s.Parent[:])
		}
		if s.Fault != "" {
			o["status"] = object{"code": 2, "message": s.Fault}
		}
		out[i] = o
	}
	return object{"resourceSpans": []object{{
		"resource":   object{"attributes": attributes(object{"service.name": "warden"})},
		"scopeSpans": []object{{"scope": object{"name": "github.com/modelwarden/warden/internal/gateway"}, "spans": out}},
	}}}
}

func attributes(m object) []object {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	out := []object{}
	for _, n := range names {
		out = append(out, object{"key": n, "value": value(m[n])})
	}
	return out
}

func value(v any) object {
	switch v := v.(type) {
	case int64:
		return object{"intValue": strconv.FormatInt(v, 10)}
	case float64:
		return object{"doubleValue": v}
	case bool:
		return object{"boolValue": v}
	case []string:
		values := []object{}
		for _, s := range v {
			values = append(values, object{"stringValue": s})
		}
		return object{"arrayValue": object{"values": values}}
	default:
		return object{"stringValue": fmt.Sprint(v)}
	}
}
