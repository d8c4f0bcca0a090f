package cli

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/server"
	"github.com/modelwarden/warden/rules"
)

func newPolicy(a *app) *cobra.Command {
	check := &cobra.Command{
		Use: "check FILE…", Short: "Parse policies and validate them against the schema", Args: args(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, names []string) error {
			set, err := policySet("check", names)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "ok: %d policies (%s)\n", len(set.IDs()), strings.Join(set.IDs(), ", "))
			return err
		},
	}
	var bundle string
	show := &cobra.Command{
		Use: "print", Short: "Print a policy set that comes with the program, to start your own from", Args: args(cobra.NoArgs),
		Long: "Print writes the standard policy set. The strict set is the standard one and what --bundle strict prints.\n" +
			"Observe is both, to begin with where models are in use already: policies with @observe report what they\n" +
			"would have denied, as observed:ID among the reasons of decisions, and deny nothing.",
		RunE: func(*cobra.Command, []string) error {
			text := map[string][]byte{"standard": rules.StandardPolicies(), "strict": rules.StrictPolicies(), "observe": rules.ObservePolicies(), "tiers": rules.TierPolicies(), "schema": rules.PolicySchema()}[bundle]
			if text == nil {
				return usage("--bundle %q: want standard, strict, tiers, observe or schema", bundle)
			}
			_, err := a.Stdout.Write(text)
			return err
		},
	}
	show.Flags().StringVar(&bundle, "bundle", "standard", "standard, strict or tiers (on top of standard), observe (both; reports what it would deny) or schema")
	return group("policy", "Policies: check, test, simulate, apply", check, show, newPolicyTest(a), newPolicyList(a), newPolicyDiff(a), newPolicySimulate(a), newPolicyApply(a))
}

// policySources reads policy files.
func policySources(names []string) ([]policy.Source, error) {
	var sources []policy.Source
	for _, n := range names {
		src, err := server.PolicyFile(n)
		if err != nil {
			return nil, err
		}
		sources = append(sources, src)
	}
	return sources, nil
}

// policySet reads and validates policy files; a text that is no policy is exit
// code 1.
func policySet(name string, names []string) (*policy.Set, error) {
	sources, err := policySources(names)
	if err != nil {
		return nil, err
	}
	set, err := policy.NewSet(name, rules.PolicySchema(), sources...)
	if err != nil {
		return nil, &exit{exitFindings, err}
	}
	return set, nil
}

const policyTestHelp = `Test runs cases against a policy set: the files of --policy, or the standard set. A file is

  tests:
    - name: clean_is_admitted
      principal: "service:registry"
      action: admit                    admit, retrieve, serve, query, modify, attest, approve, promote, …
      resource: "artifact:sha256:00"   kind:id
      state: pending
      facts: {scan: {present: true, verdict: clean, complete: true}}
      expect: allow                    or deny
      because: admit-examined          a policy that must be among the reasons (optional)

with also roles, stage, task, and for promote and approve step: {model, version, to, pushed_by, signed_by}.`

func newPolicyTest(a *app) *cobra.Command {
	var policies []string
	c := &cobra.Command{
		Use: "test FILE… [--policy FILE]…", Short: "Run cases against a policy set", Long: policyTestHelp, Args: args(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, names []string) error {
			set, err := policy.NewSet("standard", rules.PolicySchema(), policy.Source{Name: "standard.cedar", Text: rules.StandardPolicies()})
			if len(policies) > 0 {
				set, err = policySet("test", policies)
			}
			if err != nil {
				return err
			}
			total, failed := 0, 0
			for _, name := range names {
				text, err := os.ReadFile(name)
				if err != nil {
					return usage("%w", err)
				}
				cases, err := policy.ParseSuite(filepath.Base(name), text)
				if err != nil {
					return usage("%w", err)
				}
				for _, x := range cases {
					total++
					if _, err := x.Run(set, time.Now()); err != nil {
						failed++
						fmt.Fprintf(a.Stdout, "no  %s: %v\n", x.Name, err)
					}
				}
			}
			fmt.Fprintf(a.Stdout, "%d of %d as expected\n", total-failed, total)
			if failed > 0 {
				return &exit{exitFindings, nil}
			}
			return nil
		},
	}
	c.Flags().StringArrayVar(&policies, "policy", nil, "policy file; repeatable (default: the standard set)")
	return c
}

