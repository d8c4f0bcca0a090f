package gateway_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/gateway"
	"github.com/modelwarden/warden/internal/monitor"
)

// A record says where each rule fired and what was done, never what stands there;
// where all of an exchange is kept, its sealed content has the texts.
func TestPlaces(t *testing.T) {
	b, up := newBench(t), newDouble(t)
	_, key := b.Key([]string{access.RoleClient})
	watch, err := guard.New(guard.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b.routes(up.URL, gateway.Route{Name: "m", Guard: &gateway.GuardConfig{Guard: watch}, Capture: monitor.Full, KeepFor: time.Hour})
	said := "ask " + leaked + " or " + strings.Replace(leaked, "mara", "anna", 1)
	answers := map[string][]string{
		plain: {fmt.Sprintf(`{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}]}`, said)},
		sse: {
			"data: " + delta(said[:9]) + "\n\n", "data: " + delta(said[9:20]) + "\n\n", "data: " + delta(said[20:]) + "\n\n",
			"data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n", "data: [DONE]\n\n",
		},
	}
	for form, parts := range answers {
		up.says(form, parts...)
		body := chatBody("m")
		if form == sse {
			body = strings.Replace(body, "{", `{"stream":true,`, 1)
		}
		resp, _, err := b.post(key, body)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp.StatusCode, err)
		}
		id := resp.Header.Get("X-Request-Id")
		var rec monitor.Record
		b.eventually("its record", func() bool {
			for _, line := range b.Steps(monitor.Finished) {
				if strings.Contains(line, id) && json.Unmarshal([]byte(line), &rec) == nil {
					return !strings.Contains(line, "lindqvist")
				}
			}
			return false
		})
		var got []string
		for _, p := range rec.Places {
			got = append(got, fmt.Sprintf("%s %s %s %s", p.Rule, p.At, said[p.Start:p.End], p.Did))
		}
		want := "WDN-EX-502 choices/0/text/0 " + leaked + " redact"
		if len(got) != 2 || !strings.HasSuffix(got[0], want[len("WDN-EX-502"):]) {
			t.Errorf("%s: places %q, want %q and another", form, got, want)
		}
		var c monitor.Content
		b.eventually("the content", func() bool { c, err = b.Archive.Content(t.Context(), id); return err == nil })
		if len(c.Parts) != 1 || c.Parts[0].Text != said || len(c.Parts[0].Places) != 2 {
			t.Errorf("%s: parts %+v", form, c.Parts)
		}
	}
}

// However much is found, a record stays small.
func TestManyPlaces(t *testing.T) {
	b, up := newBench(t), newDouble(t)
	_, key := b.Key([]string{access.RoleClient})
	watch, err := guard.New(guard.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b.routes(up.URL, gateway.Route{Name: "m", Guard: &gateway.GuardConfig{Guard: watch}})
	up.says(plain, fmt.Sprintf(`{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}]}`, strings.Repeat(leaked+" ", 500)))
	if status, _, err := b.send(key, "/v1/chat/completions", chatBody("m")); status != 200 || err != nil {
		t.Fatal(status, err)
	}
	b.eventually("a record that counts all and places some", func() bool {
		all := b.Steps(monitor.Finished)
		return len(all) == 1 && strings.Contains(all[0], ":500}") && strings.Count(all[0], `"did"`) == monitor.MaxPlaces
	})
}
