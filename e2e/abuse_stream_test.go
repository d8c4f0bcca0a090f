//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A spoken stream is what a dialect says, with WORD for the text.
type spoken struct {
	Name, Route, Path, Ask, Type, First, Event, Last string
	Tool, Repeats                                    bool
	WholePath                                        string `yaml:"whole_path"`
	WholeAsk                                         string `yaml:"whole_ask"`
	Whole                                            string
}

// word returns a text as it stands inside a string of JSON.
func word(text string) string {
	b, _ := json.Marshal(text)
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(b[1 : len(b)-1]))
}

func (s spoken) parts(texts ...string) []string {
	out := []string{s.First}
	for _, x := range texts {
		out = append(out, strings.ReplaceAll(s.Event, "WORD", word(x)))
	}
	return append(out, strings.ReplaceAll(s.Last, "ALL", word(strings.Join(texts, ""))))
}

// of returns path and body of a request for the same dialect at another route.
func (s spoken) of(prefix, path, ask string) (string, string) {
	return strings.Replace(path, "models/"+s.Route, "models/"+prefix+s.Route, 1), strings.Replace(ask, `"model":"`+s.Route+`"`, `"model":"`+prefix+s.Route+`"`, 1)
}

// streamed asks for a stream that says these texts, and returns what came.
func (a *abused) streamed(s spoken, prefix string, texts ...string) (int, string, error) {
	a.up.says(pieces(s.Type, s.parts(texts...)...))
	path, ask := s.of(prefix, s.Path, s.Ask)
	status, _, text, err := a.send(path, ask)
	return status, text, err
}

// saidIn puts together what a stream or an answer says, without what it repeats.
func (s spoken) saidIn(text string) string {
	var b strings.Builder
	repeats := s.Repeats && strings.HasPrefix(text, "event:")
	var walk func(name string, v any)
	walk = func(name string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				walk(k, x)
			}
		case []any:
			for _, x := range v {
				walk("", x)
			}
		case string:
			if !repeats && (name == "content" || name == "text" || name == "arguments") || repeats && name == "delta" {
				b.WriteString(v)
			}
		}
	}
	for line := range strings.Lines(text) {
		var v any
		if json.Unmarshal([]byte(strings.TrimPrefix(strings.TrimSpace(line), "data:")), &v) == nil {
			walk("", v)
		}
	}
	return b.String()
}

func (a *abused) dialectsStream(t *testing.T) {
	for _, s := range cases[spoken](t, "streams.yaml") {
		for _, prefix := range []string{"", "g-"} {
			texts := []string{"Hello", " wörld", "", " 𝄞 fine."}
			if s.Tool {
				texts = []string{`{"a":`, `"wörld`, `",`, `"b":[1,2]}`}
			}
			status, text, err := a.streamed(s, prefix, texts...)
			if want := strings.Join(s.parts(texts...), ""); status != http.StatusOK || err != nil || text != want {
				t.Errorf("%s%s: %d %v\n%s\nwant\n%s", prefix, s.Name, status, err, text, want)
			}
		}
	}
}

