package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/check/code"
	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/inventory/register"
	"github.com/modelwarden/warden/internal/server"
	"github.com/modelwarden/warden/rules"
	"github.com/modelwarden/warden/scan"
)

func newServe(a *app) *cobra.Command {
	var (
		config string
		roles  []string
	)
	c := &cobra.Command{
		Use: "serve", Short: "Run the platform: registry, console, gateway, workers", Args: args(cobra.NoArgs),
		Long: "Serve runs the whole platform in one process with embedded engines. It prints the addresses\n" +
			"and, at its first start, a one-time administrator link.\n\n  warden serve --data .data\n\n" +
			"Several processes share the work if storage.database, storage.blobs and queue.nats name engines that\n" +
			"they share, and keys the same folder. Each then has a --data folder of its own, and --role says what it does:\n" +
			"gateway (inference traffic), api (API and console), worker (scans, upkeep).\n\n" +
			"  warden serve --config cluster.yaml --role worker",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.config(config)
			if err != nil {
				return err
			}
			if len(roles) > 0 {
				cfg.Roles = roles
				if err := cfg.Check(); err != nil {
					return err
				}
			}
			s, err := server.Open(c.Context(), cfg, server.Options{Log: a.logger(), Getenv: a.Getenv, Tool: tool(), Banner: a.Stdout})
			if err != nil {
				return err
			}
			return errors.Join(s.Serve(c.Context()), s.Close())
		},
	}
	c.Flags().StringVar(&config, "config", "", "configuration file (YAML); see warden config print")
	c.Flags().StringSliceVar(&roles, "role", nil, "what this process does, with commas: gateway, api, worker (default all)")
	return c
}

// config loads the configuration; --data wins over everything.
func (a *app) config(file string) (server.Config, error) {
	cfg, err := server.LoadConfig(file, a.Getenv)
	if a.data != "" {
		cfg.Data = a.data
	}
	return cfg, err
}

const configHelp = `Print the configuration that holds: defaults, then the file of --config, then variables
WARDEN_SECTION_KEY (WARDEN_API_LISTEN for api.listen). Routes have no defaults; each is

  gateway:
    routes:
      - name: support-chat                  what clients send as "model"
        model: team/chat@1                  registry reference; closed unless it is admitted
        upstream: http://10.0.0.7:8000/v1   base URL of an OpenAI-compatible server
        upstream_model: llama               what the upstream calls it (default: the same name)
        credential: env:UPSTREAM_KEY        key for the upstream, or file:PATH (default: none)
        allow_private: [10.0.0.0/8]         private ranges the upstream may be in (default: none)
        provider: openai/gpt-4o             instead of model: one that others run; terms: names the contract
        dialect: anthropic                  openai (default), anthropic, gemini, ollama, oip, oip-grpc; generic: below
        task: embed                         chat (default), embed, classify
        ca: ca.pem                          authorities for the upstream's certificate
        fallbacks: [{model, upstream, ...}] asked when the one before does not take the request
        inbound: [openai]                   dialects clients may speak (default: all)
        permit: [chat_template]             fields that are refused otherwise
        unknown_fields: refuse              forward (default), drop, refuse
        remote_content: allowlist           deny (default), allowlist (remote_hosts: [...]), pass
        max_output: 1024                    tokens of answers whose request names no bound; cap_output: at most
        limits: [{per: identity, tokens: 100000/1m, requests: 600/1m, burst: 20, rows: 1000/1h, money: 5/day, streams: 20}]
        price: {input: "0.5", output: "1.5"}  of a million tokens
        shape: {logprobs: strip, scores: top1, round: 3, noise: 0.01}
        guard: {preset: standard, mode: hold, on_error: deny, rules: {WDN-EX-2: deny}, images: [], links: [], phones: [US],
                unseen: [image], canary: true, allow: [...], tools: [...], flows: [...], tensors: [...]}
        capture: {mode: redacted, days: 7}  what is kept of contents, encrypted (default: nothing)
        on_quarantine: keep                 running streams go on (default: cut); on_overrun: cut
        generic: {path: /predict, input: [$.text], output: [$.answer], score: ["$.scores[*]"], stream: $.stream}
    limits: [{per: key, requests: 600/1m}]  over all routes; per: identity, group, key, route, all
    tls: {cert: c.pem, key: k.pem, client_ca: ca.pem, clients: [{spiffe: "spiffe://prod/ns/*/sa/chat", service: chat, roles: [client]}]}

Routes that administrators add at run time (warden gateway route add) say credential: vllm, where

  gateway:
    credentials: {vllm: env:UPSTREAM_KEY}   names that such routes may use
    private: [10.0.0.0/8]                   private ranges that their upstreams may be in

Nor has signing in with a provider (OIDC):

  access:
    oidc:
      issuer: https://login.example.com     the provider
      client_id: warden                     what this platform is called there
      client_secret: env:OIDC_SECRET        or file:PATH (default: a public client)
      role_map: {ml-team: [engineer@team]}  group there: roles here (default: none)
      allowed_domains: [example.com]        of verified mail addresses (default: every one)
    workloads:
      - issuer: https://ci.example.com      whose tokens programs may bring to the API
        audience: warden                    what the tokens must be made for
        subject: "repo:acme/*"              pattern of who may come in
        service: service:ci                 who the program is here
        roles: [engineer]`

