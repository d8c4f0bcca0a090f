package cli

import (
	"cmp"
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

	"github.com/modelwarden/warden/internal/api"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/monitor"
)

const gatewayPath = "/api/v1/gateway/"

func newGateway(a *app) *cobra.Command {
	return group("gateway", "Routes, traffic, use and limits of the inference gateway",
		newGatewayRoutes(a), newGatewayRoute(a), newExchanges(a), newExchangeShow(a), newExchangeVerify(a), newUse(a), newLimits(a))
}

func newGatewayRoutes(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{Use: "routes", Short: "List routes and whether they are open", Args: args(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		rs, err := all[api.RouteStatus](c.Context(), cl, gatewayPath+"routes", nil, 0)
		if err != nil {
			return err
		}
		if format == "json" {
			return printJSON(a.Stdout, rs)
		}
		t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "NAME\tSTATE\tMODEL\tGUARD\tREQUESTS\tREFUSED\tFROM\tREASON")
		for _, r := range rs {
			state := "closed"
			if r.Open {
				state = "open"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", r.Name, state, cmp.Or(r.Model, r.Provider), dash(r.Guard), r.Requests, r.Refused, r.Source, dash(r.Reason))
		}
		return t.Flush()
	}}, &format)
}

func newExchanges(a *app) *cobra.Command {
	var (
		format, route, principal, request string
		kind                              string
		from, until                       string
		blocked                           bool
		limit                             int
	)
	c := formatFlag(&cobra.Command{
		Use: "exchanges", Short: "List exchanges, newest first, without what was said", Args: args(cobra.NoArgs),
		Long: "Times are RFC 3339, or ages such as 30m and 24h.\n\n  warden gateway exchanges --blocked --from 24h",
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			q := url.Values{"route": keep(route), "principal": keep(principal), "request": keep(request), "kind": keep(kind), "limit": {"200"}}
			if blocked {
				q.Set("blocked", "true")
			}
			if err := errors.Join(setTime(q, "from", from), setTime(q, "until", until)); err != nil {
				return err
			}
			xs, err := all[monitor.Exchange](c.Context(), cl, gatewayPath+"exchanges", q, limit)
			if err != nil {
				return err
			}
			if format == "json" {
				if xs == nil {
					xs = []monitor.Exchange{}
				}
				return printJSON(a.Stdout, xs)
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "TIME\tREQUEST\tROUTE\tWHO\tSTATUS\tEND\tGUARD\tTOKENS\tMS\tFOUND")
			for _, x := range xs {
				end := cmp.Or(x.Code, x.End)
				if x.Running {
					end = "running"
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%d\t%d\t%s\n", since(x.At), x.Request, x.Route, dash(x.Principal), x.Status, dash(end), dash(string(x.Guard)), x.Input+x.Output, x.Took, dash(strings.Join(foundRules(x.Found), " ")))
			}
			return t.Flush()
		},
	}, &format)
	c.Flags().StringVar(&route, "route", "", "only of this route")
	c.Flags().StringVar(&principal, "principal", "", "only by this principal")
	c.Flags().StringVar(&request, "request", "", "only those whose id begins so")
	c.Flags().BoolVar(&blocked, "blocked", false, "only what was refused, or denied or changed by a guard")
	c.Flags().StringVar(&kind, "kind", "", "only what went so: passed, redacted, denied or refused")
	c.Flags().StringVar(&from, "from", "", "not before this time")
	c.Flags().StringVar(&until, "until", "", "not after this time")
	c.Flags().IntVar(&limit, "limit", 50, "at most so many; 0 for all")
	return c
}

// setTime puts a time, or an age, into a query.
func setTime(q url.Values, name, text string) error {
	if text == "" {
		return nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if d, derr := time.ParseDuration(text); derr == nil && d >= 0 {
		at, err = time.Now().Add(-d), nil
	}
	if err != nil {
		return usage("--%s %q: want a time such as 2026-03-01T12:00:00Z, or an age such as 24h", name, text)
	}
	q.Set(name, at.UTC().Format(time.RFC3339))
	return nil
}

// foundRules writes what fired and how often.
func foundRules(found map[string]int) []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if n := found[id]; n > 1 {
			out = append(out, fmt.Sprintf("%s×%d", id, n))
		} else {
			out = append(out, id)
		}
	}
	return out
}

type exchange struct {
	Records []monitor.Record `json:"records"`
	Entries []uint64         `json:"entries"`
	Running bool             `json:"running"`
	Proof   *monitor.Receipt `json:"proof,omitempty"`
	Pending bool             `json:"pending"`
}

const proofWait = 5 * time.Second // a checkpoint is signed every second