type policyVersion struct {
	Version    int64     `json:"version"`
	Name       string    `json:"name"`
	Digest     string    `json:"digest"`
	State      string    `json:"state"`
	Holds      bool      `json:"holds"`
	Reason     string    `json:"reason"`
	ProposedBy string    `json:"proposed_by"`
	ProposedAt time.Time `json:"proposed_at"`
	DecidedBy  string    `json:"decided_by"`
	Alone      bool      `json:"alone"`
	Changed    []struct {
		Artifact string `json:"artifact"`
		Before   string `json:"before"`
		After    string `json:"after"`
	} `json:"changed"`
}

func newPolicyList(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{
		Use: "list", Short: "List the policy sets of the server, and which one holds", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			var l struct {
				Holds    int64           `json:"holds"`
				Name     string          `json:"name"`
				IDs      []string        `json:"ids"`
				Versions []policyVersion `json:"versions"`
			}
			if err := cl.call(c.Context(), http.MethodGet, "/api/v1/policies", nil, &l); err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, l)
			}
			fmt.Fprintf(a.Stdout, "version %d holds: %s, %d policies\n", l.Holds, l.Name, len(l.IDs))
			if len(l.Versions) == 0 {
				return nil
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "VERSION\tNAME\tSTATE\tPROPOSED BY\tAPPLIED BY\tTIME\tREASON")
			for _, v := range l.Versions {
				state := v.State
				if v.Holds {
					state = "holds"
				}
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", v.Version, v.Name, state, v.ProposedBy, dash(v.DecidedBy), since(v.ProposedAt), v.Reason)
			}
			return t.Flush()
		},
	}, &format)
}

type sourceOf struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

type simulated struct {
	Name      string   `json:"name"`
	IDs       []string `json:"ids"`
	Artifacts int      `json:"artifacts"`
	Decisions int      `json:"decisions"`
	Total     int      `json:"total"`
	Changes   []struct {
		Artifact string   `json:"artifact"`
		Name     string   `json:"name"`
		Action   string   `json:"action"`
		Who      string   `json:"who"`
		Decision string   `json:"decision"`
		Before   string   `json:"before"`
		After    string   `json:"after"`
		Because  []string `json:"because"`
	} `json:"changes"`
}

// draft validates policy files and returns them as the server takes them.
func draft(name string, names []string) (map[string]any, []policy.Source, error) {
	set, err := policySet(name, names)
	if err != nil {
		return nil, nil, err
	}
	var out []sourceOf
	for _, s := range set.Sources() {
		out = append(out, sourceOf{s.Name, string(s.Text)})
	}
	return map[string]any{"name": name, "sources": out}, set.Sources(), nil
}

func (a *app) simulate(ctx context.Context, cl *client, in map[string]any, last int) (simulated, error) {
	in["last"] = last
	var out simulated
	err := cl.call(ctx, http.MethodPost, "/api/v1/policies/simulate", in, &out)
	delete(in, "last")
	return out, err
}

func (a *app) printSimulated(s simulated) {
	fmt.Fprintf(a.Stdout, "%d artifacts and %d past decisions looked at; %d would come out otherwise\n", s.Artifacts, s.Decisions, s.Total)
	for _, c := range s.Changes {
		what := c.Artifact
		if c.Name != "" {
			what = c.Name + " " + what
		}
		fmt.Fprintf(a.Stdout, "  %s of %s: was %s, would be %s (%s)\n", c.Action, what, c.Before, c.After, strings.Join(c.Because, ", "))
	}
	if s.Total > len(s.Changes) {
		fmt.Fprintf(a.Stdout, "  and %d more\n", s.Total-len(s.Changes))
	}
}

func newPolicySimulate(a *app) *cobra.Command {
	var (
		format string
		last   int
	)
	c := formatFlag(&cobra.Command{
		Use: "simulate FILE…", Short: "What a draft would decide otherwise", Args: args(cobra.MinimumNArgs(1)),
		Long: "Simulate decides with a draft, which is all files of a policy set, on every artifact of the registry and on the\n" +
			"last recorded decisions, and lists what would come out otherwise. It changes nothing.",
		RunE: func(c *cobra.Command, names []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			in, _, err := draft("draft", names)
			if err != nil {
				return err
			}
			s, err := a.simulate(c.Context(), cl, in, last)
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, s)
			}
			a.printSimulated(s)
			return nil
		},
	}, &format)
	c.Flags().IntVar(&last, "last", 1000, "past decisions to make again")
	return c
}

