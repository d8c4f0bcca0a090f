package gateway_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/gateway"
	"github.com/modelwarden/warden/internal/monitor"
)

// Contents are kept where the route says so, encrypted, without what guards took
// out, and until their day.
func TestCapture(t *testing.T) {
	b, up := newBench(t), newDouble(t)
	_, key := b.Key([]string{access.RoleClient})
	watch, err := guard.New(guard.Config{})
	if err != nil {
		t.Fatal(err)
	}
	up.says(plain, `{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"ask mara.lindqvist@acme-corp.io"},"finish_reason":"stop"}]}`)
	for _, mode := range []monitor.Mode{"", monitor.Redacted, monitor.Full} {
		b.routes(up.URL, gateway.Route{Name: "m", Guard: &gateway.GuardConfig{Guard: watch}, Capture: mode, KeepFor: time.Hour})
		resp, _, err := b.post(key, chatBody("m"))
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp.StatusCode, err)
		}
		id := resp.Header.Get("X-Request-Id")
		if mode == "" {
			time.Sleep(100 * time.Millisecond)
			if _, err := b.Archive.Content(t.Context(), id); !errors.Is(err, error(monitor.ErrNoContent)) {
				t.Errorf("no capture: %v", err)
			}
			continue
		}
		var c monitor.Content
		b.eventually("the content", func() bool { c, err = b.Archive.Content(t.Context(), id); return err == nil })
		if !strings.Contains(string(c.Asked), "my secret prompt") || strings.Contains(c.Said, "lindqvist") != (mode == monitor.Full) || !strings.Contains(c.Said, "ask ") {
			t.Errorf("%s: asked %s, said %s", mode, c.Asked, c.Said)
		}
		s, err := b.Store.Content(t.Context(), id)
		if err != nil || bytes.Contains(s.Box, []byte("secret prompt")) {
			t.Errorf("%s: the row holds the text, %v", mode, err)
		}
	}
	b.Skip(2 * time.Hour)
	if n, err := b.Archive.Sweep(t.Context(), b.Now()); err != nil || n != 2 {
		t.Errorf("swept %d, %v; want 2", n, err)
	}
}
