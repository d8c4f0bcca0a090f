package server

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelwarden/warden/internal/access/limit"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/generic"
	"github.com/modelwarden/warden/internal/gateway"
	"github.com/modelwarden/warden/internal/monitor"
)

// A GatewayConfig configures the inference gateway.
type GatewayConfig struct {
	Listen    string        `yaml:"listen"`
	QueryKeys bool          `yaml:"query_keys"` // clients of Gemini may give their key in the address
	TLS       TLSConfig     `yaml:"tls"`
	Limits    []LimitConfig `yaml:"limits"` // of all routes
	Routes    []RouteConfig `yaml:"routes"`

	Credentials map[string]string `yaml:"credentials"` // name: "file:PATH" or "env:NAME", for routes that administrators add at run time
	Private     []string          `yaml:"private"`     // private address ranges that the upstreams of such routes may be in
}

// A TargetConfig is a server that answers for a route.
type TargetConfig struct {
	Model         string   `yaml:"model"`          // namespace/model@number, namespace/model or digest
	Provider      string   `yaml:"provider"`       // instead of model: one that others run, such as openai/gpt-4o
	Terms         string   `yaml:"terms"`          // contract under which data goes to the provider
	Upstream      string   `yaml:"upstream"`       // base URL, for example http://10.0.0.7:8000/v1
	Dialect       string   `yaml:"dialect"`        // what the upstream speaks; "": openai
	UpstreamModel string   `yaml:"upstream_model"` // what the upstream calls it
	Credential    string   `yaml:"credential"`     // "file:PATH" or "env:NAME"
	AllowPrivate  []string `yaml:"allow_private"`  // private address ranges the upstream may be in
	CA            string   `yaml:"ca"`             // PEM file of authorities for its certificate
}

// A RouteConfig is one gateway route.
type RouteConfig struct {
	Name         string `yaml:"name"` // what clients send as model
	TargetConfig `yaml:",inline"`
	Fallbacks    []TargetConfig `yaml:"fallbacks"` // asked when the one before does not take the request
	Task         string         `yaml:"task"`      // chat, embed, classify or generic; "": chat
	Inbound      []string       `yaml:"inbound"`   // dialects that clients may speak; none: all

	Generic *GenericConfig `yaml:"generic"` // of a route with a dialect of its own

	Permit        []string `yaml:"permit"`         // request fields that are refused otherwise, such as chat_template
	UnknownFields string   `yaml:"unknown_fields"` // forward, drop or refuse; "": forward
	RemoteContent string   `yaml:"remote_content"` // deny, allowlist or pass; "": deny
	RemoteHosts   []string `yaml:"remote_hosts"`   // of allowlist
	MaxBody       int      `yaml:"max_body"`       // bytes; 0: 8 MiB

	MaxOutput    int64         `yaml:"max_output"`    // tokens of answers whose request names no bound
	CapOutput    int64         `yaml:"cap_output"`    // most tokens that a request may ask for
	Estimate     bool          `yaml:"estimate"`      // reserve a quarter of a token for each byte of a prompt, not one
	Limits       []LimitConfig `yaml:"limits"`        //
	OnOverrun    string        `yaml:"on_overrun"`    // cut ends a stream that passes its reservation
	Price        PriceConfig   `yaml:"price"`         // of a million tokens
	Shape        ShapeConfig   `yaml:"shape"`         // what answers leave out
	Guard        GuardConfig   `yaml:"guard"`         //
	Capture      CaptureConfig `yaml:"capture"`       // what is kept of contents
	OnQuarantine string        `yaml:"on_quarantine"` // cut running streams, or keep them; "": cut
	Idle         time.Duration `yaml:"idle"`          // longest silence of the upstream; 0: 60 s
}

// A GenericConfig says where things stand in the JSON of a route with a dialect
// of its own, as JSONPath of names, indexes and [*].
type GenericConfig struct {
	Path   string   `yaml:"path"`   // of requests, here and at the upstream
	Input  []string `yaml:"input"`  // texts or numbers of a request
	Output []string `yaml:"output"` // texts of an answer
	Score  []string `yaml:"score"`  // numbers of an answer
	Stream string   `yaml:"stream"` // boolean of a request that asks for a stream
	End    string   `yaml:"end"`    // data of the event that ends a stream
}