func newConfig(a *app) *cobra.Command {
	var file string
	var checked string
	check := &cobra.Command{Use: "check [FILE]", Short: "Check a configuration file", Args: args(cobra.MaximumNArgs(1)), RunE: func(_ *cobra.Command, x []string) error {
		switch {
		case len(x) == 1 && checked != "":
			return usage("the file is named twice (hint: give it once, or with --config)")
		case len(x) == 1:
			checked = x[0]
		case checked == "":
			return usage("no file is named (hint: warden config check FILE)")
		}
		cfg, err := a.config(checked)
		if err != nil {
			return err
		}
		if _, err := server.Policies(cfg.Policies); err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.Stdout, "ok")
		return err
	}}
	show := &cobra.Command{Use: "print", Short: "Print the configuration that holds, with all defaults", Long: configHelp, Args: args(cobra.NoArgs), RunE: func(*cobra.Command, []string) error {
		cfg, err := a.config(file)
		if err != nil {
			return err
		}
		b, err := cfg.YAML()
		if err != nil {
			return err
		}
		_, err = a.Stdout.Write(b)
		return err
	}}
	show.Flags().StringVar(&file, "config", "", "configuration file (YAML)")
	check.Flags().StringVar(&checked, "config", "", "configuration file (YAML), instead of FILE")
	return group("config", "Check and print configuration", check, show)
}

func newDemo(a *app) *cobra.Command {
	run := func(method, format string) func(*cobra.Command, []string) error {
		return func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			var s struct{ Models, Artifacts, Keys, Requests int }
			if err := cl.call(c.Context(), method, "/api/v1/demo", nil, &s); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, format, s.Models, s.Artifacts, s.Keys, s.Requests)
			return err
		}
	}
	return group("demo", "Load or remove demo data",
		&cobra.Command{
			Use: "load", Short: "Fill the platform with demo models, a gateway route and traffic", Args: args(cobra.NoArgs),
			RunE: run(http.MethodPost, "loaded %d models (%d artifacts), %d key, %d requests through the gateway\nsee: warden registry list, warden audit list, or the console\n"),
		},
		&cobra.Command{
			Use: "remove", Short: "Remove all demo data", Args: args(cobra.NoArgs),
			RunE: run(http.MethodDelete, "removed %d model versions, %d artifacts, %d keys%.0d\n"),
		})
}

func newRules(a *app) *cobra.Command {
	var format string
	list := formatFlag(&cobra.Command{Use: "list", Short: "List every rule", Args: args(cobra.NoArgs), RunE: func(*cobra.Command, []string) error {
		all := sortedRules()
		if format == "json" {
			return printJSON(a.Stdout, all)
		}
		t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
		for _, r := range all {
			fmt.Fprintf(t, "%s\t%s\t%s\n", r.ID, r.Severity, r.Title)
		}
		return t.Flush()
	}}, &format)
	show := &cobra.Command{Use: "show ID", Short: "What a rule means and what to do", Args: args(cobra.ExactArgs(1)), RunE: func(_ *cobra.Command, ids []string) error {
		id := warden.RuleID(strings.ToUpper(ids[0]))
		r, ok := allRules()[id]
		if !ok {
			return &exit{exitUsage, fmt.Errorf("no rule %q (hint: warden rules list)", ids[0])}
		}
		fmt.Fprintf(a.Stdout, "%s  %s\n%s\n\nWhat to do: %s\n", r.ID, r.Severity, r.Title, r.Advice)
		for _, d := range slices.Concat(scan.Detectors(), guard.Detectors()) {
			if slices.ContainsFunc(d.Rules, func(x warden.Rule) bool { return x.ID == id }) {
				fmt.Fprintf(a.Stdout, "\nFound by %s: %s\n", d.Name, d.Doc)
			}
		}
		if len(r.Frameworks) > 0 {
			fmt.Fprintf(a.Stdout, "\nFrameworks: %s\n", strings.Join(r.Frameworks, ", "))
		}
		return nil
	}}
	return group("rules", "Look up rules", list, show)
}

// allRules returns the rules of scans, of guards, of source trees and of the
// register.
func allRules() map[warden.RuleID]warden.Rule {
	all := scan.Rules()
	maps.Copy(all, guard.Rules())
	more := slices.Concat(register.Rules(), inventory.ShadowRules())
	if cat, err := rules.LoadCatalogue(); err == nil { // it is built in, and tests read it
		more = append(more, code.Rules(cat)...)
	}
	for _, r := range more {
		all[r.ID] = r
	}
	return all
}

