package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/report"
)

// The bounds of what is read.
const (
	maxGuardLine = 16 << 20 // of JSON lines, and of a file that is one text
	guardBudget  = 10 * time.Second
)

type guardFlags struct {
	channel, format, failOn string
	external                bool
	failAt                  warden.Severity
}

func newGuard(a *app) *cobra.Command {
	f := &guardFlags{}
	c := &cobra.Command{
		Use:   "check [FILE…]",
		Short: "Examine texts and exchanges as the gateway does",
		Long: "Check examines what is sent to models, or comes from them. Files that end in .jsonl, and standard\n" +
			"input that begins with {, are JSON lines: {\"id\",\"text\",\"channel\"} or {\"id\",\"exchange\":{\"messages\":[…]}}.\n" +
			"Every other file is one text. The channel says who wrote it: the user; a document or a tool, which the\n" +
			"model only reads; the assistant, whose answers are examined; the system, which may instruct.\n\n" +
			"  warden guard check --channel document page.txt\n  warden guard check --format jsonl <prompts.jsonl",
		Args: args(cobra.ArbitraryArgs),
		RunE: func(c *cobra.Command, files []string) error { return a.guard(c.Context(), f, files) },
	}
	fl := c.Flags()
	fl.StringVar(&f.channel, "channel", "user", "who wrote texts that do not say: user, document, tool, assistant or system")
	fl.StringVar(&f.format, "format", "text", "text, json, jsonl or sarif")
	fl.StringVar(&f.failOn, "fail-on", "high", "least severity that gives exit code 1: critical, high, medium, low or never")
	fl.BoolVar(&f.external, "external", false, "also look for personal data and secrets, as for a model that others run")
	return group("guard", "Examine what goes to models and comes from them", c)
}

var guardChannels = []string{"user", "document", "tool", "assistant", "system"}

// A guardRow is one line of input.
type guardRow struct {
	ID       string         `json:"id"`
	Text     *string        `json:"text"`
	Channel  string         `json:"channel"`
	Exchange *guardExchange `json:"exchange"`
	err      error
}

// A guardExchange is an exchange in JSON. An assistant's messages at the end are
// the answer.
type guardExchange struct {
	Messages []struct {
		Role    string      `json:"role"`
		Content string      `json:"content"`
		Parts   []guardPart `json:"parts"`
	} `json:"messages"`
	Tools []struct {
		Name   string          `json:"name"`
		Schema json.RawMessage `json:"schema"`
	} `json:"tools"`
	Schema json.RawMessage `json:"schema"`
}

type guardPart struct {
	Kind  string           `json:"kind"`
	Text  string           `json:"text"`
	Name  string           `json:"name"` // of the tool
	Trust []chat.TrustSpan `json:"trust"`
}

// A guardResult is one line of output. Score is the probability that a model
// gives; rules have none, so it is null.
type guardResult struct {
	ID       string         `json:"id"`
	Verdict  string         `json:"verdict"`
	Complete bool           `json:"complete"`
	Score    *float64       `json:"score"`
	Findings []guardFinding `json:"findings"`
	Reasons  []string       `json:"reasons,omitempty"`
	TookUS   int64          `json:"took_us"`

	found []warden.Finding
}

type guardFinding struct {
	Rule     string    `json:"rule"`
	Severity string    `json:"severity"`
	At       report.At `json:"at"`
	Message  string    `json:"message"`
}

