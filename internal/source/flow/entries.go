package flow

import (
	"path"
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// A registrar is a way in which a framework takes functions in: by decorators,
// by calls that pass them, or by classes that extend one of its own.
type registrar struct {
	kind  string
	roots string // packages, the first parts of paths
	names string // last parts of paths, of decorators or calls; for classes the methods that are called
	bases string // last parts of paths of classes
}

// registrars say who takes in functions that then run.
var registrars = []registrar{
	{
		kind: "web", roots: "flask fastapi starlette quart sanic bottle aiohttp litestar falcon django ninja robyn blacksheep flask_restful connexion",
		names: `route get post put delete patch head options websocket api_route websocket_route before_request after_request errorhandler
			middleware exception_handler on_event before_app_request context_processor view api_view operation cli command add_url_rule
			add_api_route add_route add_get add_post add_put add_delete path re_path url Route WebSocketRoute Mount add_exception_handler
			add_middleware listener startup shutdown require_http_methods require_GET require_POST csrf_exempt login_required`,
	},
	{kind: "web", roots: "rest_framework", names: "api_view action"},
	{kind: "web", roots: "gradio", names: `Interface ChatInterface click submit change input upload select load then success release like
		clear tick render on blur focus key_up edit stream api queue retry undo TabbedInterface`},
	{kind: "web", roots: "chainlit", names: `on_message on_chat_start on_chat_end on_stop on_chat_resume on_settings_update
		action_callback password_auth_callback oauth_callback header_auth_callback set_chat_profiles set_starters author_rename step`},
	{kind: "web", roots: "streamlit", names: "fragment dialog button form_submit_button selectbox text_input chat_input file_uploader checkbox on_click"},
	{kind: "web", roots: "dash nicegui panel shiny reflex solara mesop", names: "callback page on on_click render effect event component bind ui text plot clientside_callback long_callback"},
	{kind: "web", roots: "slack_bolt discord telegram telebot aiogram", names: `event command message action view shortcut middleware
		error options hybrid_command slash_command listen message_handler callback_query_handler add_handler CommandHandler MessageHandler
		CallbackQueryHandler CallbackQuery errors inline_query`},
	{
		kind: "web", roots: "django rest_framework flask flask_restful tornado http socketserver starlette aiohttp fastapi",
		bases: `View APIView ViewSet ModelViewSet GenericAPIView GenericViewSet TemplateView FormView ListView DetailView MethodView Resource
			RequestHandler WebSocketHandler BaseHTTPRequestHandler SimpleHTTPRequestHandler BaseRequestHandler StreamRequestHandler
			HTTPEndpoint WebSocketEndpoint BaseHTTPMiddleware CreateAPIView AsyncWebsocketConsumer`,
		names: `get post put delete patch head options list create retrieve update destroy dispatch handle do_GET do_POST do_PUT
			do_DELETE on_message open on_connect on_receive receive get_queryset perform_create form_valid prepare`,
	},
	{
		kind: "cli", roots: "click typer fire cyclopts plac asyncclick rich_click absl invoke doit argh docopt",
		names: "command group callback Fire default task result_callback run cli pass_context app call",
	},
	{kind: "cli", roots: "argparse", names: "set_defaults"},
	{kind: "cli", roots: "hydra", names: "main"},
	{kind: "cli", roots: "django", bases: "BaseCommand", names: "handle add_arguments"},
	{
		kind: "worker", roots: "celery rq dramatiq airflow prefect dagster ray huey arq taskiq apscheduler luigi modal faust kfp metaflow zenml temporalio bentoml beam runpod cog flytekit inngest schedule rocketry",
		names: `task shared_task periodic_task on_after_configure job actor dag flow asset op graph sensor schedule repository remote
			scheduled_job add_job function cls method web_endpoint asgi_app wsgi_app fastapi_endpoint enter exit local_entrypoint agent timer component
			pipeline step service api defn activity workflow run endpoint do create_function connect cond cron PythonOperator
			BranchPythonOperator ShortCircuitOperator start worker_ready build batch multi_asset hook on_success on_failure`,
	},
	{
		kind: "worker", roots: "airflow luigi metaflow bentoml ray cog mrjob apache_beam kserve mlserver torchserve ts",
		bases: "BaseOperator Task FlowSpec Service Deployment BasePredictor MRJob DoFn Model MLModel BaseHandler Runnable PythonModel",
		names: "execute run requires output start predict setup process load preprocess postprocess inference initialize handle",
	},
	{
		kind: "worker", roots: "functions_framework azure chalice aws_lambda_powertools zappa firebase_functions mangum modal",
		names: `http cloud_event route function_name on_message on_request on_call timer_trigger schedule blob_trigger queue_trigger
			queue_output lambda_handler inject_lambda_context on_s3_event on_sqs_message event_source lambda_function typed`,
	},
	{
		kind: "tool", roots: `mcp fastmcp langchain langchain_core langgraph crewai crewai_tools agents autogen autogen_core autogen_agentchat
		autogen_ext llama_index pydantic_ai smolagents haystack semantic_kernel google agno phi dspy instructor strands beeai_framework marvin
		controlflow swarm camel openai_agents griptape letta qwen_agent agentscope ag2 genkit promptflow`,
		names: `tool resource prompt function_tool list_tools call_tool list_resources read_resource list_prompts get_prompt tool_plain
			system_prompt output_validator result_validator kernel_function input_guardrail output_guardrail register_for_llm register_for_execution
			register_function agent task crew before_kickoff after_kickoff add_node add_conditional_edges add_edge entrypoint task
			StructuredTool from_function from_defaults Tool FunctionTool FunctionAgent ReActAgent add_tool RunnableLambda chain llm
			handle_call_tool handle_list_tools custom_route component listen start router handler message_handler event rpc
			default_subscription callback on_event instructions Agent before_model_callback after_model_callback completion step wrap_tool_call
			before_agent dynamic_prompt after_model before_model wrap_model_call`,
	},
	{
		kind: "tool", roots: "langchain langchain_core langchain_community crewai crewai_tools smolagents llama_index haystack dspy qwen_agent phi agno autogen_core",
		bases: "BaseTool Tool BaseRetriever LLM BaseLLM BaseChatModel Embeddings Module BaseCallbackHandler RoutedAgent Chain BaseLoader BaseOutputParser Runnable CustomLLM BaseEmbedding Workflow",
		names: `_run _arun forward run _call _acall _generate _agenerate _get_relevant_documents embed_documents embed_query
			on_llm_start on_llm_end invoke ainvoke call lazy_load load parse complete chat stream_complete`,
	},
	{kind: "test", roots: "pytest hypothesis unittest", names: "fixture given mark parametrize"},
	{
		kind: "test", roots: "unittest django twisted", bases: "TestCase IsolatedAsyncioTestCase TransactionTestCase SimpleTestCase",
		names: "setUp tearDown setUpClass tearDownClass asyncSetUp asyncTearDown runTest",
	},
}

// handlers are names by which clouds call the functions of a module.
var handlers = wordSet("lambda_handler handler main_handler cloud_function entry_point azure_main")

// Entries returns where the program begins: programs, what frameworks call,
// notebooks and tests. What is called only from outside of a library is in
// [Graph.Surface]. What deployment files start, the caller adds; see
// [Graph.Lookup].
func (g *Graph) Entries() []Entry {
	var out []Entry
	add := func(e Entry) {
		e.Test = e.Test || g.testUnit(g.frames[e.Func].unit)
		if !slices.ContainsFunc(out, func(o Entry) bool { return o.Func == e.Func && o.Kind == e.Kind }) {
			out = append(out, e)
		}
	}
	for u := range g.units {
		if kind := g.program(u); kind != "" {
			add(Entry{Func: g.a.modules[u].id, Kind: kind, Name: g.units[u].Path})
		}
		if g.units[u].Language.Name == "javascript" && !g.testUnit(u) {
			g.scriptEntries(u, add)
		}
	}
	for _, fr := range g.frames {
		for _, p := range fr.wrapped {
			if kind := registered(strings.TrimSuffix(p, "()")); kind != "" {
				add(Entry{Func: fr.id, Kind: kind, Name: shown(p), Test: kind == "test"})
			}
		}
		if fr.node != nil && g.units[fr.unit].Language.Name == "javascript" && (directive(fr.node.Body(), "use server") || directive(fr.node.Kid(1).Body(), "use server")) {
			add(Entry{Func: fr.id, Kind: "web", Name: fr.name})
		}
		if fr.node == nil || fr.node.Kind != syntax.Func {
			continue
		}
		if fr.class == nil && fr.parent != nil && fr.parent.node == nil && handlers[fr.short] && len(fr.params) >= 1 {
			add(Entry{Func: fr.id, Kind: "worker", Name: fr.name})
		}
		if g.units[fr.unit].Language.Name == "go" && fr.class == nil && (fr.short == "init" || fr.short == "main" && strings.HasSuffix(g.units[fr.unit].Group, ":main")) {
			add(Entry{Func: fr.id, Kind: "program", Name: fr.name})
		}
		if g.units[fr.unit].Language.Implicit && g.managedProgram(fr) {
			add(Entry{Func: fr.id, Kind: "program", Name: fr.name})
		}
		if g.testUnit(fr.unit) && (strings.HasPrefix(fr.short, "test") || g.units[fr.unit].Language.Name == "go" && (strings.HasPrefix(fr.short, "Test") || strings.HasPrefix(fr.short, "Example") || strings.HasPrefix(fr.short, "Benchmark"))) {
			add(Entry{Func: fr.id, Kind: "test", Name: fr.name, Test: true})
		}
		if fr.class != nil {
			if kind := g.called(fr); kind != "" {
				add(Entry{Func: fr.id, Kind: kind, Name: fr.name, Test: kind == "test"})
			}
		}
	}
	for i := range g.sites {
		s := &g.sites[i]
		for _, c := range s.Callees {
			if c.Func >= 0 || s.Node.Kind != syntax.Call {
				continue
			}
			if kind := registered(c.Path); kind != "" {
				for _, f := range g.passed(s.Node) {
					add(Entry{Func: f, Kind: kind, Name: shown(c.Path)})
				}
			}
		}
	}
	slices.SortStableFunc(out, func(x, y Entry) int { return int(x.Func) - int(y.Func) })
	return out
}

// registered returns the kind of entry that a decorator or call makes.
func registered(p string) string {
	p = strings.TrimSuffix(p, "()")
	head, _, _ := strings.Cut(p, ".")
	last := p[strings.LastIndexByte(p, '.')+1:]
	if last == p {
		return ""
	}
	if kind := annotation(p, strings.TrimSuffix(last, "()")); kind != "" {
		return kind
	}
	pkg := packageIn(p)
	for _, r := range scriptRegistrars {
		if word(r.roots, strings.TrimSuffix(pkg, "()")) && word(r.names, strings.TrimSuffix(last, "()")) {
			return r.kind
		}
	}
	for _, r := range registrars {
		if r.bases == "" && word(r.roots, strings.TrimSuffix(head, "()")) && word(r.names, strings.TrimSuffix(last, "()")) {
			return r.kind
		}
	}
	return ""
}

// packageIn is the part of a path that names the package, whose own name may
// have slashes and dots in it.
func packageIn(p string) string {
	head := p
	if i := strings.IndexByte(p, '('); i > 0 {
		head = p[:i]
	}
	slash := strings.LastIndexByte(head, '/') + 1
	if i := strings.IndexByte(head[slash:], '.'); i >= 0 {
		return head[:slash+i]
	}
	return head
}

func word(list, w string) bool { return slices.Contains(strings.Fields(list), w) }

// passed returns the functions that a call passes.
func (g *Graph) passed(n *syntax.Node) []FuncID {
	var out []FuncID
	i := g.siteAt[n]
	ar := g.record(g.frames[g.sites[i].In]).calls[n]
	if ar == nil {
		return nil
	}
	members := g.units[g.sites[i].Unit].Language.Members
	var take func(s set, depth int)
	take = func(s set, depth int) {
		for _, x := range s.vals {
			o := g.a.info(x.v)
			if o.fr != nil {
				out = append(out, o.fr.id)
			}
			if members && depth < 2 && (o.kind == vDict || o.kind == vList) {
				for _, key := range o.obj.keys {
					take(o.obj.cells[key].all, depth+1)
				}
			}
		}
	}
	for _, p := range ar.pos {
		take(p, 0)
	}
	for _, k := range ar.kw {
		take(k.s, 0)
		for _, x := range k.s.vals {
			if o := g.a.info(x.v); o.kind == vList { // tools=[…]
				for _, key := range o.obj.keys {
					take(o.obj.cells[key].all, 2)
				}
			}
		}
	}
	return out
}

// called returns the kind of entry that a method is because of an outside base.
func (g *Graph) called(fr *frame) string {
	for _, m := range g.a.order(fr.class) {
		if m.ext == "" {
			continue
		}
		head, _, _ := strings.Cut(m.ext, ".")
		last := m.ext[strings.LastIndexByte(m.ext, '.')+1:]
		for _, r := range registrars {
			if r.bases != "" && word(r.roots, head) && word(r.bases, last) && (word(r.names, fr.short) || r.kind == "test" && strings.HasPrefix(fr.short, "test")) {
				return r.kind
			}
		}
	}
	return ""
}

// program returns the kind of entry that the code of a module is.
func (g *Graph) program(u int) string {
	unit := &g.units[u]
	switch {
	case unit.Notebook:
		return "notebook"
	case g.testUnit(u):
		return "test"
	case path.Base(unit.Path) == "__main__.py", path.Base(unit.Path) == "manage.py":
		return "program"
	}
	if unit.Language.Implicit {
		if scriptProgram(unit.File.Body) {
			return "program"
		}
		return ""
	}
	if unit.Language.Name == "go" {
		if strings.HasSuffix(unit.Group, ":main") {
			return "program"
		}
		return ""
	}
	if unit.Language.Name == "javascript" {
		if !g.a.modules[u].imported && scriptProgram(unit.File.Body) {
			return "program"
		}
		return ""
	}
	work := false
	for _, n := range unit.File.Body {
		if n.Kind == syntax.If && guard(n.Kid(0)) {
			return "program"
		}
		work = work || works(n)
	}
	if work && !unit.Package && !g.a.modules[u].imported && !g.a.imports.regular[parentName(unit.Name)] {
		return "program"
	}
	return ""
}

// guard reports whether n is __name__ == "__main__".
func guard(n *syntax.Node) bool {
	if n == nil || n.Kind != syntax.Compare || len(n.Kids) != 2 {
		return false
	}
	x, y := n.Kids[0], n.Kids[1]
	if x.Kind == syntax.String {
		x, y = y, x
	}
	return x.Kind == syntax.Name && x.Text == "__name__" && y.Kind == syntax.String && y.Text == "__main__"
}

// works reports whether a statement of a module does something.
func works(n *syntax.Node) bool {
	switch n.Kind {
	case syntax.Expr:
		v := n.Kid(0)
		return v != nil && (v.Kind == syntax.Call || v.Kind == syntax.Await)
	case syntax.For, syntax.While, syntax.With:
		return true
	case syntax.If, syntax.Try:
		return slices.ContainsFunc(n.Body(), works)
	default:
		return false
	}
}

// testUnit reports whether a unit holds tests.
func (g *Graph) testUnit(u int) bool {
	p := g.units[u].Path
	base := path.Base(p)
	if strings.Contains(base, ".test.") || strings.Contains(base, ".spec.") || strings.Contains(base, ".stories.") || strings.HasPrefix(base, "test_") || strings.HasSuffix(base, "_test.py") || strings.HasSuffix(base, "_test.go") || base == "conftest.py" {
		return true
	}
	for d := range strings.SplitSeq(path.Dir(p), "/") {
		if d == "test" || d == "tests" || d == "__tests__" || d == "e2e" {
			return true
		}
	}
	return false
}

// Surface returns what a library offers: its public functions and the methods
// of its public classes, and the code of its modules. Whether anyone calls
// them is not known.
func (g *Graph) Surface() []Entry {
	var out []Entry
	for _, fr := range g.frames {
		if g.testUnit(fr.unit) {
			continue
		}
		public := true
		for part := range strings.SplitSeq(fr.name, ".") {
			if strings.HasPrefix(part, "_") && (!strings.HasPrefix(part, "__") || !strings.HasSuffix(part, "__")) || strings.HasPrefix(part, "<") {
				public = false
			}
		}
		if public && (fr.parent == nil || fr.parent.node == nil) {
			out = append(out, Entry{Func: fr.id, Kind: "library", Name: fr.name, Possibly: true})
		}
	}
	return out
}

// Lookup returns the function of a name such as pkg.mod.main, or of a module.
// A name as entry points write it, pkg.mod:main, is understood.
func (g *Graph) Lookup(name string) (FuncID, bool) {
	name = strings.ReplaceAll(name, ":", ".")
	for _, fr := range g.frames {
		if fr.name == name || strings.HasSuffix(fr.name, "."+name) && g.a.modules[fr.unit].name != fr.name {
			return fr.id, true
		}
	}
	return -1, false
}