func sortedRules() []warden.Rule {
	var all []warden.Rule
	for _, r := range allRules() {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b warden.Rule) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return all
}

type auditEntry struct {
	Seq     uint64          `json:"seq"`
	Time    time.Time       `json:"time"`
	Actor   string          `json:"actor"`
	Action  string          `json:"action"`
	Object  string          `json:"object"`
	Leaf    string          `json:"leaf"`
	Details json.RawMessage `json:"details"`
}

func newAudit(a *app) *cobra.Command {
	return group("audit", "Read and verify the tamper-evident log", newAuditList(a), newAuditVerify(a), newAuditProve(a), newAuditExport(a), newAuditWitness(a))
}

func newAuditList(a *app) *cobra.Command {
	var (
		format, object, actor, action string
		limit                         int
	)
	c := formatFlag(&cobra.Command{Use: "list", Short: "List entries, newest first", Args: args(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		q := url.Values{"object": keep(object), "actor": keep(actor), "action": keep(action), "limit": {"500"}}
		es, err := all[auditEntry](c.Context(), cl, "/api/v1/audit", q, limit)
		if err != nil {
			return err
		}
		if format == "json" {
			return printJSON(a.Stdout, es)
		}
		t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "SEQ\tTIME\tACTOR\tACTION\tOBJECT")
		for _, e := range es {
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", e.Seq, since(e.Time), e.Actor, e.Action, e.Object)
		}
		if err := t.Flush(); err != nil || len(es) != limit || len(es) == 0 {
			return err
		}
		_, err = fmt.Fprintf(a.Stderr, "the newest %d; --limit 0 lists all\n", limit)
		return err
	}}, &format)
	c.Flags().StringVar(&object, "object", "", "only entries about this kind:id")
	c.Flags().StringVar(&actor, "actor", "", "only entries by this principal")
	c.Flags().StringVar(&action, "action", "", "only this action")
	c.Flags().IntVar(&limit, "limit", 50, "at most so many; 0 for all")
	return c
}

func newAuditVerify(a *app) *cobra.Command {
	var (
		outside   []string
		from, key string
	)
	c := &cobra.Command{
		Use: "verify", Short: "Recompute the whole log and check every signature", Args: args(cobra.NoArgs),
		Long: "Verify recomputes every leaf and node of the log and checks all checkpoints. Exit code 1 names\n" +
			"the first entry that is not what was written. Give checkpoints that you kept outside the\n" +
			"database (warden audit verify prints the newest) to find a rollback of log and checkpoint together.\n" +
			"If the configuration requires witnesses (audit.witnesses_required), exit code 1 also says that fewer\n" +
			"have signed what is older than ten minutes.\n" +
			"With --from it verifies a folder that warden audit export wrote, and needs no platform.",
		RunE: func(c *cobra.Command, _ []string) error {
			if from != "" {
				return a.verifyExport(c.Context(), from, key, outside)
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			in := map[string][]string{}
			for _, name := range outside {
				b, err := os.ReadFile(name)
				if err != nil {
					return usage("--checkpoint: %w", err)
				}
				in["outside"] = append(in["outside"], string(b))
			}
			var v struct {
				OK          bool
				Summary     string
				Fault       string
				Unwitnessed string
			}
			if err := cl.call(c.Context(), http.MethodPost, "/api/v1/audit/verify", in, &v); err != nil {
				return err
			}
			fmt.Fprintln(a.Stdout, v.Summary)
			if !v.OK {
				return &exit{exitFindings, fmt.Errorf("the audit log was tampered with: %s", v.Fault)}
			}
			if v.Unwitnessed != "" {
				return &exit{exitFindings, fmt.Errorf("%s (hint: warden audit witness list shows how far each has signed)", v.Unwitnessed)}
			}
			var cp struct{ Note string }
			if err := cl.call(c.Context(), http.MethodGet, "/api/v1/audit/checkpoint", nil, &cp); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "\nKeep this checkpoint outside the platform:\n\n%s", cp.Note)
			return err
		},
	}
	c.Flags().StringArrayVar(&outside, "checkpoint", nil, "file with a checkpoint kept outside; repeatable")
	c.Flags().StringVar(&from, "from", "", "verify this export instead of the platform's log")
	c.Flags().StringVar(&key, "key", "", "public key of checkpoints, or a file with it; with --from only")
	return c
}

func newAuditProve(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "prove SEQ", Short: "Print the inclusion proof of one entry as JSON", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			var p json.RawMessage
			if err := cl.call(c.Context(), http.MethodGet, "/api/v1/audit/"+url.PathEscape(x[0])+"/proof", nil, &p); err != nil {
				return err
			}
			return printJSON(a.Stdout, p)
		},
	}
}