func (a *app) guard(ctx context.Context, f *guardFlags, files []string) error {
	if !slices.Contains(guardChannels, f.channel) {
		return usage("--channel %q: want %s", f.channel, strings.Join(guardChannels, ", "))
	}
	if !slices.Contains([]string{"text", "json", "jsonl", "sarif"}, f.format) {
		return usage("--format %q: want text, json, jsonl or sarif", f.format)
	}
	var err error
	if f.failAt, err = (&scanFlags{failOn: f.failOn}).failAt(); err != nil {
		return err
	}
	g, err := guard.New(guard.Config{Budget: guardBudget, External: f.external})
	if err != nil {
		return &exit{exitIncomplete, err}
	}
	if err := g.SelfTest(ctx); err != nil {
		return &exit{exitIncomplete, err}
	}
	out := newGuardWriter(a, f)
	if err := out.begin(); err != nil {
		return &exit{exitIncomplete, err}
	}
	code := exitOK
	err = inOrder(ctx, func(row func(guardRow) bool) error { return a.guardRows(files, row) },
		func(r guardRow) guardResult { return examine(ctx, g, f, r) },
		func(r guardResult) error {
			switch {
			case slices.ContainsFunc(r.found, func(x warden.Finding) bool { return x.Severity >= f.failAt }):
				code = exitFindings
			case !r.Complete && code == exitOK:
				code = exitIncomplete
			}
			return out.write(r)
		})
	if err := errors.Join(err, out.end()); err != nil {
		if _, ok := errors.AsType[*exit](err); ok {
			return err
		}
		return &exit{exitIncomplete, err}
	}
	if code != exitOK {
		return &exit{code, nil}
	}
	return nil
}

// inOrder runs work on what from gives, several at once, and hands the results to
// one, in order.
func inOrder[In, Out any](ctx context.Context, from func(func(In) bool) error, work func(In) Out, to func(Out) error) error {
	slots := make(chan chan Out, runtime.GOMAXPROCS(0))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failed error
	go func() {
		defer close(slots)
		failed = from(func(in In) bool {
			slot := make(chan Out, 1)
			select {
			case slots <- slot:
			case <-ctx.Done():
				return false
			}
			go func() { slot <- work(in) }()
			return true
		})
	}()
	var err error
	for slot := range slots {
		if out := <-slot; err == nil {
			if err = to(out); err != nil {
				cancel()
			}
		}
	}
	return errors.Join(err, failed, context.Cause(ctx))
}

// guardRows reads files, or standard input where there are none.
func (a *app) guardRows(files []string, row func(guardRow) bool) error {
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, name := range files {
		if err := a.guardFile(name, row); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) guardFile(name string, row func(guardRow) bool) (err error) {
	in, lines := a.Stdin, false
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return &exit{exitUsage, err}
		}
		defer func() { _ = file.Close() }() // it was only read
		in, lines = file, slices.Contains([]string{".jsonl", ".ndjson"}, filepath.Ext(name))
	}
	r := bufio.NewReaderSize(in, 64<<10)
	if head, err := r.Peek(1); name == "-" && err == nil {
		lines = head[0] == '{'
	}
	if lines {
		if err := readLines(r, row); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	text, err := readText(r)
	s := string(text)
	row(guardRow{ID: name, Text: &s, err: err})
	return nil
}

func readText(r io.Reader) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r, maxGuardLine+1))
	if err == nil && n > maxGuardLine {
		err = fmt.Errorf("longer than %d bytes: %w", maxGuardLine, detect.ErrLimit)
	}
	return b.Bytes(), err
}

func readLines(r io.Reader, row func(guardRow) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxGuardLine)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var in guardRow
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		in.err = d.Decode(&in)
		if in.err == nil && d.More() {
			in.err = errors.New("more than one value on the line")
		}
		if in.ID == "" {
			in.ID = fmt.Sprintf("line %d", n)
		}
		if !row(in) {
			return nil
		}
	}
	return lines.Err()
}

// examine looks at one row.
func examine(ctx context.Context, g *guard.Guard, f *guardFlags, r guardRow) guardResult {
	begun := time.Now()
	x, err := r.exchange(f.channel)
	if err != nil {
		return guardResult{ID: r.ID, Verdict: string(warden.Deny), Findings: []guardFinding{}, Reasons: []string{detect.Printable(err.Error(), 1024)}}
	}
	x.Meta.External = f.external
	res := g.Check(ctx, x)
	answer, err := examineAnswer(g, x, res)
	if err != nil {
		res.Complete, res.Reasons = false, append(res.Reasons, err.Error())
	}
	out := guardResult{ID: r.ID, Verdict: string(stronger(res.Effect, answer.Effect)), Complete: res.Complete && answer.Complete, Findings: []guardFinding{}}
	out.found = slices.Concat(res.Findings, answer.Findings)
	out.Reasons = slices.Concat(res.Reasons, answer.Reasons)
	rules := guard.Rules()
	for _, x := range out.found {
		c := report.NewFinding(x, rules[x.Rule])
		out.Findings = append(out.Findings, guardFinding{c.Rule, c.Severity, c.At, c.Message})
	}
	out.TookUS = time.Since(begun).Microseconds()
	return out
}

