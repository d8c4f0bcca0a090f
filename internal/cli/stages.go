package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
)

// post sends a body as it is.
func (c *client) post(ctx context.Context, path string, body io.Reader, contentType string, out any) error {
	resp, err := c.do(ctx, http.MethodPost, path, http.Header{"Content-Type": {contentType}}, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("answer of %s: %w", path, err)
	}
	return nil
}

// versionPath returns the path of a version of a model, which is named as
// namespace/model@number or namespace/model.
func (c *client) versionPath(ctx context.Context, ref, more string) (path string, v versionOf, err error) {
	if v, err = c.find(ctx, ref); err != nil {
		return "", v, err
	}
	if v.Model == "" {
		return "", v, usage("%s is no version of a model (hint: write namespace/model@number)", ref)
	}
	namespace, model, _ := strings.Cut(v.Model, "/")
	return "/api/v1/models/" + url.PathEscape(namespace) + "/" + url.PathEscape(model) + "/versions/" + strconv.Itoa(v.Number) + more, v, nil
}

type stageChange struct {
	Model    string    `json:"model"`
	Number   int       `json:"number"`
	Artifact string    `json:"artifact"`
	Before   string    `json:"before"`
	After    string    `json:"after"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Reason   string    `json:"reason"`
	Decision string    `json:"decision"`
}

type promotionOf struct {
	Model      string             `json:"model"`
	Number     int                `json:"number"`
	From       string             `json:"from"`
	To         string             `json:"to"`
	Allowed    bool               `json:"allowed"`
	Conditions []policy.Condition `json:"conditions"`
	Approvals  []policy.Approval  `json:"approvals"`
	Signers    []string           `json:"signers"`
}

func newPromote(a *app) *cobra.Command {
	var (
		to, reason, format string
		check              bool
	)
	c := formatFlag(&cobra.Command{
		Use: "promote MODEL@N --to STAGE --reason TEXT", Short: "Move a version to another stage, if policy allows it", Args: args(cobra.ExactArgs(1)),
		Long: "Promote moves a version to dev, staging, prod or archived. Policies decide; a refusal says what is missing and\n" +
			"how to get it. Each step is kept with its signed decision. --check only lists the conditions.\n\n" +
			"  warden registry promote team/chat@3 --to prod --check\n" +
			"  warden registry promote team/chat@3 --to prod --reason 'release 2026-11'",
		RunE: func(c *cobra.Command, x []string) error {
			return a.promote(c.Context(), x[0], to, reason, format, check)
		},
	}, &format)
	c.Flags().StringVar(&to, "to", "", "dev, staging, prod or archived")
	c.Flags().StringVar(&reason, "reason", "", "why; kept in the history")
	c.Flags().BoolVar(&check, "check", false, "list what the promotion needs, and do nothing; exit code 1 if something is missing")
	return c
}

func (a *app) promote(ctx context.Context, ref, to, reason, format string, check bool) error {
	if to == "" {
		return usage("--to is missing: dev, staging, prod or archived")
	}
	if !check && strings.TrimSpace(reason) == "" {
		return usage("--reason is empty (hint: say in a sentence why; --check only lists the conditions)")
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	path, v, err := cl.versionPath(ctx, ref, "")
	if err != nil {
		return err
	}
	var p promotionOf
	if err := cl.call(ctx, http.MethodGet, path+"/promotion?"+url.Values{"to": {to}}.Encode(), nil, &p); err != nil {
		return err
	}
	if check {
		return a.printPromotion(p, format)
	}
	var done stageChange
	if err := cl.call(ctx, http.MethodPost, path+"/promote", map[string]string{"to": to, "from": p.From, "reason": reason}, &done); err != nil {
		return err
	}
	if format == "json" {
		return printJSON(a.Stdout, done)
	}
	_, err = fmt.Fprintf(a.Stdout, "%s@%d is in %s (was in %s)\ndecision %s\n", v.Model, v.Number, done.After, done.Before, done.Decision)
	return err
}

func (a *app) printPromotion(p promotionOf, format string) error {
	if format == "json" {
		if err := printJSON(a.Stdout, p); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.Stdout, "%s@%d from %s to %s\n", p.Model, p.Number, p.From, p.To)
		for _, c := range p.Conditions {
			mark := "ok     "
			if !c.Met {
				mark = "missing"
			}
			fmt.Fprintf(a.Stdout, "  %s  %s (%s)\n", mark, c.Needs, c.Policy)
			if !c.Met && c.Fix != "" {
				fmt.Fprintf(a.Stdout, "           to do: %s\n", c.Fix)
			}
		}
	}
	if !p.Allowed {
		return &exit{exitFindings, nil}
	}
	return nil
}

func newApprove(a *app) *cobra.Command {
	var (
		to, role, reason string
		days             int
		withdraw         bool
	)
	c := &cobra.Command{
		Use: "approve MODEL@N --to STAGE --reason TEXT", Short: "Approve a promotion", Args: args(cobra.ExactArgs(1)),
		Long: "Approve says yes to a promotion. The server signs it on your behalf, for this version and stage. Whoever pushed\n" +
			"or signed the version cannot approve it, and whoever approves cannot promote.",
		RunE: func(c *cobra.Command, x []string) error {
			if to == "" || strings.TrimSpace(reason) == "" {
				return usage("--to and --reason are needed")
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			path, v, err := cl.versionPath(c.Context(), x[0], "/approvals")
			if err != nil {
				return err
			}
			var out struct{ Statement, Who string }
			in := map[string]any{"to": to, "role": role, "reason": reason, "days": days, "withdraw": withdraw}
			if err := cl.call(c.Context(), http.MethodPost, path, in, &out); err != nil {
				return err
			}
			verb := "approved"
			if withdraw {
				verb = "no longer approved"
			}
			_, err = fmt.Fprintf(a.Stdout, "%s@%d to %s is %s by %s\nstatement %s\n", v.Model, v.Number, to, verb, out.Who, out.Statement)
			return err
		},
	}
	c.Flags().StringVar(&to, "to", "", "dev, staging, prod or archived")
	c.Flags().StringVar(&role, "role", "", "role in which it is given: one of yours")
	c.Flags().StringVar(&reason, "reason", "", "why")
	c.Flags().IntVar(&days, "days", 30, "days until it ends")
	c.Flags().BoolVar(&withdraw, "withdraw", false, "take an approval back")
	return c
}

func newHistory(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{
		Use: "history MODEL[@N]", Short: "Where the versions of a model were, and who moved them", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			v, err := cl.find(c.Context(), x[0])
			if err != nil {
				return err
			}
			namespace, model, ok := strings.Cut(v.Model, "/")
			if !ok {
				return usage("%s is no model (hint: write namespace/model or namespace/model@number)", x[0])
			}
			q := url.Values{}
			if strings.Contains(x[0], "@") {
				q.Set("number", strconv.Itoa(v.Number))
			}
			cs, err := all[stageChange](c.Context(), cl, "/api/v1/models/"+url.PathEscape(namespace)+"/"+url.PathEscape(model)+"/history", q, 0)
			if err != nil {
				return err
			}
			if format == "json" {
				if cs == nil {
					cs = []stageChange{}
				}
				return printJSON(a.Stdout, cs)
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "VERSION\tFROM\tTO\tBY\tTIME\tREASON")
			for _, s := range cs {
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", s.Number, s.Before, s.After, s.By, since(s.At), s.Reason)
			}
			return t.Flush()
		},
	}, &format)
}

type explanation struct {
	Artifact string `json:"artifact"`
	Names    []struct {
		Model  string
		Number int
	} `json:"names"`
	Reasons    []policy.Reason `json:"reasons"`
	Statements []struct {
		ID            string    `json:"id"`
		PredicateType string    `json:"predicate_type"`
		Signer        string    `json:"signer"`
		Verified      bool      `json:"verified"`
		Reason        string    `json:"reason"`
		Received      time.Time `json:"received"`
	} `json:"statements"`
	Seq    int64           `json:"seq"`
	Export json.RawMessage `json:"export"`
}

func newExplain(a *app) *cobra.Command {
	var at, action, export, format string
	c := formatFlag(&cobra.Command{
		Use: "explain REF", Short: "What allowed or denied something, from which facts and statements", Args: args(cobra.ExactArgs(1)),
		Long: "Explain prints a past decision: the policies that determined it, what each of them read, and the statements that\n" +
			"counted or why they did not. REF is a decision's digest, an artifact's digest, namespace/model or\n" +
			"namespace/model@number. --export writes all that is needed to make the decision again without the server.\n\n" +
			"  warden explain team/chat@3 --action promote\n" +
			"  warden explain team/chat@3 --at 2026-03-03T12:00:00Z --export decision.json\n" +
			"  warden decide --replay decision.json",
		RunE: func(c *cobra.Command, x []string) error {
			return a.explain(c.Context(), x[0], at, action, export, format)
		},
	}, &format)
	c.Flags().StringVar(&at, "at", "", "the decision that held then (RFC 3339 or a date)")
	c.Flags().StringVar(&action, "action", "", "only decisions on this action: admit or promote")
	c.Flags().StringVar(&export, "export", "", "write the decision and its inputs to this file; - is standard output")
	return c
}

func (a *app) explain(ctx context.Context, ref, at, action, export, format string) error {
	q := url.Values{"ref": {ref}, "action": keep(action)}
	if at != "" {
		t, err := time.Parse(time.RFC3339, at)
		if err != nil {
			if t, err = time.Parse(time.DateOnly, at); err != nil {
				return usage("--at %q: want RFC 3339 or a date, for example 2026-03-03", at)
			}
			t = t.Add(24*time.Hour - time.Nanosecond)
		}
		q.Set("at", t.Format(time.RFC3339Nano))
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	var x explanation
	if err := cl.call(ctx, http.MethodGet, "/api/v1/explain?"+q.Encode(), nil, &x); err != nil {
		return err
	}
	if export != "" {
		return a.writeOut(export, append(x.Export, '\n'))
	}
	if format == "json" {
		return printJSON(a.Stdout, x)
	}
	var e registry.Export
	if err := json.Unmarshal(x.Export, &e); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	fmt.Fprintf(a.Stdout, "%s  %s of %s\n%s\n", e.Effect, e.Action, nameOf(x), e.Reason)
	fmt.Fprintf(a.Stdout, "decision %s, %s, audit entry %d\npolicies %s, trust store version %d, %s\n\n", e.Digest, since(e.At), x.Seq, e.Policy, e.Trust, e.Engine)
	a.printReasons(x.Reasons, e.Because)
	for _, s := range x.Statements {
		if s.Verified {
			fmt.Fprintf(a.Stdout, "statement  %s\n  by %s, received %s\n", s.PredicateType, s.Signer, since(s.Received))
		} else {
			fmt.Fprintf(a.Stdout, "statement  %s\n  does not count: %s\n", s.PredicateType, s.Reason)
		}
	}
	return nil
}

func nameOf(x explanation) string {
	names := []string{x.Artifact}
	for _, n := range x.Names {
		names = append(names, fmt.Sprintf("(%s@%d)", n.Model, n.Number))
	}
	return strings.Join(names, " ")
}

func (a *app) printReasons(rs []policy.Reason, because []string) {
	fmt.Fprintf(a.Stdout, "because %s\n", strings.Join(because, ", "))
	for _, r := range rs {
		verb := "does not hold"
		if r.Fired {
			verb = "holds"
		}
		fmt.Fprintf(a.Stdout, "  %s %s %s\n", r.Effect, r.Policy, verb)
		for _, v := range r.Reads {
			fmt.Fprintf(a.Stdout, "    %s = %s\n", v.Path, v.Value)
		}
	}
}

func newDecide(a *app) *cobra.Command {
	var replay string
	c := &cobra.Command{
		Use: "decide --replay FILE", Short: "Make an exported decision again, without a server", Args: args(cobra.NoArgs),
		Long: "Decide evaluates the request of an exported decision (warden explain --export) with the facts and policies in the\n" +
			"file. Exit code 0: the same effect for the same reasons; 1: another, or inputs that are not what was decided on.",
		RunE: func(*cobra.Command, []string) error { return a.replay(replay) },
	}
	c.Flags().StringVar(&replay, "replay", "", "file with an exported decision")
	return c
}

// maxExport bounds an exported decision: bundles may list a million files.
const maxExport = 1 << 30

func (a *app) replay(name string) error {
	if name == "" {
		return usage("--replay FILE is missing (hint: warden explain REF --export FILE writes one)")
	}
	text, err := readUpTo(name, maxExport)
	if err != nil {
		return &exit{exitIncomplete, err}
	}
	r, err := registry.Replay(text)
	if err != nil {
		return &exit{exitFindings, fmt.Errorf("%s is no exported decision: %w", name, err)}
	}
	e := r.Export
	fmt.Fprintf(a.Stdout, "%s  %s of %s\ndecision %s, %s\n\n", r.Effect, e.Action, e.Artifact, e.Digest, since(e.At))
	a.printReasons(r.Reasons, r.Because)
	if len(r.Diffs) == 0 {
		_, err := fmt.Fprintln(a.Stdout, "\nthe same as then")
		return err
	}
	fmt.Fprintln(a.Stdout, "\nnot the same as then:")
	for _, d := range r.Diffs {
		fmt.Fprintf(a.Stdout, "  %s\n", d)
	}
	return &exit{exitFindings, errors.New("the decision does not come out as it was recorded")}
}