func newExchangeShow(a *app) *cobra.Command {
	var (
		format, proof string
		content       bool
	)
	c := formatFlag(&cobra.Command{
		Use: "show REQUEST", Short: "The records of one exchange; with --proof, proven by the audit log", Args: args(cobra.ExactArgs(1)),
		Long: "REQUEST is the id that the gateway answers as X-Request-Id. With --proof the way from each record to\n" +
			"a signed checkpoint is written to a file and verified here; warden gateway verify verifies it anywhere.\n\n" +
			"  warden gateway show REQUEST --proof proof.json",
		RunE: func(c *cobra.Command, x []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			path := gatewayPath + "exchanges/" + url.PathEscape(x[0])
			if content {
				var said monitor.Content
				if err := cl.call(c.Context(), http.MethodGet, path+"/content", nil, &said); err != nil {
					return err
				}
				return printJSON(a.Stdout, said)
			}
			var e exchange
			if proof == "" {
				if err := cl.call(c.Context(), http.MethodGet, path, nil, &e); err != nil {
					return err
				}
				return a.printExchange(e, format)
			}
			for end := time.Now().Add(proofWait); ; {
				if err := cl.call(c.Context(), http.MethodGet, path+"?proof=true", nil, &e); err != nil {
					return err
				}
				if !e.Pending || time.Now().After(end) {
					break
				}
				select {
				case <-c.Context().Done():
					return c.Context().Err()
				case <-time.After(300 * time.Millisecond):
				}
			}
			if e.Proof == nil {
				return errors.New("no checkpoint covers the records yet (hint: try again)")
			}
			text, err := json.MarshalIndent(e.Proof, "", " ")
			if err == nil {
				err = os.WriteFile(proof, text, 0o600)
			}
			if err != nil {
				return err
			}
			if err := a.printExchange(e, format); err != nil {
				return err
			}
			var cp struct{ Verifier string }
			if err := cl.call(c.Context(), http.MethodGet, "/api/v1/audit/checkpoint", nil, &cp); err != nil {
				return err
			}
			if err := checkReceipt(*e.Proof, cp.Verifier); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stderr, "proven by the audit log; %s verifies without the platform: warden gateway verify %s --key %s\n", proof, proof, cp.Verifier)
			return err
		},
	}, &format)
	c.Flags().BoolVar(&content, "content", false, "print what was said, as JSON, where the route keeps it; that it was read is recorded")
	c.Flags().StringVar(&proof, "proof", "", "write the proof to this file, and verify it")
	return c
}

// checkReceipt verifies a receipt with the public key of the log.
func checkReceipt(r monitor.Receipt, key string) error {
	v, err := audit.NewVerifier(key)
	if err != nil {
		return usage("--key: %w", err)
	}
	if _, err := r.Verify(v); err != nil {
		return &exit{exitFindings, err}
	}
	return nil
}

