package monitor_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/monitor"
)

// Spans reach a collector in OTLP's JSON form; those that went wrong all do.
func TestTracer(t *testing.T) {
	var got []byte
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		if r.URL.Path != "/otel/v1/traces" || r.Header.Get("X-Token") != "t" {
			t.Errorf("request %s with %v", r.URL, r.Header)
		}
	}))
	defer s.Close()
	tr, err := monitor.NewTracer(monitor.TraceConfig{Endpoint: s.URL + "/otel/", Headers: map[string]string{"X-Token": "t"}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	trace, parent, ok := monitor.Parent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if !ok {
		t.Fatal("a traceparent of the standard is not read")
	}
	_, id := monitor.NewIDs()
	at := time.Unix(1_700_000_000, 5)
	tr.Keep(monitor.Span{Trace: trace, ID: id, Name: "chat fine", Start: at, End: at}) // not sampled
	tr.Keep(monitor.Span{Trace: trace, ID: id, Parent: parent, Name: "chat m", Start: at, End: at.Add(time.Second), Fault: "denied", Attributes: map[string]any{
		"gen_ai.usage.input_tokens": int64(3), "warden.guard.rules": []string{"a", "b"}, "x": true, "gen_ai.request.temperature": 0.5,
	}})
	ctx, stop := context.WithCancel(t.Context())
	stop()
	tr.Serve(ctx)
	var doc struct {
		ResourceSpans []struct {
			ScopeSpans []struct{ Spans []map[string]any }
		}
	}
	if err := json.Unmarshal(got, &doc); err != nil || len(doc.ResourceSpans) != 1 || len(doc.ResourceSpans[0].ScopeSpans[0].Spans) != 1 {
		t.Fatalf("%s: %v", got, err)
	}
	span := doc.ResourceSpans[0].ScopeSpans[0].Spans[0]
	for k, want := range map[string]any{
		"traceId": "0af7651916cd43dd8448eb211c80319c", "parentSpanId": "b7ad6b7169203331", "startTimeUnixNano": "1700000000000000005", "endTimeUnixNano": "1700000001000000005", "name": "chat m",
	} {
		if span[k] != want {
			t.Errorf("%s = %v, want %v", k, span[k], want)
		}
	}
	for _, want := range []string{`{"intValue":"3"}`, `{"boolValue":true}`, `{"doubleValue":0.5}`, `{"arrayValue":{"values":[{"stringValue":"a"},{"stringValue":"b"}]}}`, `"status":{"code":2,"message":"denied"}`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	for _, bad := range []string{"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319X-b7ad6b7169203331-01"} {
		if _, _, ok := monitor.Parent(bad); ok {
			t.Errorf("Parent(%q) is taken", bad)
		}
	}
}
