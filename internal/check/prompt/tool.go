package prompt

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/chat"
)

// A ToolEffect is what a call of a tool does to the world.
type ToolEffect string

// The effects. What a tool of unknown effect does is guessed from its name.
const (
	Reads    ToolEffect = "read"
	Writes   ToolEffect = "write"
	Sends    ToolEffect = "send"
	Pays     ToolEffect = "pay"
	Executes ToolEffect = "execute"
)

// A Tool is what an operator declares about a function that models call.
type Tool struct {
	Name   string     // or a pattern, as of [path.Match]
	Effect ToolEffect // "": guessed
	Sinks  []string   // arguments that say where something goes or what is done; none: guessed
}

// A Flow forbids that a tool is called after another has been read from.
type Flow struct {
	From, To string // tools, or patterns
	// Unless allows it where the user wrote the value of this argument.
	Unless string
}

// CheckDeclared checks what an operator declares.
func CheckDeclared(tools []Tool, flows []Flow, tensors []TensorSpec) error {
	for _, t := range tools {
		if _, err := path.Match(t.Name, ""); err != nil || t.Name == "" {
			return fmt.Errorf("tool %q is no name and no pattern", t.Name)
		}
		if t.Effect != "" && !slices.Contains([]ToolEffect{Reads, Writes, Sends, Pays, Executes}, t.Effect) {
			return fmt.Errorf("tool %q: effect %q is none of read, write, send, pay, execute", t.Name, t.Effect)
		}
	}
	for _, f := range flows {
		for _, p := range []string{f.From, f.To} {
			if _, err := path.Match(p, ""); err != nil || p == "" {
				return fmt.Errorf("flow from %q to %q: %q is no name and no pattern", f.From, f.To, p)
			}
		}
	}
	for _, t := range tensors {
		if err := t.check(); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	return nil
}

// guesses are the words in names of tools that tell what they do; the first that
// fits counts.
var guesses = []struct {
	effect ToolEffect
	words  []string
}{
	{Executes, []string{"exec", "execute", "run", "shell", "bash", "terminal", "eval", "python", "code", "command", "sql", "deploy", "install", "invoke"}},
	{Pays, []string{"pay", "payment", "transfer", "purchase", "buy", "refund", "wire", "withdraw", "checkout", "donate", "trade"}},
	{Sends, []string{"send", "mail", "email", "post", "publish", "forward", "reply", "share", "upload", "tweet", "notify", "webhook", "invite", "sms", "message", "http", "request", "browse", "navigate", "submit"}},
	{Writes, []string{"write", "create", "update", "delete", "remove", "set", "edit", "save", "insert", "drop", "add", "move", "rename", "append", "put", "patch", "grant", "revoke"}},
	{Reads, []string{"read", "get", "list", "search", "find", "lookup", "fetch", "query", "show", "view", "load", "describe", "check"}},
}

// sinkWords are in the names of arguments that say where something goes, or what
// is done.
var sinkWords = []string{"to", "cc", "bcc", "recipient", "recipients", "email", "address", "url", "uri", "link", "host", "endpoint", "webhook", "command", "cmd", "script", "code", "path", "file", "filename", "amount", "account", "iban", "query", "sql", "destination", "target", "channel", "phone", "number", "wallet", "user"}

// nameWords splits "sendMail_now" into its words.
func nameWords(name string) []string {
	var out []string
	start := 0
	flush := func(end int) {
		if end > start {
			out = append(out, strings.ToLower(name[start:end]))
		}
	}
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c >= 'A' && c <= 'Z' && i > start && (name[i-1] < 'A' || name[i-1] > 'Z'):
			flush(i)
			start = i
		case !isASCIILetter(c):
			flush(i)
			start = i + 1
		}
	}
	flush(len(name))
	return out
}

func isASCIILetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// declared returns what is known about a tool, and whether its effect is a guess.
func (in *Input) declared(name string) (t Tool, guessed bool) {
	t = Tool{Name: name}
	for _, d := range in.Config.Tools {
		if ok, err := path.Match(d.Name, name); err == nil && ok {
			t = d
			break
		}
	}
	if t.Effect != "" {
		return t, false
	}
	words := nameWords(name)
	for _, g := range guesses {
		for _, w := range words {
			if slices.Contains(g.words, w) {
				t.Effect = g.effect
				return t, true
			}
		}
	}
	t.Effect = Writes
	return t, true
}

// sink reports whether an argument says where something goes.
func (t Tool) sink(argument string) bool {
	if argument == "" { // nobody knows which it is
		return true
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(argument, "/"), "/")
	if len(t.Sinks) > 0 {
		return slices.Contains(t.Sinks, first)
	}
	return slices.ContainsFunc(nameWords(argument), func(w string) bool { return slices.Contains(sinkWords, w) })
}

const (
	ruleTaintedSink = "WDN-EX-310"
	ruleTainted     = "WDN-EX-311"
	ruleFlow        = "WDN-EX-312"
	ruleUnoffered   = "WDN-EX-313"
	ruleArguments   = "WDN-EX-850"
	ruleAnswer      = "WDN-EX-851"
	ruleSchema      = "WDN-EX-852"
)

// codeEffects is what the rules beside the code do where no policy says more.
var codeEffects = map[warden.RuleID]warden.Effect{
	ruleTaintedSink: warden.Deny, ruleTainted: warden.AllowReview, ruleFlow: warden.Deny, ruleUnoffered: warden.AllowReview,
	ruleArguments: warden.Deny, ruleAnswer: warden.Deny, ruleSchema: warden.AllowReview,
	ruleInput: warden.Deny, ruleDatatype: warden.Deny, ruleShape: warden.Deny, ruleRange: warden.Deny, ruleFinite: warden.Deny,
}

