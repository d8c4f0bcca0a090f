package logs_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/inventory/logs"
	"github.com/modelwarden/warden/internal/source/recognise"
	"github.com/modelwarden/warden/rules"
)

func rows(t testing.TB) *recognise.Rows {
	t.Helper()
	cat, err := rules.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	return recognise.Compile(cat)
}

func read(t testing.TB, text string) logs.Report {
	t.Helper()
	r := logs.New(rows(t), logs.Options{Identities: true})
	r.Read(t.Context(), "log", strings.NewReader(text))
	return r.Report(nil)
}

func TestFormats(t *testing.T) {
	t.Parallel()
	const zeekHead = "#separator \\x09\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tquery\n"
	for name, c := range map[string]struct{ text, want string }{
		"squid":         {"1700000000.123    456 10.0.0.7 TCP_TUNNEL/200 3920 CONNECT api.openai.com:443 alice HIER_DIRECT/1.2.3.4 -\n", "openai||api.openai.com|alice|proxy"},
		"squid_no_user": {"1700000000.123    456 10.0.0.7 TCP_TUNNEL/200 3920 CONNECT api.anthropic.com:443 - HIER_DIRECT/1.2.3.4 -\n", "anthropic||api.anthropic.com|10.0.0.7|proxy"},
		"combined":      {`10.0.0.8 - bob [10/Oct/2026:13:55:36 +0000] "CONNECT api.mistral.ai:443 HTTP/1.1" 200 120 "-" "curl"` + "\n", "mistral||api.mistral.ai|bob|proxy"},
		"combined_url":  {`10.0.0.8 - - [10/Oct/2026:13:55:36 +0000] "GET https://huggingface.co/org/m/resolve/main/x HTTP/1.1" 200 120` + "\n", "huggingface||huggingface.co|10.0.0.8|proxy"},
		"envoy_json":    {`{"start_time":"2026-10-10T10:00:00Z","authority":"api.groq.com","method":"POST","path":"/openai/v1/chat/completions","remote_addr":"10.1.1.1"}` + "\n", "groq||api.groq.com|10.1.1.1|proxy"},
		"bind":          {"10-Oct-2026 13:55:36.123 client @0x7f 10.0.0.9#5353 (api.deepseek.com): query: api.deepseek.com IN A +E(0)K (10.0.0.1)\n", "deepseek||api.deepseek.com|10.0.0.9|dns"},
		"dnsmasq":       {"Oct 10 13:55:36 dnsmasq[123]: query[A] openrouter.ai from 10.0.0.10\n", "openrouter||openrouter.ai|10.0.0.10|dns"},
		"zeek":          {zeekHead + "1700000000.5\tC1\t10.0.0.11\t5353\tapi.cohere.com\n", "cohere||api.cohere.com|10.0.0.11|dns"},
		"cloudtrail_line": {
			`{"eventSource":"bedrock.amazonaws.com","eventName":"InvokeModel","eventTime":"2026-10-10T10:00:00Z","userIdentity":{"arn":"arn:aws:iam::1:user/eve"},"requestParameters":{"modelId":"anthropic.claude-3-haiku"}}` + "\n",
			"aws-bedrock|anthropic.claude-3-haiku|bedrock.amazonaws.com|arn:aws:iam::1:user/eve|cloudtrail",
		},
		"cloudtrail_file": {
			`{"Records":[{"eventSource":"s3.amazonaws.com","eventName":"GetObject"},{"eventSource":"bedrock.amazonaws.com","eventTime":"2026-10-10T10:00:00Z","userIdentity":{"arn":"a"},"requestParameters":{"modelId":"arn:aws:bedrock:us-east-1::foundation-model/amazon.titan"}}]}`,
			"aws-bedrock|amazon.titan|bedrock.amazonaws.com|a|cloudtrail",
		},
		"azure": {
			`{"time":"2026-10-10T10:00:00Z","resourceId":"/SUBSCRIPTIONS/1/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/MYAI","operationName":"ChatCompletions_Create","caller":"eve","properties":{"modelDeploymentName":"gpt4o","modelName":"gpt-4o"}}` + "\n",
			"azure-openai|gpt-4o|myai|eve|azure",
		},
		"google": {
			`{"timestamp":"2026-10-10T10:00:00Z","protoPayload":{"serviceName":"aiplatform.googleapis.com","methodName":"google.cloud.aiplatform.v1.PredictionService.GenerateContent","resourceName":"projects/p/locations/l/publishers/google/models/gemini-2.0-flash","authenticationInfo":{"principalEmail":"eve@example.org"}}}` + "\n",
			"vertex-ai|gemini-2.0-flash|aiplatform.googleapis.com|eve@example.org|google",
		},
		"kubernetes": {
			`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"n"},"spec":{"containers":[{"image":"vllm/vllm-openai:v0.6","args":["--model","acme/chat-7b"]}]}}]}`,
			"container|vllm/vllm-openai:v0.6||n/p|kubernetes\nhuggingface|acme/chat-7b||n/p|kubernetes",
		},
		"other_host": {"1700000000.123    456 10.0.0.7 TCP_TUNNEL/200 3920 CONNECT example.org:443 - HIER_DIRECT/1.2.3.4 -\n", ""},
		"look_alike": {"1700000000.123    456 10.0.0.7 TCP_TUNNEL/200 3920 CONNECT api.openai.com.evil.example:443 - H/1 -\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rep := read(t, c.text)
			var got []string
			for _, u := range rep.Uses {
				got = append(got, strings.Join([]string{u.Provider, u.Model, u.Host, u.Client, u.Source}, "|"))
			}
			if diff := cmp.Diff(c.want, strings.Join(got, "\n")); diff != "" {
				t.Error(diff)
			}
			if !rep.Complete || rep.Files[0].Unread > 0 {
				t.Errorf("files: %+v", rep.Files)
			}
		})
	}
}

