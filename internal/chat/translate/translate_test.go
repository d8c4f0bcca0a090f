package translate_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/anthropic"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/dialects"
	"github.com/modelwarden/warden/internal/chat/dialecttest"
	"github.com/modelwarden/warden/internal/chat/gemini"
	"github.com/modelwarden/warden/internal/chat/ollama"
	"github.com/modelwarden/warden/internal/chat/openai"
	"github.com/modelwarden/warden/internal/chat/translate"
)

// requests say the same in each dialect.
var requests = map[string]string{
	openai.Name: `{"model":"m","max_tokens":9,"temperature":0.5,"top_p":0.9,"stop":["END"],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{}}}}],"tool_choice":"auto","messages":[
		{"role":"system","content":"sys"},{"role":"user","content":[{"type":"text","text":"look \"here\""},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}]},
		{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},{"role":"tool","tool_call_id":"c","content":"res"},{"role":"user","content":"so?"}]}`,
	anthropic.Name: `{"model":"m","max_tokens":9,"temperature":0.5,"top_p":0.9,"stop_sequences":["END"],"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"auto"},"system":"sys","messages":[
		{"role":"user","content":[{"type":"text","text":"look \"here\""},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}]},
		{"role":"assistant","content":[{"type":"tool_use","id":"c","name":"f","input":{"x":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"res"}]},{"role":"user","content":"so?"}]}`,
	gemini.Name: `{"systemInstruction":{"parts":[{"text":"sys"}]},"generationConfig":{"maxOutputTokens":9,"temperature":0.5,"topP":0.9,"stopSequences":["END"]},"tools":[{"functionDeclarations":[{"name":"f","description":"d","parameters":{"type":"OBJECT","properties":{}}}]}],"toolConfig":{"functionCallingConfig":{"mode":"AUTO"}},"contents":[
		{"role":"user","parts":[{"text":"look \"here\""},{"inlineData":{"mimeType":"image/png","data":"aGk="}}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{"x":1}}}]},
		{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"result":"res"}}}]},{"role":"user","parts":[{"text":"so?"}]}]}`,
	ollama.Name: `{"model":"m","stream":false,"options":{"num_predict":9,"temperature":0.5,"top_p":0.9,"stop":["END"]},"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{}}}}],"messages":[
		{"role":"system","content":"sys"},{"role":"user","content":"look \"here\"","images":["aGk="]},{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"x":1}}}]},{"role":"tool","tool_name":"f","content":"res"},{"role":"user","content":"so?"}]}`,
}

func target(name string) dialect.Target {
	t := dialect.Target{Op: dialect.Chat}
	if name == gemini.Name {
		t.Model = "m"
	}
	return t
}

func pairs() [][2]string {
	var out [][2]string
	for _, o := range []string{anthropic.Name, gemini.Name, ollama.Name} {
		out = append(out, [2]string{openai.Name, o}, [2]string{o, openai.Name})
	}
	return out
}

func TestRequest(t *testing.T) {
	said := func(r *dialect.Request) []string {
		var out []string
		for _, s := range dialecttest.Said(r) {
			if s != "assistant/text:" { // where a message must have a text
				out = append(out, strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(s, "user/"), "tool/"), "image/png+2", "+2"))
			}
		}
		return out
	}
	for _, p := range pairs() {
		client, upstream := dialects.Named(p[0]), dialects.Named(p[1])
		o := dialect.DefaultOptions()
		r, err := client.Decode(target(p[0]), dialect.None, []byte(requests[p[0]]), o)
		if err != nil {
			t.Fatal(p, err)
		}
		want := said(r)
		body, to, dropped, err := translate.Request(client, upstream, r, "up", o)
		if err != nil || len(dropped) > 0 {
			t.Fatal(p, err, dropped)
		}
		got, err := upstream.Decode(to, dialect.None, body, o)
		if err != nil {
			t.Fatalf("%v: %s: %v", p, body, err)
		}
		if d := cmp.Diff(want, said(got)); d != "" {
			t.Errorf("%v: %s\n-want +got:\n%s", p, body, d)
		}
		if got.Params.MaxOutput != 9 || *got.Params.Temperature != 0.5 || len(got.Tools) != 1 || string(got.Tools[0].Schema) != `{"type":"object","properties":{}}` && p[1] != gemini.Name || got.Model != "up" || !bytes.Contains(body, []byte(`"END"`)) || !bytes.Contains(body, []byte("0.9")) {
			t.Errorf("%v: %s", p, body)
		}
	}
}