// A LimitConfig is one or several limits of the same callers.
type LimitConfig struct {
	Per      string `yaml:"per"`      // identity, group, key, route or all
	Only     string `yaml:"only"`     // of one identity, group or key
	Requests string `yaml:"requests"` // 600/1m, 100000/day, 1000000/month
	Tokens   string `yaml:"tokens"`
	Rows     string `yaml:"rows"`
	Money    string `yaml:"money"`   // 12.50/day
	Streams  int64  `yaml:"streams"` // exchanges at once, in each process
	Burst    int64  `yaml:"burst"`   // of requests
	Soft     bool   `yaml:"soft"`    // when replicas cannot count together, each uses a third
}

// A PriceConfig says what a million tokens cost.
type PriceConfig struct {
	Input  string `yaml:"input"`
	Output string `yaml:"output"`
}

// A CaptureConfig says what is kept of what exchanges say, encrypted.
type CaptureConfig struct {
	Mode string `yaml:"mode"` // off, redacted or full; "": off
	Days int    `yaml:"days"` // 1 to 365; 0: 7
}

// A ShapeConfig makes answers say less than the model knows.
type ShapeConfig struct {
	Logprobs string  `yaml:"logprobs"` // strip takes log-probabilities out
	Scores   string  `yaml:"scores"`   // top1, top5, …, or label_only
	Round    *int    `yaml:"round"`    // digits after the point
	Noise    float64 `yaml:"noise"`    // standard deviation on scores
}

// routes converts the configured routes; secrets and files are read only if
// wanted.
func (c Config) routes(getenv func(string) string, secrets bool) ([]gateway.Route, error) {
	var out []gateway.Route
	for i, r := range c.Gateway.Routes {
		g, err := r.route(getenv, secrets)
		if err != nil {
			return nil, configError(fmt.Sprintf("gateway.routes[%d]", i), err)
		}
		out = append(out, g)
	}
	return out, nil
}

func (c Config) limits() ([]limit.Rule, error) {
	var out []limit.Rule
	for i, l := range c.Gateway.Limits {
		rules, err := l.rules()
		if err != nil {
			return nil, configError(fmt.Sprintf("gateway.limits[%d]", i), err)
		}
		out = append(out, rules...)
	}
	return out, nil
}

func (r RouteConfig) route(getenv func(string) string, secrets bool) (gateway.Route, error) {
	g := gateway.Route{
		Name: r.Name, Task: chat.Task(r.Task), Inbound: r.Inbound, MaxOutput: r.MaxOutput, Estimate: r.Estimate, Idle: r.Idle, Options: dialect.DefaultOptions(),
	}
	if c := r.Generic; c != nil {
		g.Generic = &generic.Config{Path: c.Path, Input: c.Input, Output: c.Output, Score: c.Score, Stream: c.Stream, End: c.End}
	}
	var err error
	if g.Target, err = r.target(getenv, secrets); err != nil {
		return g, err
	}
	for i, f := range r.Fallbacks {
		t, err := f.target(getenv, secrets)
		if err != nil {
			return g, fmt.Errorf("fallbacks[%d].%w", i, err)
		}
		g.Fallbacks = append(g.Fallbacks, t)
	}
	switch g.Task {
	case "", chat.Chat, chat.Embed, chat.Classify, chat.Generic:
	default:
		return g, fmt.Errorf("task: %q, want chat, embed, classify or generic", r.Task)
	}
	if err := r.options(&g.Options); err != nil {
		return g, err
	}
	for i, l := range r.Limits {
		rules, err := l.rules()
		if err != nil {
			return g, fmt.Errorf("limits[%d]: %w", i, err)
		}
		g.Limits = append(g.Limits, rules...)
	}
	if g.Overrun, err = word("on_overrun", r.OnOverrun, "", "cut"); err != nil {
		return g, err
	}
	if g.KeepOpen, err = word("on_quarantine", cmp.Or(r.OnQuarantine, "cut"), "cut", "keep"); err != nil {
		return g, err
	}
	if g.Price.Input, err = price(r.Price.Input); err != nil {
		return g, fmt.Errorf("price.input: %w", err)
	}
	if g.Price.Output, err = price(r.Price.Output); err != nil {
		return g, fmt.Errorf("price.output: %w", err)
	}
	switch m := monitor.Mode(r.Capture.Mode); m {
	case "", "off":
	case monitor.Redacted, monitor.Full:
		g.Capture, g.KeepFor = m, time.Duration(r.Capture.Days)*24*time.Hour
	default:
		return g, fmt.Errorf("capture.mode: %q, want off, redacted or full", r.Capture.Mode)
	}
	if r.Capture.Days < 0 || r.Capture.Days > 365 {
		return g, fmt.Errorf("capture.days: %d, want 1 to 365", r.Capture.Days)
	}
	if g.Shape, err = r.Shape.shape(); err != nil {
		return g, fmt.Errorf("shape.%w", err)
	}
	if g.Guard, err = r.Guard.guard(g.Provider != "" || slices.ContainsFunc(g.Fallbacks, func(t gateway.Target) bool { return t.Provider != "" })); err != nil {
		return g, fmt.Errorf("guard.%w", err)
	}
	return g, nil
}