func TestUnread(t *testing.T) {
	t.Parallel()
	rep := read(t, "what is this\n"+strings.Repeat("x", 2<<20)+"\n1700000000.1 4 10.0.0.7 T/200 3 CONNECT api.openai.com:443 - H/1 -\n")
	if f := rep.Files[0]; f.Unread != 2 || f.Example != 1 || len(rep.Uses) != 1 {
		t.Errorf("report %+v", rep)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprintln(z, "1700000000.1 4 10.0.0.7 T/200 3 CONNECT api.openai.com:443 - H/1 -")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if rep := read(t, b.String()); len(rep.Uses) != 1 || !rep.Complete {
		t.Errorf("gzip: %+v", rep)
	}
	if rep := read(t, b.String()[:b.Len()-12]); rep.Complete {
		t.Error("a log that was cut is complete")
	}
	if rep := read(t, `{"a": {"b": 1}}`+"\n"+`{"Records": 7}`); rep.Complete && rep.Files[0].Unread == 0 {
		t.Errorf("a document that is no log: %+v", rep)
	}
}

// What was not understood at all is not clean.
func TestUnknownFormat(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text     string
		complete bool
	}{
		"empty":     {"", true},
		"noise":     {"what is this\nand this\n", false},
		"long_line": {strings.Repeat("x", 2<<20), false},
		"some":      {"what is this\n1700000000.1 4 10.0.0.7 T/200 3 CONNECT example.org:443 - H/1 -\n", true},
	} {
		if rep := read(t, c.text); rep.Complete != c.complete {
			t.Errorf("%s: complete %v, want %v: %+v", name, rep.Complete, c.complete, rep.Files)
		}
	}
}

func TestShadow(t *testing.T) {
	t.Parallel()
	r := logs.New(rows(t), logs.Options{Key: []byte("k")})
	r.Read(t.Context(), "a", strings.NewReader("1700000000.1 4 10.0.0.7 T/200 3 CONNECT api.openai.com:443 - H/1 -\n1700086400.1 4 10.0.0.7 T/200 3 CONNECT api.openai.com:443 - H/1 -\n1700000000.1 4 10.0.0.7 T/200 3 CONNECT api.groq.com:443 - H/1 -\n"))
	rep := r.Report(func(p, _ string) bool { return p == "openai" })
	if len(rep.Uses) != 2 || rep.Uses[0].Provider != "groq" || !rep.Uses[0].Shadow || rep.Uses[1].Shadow || rep.Uses[1].Count != 2 || !rep.Uses[1].Last.After(rep.Uses[1].First) {
		t.Errorf("uses %+v", rep.Uses)
	}
	if strings.Contains(fmt.Sprint(rep.Uses), "10.0.0.7") {
		t.Error("the address of a client is in the report")
	}
}

func FuzzRead(f *testing.F) {
	f.Add("1700000000.1 4 10.0.0.7 T/200 3 CONNECT api.openai.com:443 - H/1 -\n")
	f.Add(`{"Records":[{"eventSource":"bedrock.amazonaws.com"}]}`)
	f.Add(`{"kind":"List","items":[{"kind":"Pod","apiVersion":"v1","spec":{"containers":[{"image":"ollama/ollama"}]}}]}`)
	f.Add("#fields\tts\tquery\n1\tapi.openai.com\n")
	w := rows(f)
	f.Fuzz(func(t *testing.T, s string) {
		r := logs.New(w, logs.Options{})
		r.Read(t.Context(), "x", strings.NewReader(s))
		r.Report(nil)
	})
}

func BenchmarkRead(b *testing.B) {
	line := "1700000000.123    456 10.0.0.7 TCP_TUNNEL/200 3920 CONNECT api.openai.com:443 alice HIER_DIRECT/1.2.3.4 -\n"
	text := strings.Repeat(line+strings.Replace(line, "api.openai.com", "www.example.org", 1), 5000)
	w := rows(b)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		r := logs.New(w, logs.Options{})
		r.Read(b.Context(), "x", strings.NewReader(text))
	}
}
