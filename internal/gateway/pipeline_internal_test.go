package gateway

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"pgregory.net/rapid"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/dialects"
	"github.com/modelwarden/warden/internal/server/servertest"
)

// A spoken stream is what a dialect says, with WORD for a piece of the text and
// ALL for the whole.
type spoken struct {
	Name, Route, Path, Ask, Type, First, Event, Last string
	Tool, Repeats                                    bool
	WholePath                                        string `yaml:"whole_path"`
	WholeAsk                                         string `yaml:"whole_ask"`
	Whole                                            string
}

// A pipeline takes answers through everything that stands between an upstream
// and a client, without sockets.
type pipeline struct {
	g      *Gateway
	spoken []spoken
}

func newPipeline(t testing.TB) *pipeline {
	t.Helper()
	p := &pipeline{}
	text, err := os.ReadFile(filepath.Join("testdata", "abuse", "streams.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(text, &p.spoken, yaml.Strict()); err != nil || len(p.spoken) < 5 {
		t.Fatal(len(p.spoken), err)
	}
	platform := servertest.New(t)
	p.g, err = New(Config{Registry: platform.Registry, Judge: platform.Judge, Access: platform.Access, Traffic: platform.Traffic, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.g.Close)
	looks, err := guard.New(guard.Config{Rules: map[warden.RuleID]warden.Effect{"WDN-EX-501": warden.Redact}})
	if err != nil {
		t.Fatal(err)
	}
	var routes []Route
	for _, name := range []string{"openai", "anthropic", "gemini", "ollama"} {
		target := Target{Model: "t/m", Upstream: "http://127.0.0.1:1", Dialect: name, AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
		routes = append(routes, Route{Name: name, Target: target, KeepOpen: true}, Route{Name: "g-" + name, Target: target, KeepOpen: true, Guard: &GuardConfig{Guard: looks}})
	}
	if err := p.g.SetRoutes(FromConfig, routes...); err != nil {
		t.Fatal(err)
	}
	return p
}

// An outcome is what a client and the records say of an answer.
type outcome struct {
	raw, end string
	effect   warden.Effect
	found    map[string]int
}

// run sends a body through the pipeline of a route, as its client hears it.
func (p *pipeline) run(t fataler, s spoken, prefix string, body io.Reader) outcome {
	r := (*p.g.routes.Load())[prefix+s.Route]
	path, query, _ := strings.Cut(strings.Replace(s.Path, "models/"+s.Route, "models/"+prefix+s.Route, 1), "?")
	d, to, ok := dialects.Match(p.g.dialects, http.MethodPost, path, query, dialect.None)
	if !ok {
		t.Fatalf("nobody knows %s", path)
	}
	ask := []byte(strings.Replace(s.Ask, `"model":"`+s.Route+`"`, `"model":"`+prefix+s.Route+`"`, 1))
	req, err := d.Decode(to, dialect.None, ask, dialect.DefaultOptions())
	if err != nil {
		t.Fatalf("%s: %v", s.Name, err)
	}
	rec := httptest.NewRecorder()
	x := &exchange{
		w: rec, r: httptest.NewRequest(http.MethodPost, path, nil), rc: http.NewResponseController(rec), dialect: d, to: to, asked: to, raw: ask, req: req, route: r, target: r.targets[0],
		who: access.Identity{Principal: warden.Principal{ID: "user:x", Roles: []string{access.RoleClient}}}, begun: time.Now(), started: time.Now(), sentAt: time.Now(),
	}
	in, err := d.Stream(to, s.Type, body)
	if err != nil {
		t.Fatalf("%s: %v", s.Name, err)
	}
	func() {
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // it is compared as the server does
				panic(v)
			}
		}()
		p.g.stream(x.r.Context(), x, http.Header{}, in)
	}()
	return outcome{rec.Body.String(), x.end, x.effect, x.found}
}

type fataler interface {
	Fatalf(format string, args ...any)
}

// body says a text in pieces that end at the cuts, which must be between runes.
func (s spoken) body(text string, cuts []int) string {
	inJSON := func(x string) string {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(x); err != nil {
			return ""
		}
		return strings.TrimSuffix(b.String()[1:], "\"\n")
	}
	var b strings.Builder
	b.WriteString(s.First)
	from := 0
	for _, to := range append(cuts, len(text)) {
		if to > from || to == len(text) {
			b.WriteString(strings.ReplaceAll(s.Event, "WORD", inJSON(text[from:to])))
			from = to
		}
	}
	b.WriteString(strings.ReplaceAll(s.Last, "ALL", inJSON(text)))
	return b.String()
}

// said puts together what a stream says: its deltas, and, where it repeats all
// of them, what it repeats last.
func (s spoken) said(t fataler, raw string) (text, repeated string) {
	var b strings.Builder
	var walk func(name string, v any)
	walk = func(name string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, y := range v {
				walk(k, y)
			}
		case []any:
			for _, y := range v {
				walk("", y)
			}
		case string:
			if (name == "content" || name == "text" || name == "arguments") && !s.Repeats || name == "delta" && s.Repeats {
				b.WriteString(v)
			} else if name == "text" {
				repeated = v
			}
		}
	}
	for line := range strings.Lines(raw) {
		data := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "data:"))
		if !strings.HasPrefix(data, "{") {
			continue
		}
		var v any
		if err := json.Unmarshal([]byte(data), &v); err != nil {
			t.Fatalf("%s: %q is not JSON: %v", s.Name, data, err)
		}
		walk("", v)
	}
	return b.String(), repeated
}