// word reports whether a key has its second word rather than its first.
func word(key, value, no, yes string) (bool, error) {
	if value != no && value != yes {
		return false, fmt.Errorf("%s: %q, want %q or %q", key, value, no, yes)
	}
	return value == yes, nil
}

const maxCA = 1 << 20

func (t TargetConfig) target(getenv func(string) string, secrets bool) (gateway.Target, error) {
	g := gateway.Target{Model: t.Model, Provider: t.Provider, Terms: t.Terms, Upstream: t.Upstream, Dialect: t.Dialect, UpstreamModel: t.UpstreamModel}
	for _, text := range t.AllowPrivate {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return g, fmt.Errorf("allow_private: %w", err)
		}
		g.AllowPrivate = append(g.AllowPrivate, p)
	}
	if t.Credential != "" && !strings.HasPrefix(t.Credential, "file:") && !strings.HasPrefix(t.Credential, "env:") {
		return g, errors.New("credential: secrets are references: file:PATH or env:NAME")
	}
	if !secrets {
		return g, nil
	}
	var err error
	if t.Credential != "" {
		if g.Credential, err = secret(t.Credential, getenv); err != nil {
			return g, fmt.Errorf("credential: %w", err)
		}
	}
	if t.CA != "" {
		st, err := os.Stat(t.CA)
		if err != nil {
			return g, fmt.Errorf("ca: %w", err)
		}
		if st.Size() > maxCA {
			return g, fmt.Errorf("ca: %d bytes, at most %d", st.Size(), maxCA)
		}
		if g.CA, err = os.ReadFile(t.CA); err != nil {
			return g, fmt.Errorf("ca: %w", err)
		}
	}
	return g, nil
}

func (r RouteConfig) options(o *dialect.Options) error {
	switch u := dialect.Unknown(r.UnknownFields); u {
	case "":
	case dialect.ForwardUnknown, dialect.DropUnknown, dialect.RefuseUnknown:
		o.Unknown = u
	default:
		return fmt.Errorf("unknown_fields: %q, want forward, drop or refuse", r.UnknownFields)
	}
	switch m := dialect.Remote(r.RemoteContent); m {
	case "":
	case dialect.RemoteDeny, dialect.RemoteHosts, dialect.RemotePass:
		o.Remote = m
	default:
		return fmt.Errorf("remote_content: %q, want deny, allowlist or pass", r.RemoteContent)
	}
	if o.Remote == dialect.RemoteHosts && len(r.RemoteHosts) == 0 {
		return errors.New("remote_hosts: remote_content is allowlist, and no host is listed")
	}
	for _, h := range r.RemoteHosts {
		o.Hosts = append(o.Hosts, strings.ToLower(h))
	}
	if r.MaxBody < 0 || r.MaxBody > 64<<20 {
		return fmt.Errorf("max_body: %d, want 0 to %d", r.MaxBody, 64<<20)
	}
	if r.MaxBody > 0 {
		o.Limits.Bytes = r.MaxBody
	}
	if r.MaxOutput < 0 || r.CapOutput < 0 || r.MaxOutput > 1<<30 || r.CapOutput > 1<<30 {
		return errors.New("max_output, cap_output: want 0 or more tokens")
	}
	o.Permit, o.Caps.MaxOutput = r.Permit, r.CapOutput
	return nil
}

func (l LimitConfig) rules() ([]limit.Rule, error) {
	var out []limit.Rule
	for _, x := range []struct {
		unit limit.Unit
		text string
	}{{limit.Requests, l.Requests}, {limit.Tokens, l.Tokens}, {limit.Rows, l.Rows}, {limit.Money, l.Money}} {
		if x.text == "" {
			continue
		}
		r := limit.Rule{Per: limit.Scope(l.Per), Only: l.Only, Unit: x.unit, Soft: l.Soft}
		var err error
		if r.Amount, r.Window, r.Calendar, err = limit.ParseAmount(x.unit, x.text); err != nil {
			return nil, err
		}
		if x.unit == limit.Requests {
			r.Burst = l.Burst
		}
		out = append(out, r)
	}
	if l.Streams != 0 {
		out = append(out, limit.Rule{Per: limit.Scope(l.Per), Only: l.Only, Unit: limit.Streams, Amount: l.Streams})
	}
	if len(out) == 0 {
		return nil, errors.New("it limits nothing: give requests, tokens, rows, money or streams")
	}
	if _, err := limit.New(limit.Config{Rules: out, Now: time.Now}); err != nil {
		return nil, err
	}
	return out, nil
}

