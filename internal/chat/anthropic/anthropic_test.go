package anthropic_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/anthropic"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/dialecttest"
)

var to = dialect.Target{Op: dialect.Chat}

func TestGovernedFields(t *testing.T) {
	bodies := map[string]string{
		"request": `{%s"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`,
		"message": `{"model":"m","messages":[{%s"role":"user","content":"hi"}]}`,
		"part":    `{"model":"m","messages":[{"role":"user","content":[{%s"type":"text","text":"hi"}]}]}`,
		"source":  `{"model":"m","messages":[{"role":"user","content":[{"type":"image","source":{%s"type":"base64","data":"aGk="}}]}]}`,
		"tool":    `{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{%s"name":"f","input_schema":{}}]}`,
		"format":  `{"model":"m","messages":[{"role":"user","content":"x"}],"output_format":{%s"type":"json_schema","schema":{}}}`,
	}
	for name, table := range anthropic.Tables() {
		dialecttest.Governed(t, anthropic.Dialect(), to, table, bodies[name])
	}
}

const full = `{"model":"m","max_tokens":10,"system":[{"type":"text","text":"sys"}],"stream":true,"tools":[{"name":"f","input_schema":{"a":1}},{"type":"bash_20250124","name":"bash"}],"messages":[
	{"role":"user","content":[{"type":"text","text":"a"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}},{"type":"document","title":"T","source":{"type":"text","media_type":"text/plain","data":"doc"}},{"type":"hologram","beam":"b"}]},
	{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"tool_use","id":"t1","name":"f","input":{"x":"y"}}]},
	{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"res"}]},{"type":"tool_result","tool_use_id":"t1","content":"res2"}]}]}`

