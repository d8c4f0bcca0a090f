package source_test

import (
	"context"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/source"
	"github.com/modelwarden/warden/internal/source/sight"
)

// sources is a tree in memory.
type sources map[string]string

func (f sources) List(context.Context) iter.Seq2[source.Entry, error] {
	return func(yield func(source.Entry, error) bool) {
		for p, s := range f {
			if !yield(source.Entry{Path: p, Size: int64(len(s)), Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }}, nil) {
				return
			}
		}
	}
}

// lines renders what is in a tree: kind, name, provider; a mark for what is not
// reachable, and flags. Frameworks are left out, and keys unless asked for.
func lines(t *testing.T, f sources, keys bool) []string {
	t.Helper()
	tree, err := source.Open(t.Context(), f, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := tree.Sightings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range all {
		if s.Kind == sight.Framework || s.Kind == sight.Key && !keys {
			continue
		}
		line := string(s.Kind) + " " + s.Name
		if s.Dynamic != "" {
			line += "{" + s.Dynamic + "}"
		}
		if s.Provider != "" {
			line += " " + s.Provider
		}
		switch s.State {
		case sight.Reachable:
		case sight.Possible:
			line += " ?"
		case sight.ConfigOnly:
			line += " config"
		default:
			line += " " + string(s.State)
		}
		for _, g := range s.Flags {
			line += " !" + g.Flag
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

// a sightCase is a small program and what must be seen in it.
type sightCase struct {
	name  string
	files sources
	want  string // lines
}

func runCases(t *testing.T, cases []sightCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			keys := strings.Contains(c.want, "key ")
			got := lines(t, c.files, keys)
			want := strings.FieldsFunc(c.want, func(r rune) bool { return r == '\n' })
			for i := range want {
				want[i] = strings.TrimSpace(want[i])
			}
			slices.Sort(want)
			if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func single(name, src string) sources { return sources{name: src} }

func TestJavaScript(t *testing.T) {
	const openai = "import OpenAI from 'openai';\nconst c = new OpenAI();\n"
	runCases(t, []sightCase{
		{"default_import", single("a.ts", openai+"await c.chat.completions.create({ model: 'gpt-4o', messages: [] });"), "model gpt-4o openai\nprovider openai"},
		{"named_import", single("a.js", "import { OpenAI as O } from 'openai';\nnew O().responses.create({ model: 'gpt-4o' })"), "model gpt-4o openai\nprovider openai"},
		{"namespace_import", single("a.js", "import * as o from 'openai';\nnew o.OpenAI().responses.create({ model: 'gpt-4o' })"), "model gpt-4o openai\nprovider openai"},
		{"require", single("a.cjs", "const OpenAI = require('openai');\nnew OpenAI().responses.create({ model: 'gpt-4o' })"), "model gpt-4o openai\nprovider openai"},
		{"require_named", single("a.cjs", "const { OpenAI } = require('openai');\nnew OpenAI().responses.create({ model: 'gpt-4o' })"), "model gpt-4o openai\nprovider openai"},
		{"dynamic_import", single("a.mjs", "const { default: OpenAI } = await import('openai');\nnew OpenAI().responses.create({ model: 'gpt-4o' })"), "model gpt-4o openai\nprovider openai"},
		{"environment_default", single("a.ts", openai+"c.responses.create({ model: process.env.MODEL ?? 'gpt-4o' })"), "model gpt-4o openai\nprovider openai"},
		{"environment_bracket", single("a.ts", openai+"c.responses.create({ model: process.env['MODEL'] || 'gpt-4o' })"), "model gpt-4o openai\nprovider openai"},
		{"environment_destructured", single("a.ts", openai+"const { MODEL = 'gpt-4o' } = process.env;\nc.responses.create({ model: MODEL })"), "model gpt-4o openai\nprovider openai"},
		{"environment_file", sources{"a.ts": openai + "c.responses.create({ model: import.meta.env.VITE_MODEL })", ".env": "VITE_MODEL=gpt-4o-mini\n"}, "model gpt-4o-mini openai\nprovider openai"},
		{"environment_deno", single("a.ts", openai+"c.responses.create({ model: Deno.env.get('M') ?? 'gpt-4o' })"), "model gpt-4o openai\nprovider openai"},
		{"as_const", single("a.ts", openai+"const M = { fast: 'gpt-4o-mini', slow: 'o3' } as const;\nc.responses.create({ model: M.fast })"), "model gpt-4o-mini openai\nprovider openai"},
		{"enum", single("a.ts", openai+"enum M { Fast = 'gpt-4o-mini' }\nc.responses.create({ model: M.Fast })"), "model gpt-4o-mini openai\nprovider openai"},
		{"constant_of_module", sources{"a.ts": openai + "import { MODEL } from './lib/config.js';\nc.responses.create({ model: MODEL })", "lib/config.ts": "export const MODEL: string = 'gpt-4o';"}, "model gpt-4o openai\nprovider openai"},
		{"index_and_reexport", sources{"a.ts": openai + "import { MODEL } from './lib';\nc.responses.create({ model: MODEL })", "lib/index.ts": "export * from './config';", "lib/config.ts": "export const MODEL = 'gpt-4o';"}, "model gpt-4o openai\nprovider openai"},
		{"paths_of_tsconfig", sources{"src/a.ts": openai + "import cfg from '@lib/config';\nc.responses.create({ model: cfg.model })", "packages/lib/config.ts": "export default { model: 'gpt-4o' };", "tsconfig.json": `{"compilerOptions": {"baseUrl": ".", "paths": {"@lib/*": ["packages/lib/*"]}}}`}, "model gpt-4o openai\nprovider openai"},
		{"package_of_monorepo", sources{"apps/web/a.ts": openai + "import { model } from '@acme/ai';\nc.responses.create({ model })", "packages/ai/src/index.ts": "export const model = 'gpt-4o';", "packages/ai/package.json": `{"name": "@acme/ai", "main": "dist/index.js"}`}, "model gpt-4o openai\nprovider openai"},
		{"commonjs_in_tree", sources{"a.js": "const OpenAI = require('openai');\nconst { model } = require('./cfg');\nnew OpenAI().responses.create({ model })", "cfg.js": "module.exports = { model: 'gpt-4o' };"}, "model gpt-4o openai\nprovider openai"},
		{"json_of_tree", sources{"a.ts": openai + "import cfg from './cfg.json';\nc.responses.create({ model: cfg.llm.model })", "cfg.json": `{"llm": {"model": "gpt-4o"}}`}, "model gpt-4o openai\nprovider openai"},
		{"class_field", single("a.ts", "import OpenAI from 'openai';\nclass A {\n  private client = new OpenAI();\n  constructor(private readonly model = 'gpt-4o') {}\n  run() { return this.client.responses.create({ model: this.model }); }\n}\nnew A().run();"), "model gpt-4o openai\nprovider openai"},
		{"arrow_field", single("a.ts", "import OpenAI from 'openai';\nclass A {\n  #c = new OpenAI();\n  run = async () => this.#c.responses.create({ model: 'gpt-4o' });\n}\nnew A().run();"), "model gpt-4o openai\nprovider openai"},
		{"parameter_object", single("a.ts", openai+"async function ask({ model = 'gpt-4o', ...rest }: { model?: string }) { return c.responses.create({ model, ...rest }); }\nask({});\nask({ model: 'o3' });"), "model gpt-4o openai\nmodel o3 openai\nprovider openai"},
		{"spread", single("a.ts", openai+"const base = { model: 'gpt-4o' };\nc.responses.create({ ...base, input: 'x' })"), "model gpt-4o openai\nprovider openai"},
		{"map_of_list", single("a.ts", openai+"['gpt-4o', 'o3'].map((model) => c.responses.create({ model }))"), "model gpt-4o openai\nmodel o3 openai\nprovider openai"},
		{"template", single("a.ts", openai+"const v = '4o';\nc.responses.create({ model: `gpt-${v}` })"), "model gpt-4o openai\nprovider openai"},
		{"base_url", single("a.ts", "import OpenAI from 'openai';\nconst c = new OpenAI({ baseURL: 'https://openrouter.ai/api/v1', apiKey: process.env.K });\nc.chat.completions.create({ model: 'meta-llama/llama-3-70b' })"), "model meta-llama/llama-3-70b openrouter\nprovider openrouter"},
		{"ollama_by_address", single("a.ts", "import OpenAI from 'openai';\nconst c = new OpenAI({ baseURL: 'http://localhost:11434/v1' });\nc.chat.completions.create({ model: 'llama3.2' })"), "model llama3.2 ollama\nprovider ollama"},
		{"browser_key", single("a.ts", "import OpenAI from 'openai';\nnew OpenAI({ dangerouslyAllowBrowser: true }).responses.create({ model: 'gpt-4o' })"), "model gpt-4o openai\nprovider openai !browser_key"},
		{"anthropic", single("a.ts", "import Anthropic from '@anthropic-ai/sdk';\nnew Anthropic().messages.create({ model: 'claude-sonnet-4-20250514', max_tokens: 1 })"), "model claude-sonnet-4-20250514 anthropic\nprovider anthropic"},
		{"google", single("a.ts", "import { GoogleGenAI } from '@google/genai';\nconst ai = new GoogleGenAI({});\nai.models.generateContent({ model: 'gemini-2.5-flash', contents: 'x' })"), "model gemini-2.5-flash google\nprovider google"},
		{"bedrock", single("a.ts", "import { BedrockRuntimeClient, ConverseCommand } from '@aws-sdk/client-bedrock-runtime';\nnew BedrockRuntimeClient({}).send(new ConverseCommand({ modelId: 'anthropic.claude-3-haiku-20240307-v1:0' }))"), "model anthropic.claude-3-haiku-20240307-v1:0 aws-bedrock\nprovider aws-bedrock"},
		{"vercel_provider", single("a.ts", "import { generateText } from 'ai';\nimport { openai } from '@ai-sdk/openai';\nawait generateText({ model: openai('gpt-4o'), prompt: 'x' })"), "model gpt-4o openai\nprovider openai"},
		{"vercel_create", single("a.ts", "import { createOpenAI } from '@ai-sdk/openai';\nimport { streamText } from 'ai';\nconst groq = createOpenAI({ baseURL: 'https://api.groq.com/openai/v1' });\nstreamText({ model: groq('llama-3.1-8b-instant') });\nstreamText({ model: groq.chat('gemma2-9b-it') })"), "model gemma2-9b-it groq\nmodel llama-3.1-8b-instant groq\nprovider groq"},
		{"vercel_gateway", single("a.ts", "import { generateText } from 'ai';\nawait generateText({ model: 'openai/gpt-4o', prompt: 'x' })"), "model openai/gpt-4o vercel-ai-gateway\nprovider vercel-ai-gateway"},
		{"vercel_tools", single("a.ts", "import { generateText, tool } from 'ai';\nimport { anthropic } from '@ai-sdk/anthropic';\ngenerateText({ model: anthropic('claude-3-5-sonnet-latest'), tools: { weather: tool({ execute: async () => 1 }) } })"), "model claude-3-5-sonnet-latest anthropic\nprovider anthropic\ntool weather"},
		{"langchain", single("a.ts", "import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';\nnew ChatOpenAI({ modelName: 'gpt-4o' });\nnew OpenAIEmbeddings()"), "model gpt-4o openai\nmodel text-embedding-ada-002 openai\nprovider openai"},
		{"mcp_server", single("a.ts", "import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';\nconst s = new McpServer({ name: 'files', version: '1' });\ns.registerTool('read', {}, async () => ({}));\ns.tool('write', async () => ({}))"), "mcp_server files\ntool read\ntool write"},
		{"mcp_client", single("a.ts", "import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';\nimport { StreamableHTTPClientTransport as T } from '@modelcontextprotocol/sdk/client/streamableHttp.js';\nnew StdioClientTransport({ command: 'npx', args: ['-y', 'pkg'] });\nnew T(new URL('https://mcp.example.com/x'))"), "mcp_client https://mcp.example.com/x\nmcp_client npx"},
		{"agents", single("a.ts", "import { Agent } from '@openai/agents';\nconst a = new Agent({ name: 'Helper', model: 'gpt-4o', instructions: 'You help people with their taxes.' })"), "agent Helper\nmodel gpt-4o openai\nprompt You help people with their taxes.\nprovider openai"},
		{"transformers", single("a.ts", "import { pipeline } from '@huggingface/transformers';\nawait pipeline('text-generation', 'Xenova/gpt2')"), "model Xenova/gpt2 huggingface !revision_unpinned\nprovider huggingface"},
		{"vector_store", single("a.ts", "import { Pinecone } from '@pinecone-database/pinecone';\nnew Pinecone()"), "vector_store pinecone"},
		{"ollama", single("a.ts", "import ollama from 'ollama';\nawait ollama.chat({ model: 'llama3.1:8b' })"), "model llama3.1:8b ollama\nprovider ollama"},
		{"fetch", single("a.ts", "const base = 'https://api.openai.com/v1';\nawait fetch(`${base}/chat/completions`, { method: 'POST', body: JSON.stringify({ model: 'gpt-4o', messages: [] }) })"), "model gpt-4o openai\nprovider openai"},
		{"axios", single("a.ts", "import axios from 'axios';\naxios.post('http://localhost:11434/api/generate', { model: 'mistral' })"), "model mistral ollama\nprovider ollama"},
		{"jsx", sources{"main.tsx": "import OpenAI from 'openai';\nimport { createRoot } from 'react-dom/client';\nfunction App({ model }: { model: string }) { const ask = () => new OpenAI().responses.create({ model }); return <button onClick={ask}>it's</button>; }\ncreateRoot(document.body).render(<App model=\"gpt-4o\" />);"}, "model gpt-4o openai ?\nprovider openai ?"},
		{"vue", single("a.vue", "<template><p>it's</p></template>\n<script setup lang=\"ts\">\nimport OpenAI from 'openai'\nconst m: string = 'gpt-4o'\nnew OpenAI().responses.create({ model: m })\n</script>"), "model gpt-4o openai\nprovider openai"},
		{"express", single("a.ts", "import express from 'express';\n"+openai+"const app = express();\napp.post('/x', async (req, res) => { await c.responses.create({ model: 'gpt-4o' }); });"), "model gpt-4o openai\nprovider openai"},
		{"next_route", single("app/api/chat/route.ts", openai+"export async function POST(req: Request) { return c.responses.create({ model: 'gpt-4o' }); }"), "model gpt-4o openai\nprovider openai"},
		{"server_action", single("app/actions.ts", "'use server';\n"+openai+"export async function ask() { return c.responses.create({ model: 'gpt-4o' }); }"), "model gpt-4o openai\nprovider openai"},
		{"worker_handler", single("worker.ts", openai+"export default { async fetch(req: Request) { return c.responses.create({ model: 'gpt-4o' }); } }"), "model gpt-4o openai\nprovider openai"},
		{"lambda_handler", single("fn.js", openai+"export const handler = async (event) => c.responses.create({ model: 'gpt-4o' });"), "model gpt-4o openai\nprovider openai"},
		{"not_called", single("a.ts", openai+"function unused() { c.responses.create({ model: 'gpt-4o' }); }"), "model gpt-4o openai unreachable\nprovider openai"},
		{"keys", single("a.ts", "import OpenAI from 'openai';\nnew OpenAI({ apiKey: process.env.OPENAI_API_KEY })\nconst k = import.meta.env.VITE_OPENAI_API_KEY"), "key OPENAI_API_KEY\nkey VITE_OPENAI_API_KEY !browser_key\nprovider openai"},
		{"dynamic", single("a.ts", openai+"export function f(x: any) { c.responses.create({ model: pick(x) }); }\nf(1)"), "model {pick(x)} openai\nprovider openai"},
		{"then", single("a.ts", "import('openai').then(({ default: O }) => new O().responses.create({ model: 'gpt-4o' }))"), "model gpt-4o openai\nprovider openai"},
		// What looks alike and is none.
		{"no_openai_in_tree", sources{"a.ts": "import OpenAI from './openai';\nnew OpenAI().responses.create({ model: 'gpt-4o' })", "openai.ts": "export default class OpenAI { responses = { create(x: any) {} } }"}, ""},
		{"other_model", single("a.ts", "import mongoose from 'mongoose';\nmongoose.model('User', {});\nconst x = { model: 'Tesla' };\nfoo({ model: x.model })"), ""},
		{"in_comment", single("a.ts", "// new OpenAI().responses.create({ model: 'gpt-4o' })\n/* import OpenAI from 'openai' */\nconst s = \"import OpenAI from 'openai'\""), ""},
		{"types_only", single("a.ts", "import type OpenAI from 'openai';\nexport type M = OpenAI.ChatModel;\ninterface C { model: 'gpt-4o' }"), ""},
		{"other_fetch", single("a.ts", "fetch('https://example.com/api.openai.com', { body: JSON.stringify({ model: 'gpt-4o' }) })"), ""},
		{"type_as_model", single("a.ts", "import OpenAI from 'openai';\nconst model = String;\nnew OpenAI().responses.create({ model })"), "model {model} openai\nprovider openai"},
	})
}

func TestGo(t *testing.T) {
	const head = "package main\nimport (\n\t\"context\"\n\topenai \"github.com/sashabaranov/go-openai\"\n)\nvar client = openai.NewClient(\"k\")\n"
	chat := func(model string) string {
		return head + "func main() {\n\tclient.CreateChatCompletion(context.Background(), openai.ChatCompletionRequest{Model: " + model + "})\n}\n"
	}
	runCases(t, []sightCase{
		{"literal", single("main.go", chat(`"gpt-4o"`)), "model gpt-4o openai\nprovider openai"},
		{"constant_of_sdk", single("main.go", chat("openai.GPT4oMini")), "model gpt-4o-mini openai\nprovider openai"},
		{"constant", single("main.go", "const model = \"gpt-\" + version\nconst version = \"4o\"\n"[0:0]+chat("model")+"const model = \"gpt-4o\"\n"), "model gpt-4o openai\nprovider openai"},
		{"other_file", sources{"main.go": chat("model"), "config.go": "package main\nconst model = \"gpt-4o\"\n"}, "model gpt-4o openai\nprovider openai"},
		{"other_package", sources{"go.mod": "module example.com/app\n", "main.go": "package main\nimport \"example.com/app/llm\"\nfunc main() { llm.Ask(llm.Model) }\n", "llm/llm.go": "package llm\nimport (\n\t\"context\"\n\topenai \"github.com/sashabaranov/go-openai\"\n)\nconst Model = \"gpt-4o\"\nfunc Ask(m string) {\n\tc := openai.NewClient(\"k\")\n\treq := openai.ChatCompletionRequest{}\n\treq.Model = m\n\tc.CreateChatCompletion(context.Background(), req)\n}\n"}, "model gpt-4o openai\nprovider openai"},
		{"struct_and_method", single("main.go", head+"type bot struct {\n\tc *openai.Client\n\tmodel string\n}\nfunc newBot(m string) *bot { return &bot{c: client, model: m} }\nfunc (b *bot) ask() error {\n\t_, err := b.c.CreateChatCompletion(context.Background(), openai.ChatCompletionRequest{Model: b.model})\n\treturn err\n}\nfunc main() { newBot(\"gpt-4o\").ask() }\n"), "model gpt-4o openai\nprovider openai"},
		{"method_in_other_file", sources{"main.go": head + "type bot struct {\n\tmodel string\n}\nfunc main() { b := &bot{model: \"gpt-4o\"}; b.ask() }\n", "ask.go": "package main\nimport (\n\t\"context\"\n\topenai \"github.com/sashabaranov/go-openai\"\n)\nfunc (b *bot) ask() { client.CreateChatCompletion(context.Background(), openai.ChatCompletionRequest{Model: b.model}) }\n"}, "model gpt-4o openai\nprovider openai"},
		{"environment", single("main.go", strings.Replace(chat(`cmp.Or(os.Getenv("MODEL"), "gpt-4o")`), "import (", "import (\n\t\"cmp\"\n\t\"os\"", 1)), "model gpt-4o openai\nprovider openai"},
		{"flag", single("main.go", strings.Replace(head, "import (", "import (\n\t\"flag\"", 1)+"var model = flag.String(\"model\", \"gpt-4o\", \"\")\nfunc main() { client.CreateChatCompletion(context.Background(), openai.ChatCompletionRequest{Model: *model}) }\n"), "model gpt-4o openai\nprovider openai"},
		{"range", single("main.go", head+"var models = []string{\"gpt-4o\", \"o3\"}\nfunc main() {\n\tfor _, m := range models {\n\t\tclient.CreateChatCompletion(context.Background(), openai.ChatCompletionRequest{Model: m})\n\t}\n}\n"), "model gpt-4o openai\nmodel o3 openai\nprovider openai"},
		{"base_url", single("main.go", "package main\nimport openai \"github.com/sashabaranov/go-openai\"\nfunc main() {\n\tcfg := openai.DefaultConfig(\"k\")\n\tcfg.BaseURL = \"http://localhost:11434/v1\"\n\tc := openai.NewClientWithConfig(cfg)\n\tc.CreateChatCompletion(nil, openai.ChatCompletionRequest{Model: \"llama3.2\"})\n}\n"), "model llama3.2 ollama\nprovider ollama"},
		{"official", single("main.go", "package main\nimport (\n\t\"github.com/openai/openai-go/v2\"\n\t\"github.com/openai/openai-go/v2/option\"\n)\nfunc main() {\n\tclient := openai.NewClient(option.WithAPIKey(\"k\"))\n\tclient.Chat.Completions.New(nil, openai.ChatCompletionNewParams{Model: openai.ChatModelGPT4o})\n}\n"), "model gpt-4o openai\nprovider openai"},
		{"anthropic", single("main.go", "package main\nimport \"github.com/anthropics/anthropic-sdk-go\"\nfunc main() {\n\tc := anthropic.NewClient()\n\tc.Messages.New(nil, anthropic.MessageNewParams{Model: \"claude-sonnet-4-20250514\"})\n}\n"), "model claude-sonnet-4-20250514 anthropic\nprovider anthropic"},
		{"genai", single("main.go", "package main\nimport \"google.golang.org/genai\"\nfunc main() {\n\tc, err := genai.NewClient(nil, nil)\n\tif err != nil {\n\t\tpanic(err)\n\t}\n\tc.Models.GenerateContent(nil, \"gemini-2.5-flash\", nil, nil)\n}\n"), "model gemini-2.5-flash google\nprovider google"},
		{"bedrock", single("main.go", "package main\nimport (\n\t\"github.com/aws/aws-sdk-go-v2/aws\"\n\t\"github.com/aws/aws-sdk-go-v2/service/bedrockruntime\"\n)\nfunc main() {\n\tc := bedrockruntime.NewFromConfig(cfg)\n\tc.InvokeModel(nil, &bedrockruntime.InvokeModelInput{ModelId: aws.String(\"amazon.titan-text-lite-v1\")})\n}\n"), "model amazon.titan-text-lite-v1 aws-bedrock\nprovider aws-bedrock"},
		{"ollama", single("main.go", "package main\nimport \"github.com/ollama/ollama/api\"\nfunc main() {\n\tc, _ := api.ClientFromEnvironment()\n\tc.Chat(nil, &api.ChatRequest{Model: \"llama3.2\"}, nil)\n}\n"), "model llama3.2 ollama\nprovider ollama"},
		{"langchaingo", single("main.go", "package main\nimport \"github.com/tmc/langchaingo/llms/openai\"\nfunc main() { openai.New(openai.WithModel(\"gpt-4o\")) }\n"), "model gpt-4o openai\nprovider openai"},
		{"mcp", single("main.go", "package main\nimport \"github.com/modelcontextprotocol/go-sdk/mcp\"\nfunc main() {\n\ts := mcp.NewServer(&mcp.Implementation{Name: \"files\"}, nil)\n\tmcp.AddTool(s, &mcp.Tool{Name: \"read\"}, read)\n}\nfunc read() {}\n"), "mcp_server files\ntool read"},
		{"http", single("main.go", "package main\nimport (\n\t\"bytes\"\n\t\"encoding/json\"\n\t\"net/http\"\n)\nfunc main() {\n\tb, _ := json.Marshal(map[string]any{\"model\": \"gpt-4o\"})\n\treq, _ := http.NewRequest(\"POST\", \"https://api.openai.com/v1/chat/completions\", bytes.NewReader(b))\n\thttp.DefaultClient.Do(req)\n}\n"), "model gpt-4o openai\nprovider openai"},
		{"handler", single("main.go", strings.Replace(head, "import (", "import (\n\t\"net/http\"", 1)+"func ask(w http.ResponseWriter, r *http.Request) { client.CreateChatCompletion(nil, openai.ChatCompletionRequest{Model: \"gpt-4o\"}) }\nfunc main() { http.HandleFunc(\"/\", ask) }\n"), "model gpt-4o openai\nprovider openai"},
		{"key", single("main.go", "package main\nimport (\n\t\"os\"\n\topenai \"github.com/sashabaranov/go-openai\"\n)\nfunc main() { openai.NewClient(os.Getenv(\"OPENAI_API_KEY\")) }\n"), "key OPENAI_API_KEY\nprovider openai"},
		{"not_called", single("main.go", head+"func unused() { client.CreateChatCompletion(nil, openai.ChatCompletionRequest{Model: \"gpt-4o\"}) }\nfunc main() {}\n"), "model gpt-4o openai unreachable\nprovider openai"},
		{"broken", single("main.go", chat(`"gpt-4o"`)+"func ( {\n"), "model gpt-4o openai\nprovider openai"},
		// What looks alike and is none.
		{"own_type", single("main.go", "package main\ntype ChatCompletionRequest struct{ Model string }\nfunc main() { _ = ChatCompletionRequest{Model: \"gpt-4o\"} }\n"), ""},
		{"only_text", single("main.go", "package main\n// openai.ChatCompletionRequest{Model: \"gpt-4o\"}\nfunc main() { println(\"github.com/sashabaranov/go-openai\") }\n"), ""},
	})
}

// Packages that are imported by name count as imported, whatever else the file has.
func TestImportByName(t *testing.T) {
	for name, code := range map[string]string{
		"import_module": "import importlib\nm = importlib.import_module('openai')\n",
		"alias":         "from importlib import import_module as im\nm = im('open' + 'ai')\n",
		"dunder":        "m = __import__('openai')\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := lines(t, sources{"main.py": code + "m.OpenAI().chat.completions.create(model='gpt-4o', messages=[])\n"}, false)
			if diff := cmp.Diff([]string{"model gpt-4o openai", "provider openai"}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A key that a program takes for a model is no name to show.
func TestSecretsAreNoNames(t *testing.T) {
	const key = "sk-proj-SECRET12SECRET12SECRET12"
	got := strings.Join(lines(t, sources{
		".env":     "OPENAI_API_KEY=" + key + "\n",
		"main.py":  "import os, openai\nc = openai.OpenAI()\nc.chat.completions.create(model=os.environ['OPENAI_API_KEY'])\nc.chat.completions.create(model=f'x-" + key + "-{y()}')\n",
		"mcp.json": `{"mcpServers":{"y":{"url":"https://u:` + key + `@mcp.example.com/sse"}}}`,
	}, true), "\n")
	if strings.Contains(got, "SECRET12") {
		t.Error(got)
	}
}

// A program need not have an extension.
func TestInterpreterLine(t *testing.T) {
	const code = "\nfrom openai import OpenAI\nOpenAI().chat.completions.create(model='gpt-4o', messages=[])\n"
	for name, head := range map[string]string{
		"plain": "#!/usr/bin/python3", "env": "#!/usr/bin/env python3.12", "options": "#!/usr/bin/env -S python3 -u", "uv": "#!/usr/bin/env -S uv run --script", "windows": "#!/usr/bin/env python3\r",
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(lines(t, sources{"bin/tool": head + code}, false), ", ")
			if !strings.HasPrefix(got, "model gpt-4o openai") {
				t.Errorf("got %q", got)
			}
		})
	}
	if got := lines(t, sources{"tool": "#!/bin/sh" + code, "NOTES": "python3" + code, "e": "#!"}, false); len(got) > 0 {
		t.Errorf("got %q of what is no Python", got)
	}
	if got := strings.Join(lines(t, sources{"tool": "#!/usr/bin/env node\nfetch('https://api.openai.com/v1/chat/completions', {method: 'POST', body: JSON.stringify({model: 'gpt-4o'})})\n"}, false), ", "); !strings.HasPrefix(got, "model gpt-4o openai") {
		t.Errorf("got %q", got)
	}
}

// What hands an outside object on unchanged does not hide it.
func TestHandedOn(t *testing.T) {
	for name, f := range map[string]sources{
		"closing":     {"main.py": "from contextlib import closing\nimport openai\nwith closing(openai.OpenAI()) as c:\n  c.chat.completions.create(model='gpt-4o', messages=[])\n"},
		"nullcontext": {"main.py": "import contextlib, openai\nwith contextlib.nullcontext(openai.OpenAI()) as c:\n  c.chat.completions.create(model='gpt-4o', messages=[])\n"},
		"bind":        {"main.mjs": "import OpenAI from 'openai'\nconst c = new OpenAI()\nconst ask = c.chat.completions.create.bind(c.chat.completions)\nawait ask({model: 'gpt-4o'})\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff([]string{"model gpt-4o openai", "provider openai"}, lines(t, f, false)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
