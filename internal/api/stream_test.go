package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/api"
	"github.com/modelwarden/warden/internal/monitor"
	"github.com/modelwarden/warden/internal/server/servertest"
)

// happened reads what has happened since an event.
func (b *bench) happened(query string, headers ...string) []api.StreamEvent {
	b.T.Helper()
	resp, text := b.do("reader", "GET", "/api/v1/events/stream?follow=false&"+query, "", headers...)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		b.T.Fatalf("%d %s", resp.StatusCode, text)
	}
	var out []api.StreamEvent
	var id, kind string
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			var e api.StreamEvent
			if err := json.Unmarshal([]byte(value), &e); err != nil || e.ID != id || e.Kind != kind {
				b.T.Fatalf("%v in event %s of kind %s: %s", err, id, kind, value)
			}
			out = append(out, e)
		}
	}
	return out
}

// What happens is told once it is recorded, in order, and nobody who connects
// again misses or gets anything twice.
func TestStream(t *testing.T) {
	b := newBench(t)
	a := b.Admit("team/good", "m.pkl", []byte(servertest.Clean))
	var records []monitor.Record
	for i, r := range []monitor.Record{
		{Step: monitor.Admitted, Request: "one"},
		{Step: monitor.Finished, Request: "one", Status: 200, Input: 3, Output: 4},
		{Step: monitor.Finished, Request: "two", Status: 200, Guard: warden.Redact, Found: map[string]int{"WDN-EX-502": 2}},
		{Step: monitor.Refused, Request: "three", Status: 429, Code: "limit"},
	} {
		r.Number, r.At, r.Route = int64(i+1), b.Now().UTC(), "chat"
		records = append(records, r)
	}
	if err := b.Traffic.Keep(t.Context(), "replica-1", records); err != nil {
		t.Fatal(err)
	}
	if resp, text := b.do("admin", "POST", "/api/v1/artifacts/"+a.Digest.String()+"/quarantine", `{"reason":"a test of the stream"}`); resp.StatusCode >= 300 {
		t.Fatal(resp.StatusCode, text)
	}
	all := b.happened("since=0")
	var kinds []string
	for _, e := range all {
		if e.Kind != "change" && e.Kind != "decision" {
			kinds = append(kinds, e.Kind)
		}
		if e.Kind == "traffic" && (len(e.Traffic) != 1 || e.Traffic[0] != (monitor.Traffic{Route: "chat", Requests: 2, Refused: 1, Redacted: 1, Tokens: 7})) {
			t.Errorf("sums: %+v", e.Traffic)
		}
	}
	if got := strings.Join(kinds, " "); got != "guard refusal traffic quarantine" {
		t.Errorf("kinds: %s", got)
	}
	for i, e := range all { // wherever one connects again, the rest comes
		rest := b.happened("", "Last-Event-ID", e.ID)
		if e.ID == "0" {
			continue // which asks for all
		}
		if len(rest) != len(all)-i-1 || len(rest) > 0 && rest[0].ID != all[i+1].ID {
			t.Errorf("after %s: %d events, want %d", e.ID, len(rest), len(all)-i-1)
		}
	}
	if got := b.happened("since=0&kind=guard&kind=quarantine"); len(got) != 2 || got[0].Exchange == nil || got[0].Exchange.Request != "two" || got[1].Actor == "" {
		t.Errorf("two kinds: %+v", got)
	}
	for _, bad := range []string{"since=x", "since=1.x", "since=-1", "since=99999999", "kind=other"} {
		if resp, text := b.do("reader", "GET", "/api/v1/events/stream?follow=false&"+bad, ""); resp.StatusCode != 422 && resp.StatusCode != 400 {
			t.Errorf("%s: %d %s", bad, resp.StatusCode, text)
		}
	}
	if resp, _ := b.do("", "GET", "/api/v1/events/stream", ""); resp.StatusCode != 401 {
		t.Errorf("nobody: %d", resp.StatusCode)
	}
	if resp, _ := b.do("client", "GET", "/api/v1/events/stream", ""); resp.StatusCode != 403 {
		t.Errorf("one that may only query: %d", resp.StatusCode)
	}
}

// A stream goes on with what happens, and ends with the server.
func TestStreamFollows(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/api/v1/events/stream?kind=traffic", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+b.keys["reader"])
	resp, err := b.client.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(err, resp)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 2 {
		err := b.Traffic.Keep(t.Context(), "r", []monitor.Record{{Number: int64(i + 1), Step: monitor.Finished, At: b.Now().UTC(), Request: fmt.Sprint(i), Route: "chat", Status: 200}})
		if err != nil {
			t.Fatal(err)
		}
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") {
		}
		if !strings.Contains(lines.Text(), `"kind":"traffic"`) {
			t.Fatalf("%d: %q, %v", i, lines.Text(), lines.Err())
		}
	}
	close(b.done)
	for lines.Scan() {
	}
	if lines.Err() != nil {
		t.Errorf("when the server stops: %v, want a clean end", lines.Err())
	}
}
