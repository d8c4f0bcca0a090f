package cli

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden/internal/inventory/register"
	"github.com/modelwarden/warden/internal/inventory/risk"
)

func newRisk(a *app) *cobra.Command {
	return group("risk", "Class by the EU AI Act and risk tier of assets and described systems", newRiskClassify(a), newRiskTiers(a), newRiskSet(a), newRiskApprove(a))
}

type classified struct {
	ID   string `json:"id,omitempty"`
	Tier int    `json:"tier"` // that holds
	From string `json:"from"`
	risk.Result
}

func newRiskClassify(a *app) *cobra.Command {
	var (
		format, file  string
		every, reason bool
	)
	c := formatFlag(&cobra.Command{
		Use: "classify [ASSET]", Short: "Tell class and tier, with the rules that fired", Args: args(cobra.MaximumNArgs(1)),
		Long: "Classify evaluates the rules of the EU AI Act and of the tiers: for an asset of the register, for --all, or without\n" +
			"a server for a system that flags or a JSON file describe. What nobody said counts as unknown, not as harmless. The\n" +
			"class is a screening aid: what holds is what a named person attests.\n\n" +
			"  warden risk classify model:registry:team/chat --explain\n" +
			"  warden risk classify --purpose recruitment --categories personal --exposure internal",
		RunE: func(c *cobra.Command, x []string) error {
			out, err := a.classified(c, x, file, every)
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, out)
			}
			for _, r := range out {
				a.printClass(r, reason || len(out) == 1)
			}
			return nil
		},
	}, &format)
	systemFlags(c.Flags())
	c.Flags().StringVar(&file, "file", "", "JSON file with a described system")
	c.Flags().BoolVar(&every, "all", false, "every asset of the register")
	c.Flags().BoolVar(&reason, "explain", false, "list the rules that fired")
	return c
}

func (a *app) classified(c *cobra.Command, x []string, file string, every bool) ([]classified, error) {
	ofView := func(v *register.View) classified { return classified{v.ID, v.Tier, v.TierFrom, v.Risk} }
	switch {
	case len(x) == 1:
		d, err := a.asset(c.Context(), x[0])
		return []classified{ofView(&d.View)}, err
	case every:
		cl, err := a.client()
		if err != nil {
			return nil, err
		}
		vs, err := all[register.View](c.Context(), cl, "/api/v1/assets", (&assetQuery{tier: -1}).values(), 0)
		out := []classified{}
		for i := range vs {
			out = append(out, ofView(&vs[i]))
		}
		return out, err
	}
	var s risk.System
	if file != "" {
		f, err := os.Open(filepath.Clean(file))
		if err != nil {
			return nil, usage("--file: %w", err)
		}
		defer f.Close() //nolint:errcheck // only read
		if err := decodeInto(f, &s); err != nil {
			return nil, usage("--file: %w", err)
		}
	} else {
		in := given(c, "format", "file", "all", "explain")
		if len(in) == 0 {
			return nil, usage("name an asset, --all, --file FILE, or describe a system with flags (hint: %s --help)", c.CommandPath())
		}
		fl := c.Flags()
		s.Purpose, _ = fl.GetString("purpose")
		s.Traits, _ = fl.GetStringSlice("traits")
		s.Exposure, _ = fl.GetString("exposure")
		s.Effect, _ = fl.GetString("effect")
		s.Autonomy, _ = fl.GetString("autonomy")
		s.Tools, _ = fl.GetStringSlice("tools")
		s.Exemption, _ = fl.GetString("exemption")
		s.Role, _ = fl.GetString("role")
		s.FLOP, _ = fl.GetFloat64("flop")
		if s.Data, _ = fl.GetStringSlice("categories"); len(s.Data) == 0 {
			s.Data = nil
		}
	}
	rules, err := risk.Load()
	if err != nil {
		return nil, err
	}
	if err := rules.Check(s); err != nil {
		return nil, err
	}
	r := rules.Classify(s, time.Now())
	return []classified{{"", r.Tier, "rules", r}}, nil
}