// price returns millionths of the currency.
func price(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < 0 || f > 1e6 || math.IsNaN(f) {
		return 0, fmt.Errorf("%q, want what a million tokens cost, such as 2.50", text)
	}
	return int64(math.Round(f * 1e6)), nil
}

func (s ShapeConfig) shape() (gateway.Shape, error) {
	var out gateway.Shape
	var err error
	if out.Logprobs, err = word("logprobs", s.Logprobs, "", "strip"); err != nil {
		return out, err
	}
	switch top, isTop := strings.CutPrefix(s.Scores, "top"); {
	case s.Scores == "":
	case s.Scores == "label_only":
		out.LabelOnly = true
	case isTop:
		if out.Top, err = strconv.Atoi(top); err != nil || out.Top < 1 {
			return out, fmt.Errorf("scores: %q, want top1, top5, … or label_only", s.Scores)
		}
	default:
		return out, fmt.Errorf("scores: %q, want top1, top5, … or label_only", s.Scores)
	}
	if s.Round != nil {
		if out.Round, out.Digits = true, *s.Round; *s.Round < 0 || *s.Round > 15 {
			return out, fmt.Errorf("round: %d, want 0 to 15 digits", *s.Round)
		}
	}
	if out.NoiseScale = s.Noise; s.Noise < 0 || s.Noise > 1e6 {
		return out, fmt.Errorf("noise: %v, want a standard deviation from 0 on", s.Noise)
	}
	return out, nil
}

// A GuardConfig says what guards do on a route.
type GuardConfig struct {
	Preset  string            `yaml:"preset"`   // off, shadow or standard; "": standard for models that others run, off for own ones
	Mode    string            `yaml:"mode"`     // hold, async or buffer; "": hold
	OnError string            `yaml:"on_error"` // deny or allow what cannot be looked at; "": deny
	Rules   map[string]string `yaml:"rules"`    // rule, or beginning of rules, to allow, review, redact or deny
	Images  []string          `yaml:"images"`   // hosts, or hosts with the beginning of a path, whose images answers may show
	Links   []string          `yaml:"links"`    // the same for links
	Phones  []string          `yaml:"phones"`   // regions whose phone numbers count without a country code
	Words   int               `yaml:"words"`    // of the system prompt in a row that are a leak; 0: 12, below 0: not looked for
	Canary  bool              `yaml:"canary"`   // a random word in the system prompt is looked for in the answer; changes the request
	Unseen  []string          `yaml:"unseen"`   // kinds of content that pass without being looked at: image, audio, file
	Allow   []AllowConfig     `yaml:"allow"`    // exceptions, each for a time
	Tools   []ToolConfig      `yaml:"tools"`    // that the model may call
	Flows   []FlowConfig      `yaml:"flows"`    // what may not go from one tool to another
	Tensors []TensorConfig    `yaml:"tensors"`  // inputs of a classifier
}

// An AllowConfig is an exception that somebody answers for.
type AllowConfig struct {
	Rule     string `yaml:"rule"`
	Digest   string `yaml:"digest"`  // of the text that passes
	Literal  string `yaml:"literal"` // the text itself
	Prefix   string `yaml:"prefix"`  // or its beginning
	Owner    string `yaml:"owner"`
	Approver string `yaml:"approver"` // a second person, for guarantees
	Reason   string `yaml:"reason"`
	Until    string `yaml:"until"` // day: 2026-12-31; within 180 days
}

// A ToolConfig declares a function that the model may call.
type ToolConfig struct {
	Name   string   `yaml:"name"`   // or a pattern: send_*
	Effect string   `yaml:"effect"` // read, write, send, pay or execute; "": guessed
	Sinks  []string `yaml:"sinks"`  // arguments that say where something goes; none: guessed
}

// A FlowConfig forbids a call after another.
type FlowConfig struct {
	From   string `yaml:"from"`
	To     string `yaml:"to"`
	Unless string `yaml:"unless"` // argument whose value the user wrote
}

// A TensorConfig declares an input of a classifier.
type TensorConfig struct {
	Name     string   `yaml:"name"`
	Datatype string   `yaml:"datatype"`
	Shape    []int64  `yaml:"shape"` // rows first; -1: any length
	Min      *float64 `yaml:"min"`
	Max      *float64 `yaml:"max"`
	Optional bool     `yaml:"optional"`
}