// What has no counterpart is refused or named.
func TestNothingIsDroppedInSilence(t *testing.T) {
	const say = `"messages":[{"role":"user","content":"x"}]`
	for _, c := range []struct {
		client, upstream, body string
		refused                bool
		dropped                []string
	}{
		{openai.Name, anthropic.Name, `{"model":"m","n":2,` + say + `}`, true, nil},
		{openai.Name, anthropic.Name, `{"model":"m","logprobs":true,` + say + `}`, true, nil},
		{openai.Name, anthropic.Name, `{"model":"m","response_format":{"type":"json_object"},` + say + `}`, true, nil},
		{openai.Name, anthropic.Name, `{"model":"m","response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object"}}},` + say + `}`, false, nil},
		{openai.Name, anthropic.Name, `{"model":"m","logit_bias":{"1":2},` + say + `}`, true, nil},
		{openai.Name, anthropic.Name, `{"model":"m","seed":1,"user":"u","brand_new":{"a":1},` + say + `}`, false, []string{"user", "brand_new", "seed"}},
		{openai.Name, anthropic.Name, `{"model":"m","modalities":["audio"],` + say + `}`, true, nil},
		{openai.Name, gemini.Name, `{"model":"m","n":2,"logprobs":true,"top_logprobs":3,"response_format":{"type":"json_object"},` + say + `}`, false, nil},
		{openai.Name, ollama.Name, `{"model":"m","tool_choice":"none",` + say + `}`, true, nil},
		{openai.Name, ollama.Name, `{"model":"m","functions":[{"name":"f"}],` + say + `}`, true, nil},
		{openai.Name, ollama.Name, `{"model":"m","messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"aGk=","format":"wav"}}]}]}`, true, nil},
		{openai.Name, ollama.Name, `{"model":"m","messages":[{"role":"user","content":[{"type":"hologram","x":"y"}]}]}`, true, nil},
		{openai.Name, gemini.Name, `{"model":"m","messages":[{"role":"tool","content":"r"}]}`, true, nil},
		{anthropic.Name, openai.Name, `{"model":"m","thinking":{"type":"enabled"},"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"t"}]},{"role":"user","content":"x"}]}`, false, []string{"thinking", "reasoning"}},
		{gemini.Name, openai.Name, `{"safetySettings":[{"category":"X","threshold":"BLOCK_NONE"}],"contents":[{"parts":[{"text":"x"}]}]}`, true, nil},
		{gemini.Name, openai.Name, `{"generation_config":{"topK":5,"thinkingConfig":{}},"contents":[{"parts":[{"text":"x"}]}]}`, false, []string{"generation_config.thinkingConfig"}},
		{ollama.Name, openai.Name, `{"model":"m","options":{"mirostat":1},` + say + `}`, false, []string{"options.mirostat"}},
	} {
		client, upstream := dialects.Named(c.client), dialects.Named(c.upstream)
		o := dialect.DefaultOptions()
		r, err := client.Decode(target(c.client), dialect.None, []byte(c.body), o)
		if err != nil {
			t.Fatal(c.body, err)
		}
		body, to, dropped, err := translate.Request(client, upstream, r, "up", o)
		if c.refused != errors.Is(err, translate.ErrUntranslatable) || c.refused != (err != nil) {
			t.Errorf("%s: %s, %v", c.body, body, err)
			continue
		}
		slices.Sort(dropped)
		slices.Sort(c.dropped)
		if d := cmp.Diff(c.dropped, dropped); d != "" && !c.refused {
			t.Errorf("%s: %s", c.body, d)
		}
		if err == nil {
			if _, err := upstream.Decode(to, dialect.None, body, o); err != nil {
				t.Errorf("%s gave %s: %v", c.body, body, err)
			}
		}
	}
}