// bits are what answers are put together from.
var bits = []string{
	" ", "\n\n", ". ", ", ", "a ", "the card ", "4111 1111 1111 1111", "4111111111111111", "4111-1111-", "1111-1111", "0", "-", ".", ":", "+", "karin.lund@skane-mail.se", "karin@", "@skane", ".se", "GB82 WEST 1234 5698 7654 32",
	"call me at ", "+46 8 928 571 38", "41.173.96.26", "é", "𝄞", "日本語", "👩\u200d💻", "\u200b", "e\u0301", "[", "](", "![x](", "https://evil.test/a?b=", "img src=", "?q=", ")", "eyJhbGciOiJIUzI1NiJ9", ".eyJzdWIiOiIxIn0.", "c2lnbmF0dXJl",
	"-----BEGIN RSA PRIVATE KEY-----", "api_key = ", "password: ", "Zx9Kq2Lm8Vb4Nc7Rt1Wy5Pd3", "AKIA", "QWERTYUIOPASDFGH", "ghp_", "postgres://bob:s3cr3tpw@db.internal/x", "\x1b[31m", "DROP TABLE users;", "rm -rf /", "<script>", "</script>",
	"{", "}", "\"", "\\", "\\u0040", "\t", "data: ", "[DONE]", "event: x", "word ", "another ", "sentence ",
}

// check sends a text whole and in pieces: both must say the same, with the same
// verdict, and where nothing was found the very bytes that came.
func (p *pipeline) check(t fataler, s spoken, text string, cuts []int, read func(io.Reader) io.Reader) {
	whole := s.body(text, nil)
	one := p.run(t, s, "g-", strings.NewReader(whole))
	body := s.body(text, cuts)
	many := p.run(t, s, "g-", read(strings.NewReader(body)))
	if one.end != many.end || one.effect != many.effect || !maps.Equal(one.found, many.found) {
		t.Fatalf("%s: %q cut at %v: %s %s %v, whole %s %s %v", s.Name, text, cuts, many.end, many.effect, many.found, one.end, one.effect, one.found)
	}
	if one.end == "denied" {
		return // how much of it had left depends on the pieces
	}
	if one.end != "complete" {
		t.Fatalf("%s: %q ends as %s\n%s", s.Name, text, one.end, one.raw)
	}
	want, wantAgain := s.said(t, one.raw)
	got, again := s.said(t, many.raw)
	if got != want || again != wantAgain || s.Repeats && again != got {
		t.Fatalf("%s: %q cut at %v says\n%q and again %q, whole\n%q and again %q", s.Name, text, cuts, got, again, want, wantAgain)
	}
	if len(one.found) == 0 && (many.raw != body || one.raw != whole) {
		t.Fatalf("%s: nothing is found in %q, and yet it is changed:\n%s\nfrom\n%s", s.Name, text, many.raw, body)
	}
	if s.Tool && json.Valid([]byte(text)) && !json.Valid([]byte(got)) {
		t.Fatalf("%q became %q, which is not JSON", text, got)
	}
	if free := p.run(t, s, "", read(strings.NewReader(body))); free.raw != body || free.end != "complete" {
		t.Fatalf("%s without a guard: %s\n%s\nfrom\n%s", s.Name, free.end, free.raw, body)
	}
}

