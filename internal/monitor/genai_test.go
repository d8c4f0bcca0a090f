package monitor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/monitor"
)

// Metrics have the names, attributes and buckets of the conventions, reach the
// collector as OTLP in JSON, and stay few however many models answer.
func TestMetrics(t *testing.T) {
	var got []byte
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/otel/v1/metrics" {
			t.Errorf("request %s", r.URL)
		}
		got, _ = io.ReadAll(r.Body)
	}))
	defer s.Close()
	for _, on := range []bool{false, true} {
		tr, err := monitor.NewTracer(monitor.TraceConfig{Endpoint: s.URL + "/otel", Metrics: on, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		m := monitor.Measure{Operation: "chat", Provider: "openai", Asked: "m", Answered: "m-1", Server: 30 * time.Millisecond, Client: 20 * time.Millisecond, Input: 4, Output: 100_000_000}
		tr.Measure(m)
		tr.Measure(m)
		tr.Measure(monitor.Measure{Operation: "chat", Asked: "unknown", Fault: "limit", Server: 2 * time.Minute})
		for i := range 3000 {
			tr.Measure(monitor.Measure{Operation: "embeddings", Asked: fmt.Sprint(i), Server: time.Second})
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		tr.Serve(ctx)
		if !on && got != nil {
			t.Fatalf("sent although not wanted: %s", got)
		}
	}
	var doc struct {
		ResourceMetrics []struct {
			ScopeMetrics []struct {
				Metrics []struct {
					Name, Unit string
					Histogram  struct {
						AggregationTemporality int
						DataPoints             []struct {
							Count          string
							Sum            float64
							BucketCounts   []string
							ExplicitBounds []float64
							Attributes     []struct {
								Key   string
								Value map[string]any
							}
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(got, &doc); err != nil {
		t.Fatal(err)
	}
	points := 0
	seen := map[string]bool{}
	for _, m := range doc.ResourceMetrics[0].ScopeMetrics[0].Metrics {
		for _, p := range m.Histogram.DataPoints {
			points++
			if m.Histogram.AggregationTemporality != 2 || len(p.BucketCounts) != len(p.ExplicitBounds)+1 || len(p.ExplicitBounds) != 14 {
				t.Fatalf("%s: %+v", m.Name, p)
			}
			var as []string
			for _, a := range p.Attributes {
				as = append(as, fmt.Sprintf("%s=%v", a.Key, a.Value["stringValue"]))
			}
			seen[fmt.Sprintf("%s %s %s %g %s %s", m.Name, m.Unit, p.Count, p.Sum, strings.Join(p.BucketCounts, ","), strings.Join(as, " "))] = true
		}
	}
	const who = " gen_ai.operation.name=chat gen_ai.provider.name=openai gen_ai.request.model=m gen_ai.response.model=m-1"
	for _, want := range []string{
		"gen_ai.client.operation.duration s 2 0.04 0,2,0,0,0,0,0,0,0,0,0,0,0,0,0" + who,
		"gen_ai.server.request.duration s 2 0.06 0,0,2,0,0,0,0,0,0,0,0,0,0,0,0" + who,
		"gen_ai.client.token.usage {token} 2 8 0,2,0,0,0,0,0,0,0,0,0,0,0,0,0" + who + " gen_ai.token.type=input",
		"gen_ai.client.token.usage {token} 2 2e+08 0,0,0,0,0,0,0,0,0,0,0,0,0,0,2" + who + " gen_ai.token.type=output",
		"gen_ai.server.request.duration s 1 120 0,0,0,0,0,0,0,0,0,0,0,0,0,0,1 error.type=limit gen_ai.operation.name=chat gen_ai.request.model=unknown",
	} {
		if !seen[want] {
			t.Errorf("there is no %s", want)
		}
	}
	if points > 2003 {
		t.Errorf("%d series", points)
	}
}
