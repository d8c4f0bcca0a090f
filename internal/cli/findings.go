package cli

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden/internal/inventory/register"
)

const inboxPath = "/api/v1/inbox"

func newFindings(a *app) *cobra.Command {
	reason := "why; kept with the finding"
	return group("findings", "Findings over everything the platform knows: what to do first, who does it, until when",
		newFindingsList(a), newFindingsShow(a), newFindingsExplain(a),
		newTriage(a, "assign", "Give findings to somebody", "", false),
		newTriage(a, "resolve", "Say that findings are fixed; seen again, they come back as regressed", reason, false),
		newTriage(a, "ignore", "Ignore findings for ever, until a day, a count or a worse severity", reason, true),
		newTriage(a, "accept", "Accept the risk of findings", reason, true),
		newTriage(a, "false-positive", "Say that findings are none", reason, false),
		newTriage(a, "reopen", "Take a decision back", reason, false),
	)
}

func newFindingsList(a *app) *cobra.Command {
	var (
		format, state, severity, rule, asset, assignee, subject, search string
		band, limit                                                     int
		overdue                                                         bool
	)
	c := formatFlag(&cobra.Command{
		Use: "list", Short: "List groups of findings, the most urgent first", Args: args(cobra.NoArgs),
		Long: "A group is one weakness wherever it is. States: new, ongoing, regressed (together: active), resolved, ignored,\n" +
			"accepted, false_positive. Bands: P1 from priority 70, due in 3 days; P2 from 45, 14 days; P3 from 20, 60 days; P4.\n\n" +
			"  warden findings list --band 1\n  warden findings list --state ignored,accepted --asset model:registry:team/chat",
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{"limit": {"500"}, "state": {state}}
			for name, value := range map[string]string{"severity": severity, "rule": rule, "asset": asset, "assignee": assignee, "subject": subject, "search": search} {
				if value != "" {
					q.Set(name, value)
				}
			}
			if band > 0 {
				q.Set("band", strconv.Itoa(band))
			}
			if overdue {
				q.Set("overdue", "true")
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			gs, err := all[register.Group](c.Context(), cl, inboxPath, q, limit)
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, orEmpty(gs))
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "ID\tPRIORITY\tSEVERITY\tSTATE\tCOUNT\tASSETS\tASSIGNEE\tDUE\tRULE\tTITLE\tPLACE")
			for i := range gs {
				g := &gs[i]
				fmt.Fprintf(t, "%s\tP%d %d\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", g.ID, g.Band, g.Priority, g.Severity, g.State, g.Count, len(g.Assets), dash(g.Assignee), dueText(g.Due), g.Rule, g.Title, dash(g.Place))
			}
			return t.Flush()
		},
	}, &format)
	f := c.Flags()
	f.StringVar(&state, "state", "active", "one or more, with commas; active; empty for all")
	f.StringVar(&severity, "severity", "", "this or worse")
	f.IntVar(&band, "band", 0, "1 to 4")
	f.StringVar(&rule, "rule", "", "id of a rule")
	f.StringVar(&asset, "asset", "", "id of an asset")
	f.StringVar(&assignee, "assignee", "", "whose; - for nobody's, me for yours")
	f.StringVar(&subject, "subject", "", "file, source, asset or traffic")
	f.StringVar(&search, "search", "", "part of the id, rule, title, place or asset")
	f.BoolVar(&overdue, "overdue", false, "only those whose day has passed")
	f.IntVar(&limit, "limit", 0, "most groups to list (default: all)")
	return c
}

func dueText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.DateOnly)
}

func (a *app) group(ctx context.Context, id string) (g register.Group, err error) {
	cl, err := a.client()
	if err != nil {
		return g, err
	}
	err = cl.call(ctx, http.MethodGet, inboxPath+"/"+url.PathEscape(id), nil, &g)
	return g, err
}

func newFindingsShow(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{
		Use: "show ID", Short: "One group: where it is, what to do, what was done", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error {
			g, err := a.group(c.Context(), x[0])
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, g)
			}
			fmt.Fprintf(a.Stdout, "%s  %s %s\n%s, P%d (%d), %s, %d places in %d assets\nfirst %s, last %s, due %s, assignee %s\n", g.ID, g.Rule, g.Title, g.Severity, g.Band, g.Priority, g.State, g.Count, len(g.Assets),
				since(g.First), since(g.Last), dueText(g.Due), dash(g.Assignee))
			if g.Note != "" {
				fmt.Fprintf(a.Stdout, "why %s: %s\n", g.State, g.Note)
			}
			fmt.Fprintf(a.Stdout, "to do: %s\n\n", g.Advice)
			for _, o := range g.Where {
				fmt.Fprintf(a.Stdout, "  P%d %d  %s  %s\n", register.BandOf(o.Priority), o.Priority, o.Place, o.Message)
			}
			fmt.Fprintln(a.Stdout)
			for _, x := range g.Activity {
				fmt.Fprintf(a.Stdout, "  %s  %s  %s  %s\n", since(x.At), cmp.Or(x.By, "platform"), x.What, x.Note)
			}
			return nil
		},
	}, &format)
}