func (a *app) printClass(r classified, explain bool) {
	name := r.ID
	if name == "" {
		name = "the described system"
	}
	gpai := ""
	if r.GPAI != "" {
		gpai = ", general-purpose model: " + r.GPAI
	}
	fmt.Fprintf(a.Stdout, "%s: tier %d (%s), class %s%s\n", name, r.Tier, r.From, r.Class, gpai)
	if !explain {
		return
	}
	for _, f := range r.Fired {
		fmt.Fprintf(a.Stdout, "  %s %s %s\n", f.ID, f.Title, f.Article)
	}
	for _, f := range r.Coming {
		fmt.Fprintf(a.Stdout, "  from %s: %s %s %s\n", f.From, f.ID, f.Title, f.Article)
	}
	if len(r.Unknown) > 0 {
		fmt.Fprintf(a.Stdout, "  unknown: %s\n", strings.Join(r.Unknown, ", "))
	}
}

func newRiskTiers(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{
		Use: "tiers", Short: "What each tier means, who approves it and which evidence it asks for", Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			rules, err := risk.Load()
			if err != nil {
				return err
			}
			d := rules.Data()
			if format == "json" {
				return printJSON(a.Stdout, map[string]any{"tiers": d.Tiers, "evidence": d.Evidence, "purposes": d.Purposes, "traits": d.Traits, "exemptions": d.Exemptions, "axes": d.Axes})
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "TIER\tNAME\tAPPROVER\tREVIEW\tEVIDENCE")
			for _, x := range d.Tiers {
				fmt.Fprintf(t, "%d\t%s\t%s\t%d days\t%s\n", x.Tier, x.Name, x.Approver, x.Days, strings.Join(x.Evidence, ", "))
			}
			return t.Flush()
		},
	}, &format)
}

func newRiskSet(a *app) *cobra.Command {
	var (
		reason, until string
		tier          int
	)
	c := &cobra.Command{
		Use: "set ASSET --tier N --reason TEXT", Short: "Ask for another tier: a graver one holds at once, a milder one when approved", Args: args(cobra.ExactArgs(1)),
		Long: "A milder tier than the rules give needs --until, at most 90 days ahead, and the approval of somebody else: of two\n" +
			"people where the rules give tier 1. --tier -1 goes back to the rules.",
		RunE: func(c *cobra.Command, x []string) error {
			in := map[string]any{"tier": tier, "reason": reason}
			if until != "" {
				t, err := day("until", until)
				if err != nil {
					return err
				}
				in["until"] = t
			}
			return a.tier(c.Context(), x[0], "/tier", in)
		},
	}
	c.Flags().IntVar(&tier, "tier", -1, "0 to 4; -1: that of the rules")
	c.Flags().StringVar(&reason, "reason", "", "why")
	c.Flags().StringVar(&until, "until", "", "day on which a milder tier ends")
	return c
}

func newRiskApprove(a *app) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "approve ASSET --reason TEXT", Short: "Approve a milder tier that somebody else asked for", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error {
			return a.tier(c.Context(), x[0], "/tier/approve", map[string]any{"reason": reason})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why")
	return c
}

func (a *app) tier(ctx context.Context, id, path string, in any) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	var d assetDetail
	if err := cl.call(ctx, http.MethodPost, assetPath(id, path), in, &d); err != nil {
		return err
	}
	text := ""
	if o := d.Override; o != nil && o.Lowers && len(o.Votes) < o.Needs() {
		text = fmt.Sprintf("; tier %d has %d of %d approvals", o.Tier, len(o.Votes), o.Needs())
	}
	_, err = fmt.Fprintf(a.Stdout, "%s: tier %d (%s)%s\n", d.ID, d.Tier, d.TierFrom, text)
	return err
}
