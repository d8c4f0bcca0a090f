package gateway_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/gateway"
	"github.com/modelwarden/warden/internal/gateway/direct"
)

func BenchmarkExchange(b *testing.B) {
	b.Run("plain", func(b *testing.B) { exchanges(b, nil) })
	b.Run("guarded", func(b *testing.B) {
		g, err := guard.New(guard.Config{})
		if err != nil {
			b.Fatal(err)
		}
		exchanges(b, &gateway.GuardConfig{Guard: g})
	})
}

func exchanges(b *testing.B, g *gateway.GuardConfig) {
	x, up := newBench(b), newDouble(b)
	up.says(plain, whole)
	x.routes(up.URL, gateway.Route{Name: "good", Guard: g})
	_, key := x.Key([]string{access.RoleClient})
	body := fmt.Sprintf(`{"model":"good","messages":[{"role":"user","content":%q}]}`, strings.Repeat("all is well with it ", 50))
	c, err := direct.New(direct.Config{Address: strings.TrimPrefix(x.url, "http://"), Dial: (&net.Dialer{}).DialContext})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := c.Do(b.Context(), &direct.Request{
				Method: "POST", Target: "/v1/chat/completions", Body: []byte(body),
				Header: []direct.Field{{Name: "Authorization", Value: "Bearer " + key}, {Name: "Content-Type", Value: "application/json"}},
			})
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
				b.Error(resp.StatusCode, err)
			}
			resp.Body.Close()
		}
	})
}