// codeRules are told by code, not by data.
func codeRules() (taint, tool, schema, tensor []warden.Rule) {
	flow := []string{"owasp-llm@2025:LLM01", "owasp-llm@2025:LLM06", "mitre-atlas@5.6.0:AML.T0051.001"}
	form := []string{"owasp-llm@2025:LLM05"}
	data := []string{"mitre-atlas@5.6.0:AML.T0043"}
	taint = []warden.Rule{
		{ID: ruleTaintedSink, Title: "A text that the model only read decides what a tool does", Severity: warden.High, Frameworks: flow, Advice: "Do not run the call. Ask the user, or let the policy allow this argument from this source."},
		{ID: ruleTainted, Title: "A value from a text that the model only read goes into a tool", Severity: warden.Medium, Frameworks: flow, Advice: "See whether the user meant it."},
		{ID: ruleFlow, Title: "A tool is called after one that it must not follow", Severity: warden.High, Frameworks: flow, Advice: "Do not run the call; the route's rules of flow forbid it."},
	}
	tool = []warden.Rule{
		{ID: ruleUnoffered, Title: "The model calls a tool that it was not given", Severity: warden.Medium, Frameworks: flow, Advice: "Do not run it; find out where the model has the name from."},
	}
	schema = []warden.Rule{
		{ID: ruleArguments, Title: "Arguments of a tool are not what its schema says", Severity: warden.Medium, Frameworks: form, Advice: "Do not run the call; ask the model again."},
		{ID: ruleAnswer, Title: "The answer is not what the request's schema says", Severity: warden.Medium, Frameworks: form, Advice: "Do not parse it; ask the model again."},
		{ID: ruleSchema, Title: "A schema that cannot be used", Severity: warden.Low, Frameworks: form, Advice: "Make it smaller, and keep its references inside of it."},
	}
	tensor = []warden.Rule{
		{ID: ruleInput, Title: "An input that the model does not declare, or lacks", Severity: warden.Medium, Frameworks: data, Advice: "Send the inputs that the route declares."},
		{ID: ruleDatatype, Title: "An input of another type than declared", Severity: warden.Medium, Frameworks: data, Advice: "Send the type that the route declares."},
		{ID: ruleShape, Title: "An input of another shape than declared", Severity: warden.Medium, Frameworks: data, Advice: "Send the shape that the route declares."},
		{ID: ruleRange, Title: "A value outside of what the model was made for", Severity: warden.Medium, Frameworks: data, Advice: "Check how the input is prepared; values far outside are how models are evaded."},
		{ID: ruleFinite, Title: "A value that is no number, or not finite", Severity: warden.High, Frameworks: data, Advice: "Check how the input is prepared."},
	}
	return taint, tool, schema, tensor
}

// Calls returns the detectors of what an answer wants from tools, and of its form.
func Calls() []*detect.Detector[*Input] {
	taint, tool, schema, _ := codeRules()
	return []*detect.Detector[*Input]{
		{Name: "input/taint", Doc: `Values that go from a text which the model only read into the arguments of a tool.

Hosts, addresses, numbers, paths and five words in a row are compared after
decoding. Values that the model computes, translates or paraphrases are not seen.`, Rules: taint, Run: tainted},
		{Name: "input/tool", Doc: `Calls of tools that the request does not offer.`, Rules: tool, Run: offered},
		{Name: "input/schema", Doc: `Arguments of tools and answers against the JSON schemas of the request.

References lead nowhere outside of a schema; size, depth and work are bounded.`, Rules: schema, Run: schemas},
	}
}

func codeDetectors() []*detect.Detector[*Input] {
	_, _, _, tensor := codeRules()
	return append(Calls(), &detect.Detector[*Input]{Name: "input/tensor", Doc: `Inputs of a classifier against what the route declares: names, types, shapes,
ranges, and that every value is a finite number.`, Rules: tensor, Run: tensors})
}

// A call is one call of a tool in the answer.
type call struct {
	message, part int
	name          string
	arguments     []byte
}

func (c call) at() warden.Location {
	return warden.Location{Path: fmt.Sprintf("messages/%d/parts/%d", c.message, c.part), Span: warden.Span{Unit: warden.Bytes, End: int64(len(c.arguments))}}
}

// calls returns the calls of the answer, up to the limits.
func (in *Input) calls() (out []call, err error) {
	lim := in.Config.Limits.orDefault()
	for i, m := range in.Exchange.Messages {
		if !m.Answer {
			continue
		}
		n := 0
		for j, p := range m.Parts {
			if p.Kind != chat.ToolCall || p.Call == nil {
				continue
			}
			if n++; n > lim.Calls {
				return out, fmt.Errorf("messages/%d: more than %d calls of tools: %w", i, lim.Calls, detect.ErrLimit)
			}
			if len(p.Text) > maxInstance {
				return out, fmt.Errorf("messages/%d/parts/%d: %d bytes of arguments, at most %d: %w", i, j, len(p.Text), maxInstance, detect.ErrLimit)
			}
			out = append(out, call{i, j, p.Call.Name, p.Text})
		}
	}
	return out, nil
}

func offered(ctx context.Context, p *pass) error {
	in := p.Subject
	calls, err := in.calls()
	for _, c := range calls {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(in.Exchange.Tools) > 0 && !slices.ContainsFunc(in.Exchange.Tools, func(t chat.ToolSpec) bool { return t.Name == c.name }) {
			p.Report(ruleUnoffered, c.at(), "The model calls %q, which the request does not offer", c.name)
		}
	}
	return errors.Join(err, in.err())
}