func newFindingsExplain(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{
		Use: "explain ID", Short: "What a priority is made of", Args: args(cobra.ExactArgs(1)),
		Long: "Explain prints the sum: priority = 100 x severity x (sum of weight x factor) x control. A factor that nobody knows\n" +
			"counts 0.6 and says so. Where code loads a model file, a table over verdict, loader and reachability gives the least\n" +
			"band, and the sum orders inside it.",
		RunE: func(c *cobra.Command, x []string) error {
			g, err := a.group(c.Context(), x[0])
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, map[string]any{"id": g.ID, "priority": g.Priority, "band": g.Band, "factors": g.Factors, "because": orEmpty(g.Because)})
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(t, "%s\tpriority %d\tP%d\t\n", g.ID, g.Priority, g.Band)
			for _, f := range g.Factors {
				weight := "x"
				if f.Weight > 0 {
					weight = fmt.Sprintf("%.2f x", f.Weight)
				}
				fmt.Fprintf(t, "%s\t%s\t%.2f\t%s\n", f.Name, weight, f.Value, f.Why)
			}
			if err := t.Flush(); err != nil {
				return err
			}
			for _, b := range g.Because {
				fmt.Fprintf(a.Stdout, "  %s\n", b)
			}
			return nil
		},
	}, &format)
}

type triaged struct {
	ID    string `json:"id"`
	OK    bool   `json:"ok"`
	State string `json:"state"`
	Error string `json:"error"`
	Hint  string `json:"hint"`
}

// newTriage makes a command that does one thing with one or more groups.
func newTriage(a *app, verb, short, reason string, ends bool) *cobra.Command {
	var (
		format, note, to, until, worse, due string
		count, assets                       int
	)
	c := formatFlag(&cobra.Command{
		Use: verb + " ID…", Short: short, Args: args(cobra.MinimumNArgs(1)),
		Long: short + ". Each finding has a result of its own: one that cannot be changed leaves the\nothers changed, and the exit code is 1. With - as the only ID, ids are read from standard input, one a line.",
		RunE: func(c *cobra.Command, x []string) error {
			in := map[string]any{"do": strings.ReplaceAll(verb, "-", "_"), "note": note}
			if verb == "assign" {
				in["assignee"] = to
			}
			if due != "" {
				t, err := day("due", due)
				if err != nil {
					return err
				}
				in["due"] = t
			}
			if until != "" || count > 0 || assets > 0 || worse != "" {
				end := map[string]any{"count": count, "assets": assets, "severity": worse}
				if until != "" {
					t, err := day("until", until)
					if err != nil {
						return err
					}
					end["until"] = t
				}
				in["until"] = end
			}
			if len(x) == 1 && x[0] == "-" {
				x = nil
				for lines := bufio.NewScanner(a.Stdin); lines.Scan(); {
					if id := strings.TrimSpace(lines.Text()); id != "" {
						x = append(x, id)
					}
				}
			}
			return a.triage(c.Context(), x, in, format)
		},
	}, &format)
	f := c.Flags()
	if reason != "" {
		f.StringVar(&note, "reason", "", reason)
	} else {
		f.StringVar(&to, "to", "", "user:NAME, group:NAME or a team; empty takes it back")
		f.StringVar(&due, "due", "", "day until which it should be done")
	}
	if ends {
		f.StringVar(&until, "until", "", "a day")
		f.IntVar(&count, "until-count", 0, "until there are more places than this")
		f.IntVar(&assets, "until-assets", 0, "until more assets than this have it")
		f.StringVar(&worse, "until-severity", "", "until it is worse than this")
	}
	return c
}

func (a *app) triage(ctx context.Context, ids []string, in map[string]any, format string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	out, failed := []triaged{}, false
	for part := range slices.Chunk(ids, register.MaxBulk) {
		in["ids"] = part
		var p page[triaged]
		if err := cl.call(ctx, http.MethodPost, inboxPath+"/triage", in, &p); err != nil {
			return err
		}
		out = append(out, p.Items...)
	}
	for _, r := range out {
		failed = failed || !r.OK
		if format == "text" {
			fmt.Fprintf(a.Stdout, "%s  %s\n", r.ID, cmp.Or(r.State, r.Error+" (hint: "+r.Hint+")"))
		}
	}
	if format == "json" {
		if err := printJSON(a.Stdout, out); err != nil {
			return err
		}
	}
	if failed {
		return &exit{exitFindings, nil}
	}
	return nil
}