func newPolicyDiff(a *app) *cobra.Command {
	var last int
	c := &cobra.Command{
		Use: "diff FILE…", Short: "How a draft differs from what holds: its text, and what it would decide otherwise", Args: args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, names []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			in, sources, err := draft("draft", names)
			if err != nil {
				return err
			}
			var now struct {
				Version int64      `json:"version"`
				Name    string     `json:"name"`
				Sources []sourceOf `json:"sources"`
			}
			if err := cl.call(c.Context(), http.MethodGet, "/api/v1/policies/-1", nil, &now); err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "against version %d, %s\n", now.Version, now.Name)
			a.diffSources(now.Sources, sources)
			s, err := a.simulate(c.Context(), cl, in, last)
			if err != nil {
				return err
			}
			a.printSimulated(s)
			return nil
		},
	}
	c.Flags().IntVar(&last, "last", 1000, "past decisions to make again")
	return c
}

// diffSources prints the lines of each file that went and came.
func (a *app) diffSources(old []sourceOf, fresh []policy.Source) {
	texts := map[string][2]string{}
	for _, s := range old {
		texts[s.Name] = [2]string{s.Text, texts[s.Name][1]}
	}
	for _, s := range fresh {
		texts[s.Name] = [2]string{texts[s.Name][0], string(s.Text)}
	}
	var names []string
	for n := range texts {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		if texts[n][0] == texts[n][1] {
			continue
		}
		fmt.Fprintf(a.Stdout, "%s\n", n)
		for _, line := range changedLines(strings.Split(texts[n][0], "\n"), strings.Split(texts[n][1], "\n")) {
			fmt.Fprintf(a.Stdout, "  %s\n", line)
		}
	}
}

// changedLines returns the lines that are in one text only, by their longest
// common subsequence; of texts that are too long for it, all that differ after
// their common beginning and end.
func changedLines(a, b []string) []string {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	const most = 4_000_000 // cells
	common := make([][]int, len(a)+1)
	if len(a)*len(b) <= most {
		for i := range common {
			common[i] = make([]int, len(b)+1)
		}
		for i, x := range slices.Backward(a) {
			for j, y := range slices.Backward(b) {
				if common[i][j] = max(common[i+1][j], common[i][j+1]); x == y {
					common[i][j] = common[i+1][j+1] + 1
				}
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && common[i] != nil && a[i] == b[j]:
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || common[i] == nil || common[i+1][j] >= common[i][j+1]):
			out = append(out, "- "+a[i])
			i++
		default:
			out = append(out, "+ "+b[j])
			j++
		}
	}
	return out
}

func newPolicyApply(a *app) *cobra.Command {
	var (
		name, reason string
		version      int64
	)
	c := &cobra.Command{
		Use: "apply FILE… --reason TEXT | apply --version N", Short: "Propose a policy set, or apply one that another administrator proposed", Args: args(cobra.ArbitraryArgs),
		Long: "Apply with files proposes a whole policy set; another administrator applies it with --version. Where there is no\n" +
			"other administrator it holds at once, and the audit log says so. A set that does not parse is refused with line\n" +
			"and column, and the one that holds stays.\n\n" +
			"  warden policy apply standard.cedar ours.cedar --reason 'licences'\n  warden policy apply --version 4",
		RunE: func(c *cobra.Command, names []string) error {
			propose := version == 0 && len(names) > 0 && strings.TrimSpace(reason) != ""
			if !propose && (version <= 0 || len(names) > 0) {
				return usage("give the files of the set and --reason, or --version of a proposed one")
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			var v policyVersion
			if propose {
				in, _, err := draft(name, names)
				if err != nil {
					return err
				}
				in["reason"] = reason
				if err := cl.call(c.Context(), http.MethodPost, "/api/v1/policies", in, &v); err != nil {
					return err
				}
			} else if err := cl.call(c.Context(), http.MethodPost, "/api/v1/policies/"+strconv.FormatInt(version, 10)+"/apply", nil, &v); err != nil {
				return err
			}
			if v.State == "proposed" {
				_, err = fmt.Fprintf(a.Stdout, "proposed as version %d; another administrator applies it: warden policy apply --version %d\n", v.Version, v.Version)
				return err
			}
			if v.Alone {
				fmt.Fprintln(a.Stderr, "warden: you are the only administrator: nobody else looked at it, and the audit log says so")
			}
			fmt.Fprintf(a.Stdout, "version %d holds (%s)\n", v.Version, v.Digest)
			for _, x := range v.Changed {
				fmt.Fprintf(a.Stdout, "  %s was %s, is %s\n", x.Artifact, x.Before, x.After)
			}
			return nil
		},
	}
	c.Flags().StringVar(&name, "name", "custom", "name of the set")
	c.Flags().StringVar(&reason, "reason", "", "why")
	c.Flags().Int64Var(&version, "version", 0, "apply this proposed version")
	return c
}