var answers = map[string]string{
	openai.Name:    `{"id":"i","choices":[{"index":0,"message":{"role":"assistant","content":"he \"llo\"","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`,
	anthropic.Name: `{"id":"i","type":"message","content":[{"type":"text","text":"he \"llo\""},{"type":"tool_use","id":"c","name":"f","input":{"a":1}}],"stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":2}}`,
	gemini.Name:    `{"candidates":[{"content":{"parts":[{"text":"he \"llo\""},{"functionCall":{"name":"f","args":{"a":1}}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2}}`,
	ollama.Name:    `{"model":"m","message":{"content":"he \"llo\"","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},"done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":2}`,
}

func TestAnswer(t *testing.T) {
	for _, p := range pairs() {
		client, upstream := dialects.Named(p[0]), dialects.Named(p[1])
		a, err := upstream.Answer(target(p[1]), dialect.None, []byte(answers[p[1]]), dialect.AnswerLimits())
		if err != nil {
			t.Fatal(p, err)
		}
		if err := a.Replace(0, []byte("red\"acted")); err != nil {
			t.Fatal(err)
		}
		b, err := translate.Answer(client, upstream, a, "public")
		if err != nil {
			t.Fatal(p, err)
		}
		got, err := client.Answer(target(p[0]), dialect.None, b, dialect.AnswerLimits())
		if err != nil || len(got.Texts) != 2 || string(got.Texts[0].Text) != "red\"acted" || string(got.Texts[1].Text) != `{"a":1}` || got.Texts[1].Call.Name != "f" || got.Usage != (chat.Usage{Input: 3, Output: 2}) || got.Model != "public" {
			t.Fatalf("%v: %s: %+v, %v", p, b, got, err)
		}
		want := map[string]string{openai.Name: "tool_calls", anthropic.Name: "tool_use", gemini.Name: "STOP", ollama.Name: "stop"}[p[0]]
		if got.Ended[0].Reason != want {
			t.Errorf("%v: ended with %q", p, got.Ended[0].Reason)
		}
	}
}

var streams = map[string][]string{
	openai.Name: {
		"data: {\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"he\"}}]}\n\ndata: {\"id\":\"i\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"llo\"}}]}\n\n",
		"data: {\"id\":\"i\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\n\ndata: {\"id\":\"i\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":\"}}]}}]}\n\ndata: {\"id\":\"i\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1}\"}}]}}]}\n\n",
		"data: {\"id\":\"i\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: {\"id\":\"i\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
	},
	anthropic.Name: {
		"data: {\"type\":\"message_start\",\"message\":{\"id\":\"i\",\"content\":[],\"usage\":{\"input_tokens\":3}}}\n\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
		"data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\",\"input\":{}}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":1}\"}}\n\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
		"data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":2}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
	},
	gemini.Name: {
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hello\"}]}}]}\n\n", "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":1}}}]}}]}\n\n",
		"data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2}}\n\n",
	},
	ollama.Name: {
		"{\"message\":{\"content\":\"hello\"},\"done\":false}\n", "{\"message\":{\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}]},\"done\":false}\n",
		"{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":3,\"eval_count\":2}\n",
	},
}

func form(name string) string {
	if name == ollama.Name {
		return dialect.NDJSON.MediaType()
	}
	return dialect.SSE.MediaType()
}