func TestDecode(t *testing.T) {
	r := dialecttest.Decode(t, anthropic.Dialect(), to, dialect.None, []byte(full), dialecttest.Options())
	if r == nil {
		t.Fatal("refused")
	}
	want := []string{
		"system/text:sys", "user/text:a", "user/image:image/png+2", "user/file:doc", "user/file:T", "user/unknown:hologram\nb", "assistant/reasoning:hm",
		`assistant/tool_call:{"x":"y"}@f`, "user/tool_result:res@f", "user/tool_result:res2@f",
	}
	if d := cmp.Diff(want, dialecttest.Said(r)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if len(r.Tools) != 2 || r.Tools[1].Server || r.Params.MaxOutput != 10 || !r.Stream {
		t.Errorf("%+v", r)
	}
	if got := dialecttest.Said(dialecttest.ReplaceAll(t, anthropic.Dialect(), to, []byte(full), `{"k":"\u00e9"}`)); got[7] != `assistant/tool_call:{"k":"\u00e9"}@f` || got[8] != `user/tool_result:{"k":"\u00e9"}@f` {
		t.Errorf("%q", got)
	}
}

func TestRefused(t *testing.T) {
	const say = `"messages":[{"role":"user","content":"x"}]`
	dialecttest.Refused(
		t, anthropic.Dialect(), to, `[]`, `{}`, `{"model":"m"}`, `{"model":"m","messages":[]}`, `{"model":7,`+say+`}`, `{"model":"m","messages":[{"role":"robot","content":"x"}]}`,
		`{"model":"m","messages":[{"role":"user","content":7}]}`, `{"model":"m","stream":"yes",`+say+`}`, `{"model":"m","max_tokens":0,`+say+`}`, `{"model":"m","max_tokens":1.5,`+say+`}`,
		`{"model":"m","mcp_servers":[{"type":"url","url":"https://x"}],`+say+`}`, `{"model":"m","tools":[{"type":"web_search_20250305","name":"web_search"}],`+say+`}`,
		`{"model":"m","messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"http://169.254.169.254/"}}]}]}`,
		`{"model":"m","messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"https://example.com/x.pdf"}}]}]}`,
		`{"model":"m","messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":"&&"}}]}]}`,
		`{"model":"m","messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"image","source":{"type":"url","url":"https://x"}}]}]}]}`,
		`{"model":"m","stop_sequences":[1],`+say+`}`, `{"model":"m","system":7,`+say+`}`,
	)
	for _, h := range dialecttest.Hostile() {
		dialecttest.Refused(t, anthropic.Dialect(), to, `{"model":"m","metadata":`+h+`,`+say+`}`)
	}
	o := dialect.DefaultOptions()
	o.Remote, o.Hosts = dialect.RemoteHosts, []string{"files.example.com"}
	for url, ok := range map[string]bool{
		"https://files.example.com/x": true, "https://FILES.example.com/x": true, "http://files.example.com/x": false, "https://files.example.com:444/": false, "https://u@files.example.com/": false,
		`https://files.example.com\\@evil/`: false, "https://evil.example.com/": false, "file:///x": false, "https://files.example.com.evil/": false,
	} {
		body := `{"model":"m","messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"` + url + `"}}]}]}`
		if _, err := anthropic.Dialect().Decode(to, dialect.None, []byte(body), o); (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
	}
}

const whole = `{"id":"m1","type":"message","role":"assistant","model":"up","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"hello","citations":[{"cited_text":"hello"}]},{"type":"tool_use","id":"t","name":"f","input":{"a":1}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"cache_read_input_tokens":5,"output_tokens":3}}`

func TestAnswer(t *testing.T) {
	a := dialecttest.Answer(t, anthropic.Dialect(), to, dialect.None, []byte(whole))
	if a == nil || len(a.Texts) != 3 || a.Usage != (chat.Usage{Input: 6, Output: 3}) || a.Texts[2].Call.Name != "f" || string(a.Texts[2].Text) != `{"a":1}` {
		t.Fatalf("%+v", a)
	}
	if err := a.Replace(1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if b, err := a.Bytes(); err != nil || string(b) != strings.Replace(whole, `"text":"hello","citations":[{"cited_text":"hello"}]`, `"text":"x"`, 1) {
		t.Errorf("%s, %v", b, err)
	}
}

func event(kind, rest string) string {
	return "event: " + kind + "\ndata: {\"type\":\"" + kind + "\"" + rest + "}\n\n"
}

func events() string {
	return event("message_start", `,"message":{"id":"m1","model":"up","content":[],"usage":{"input_tokens":9,"output_tokens":1}}`) +
		event("content_block_start", `,"index":0,"content_block":{"type":"text","text":""}`) + event("ping", "") +
		event("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":"hel"}`) +
		event("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":"lo"}`) + event("content_block_stop", `,"index":0`) +
		event("content_block_start", `,"index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}`) +
		event("content_block_delta", `,"index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}`) + event("content_block_stop", `,"index":1`) +
		event("message_delta", `,"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}`) + event("message_stop", "")
}

func TestStream(t *testing.T) {
	d := anthropic.Dialect()
	es, err := dialecttest.Stream(t, d, to, "text/event-stream", []byte(events()))
	if err != nil || len(es) != 11 {
		t.Fatalf("%d events, %v", len(es), err)
	}
	text := ""
	for _, e := range es {
		for _, x := range e.Deltas {
			text += string(x.Text)
		}
	}
	if text != `hello{"a":` || es[9].Usage != (chat.Usage{Input: 9, Output: 7}) || es[6].Deltas[0].Call.Name != "f" || es[9].Ended[0].Reason != "end_turn" || !es[10].Done {
		t.Errorf("%q %+v", text, es[9])
	}
	// Wherever it is denied, what the client got is a whole stream that says so.
	for n := range len(es) - 1 {
		s, err := d.Stream(to, "text/event-stream", strings.NewReader(events()))
		if err != nil {
			t.Fatal(err)
		}
		sent, last := "", (*dialect.Event)(nil)
		for range n {
			if last, err = s.Next(); err != nil {
				t.Fatal(err)
			}
			sent += string(last.Raw)
		}
		got, err := dialecttest.Stream(t, d, to, "text/event-stream", []byte(sent+string(s.Denied(last))))
		if err != nil || got[len(got)-2].Ended[0].Reason != "refusal" || strings.Count(sent+string(s.Denied(last)), "event: content_block_start") != strings.Count(sent+string(s.Denied(last)), "event: content_block_stop") {
			t.Errorf("denied after %d events: %v", n, err)
		}
	}
	for _, bad := range []string{
		"event: ping\ndata: {\"type\":\"message_stop\"}\n\n", event("content_block_delta", `,"index":3,"delta":{"type":"text_delta","text":"x"}`), event("ping", ""),
		"data: {}\n\n", event("message_start", `,"message":{"id":"\ud800"}`),
	} {
		if _, err := dialecttest.Stream(t, d, to, "text/event-stream", []byte(bad)); !errors.Is(err, dialect.ErrAnswer) && !errors.Is(err, dialect.ErrShort) && err == nil {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestBodies(t *testing.T) {
	d := anthropic.Dialect()
	if s := string(d.Error(dialect.Problem{Status: 429, Code: "x", Message: `a "b"`})); s != `{"type":"error","error":{"type":"rate_limit_error","message":"a \"b\""}}` {
		t.Error(s)
	}
	if s := string(d.Models([]string{"a"})); s != `{"data":[{"type":"model","id":"a","display_name":"a","created_at":"1970-01-01T00:00:00Z"}],"has_more":false,"first_id":"a","last_id":"a"}` {
		t.Error(s)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(`{"model":"m","system":"s","max_tokens":1,"messages":[{"role":"user","content":"x"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dialecttest.Decode(t, anthropic.Dialect(), to, dialect.None, b, dialecttest.Options())
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(whole))
	f.Fuzz(func(t *testing.T, b []byte) { dialecttest.Answer(t, anthropic.Dialect(), to, dialect.None, b) })
}

func FuzzStream(f *testing.F) {
	f.Add([]byte(events()))
	f.Fuzz(func(t *testing.T, b []byte) { dialecttest.Stream(t, anthropic.Dialect(), to, "text/event-stream", b) })
}
