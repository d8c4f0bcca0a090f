package openai_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/dialecttest"
	"github.com/modelwarden/warden/internal/chat/openai"
	"github.com/modelwarden/warden/internal/chat/wire"
)

func part(kind chat.PartKind, text string, start, end int) chat.Part {
	return chat.Part{Kind: kind, Text: []byte(text), Span: chat.Span{Start: start, End: end}}
}

func TestDecode(t *testing.T) {
	body := []byte(`{"messages":[{"role":"developer","content":"be kind"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"},{"type":"text","text":"b"}]}],"model":"support","stream":true,"temperature":0.2}`)
	r, err := openai.Decode(body, wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	want := []chat.Message{
		{Role: chat.System, Parts: []chat.Part{part(chat.Text, "be kind", 43, 52)}, Span: chat.Span{Start: 13, End: 53}},
		{Role: chat.User, Parts: []chat.Part{part(chat.Text, "a", 102, 105), part(chat.Unknown, "image_url", 107, 127), part(chat.Text, "b", 150, 153)}, Span: chat.Span{Start: 54, End: 156}},
	}
	if r.Model != "support" || !r.Stream {
		t.Errorf("got %+v", r.Exchange)
	}
	if d := cmp.Diff(want, r.Messages); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	same, err := r.WithModel("", wire.DefaultLimits())
	if err != nil || !bytes.Equal(same, body) {
		t.Errorf("unchanged request: %s, %v", same, err)
	}
	other, err := r.WithModel(`up"stream`, wire.DefaultLimits())
	if err != nil || !bytes.Equal(other, bytes.Replace(body, []byte(`"support"`), []byte(`"up\"stream"`), 1)) {
		t.Errorf("WithModel = %s, %v", other, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	const ok = `"messages":[{"role":"user","content":"hi"}]`
	for name, body := range map[string]string{
		"not_an_object": `[]`, "no_model": `{` + ok + `}`, "model_number": `{"model":1,` + ok + `}`, "no_messages": `{"model":"m"}`,
		"empty_messages": `{"model":"m","messages":[]}`, "stream_text": `{"model":"m","stream":"yes",` + ok + `}`,
		"other_case": `{"model":"m","Stream":true,` + ok + `}`, "long_s": `{"model":"m","ſtream":true,` + ok + `}`,
		"escaped_name": `{"mode\u006c":"m",` + ok + `}`, "second_model": `{"model":"m","MODEL":"n",` + ok + `}`,
		"other_host": `{"model":"m","api_base":"http://x",` + ok + `}`, "other_host_case": `{"model":"m","API_Base":"http://x",` + ok + `}`,
		"template": `{"model":"m","chat_template":"{{x}}",` + ok + `}`, "role_number": `{"model":"m","messages":[{"role":1}]}`,
		"content_number": `{"model":"m","messages":[{"role":"user","content":1}]}`, "message_text": `{"model":"m","messages":["hi"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := openai.Decode([]byte(body), wire.DefaultLimits()); !errors.Is(err, openai.ErrRequest) {
				t.Errorf("Decode(%s) = %v, %v; want ErrRequest", body, r, err)
			}
		})
	}
}

func TestUsageOf(t *testing.T) {
	if u, ok := openai.UsageOf([]byte(`{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}`)); !ok || u != (chat.Usage{Input: 3, Output: 5}) {
		t.Errorf("got %+v, %v", u, ok)
	}
	for _, s := range []string{`{}`, `{"usage":null}`, `{"usage":{"prompt_tokens":-1,"completion_tokens":2}}`, `{"usage":`} {
		if u, ok := openai.UsageOf([]byte(s)); ok {
			t.Errorf("UsageOf(%s) = %+v", s, u)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"model":"m","messages":[{"role":"user","content":[{"text":"x"}]}],"stream":null}`))
	f.Add([]byte(`{"model":"m","stream":true,"stream_options":{"include_usage":false},"logprobs":true,"top_logprobs":2,"max_tokens":5,"messages":[{"role":"system","content":"s"},{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"r"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dialecttest.Decode(t, openai.Dialect(), toChat, dialect.None, b, dialecttest.Options())
		dialecttest.Decode(t, openai.Dialect(), toEmbed, dialect.None, b, dialecttest.Options())
	})
}