// through passes a stream of an upstream to a client, up to some event.
func through(t *testing.T, p [2]string, body string, sse bool, most int) ([]byte, error) {
	t.Helper()
	client, upstream := dialects.Named(p[0]), dialects.Named(p[1])
	in, err := upstream.Stream(target(p[1]), form(p[1]), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	to := target(p[0])
	to.SSE = sse
	s, err := translate.NewStream(client, upstream, to, "public", true)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for range most {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			b, err := s.End()
			return append(out, b...), err
		}
		if err != nil {
			return out, err
		}
		b, err := s.Write(e, nil)
		if err != nil {
			return out, err
		}
		out = append(out, b...)
	}
	return append(out, s.Denied()...), nil
}

func TestStream(t *testing.T) {
	for _, p := range pairs() {
		for _, sse := range []bool{true, false} {
			body, err := through(t, p, strings.Join(streams[p[1]], ""), sse, 1000)
			if err != nil {
				t.Fatal(p, err)
			}
			mediaType := form(p[0])
			if p[0] == gemini.Name && !sse {
				mediaType = dialect.JSONArray.MediaType()
			}
			es, err := dialecttest.Stream(t, dialects.Named(p[0]), target(p[0]), mediaType, body)
			text, args, name, end, usage := "", "", "", "", chat.Usage{}
			for _, e := range es {
				for _, d := range e.Deltas {
					if d.Lane.Kind == chat.Text {
						text += string(d.Text)
					} else {
						args += string(d.Text)
					}
					if d.Call != nil {
						name += d.Call.Name
					}
				}
				for _, x := range e.Ended {
					end += x.Reason
				}
				if e.Counted {
					usage = e.Usage
				}
			}
			want := map[string]string{openai.Name: "tool_calls", anthropic.Name: "tool_use", gemini.Name: "STOP", ollama.Name: "stop"}[p[0]]
			if err != nil || text != "hello" || args != `{"a":1}` || name != "f" || end != want || usage.Output != 2 {
				t.Errorf("%v: %q %q %q %q %+v %v\n%s", p, text, args, name, end, usage, err, body)
			}
		}
		for most := range 4 {
			body, err := through(t, p, strings.Join(streams[p[1]], ""), true, most)
			if err != nil {
				t.Fatal(p, err)
			}
			es, err := dialecttest.Stream(t, dialects.Named(p[0]), target(p[0]), form(p[0]), body)
			if err != nil || len(es) == 0 {
				t.Errorf("%v denied after %d: %s: %v", p, most, body, err)
			}
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, b := range requests {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range pairs() {
			client, upstream := dialects.Named(p[0]), dialects.Named(p[1])
			o := dialecttest.Options()
			r, err := client.Decode(target(p[0]), dialect.None, b, o)
			if err != nil {
				continue
			}
			body, to, _, err := translate.Request(client, upstream, r, "up", o)
			if err != nil {
				continue
			}
			o.Limits.Bytes, o.Limits.Values, o.Limits.Depth = 1<<20, 100_000, 64
			if _, err := upstream.Decode(to, dialect.None, body, o); err != nil && !errors.Is(err, dialect.ErrRequest) {
				t.Fatalf("%v: %s gave %s: %v", p, b, body, err)
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, b := range answers {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range pairs() {
			client, upstream := dialects.Named(p[0]), dialects.Named(p[1])
			lim := dialecttest.Options().Limits
			a, err := upstream.Answer(target(p[1]), dialect.None, b, lim)
			if err != nil {
				continue
			}
			out, err := translate.Answer(client, upstream, a, "public")
			if err != nil {
				continue
			}
			if _, err := client.Answer(target(p[0]), dialect.None, out, dialect.AnswerLimits()); err != nil {
				t.Fatalf("%v: %s gave %s: %v", p, b, out, err)
			}
		}
	})
}

func FuzzStream(f *testing.F) {
	for _, b := range streams {
		f.Add([]byte(strings.Join(b, "")))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range pairs() {
			out, err := through(t, p, string(b), true, 100)
			if err != nil {
				continue
			}
			if _, err := dialecttest.Stream(t, dialects.Named(p[0]), target(p[0]), form(p[0]), out); err != nil {
				t.Fatalf("%v: %s gave %s: %v", p, b, out, err)
			}
		}
	})
}