func stronger(a, b warden.Effect) warden.Effect {
	order := []warden.Effect{warden.Allow, warden.AllowReview, warden.Redact, warden.Require, warden.Deny}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// examineAnswer looks at what the model says in x.
func examineAnswer(g *guard.Guard, x *guard.Exchange, res guard.Result) (guard.StreamResult, error) {
	s, err := g.Stream(x, res)
	if err != nil {
		return guard.StreamResult{}, err
	}
	for i, m := range x.Messages {
		for j, p := range m.Parts {
			if !m.Answer {
				continue
			}
			lane := guard.Lane{Choice: i, Kind: p.Kind, Index: j}
			if _, err = s.Write(lane, p.Text); err == nil {
				_, err = s.Close(lane)
			}
			if err != nil {
				return s.Finish(), err
			}
		}
	}
	return s.Finish(), nil
}

// exchange makes an exchange of a row.
func (r guardRow) exchange(channel string) (*guard.Exchange, error) {
	if r.err != nil {
		return nil, r.err
	}
	if r.Channel != "" {
		channel = r.Channel
	}
	switch {
	case r.Exchange != nil && r.Text == nil:
		x, err := r.Exchange.neutral()
		if x != nil {
			x.ID = r.ID
		}
		return x, err
	case r.Text == nil || r.Exchange != nil:
		return nil, errors.New("a line has either a text or an exchange")
	}
	p := chat.Part{Kind: chat.Text, Text: []byte(*r.Text)}
	m := chat.Message{Role: chat.Role(channel)}
	switch channel {
	case "user", "tool", "system":
	case "assistant":
		m.Answer = true
	case "document":
		m.Role = chat.User
		p.Trust = []chat.TrustSpan{{End: len(p.Text), Origin: chat.Untrusted, Label: "document"}}
	default:
		return nil, fmt.Errorf("channel %q is none of %s", channel, strings.Join(guardChannels, ", "))
	}
	m.Parts = []chat.Part{p}
	return &guard.Exchange{ID: r.ID, Messages: []chat.Message{m}}, nil
}

func (e *guardExchange) neutral() (*guard.Exchange, error) {
	x := &guard.Exchange{Schema: e.Schema}
	for _, t := range e.Tools {
		x.Tools = append(x.Tools, chat.ToolSpec{Name: t.Name, Schema: t.Schema})
	}
	for i, m := range e.Messages {
		role := chat.Role(m.Role)
		if role == "developer" {
			role = chat.System
		}
		if !slices.Contains([]chat.Role{chat.System, chat.User, chat.Assistant, chat.Tool}, role) {
			return nil, fmt.Errorf("messages/%d: role %q is none of system, developer, user, assistant, tool", i, m.Role)
		}
		to := chat.Message{Role: role}
		if m.Content != "" || len(m.Parts) == 0 {
			to.Parts = append(to.Parts, chat.Part{Kind: chat.Text, Text: []byte(m.Content)})
		}
		for j, p := range m.Parts {
			kind := chat.PartKind(p.Kind)
			if kind == "" {
				kind = chat.Text
			}
			if !slices.Contains([]chat.PartKind{chat.Text, chat.Reasoning, chat.Refusal, chat.ToolCall, chat.ToolResult, chat.File}, kind) {
				kind = chat.Unknown // it cannot be looked at, and the result says so
			}
			for _, t := range p.Trust {
				if t.Start < 0 || t.End > len(p.Text) || t.Start > t.End {
					return nil, fmt.Errorf("messages/%d/parts/%d: trust [%d, %d) lies outside of the text", i, j, t.Start, t.End)
				}
			}
			part := chat.Part{Kind: kind, Text: []byte(p.Text), Trust: p.Trust}
			if p.Name != "" {
				part.Call = &chat.Call{Name: p.Name}
			}
			to.Parts = append(to.Parts, part)
		}
		x.Messages = append(x.Messages, to)
	}
	for i := len(x.Messages) - 1; i >= 0 && x.Messages[i].Role == chat.Assistant; i-- {
		x.Messages[i].Answer = true
	}
	return x, nil
}