func (a *app) printExchange(e exchange, format string) error {
	if format == "json" {
		e.Proof = nil // it is in its file
		return printJSON(a.Stdout, e)
	}
	for i, r := range e.Records {
		fmt.Fprintf(a.Stdout, "%s  %s  record %d, audit entry %d\n", since(r.At), r.Step, r.Number, e.Entries[i])
		t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
		row := func(name, format string, x ...any) {
			if text := fmt.Sprintf(format, x...); text != "" && text != "0" {
				fmt.Fprintf(t, "  %s\t%s\n", name, text)
			}
		}
		row("who", "%s", r.Principal)
		row("key", "%s", r.Key)
		row("groups", "%s", strings.Join(r.Groups, " "))
		row("route", "%s", r.Route)
		row("dialect", "%s", r.Dialect)
		row("model", "%s", cmp.Or(r.Digest, r.Provider))
		row("policies", "%s", r.Policies)
		row("because", "%s", strings.Join(r.Because, " "))
		row("request", "%s", r.Body)
		row("status", "%d", r.Status)
		row("refused", "%s", r.Code)
		row("end", "%s", r.End)
		row("guard", "%s", r.Guard)
		row("found", "%s", strings.Join(foundRules(r.Found), " "))
		for _, p := range r.Places {
			row("", "%s", fmt.Sprintf("%s at %s, bytes %d to %d: %s", p.Rule, p.At, p.Start, p.End, p.Did))
		}
		row("not looked at", "%s", strings.Join(r.Partial, "; "))
		row("tokens in", "%d", r.Input)
		row("tokens out", "%d", r.Output)
		row("rows", "%d", r.Rows)
		if r.Cost > 0 {
			row("cost", "%s", money(r.Cost))
		}
		if r.Step == monitor.Finished {
			row("times", "%d us here, %d us guards, %d ms upstream, %d ms in all", r.Own, r.Guess, r.First, r.Took)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if e.Running {
		fmt.Fprintln(a.Stdout, "no end is known: it runs, or its process was killed")
	}
	return nil
}

// money writes millionths of the currency.
func money(millionths int64) string {
	return fmt.Sprintf("%d.%06d", millionths/1_000_000, millionths%1_000_000)
}

const maxReceipt = 64 << 20

func newExchangeVerify(a *app) *cobra.Command {
	var format, key string
	c := formatFlag(&cobra.Command{
		Use: "verify FILE --key KEY", Short: "Verify the proof of an exchange without the platform", Args: args(cobra.ExactArgs(1)),
		Long: "KEY is the public key of the audit log, or a file with it. Exit code 1: the proof does not hold.",
		RunE: func(_ *cobra.Command, x []string) error {
			if key == "" {
				return usage("--key is missing (hint: the public key of the audit log, which warden gateway show --proof prints)")
			}
			if b, err := os.ReadFile(key); err == nil {
				key = strings.TrimSpace(string(b))
			}
			st, err := os.Stat(x[0])
			if err != nil {
				return usage("%w", err)
			}
			if st.Size() > maxReceipt {
				return usage("%s: %d bytes, at most %d", x[0], st.Size(), maxReceipt)
			}
			text, err := os.ReadFile(x[0])
			if err != nil {
				return usage("%w", err)
			}
			var r monitor.Receipt
			if err := json.Unmarshal(text, &r); err != nil {
				return &exit{exitFindings, fmt.Errorf("%s is no proof: %w", x[0], err)}
			}
			if err := checkReceipt(r, key); err != nil {
				return err
			}
			e := exchange{}
			for _, p := range r.Records {
				rec, err := p.Read()
				if err != nil {
					return err
				}
				e.Records, e.Entries = append(e.Records, rec), append(e.Entries, p.Entry)
			}
			if err := a.printExchange(e, format); err != nil {
				return err
			}
			if e.Records[0].Step == monitor.Admitted {
				return &exit{exitFindings, errors.New("the proof holds, but shows no end: the exchange ran when it was made, or the end was left out (hint: ask for a new proof)")}
			}
			_, err = fmt.Fprintln(a.Stderr, "the proof holds")
			return err
		},
	}, &format)
	c.Flags().StringVar(&key, "key", "", "public key of the audit log, or a file with it")
	return c
}

func newUse(a *app) *cobra.Command {
	var format, by, step, from, until string
	c := formatFlag(&cobra.Command{
		Use: "use", Short: "What routes, callers and models used, with its cost", Args: args(cobra.NoArgs),
		Long: "Times are RFC 3339, or ages such as 24h.\n\n  warden gateway use --by team --step day --from 720h",
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			q := url.Values{"by": {by}, "step": {step}}
			if err := errors.Join(setTime(q, "from", from), setTime(q, "until", until)); err != nil {
				return err
			}
			us, err := all[api.UseBody](c.Context(), cl, gatewayPath+"use", q, 0)
			if err != nil {
				return err
			}
			if format == "json" {
				if us == nil {
					us = []api.UseBody{}
				}
				return printJSON(a.Stdout, us)
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(t, "FROM\t%s\tREQUESTS\tREFUSED\tDENIED\tERRORS\tTOKENS IN\tTOKENS OUT\tROWS\tCOST\n", strings.ToUpper(by))
			for _, u := range us {
				fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", since(u.From), u.Name, u.Requests, u.Refused, u.Denied, u.Errors, u.Input, u.Output, u.Rows, money(u.Cost))
			}
			return t.Flush()
		},
	}, &format)
	c.Flags().StringVar(&by, "by", "route", "route, key, principal, team, model or provider")
	c.Flags().StringVar(&step, "step", "all", "hour, day, or all of the time in one row")
	c.Flags().StringVar(&from, "from", "", "beginning (default: 24 hours before the end)")
	c.Flags().StringVar(&until, "until", "", "end (default: now)")
	return c
}

func newLimits(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{
		Use: "limits", Short: "What callers used of their limits, the fullest first", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			ls, err := all[api.LimitBody](c.Context(), cl, gatewayPath+"limits", nil, 0)
			if err != nil {
				return err
			}
			if format == "json" {
				if ls == nil {
					ls = []api.LimitBody{}
				}
				return printJSON(a.Stdout, ls)
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "USED\tOF\tUNIT\tIN\tPER\tSUBJECT\tROUTE")
			for _, l := range ls {
				used, of := fmt.Sprint(l.Used), fmt.Sprint(l.Limit)
				if l.Unit == "money" {
					used, of = money(l.Used), money(l.Limit)
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", used, of, l.Unit, cmp.Or(l.Window, "at once"), l.Per, dash(l.Subject), cmp.Or(l.Route, "all"))
			}
			return t.Flush()
		},
	}, &format)
}