// runes returns the places between the runes of a text that pick picks.
func runes(text string, pick func() bool) []int {
	var cuts []int
	for i := range text {
		if i > 0 && pick() {
			cuts = append(cuts, i)
		}
	}
	return cuts
}

// A slowly reader gives as many bytes at once as its generator says.
type slowly struct {
	r    io.Reader
	next func() int
}

// Read implements [io.Reader].
func (s slowly) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), s.next())]) }

// Any answer in any pieces says the same and is judged alike, in each dialect.
// Run it long with -rapid.checks=100000.
func TestAnyPieces(t *testing.T) {
	p := newPipeline(t)
	rapid.Check(t, func(r *rapid.T) {
		s := rapid.SampledFrom(p.spoken).Draw(r, "dialect")
		text := strings.Join(rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(bits), rapid.SampledFrom(bits), rapid.SampledFrom(bits), rapid.StringN(0, 6, -1)), 1, 24).Draw(r, "text"), "")
		text = strings.ToValidUTF8(text, "")
		if s.Tool {
			b, err := json.Marshal(map[string]any{"a": text, "b": []any{1, true, "x"}})
			if err != nil {
				r.Fatalf("%v", err)
			}
			text = string(b)
		}
		seed := rapid.Uint32().Draw(r, "cuts")
		random := func() uint32 {
			seed = seed*1664525 + 1013904223
			return seed >> 24
		}
		every := rapid.SampledFrom([]uint32{1, 3, 12, 40}).Draw(r, "every")
		cuts := runes(text, func() bool { return random()%every == 0 })
		most := rapid.SampledFrom([]uint32{1, 7, 64, 4096}).Draw(r, "read")
		p.check(r, s, text, cuts, func(body io.Reader) io.Reader {
			return slowly{body, func() int { return int(random()%most) + 1 }}
		})
	})
}

func FuzzPipeline(f *testing.F) {
	for i, b := range bits {
		f.Add("see "+b+bits[(i+7)%len(bits)]+" end", uint8(i), uint8(3))
	}
	f.Add("Write to karin.lund@skane-mail.se or pay with 4111 1111 1111 1111.", uint8(0), uint8(1))
	p := newPipeline(f)
	f.Fuzz(func(t *testing.T, text string, which, step uint8) {
		if len(text) > 5000 || !utf8.ValidString(text) {
			return
		}
		s := p.spoken[int(which)%len(p.spoken)]
		if s.Tool {
			b, err := json.Marshal(map[string]string{"a": text})
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		n := 0
		cuts := runes(text, func() bool { n++; return n%(int(step%17)+1) == 0 })
		p.check(t, s, text, cuts, func(body io.Reader) io.Reader {
			return slowly{body, func() int { return int(step) + 1 }}
		})
	})
}

// A stream that breaks off is never whole, wherever that is.
func TestBrokenAnywhere(t *testing.T) {
	p := newPipeline(t)
	for _, s := range p.spoken {
		text := "Write to karin.lund@skane-mail.se now."
		if s.Tool {
			text = `{"a":"karin.lund@skane-mail.se"}`
		}
		whole := s.body(text, runes(text, func() bool { return true }))
		step := max(1, len(whole)/400)
		for at := 0; at < len(whole); at += step {
			out := p.run(t, s, "g-", strings.NewReader(whole[:at]))
			if strings.Contains(out.raw, "karin") {
				t.Fatalf("%s broken at %d: %s", s.Name, at, out.raw)
			}
			rest := strings.TrimSpace(whole[at:])
			if out.end == "complete" && rest != "" {
				t.Fatalf("%s broken at %d of %d is %s", s.Name, at, len(whole), out.end)
			}
		}
	}
}