func (a *abused) streamsAreWhole(t *testing.T) {
	var parts []string
	for i := range 40 {
		parts = append(parts, fmt.Sprintf(chunk, fmt.Sprintf("word %d ", i)))
	}
	want := strings.Join(parts, "") + chunkEnd
	a.up.says(pieces("text/event-stream", append(parts, chunkEnd)...))
	var cut atomic.Int64
	var wg sync.WaitGroup
	for worker := range 32 {
		wg.Go(func() {
			for i := range 20 {
				route := []string{"openai", "g-openai"}[(worker+i)%2]
				if status, text, err := a.post("", chatOf(route, strings.Repeat("please ", 150), true)); status != http.StatusOK || err != nil || text != want {
					cut.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := cut.Load(); n > 0 {
		t.Errorf("%d of 640 streams were cut or changed", n)
	}
}

func (a *abused) brokenStreams(t *testing.T) {
	for _, c := range cases[struct{ Name, Text string }](t, "broken.yaml") {
		for _, route := range []string{"openai", "g-openai"} {
			a.up.says(pieces("text/event-stream", c.Text))
			status, _, text, err := a.send("/v1/chat/completions", chatOf(route, "hi", true))
			if status == http.StatusOK && err == nil {
				t.Errorf("%s of %s looks whole: %s", c.Name, route, text)
			}
			if status != http.StatusOK && status != http.StatusBadGateway {
				t.Errorf("%s of %s: %d %s", c.Name, route, status, text)
			}
			if strings.Contains(text, "[DONE]") {
				t.Errorf("%s of %s says that it is done: %s", c.Name, route, text)
			}
		}
	}
	for _, s := range cases[spoken](t, "streams.yaml") { // a number where text should be is shown, too
		a.up.says(pieces(s.Type, s.First, strings.ReplaceAll(s.Event, `"WORD"`, "4111111111111111"), s.Last))
		path, ask := s.of("g-", s.Path, s.Ask)
		if status, _, text, _ := a.send(path, ask); status == http.StatusOK && strings.Contains(text, "4111") {
			t.Errorf("%s: a number as text passes: %s", s.Name, text)
		}
		a.up.says(func(w http.ResponseWriter, _ *http.Request) {
			reply(w, strings.ReplaceAll(s.Whole, `"WORD"`, "4111111111111111"))
		})
		path, ask = s.of("g-", s.WholePath, s.WholeAsk)
		if status, _, text, _ := a.send(path, ask); status == http.StatusOK && strings.Contains(text, "4111") {
			t.Errorf("%s: a number as text passes whole: %s", s.Name, text)
		}
	}
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { // an event without an end
		w.Header().Set("Content-Type", "text/event-stream")
		for range 80 {
			if _, err := w.Write([]byte("data: " + strings.Repeat("x", 64<<10))); err != nil {
				return
			}
		}
	})
	if _, _, text, err := a.send("/v1/chat/completions", chatOf("openai", "hi", true)); err == nil && strings.Contains(text, "[DONE]") || len(text) > 1<<20 {
		t.Errorf("an endless event: %v, %d bytes", err, len(text))
	}
}

const private = "Write to karin.lund@skane-mail.se or pay with 4111 1111 1111 1111 today."

func (s spoken) says(text string) string {
	if s.Tool {
		b, _ := json.Marshal(map[string]string{"note": text})
		return string(b)
	}
	return text
}

func (a *abused) guardedAlike(t *testing.T) {
	for _, s := range cases[spoken](t, "streams.yaml") {
		source := s.says(private)
		a.up.says(func(w http.ResponseWriter, _ *http.Request) {
			reply(w, strings.ReplaceAll(s.Whole, "WORD", word(source)))
		})
		path, ask := s.of("g-", s.WholePath, s.WholeAsk)
		status, _, text, err := a.send(path, ask)
		one := s.saidIn(text)
		if status != http.StatusOK || err != nil || strings.Contains(one, "karin") || strings.Contains(one, "4111") || !strings.Contains(one, "[EMAIL]") {
			t.Errorf("%s, whole: %d %v %s", s.Name, status, err, text)
		}
		for _, texts := range [][]string{{source}, {source[:20], source[20:]}} {
			status, text, err := a.streamed(s, "g-", texts...)
			if many := s.saidIn(text); status != http.StatusOK || err != nil || many != one || strings.Contains(text, "karin") {
				t.Errorf("%s, streamed: %d %v %q, whole %q", s.Name, status, err, many, one)
			}
		}
		// What the upstream sends counts, not what the client asked for.
		a.up.says(pieces(s.Type, s.parts(source)...))
		if _, _, text, _ := a.send(path, ask); strings.Contains(s.saidIn(text), "karin") {
			t.Errorf("%s: a stream that was not asked for passes unseen: %s", s.Name, text)
		}
	}
	a.up.says(func(w http.ResponseWriter, _ *http.Request) { reply(w, strings.Replace(whole, "fine", private, 1)) })
	if status, text, _ := a.post("deny", chatOf("deny", "hi", false)); status != http.StatusForbidden || strings.Contains(text, "karin") {
		t.Errorf("an answer that is denied: %d %s", status, text)
	}
	a.up.says(pieces("text/event-stream", fmt.Sprintf(chunk, private), chunkEnd))
	if _, text, _ := a.post("deny", chatOf("deny", "hi", true)); strings.Contains(text, "karin") || strings.Contains(text, `"finish_reason":"stop"`) {
		t.Errorf("a stream that is denied: %s", text)
	}
}

func (a *abused) noCutHides(t *testing.T) {
	const text = "Mail anna.svensson@skane-mail.se, now."
	for _, s := range cases[spoken](t, "streams.yaml") {
		source, want := s.says(text), s.says("Mail [EMAIL], now.")
		for cut := range len(source) {
			status, text, err := a.streamed(s, "g-", source[:cut], source[cut:])
			if got := s.saidIn(text); status != http.StatusOK || err != nil || got != want {
				t.Fatalf("%s cut at %d: %d %v %q, want %q", s.Name, cut, status, err, got, want)
			}
		}
		var single []string
		for _, r := range source {
			single = append(single, string(r))
		}
		if _, text, _ := a.streamed(s, "g-", single...); s.saidIn(text) != want {
			t.Errorf("%s, a character at a time: %q", s.Name, s.saidIn(text))
		}
	}
}

func (a *abused) textIsKept(t *testing.T) {
	texts := []string{" ", "Hello", "  ", " wörld", "\n", "\n\n", "\t", " 𝄞", "", "don", "'t", " stop", " .", "  ", "\u00a0", "e\u0301", "👩", "\u200d", "👩", "\r\n", "end "}
	for _, s := range cases[spoken](t, "streams.yaml") {
		if s.Tool {
			continue // its text is JSON
		}
		for _, prefix := range []string{"", "g-"} {
			status, text, err := a.streamed(s, prefix, texts...)
			if status != http.StatusOK || err != nil || s.saidIn(text) != strings.Join(texts, "") {
				t.Errorf("%s%s: %d %v\n%q\nwant\n%q", prefix, s.Name, status, err, s.saidIn(text), strings.Join(texts, ""))
			}
		}
		// Where something is taken out, all around it stays as it was.
		_, text, _ := a.streamed(s, "g-", "  keep \n", " a.b@skane-mail", ".se \t", " this  ")
		if want := "  keep \n [EMAIL] \t this  "; s.saidIn(text) != want {
			t.Errorf("%s: %q, want %q", s.Name, s.saidIn(text), want)
		}
	}
}

func (a *abused) guardsFailClosed(t *testing.T) {
	// Arguments that nest deeper than is looked at: nobody saw what is in them.
	deep := strings.Repeat(`{"a":`, 300) + `"karin.lund@skane-mail.se"` + strings.Repeat("}", 300)
	for _, s := range cases[spoken](t, "streams.yaml") {
		if !s.Tool {
			continue
		}
		a.up.says(func(w http.ResponseWriter, _ *http.Request) {
			reply(w, strings.ReplaceAll(s.Whole, "WORD", word(deep)))
		})
		path, ask := s.of("g-", s.WholePath, s.WholeAsk)
		if status, _, text, _ := a.send(path, ask); status == http.StatusOK || strings.Contains(text, "karin") {
			t.Errorf("what no guard could look at passes: %d %s", status, text)
		}
		if _, text, _ := a.streamed(s, "g-", deep); strings.Contains(text, "karin") {
			t.Errorf("what no guard could look at passes in a stream: %s", text)
		}
	}
	if n := a.metric("warden_gateway_guard_incomplete_total"); n < 2 {
		t.Errorf("%v incomplete looks were counted", n)
	}
	for _, guard := range []string{"preset: standart", "preset: standard, mode: fast", "preset: standard, on_error: ignore", "preset: standard, rules: {WDN-EX-501: maybe}", "preset: standard, model: /no/such/model", "preset: standard, rules: {WDN-EX-999: deny}"} {
		serveFails(t, fmt.Sprintf("gateway: {routes: [{name: m, model: team/m, upstream: %q, guard: {%s}}]}", a.up.URL, guard))
	}
	status, b := request(t, http.MethodGet, a.admin+"/readyz", "", "")
	if status != http.StatusOK {
		t.Errorf("readiness: %d %s", status, b)
	}
}

func (a *abused) limitsLoadStrictly(t *testing.T) {
	const routes = `routes: [{name: m, model: team/m, upstream: "http://10.0.0.1"%s}]`
	for _, limits := range []string{
		"{per: route, route: nosuch, tokens: 100/1m}", "{per: route, only: nosuch, tokens: 100/1m}", "{per: idenity, tokens: 100/1m}", "{per: identity, token: 100/1m}", "{per: identity}", "{per: identity, tokens: 100}",
		"{per: identity, tokens: 100/1fortnight}", "{per: identity, tokens: -1/1m}", "{per: identity, tokens: 1e3/1m}", "{tokens: 100/1m}", "{per: identity, tokens: 100/0s}", "{pre: identity, tokens: 100/1m}",
	} {
		serveFails(t, "gateway: {limits: ["+limits+"], "+fmt.Sprintf(routes, "")+"}")
		serveFails(t, "gateway: {"+fmt.Sprintf(routes, ", limits: ["+limits+"]")+"}")
	}
	serveFails(t, `gateway: {routes: [{name: m, model: team/m, upstream: "http://10.0.0.1"}, {name: m, model: team/m, upstream: "http://10.0.0.1"}]}`)
}
