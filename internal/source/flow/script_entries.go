package flow

import (
	"path"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// scriptRegistrars say who takes in functions of JavaScript that then run.
var scriptRegistrars = []registrar{
	{
		kind: "web", roots: `express fastify hono @hono/zod-openapi koa @koa/router koa-router restify polka h3 elysia itty-router
		@hapi/hapi http https http2 ws socket.io @trpc/server next-connect micro next-safe-action @nestjs/common @nestjs/graphql
		@apollo/server graphql-yoga routing-controllers next/server @remix-run/node encore convex/server oak @oak/oak`,
		names: `get post put delete patch all use route on handle options head createServer connection message listen action query
		mutation subscription resolver defineEventHandler eventHandler Get Post Put Delete Patch All Options Head Query Mutation
		openapi onRequest serve handler add fetch after httpAction internalAction internalQuery internalMutation Sse`,
	},
	{kind: "web", roots: "react-dom/client react-dom @remix-run/react", names: "render hydrateRoot createRoot"},
	{kind: "cli", roots: "commander yargs cac @oclif/core clipanion @commander-js/extra-typings citty gunshi sade @clack/prompts", names: "action command defineCommand runMain cli"},
	{
		kind: "worker", roots: `inngest @trigger.dev/sdk bullmq node-cron cron bull agenda firebase-functions @google-cloud/functions-framework
		@azure/functions @temporalio/worker @slack/bolt discord telegraf grammy @aws-lambda-powertools/commons @middy/core worker_threads
		sst @upstash/workflow/nextjs workflow`,
		names: `createFunction task Worker schedule process define onRequest onCall onDocumentCreated onSchedule http cloudEvent timer
		storageQueue serviceBusQueue cosmosDB eventGrid event command message action on default serve start hears view shortcut`,
	},
	{
		kind: "tool", roots: `ai @modelcontextprotocol/sdk/server/mcp @modelcontextprotocol/sdk/server/index @modelcontextprotocol/server
		mcp-handler @vercel/mcp-adapter fastmcp @langchain/core/tools @langchain/core/runnables @langchain/langgraph langchain
		@openai/agents @openai/agents-core @mastra/core/tools @mastra/core/workflows @mastra/core llamaindex @llamaindex/workflow
		genkit genkit/beta @inngest/agent-kit @anthropic-ai/claude-agent-sdk @voltagent/core @copilotkit/react-core`,
		names: `tool registerTool dynamicTool createTool addTool prompt registerPrompt resource registerResource setRequestHandler
		createMcpHandler default DynamicTool DynamicStructuredTool addNode addConditionalEdges createStep createUIMessageStream
		createDataStreamResponse streamText generateText defineTool defineFlow useCopilotAction customProvider RunnableLambda task
		entrypoint`,
	},
	{
		kind: "web", roots: `net/http github.com/gin-gonic/gin github.com/go-chi/chi github.com/labstack/echo github.com/gofiber/fiber
		github.com/gorilla/mux github.com/julienschmidt/httprouter github.com/valyala/fasthttp google.golang.org/grpc connectrpc.com/connect
		github.com/danielgtaylor/huma github.com/zeromicro/go-zero/rest github.com/bwmarrin/discordgo`,
		names: `HandleFunc Handle HandlerFunc GET POST PUT DELETE PATCH Any Get Post Put Delete Patch All Use Group Route Method
		Methods Match NewUnaryHandler Register Operation AddHandler ListenAndServe Path PathPrefix`,
	},
	{kind: "cli", roots: "github.com/spf13/cobra github.com/urfave/cli github.com/alecthomas/kong", names: "Command App Run"},
	{
		kind: "worker", roots: `github.com/aws/aws-lambda-go/lambda github.com/robfig/cron github.com/hibiken/asynq
		github.com/GoogleCloudPlatform/functions-framework-go/functions go.temporal.io/sdk/worker`,
		names: "Start StartWithOptions AddFunc HandleFunc HTTP CloudEvent RegisterWorkflow RegisterActivity",
	},
	{
		kind: "tool", roots: `github.com/modelcontextprotocol/go-sdk/mcp github.com/mark3labs/mcp-go/server github.com/firebase/genkit/go/genkit
		google.golang.org/adk/tool/functiontool github.com/cloudwego/eino/components/tool/utils`,
		names: "AddTool AddPrompt AddResource DefineFlow DefineTool New NewTool InferTool AddReceivingMiddleware",
	},
	{kind: "test", roots: "vitest @jest/globals mocha test bun:test @playwright/test ava tape uvu", names: "describe it test beforeEach afterEach beforeAll afterAll before after suite default"},
}

// verbs are exported functions that frameworks call for requests.
var verbs = wordSet("GET POST PUT PATCH DELETE HEAD OPTIONS ALL")

// served are what frameworks of pages call of the files that they find.
var served = wordSet(`default generateMetadata generateStaticParams generateViewport getServerSideProps getStaticProps getStaticPaths
	getInitialProps loader action clientLoader clientAction load actions handle handleError middleware proxy prerender entries
	onRequest onRequestGet onRequestPost register config`)

// servedFiles are names of files that such frameworks find anywhere.
var servedFiles = wordSet(`page layout template loading error not-found default global-error route middleware proxy instrumentation
	+page +layout +server +page.server +layout.server hooks.server hooks.client hooks opengraph-image sitemap robots manifest`)

// clouds are exported functions and members of an exported object by which
// clouds call.
var clouds = wordSet("handler lambdaHandler main fetch scheduled queue email tail httpTrigger entryPoint")

// scriptEntries adds what a unit of JavaScript exports to those who call it.
func (g *Graph) scriptEntries(u int, add func(Entry)) {
	unit := &g.units[u]
	m := g.a.modules[u]
	base := path.Base(unit.Path)
	stem := strings.TrimSuffix(base, path.Ext(base))
	dir := "/" + path.Dir(unit.Path) + "/"
	found := servedFiles[stem] || strings.Contains(dir, "/pages/") || strings.Contains(dir, "/routes/") || strings.Contains(dir, "/server/") || strings.Contains(dir, "/functions/")
	actions := directive(unit.File.Body, "use server")
	for _, n := range unit.File.Body {
		if n.Flag&syntax.Exported == 0 {
			continue
		}
		name := n.Text
		if n.Kind == syntax.Assign {
			if name = n.Kid(0).Text; n.Kid(0).Kind != syntax.Name {
				continue
			}
		}
		if n.Flag&syntax.Default != 0 && n.Kind == syntax.Func || name == "module.exports" {
			name = "default"
		}
		kind := ""
		switch {
		case actions, verbs[name], found && served[name]:
			kind = "web"
		case clouds[name]:
			kind = "worker"
		}
		cell := m.vars.peek(name)
		if n.Kind == syntax.Assign && n.Kid(0).Text == "module.exports" || cell == nil {
			cell = m.vars.peek(n.Text)
			if n.Kind == syntax.Assign {
				cell = m.vars.peek(n.Kid(0).Text)
			}
		}
		if cell == nil {
			continue
		}
		g.exports(u, name, kind, cell.all, 0, add)
	}
}

// exports adds the functions among exported values.
func (g *Graph) exports(u int, name, kind string, s set, depth int, add func(Entry)) {
	m := g.a.modules[u]
	for _, x := range s.vals {
		i := *g.a.info(x.v)
		switch {
		case i.fr != nil && i.fr.unit == u:
			switch {
			case kind != "":
				add(Entry{Func: i.fr.id, Kind: kind, Name: g.units[u].Path + " " + name})
			case !m.imported:
				add(Entry{Func: i.fr.id, Kind: "library", Name: i.fr.name, Possibly: true})
			}
		case i.kind == vDict && depth < 2:
			for _, k := range i.obj.keys {
				inner := kind
				key := keyText(k)
				if inner == "" && name == "default" && clouds[key] {
					inner = "worker"
				}
				g.exports(u, key, inner, i.obj.cells[k].all, depth+1, add)
			}
		case i.kind == vClass && i.cls.unit == u && !m.imported:
			for _, fr := range g.frames {
				if fr.class == i.cls {
					add(Entry{Func: fr.id, Kind: "library", Name: fr.name, Possibly: true})
				}
			}
		}
	}
}

// directive reports whether code begins with a string such as "use server".
func directive(body []*syntax.Node, text string) bool {
	for _, n := range body {
		if n == nil || n.Kind != syntax.Expr || n.Kid(0) == nil || n.Kid(0).Kind != syntax.String {
			return false
		}
		if n.Kids[0].Text == text {
			return true
		}
	}
	return false
}

// scriptProgram reports whether the code of a file does something when nobody
// imports it.
func scriptProgram(body []*syntax.Node) bool {
	for _, n := range body {
		switch n.Kind {
		case syntax.Func, syntax.Class, syntax.Import, syntax.From, syntax.Pass, syntax.AnnAssign:
		default:
			return true
		}
	}
	return false
}
