package cli

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/modelwarden/warden/internal/inventory/register"
)

type assetDetail struct {
	register.View
	Groups []register.Group `json:"groups"`
}

func assetPath(id, more string) string { return "/api/v1/assets/" + url.PathEscape(id) + more }

func newAsset(a *app) *cobra.Command {
	return group("asset", "The register of AI assets: who answers for them, their tier, evidence and gaps",
		newAssetList(a), newAssetShow(a), newAssetSet(a), newAssetGaps(a), newAssetOwners(a), newAssetExport(a), newAssetImport(a), newAssetSources(a))
}

// An assetQuery is what lists of assets may be asked for.
type assetQuery struct {
	family, owner, source, search, kind, scanned, described string
	tier                                                    int
	gone, parts                                             bool
}

func (q *assetQuery) flags(f *pflag.FlagSet) {
	f.StringVar(&q.family, "family", "", "own, service, public, assistant, agent or part")
	f.StringVar(&q.kind, "kind", "", "model, provider, endpoint, agent, model_file, …")
	f.IntVar(&q.tier, "tier", -1, "0 prohibited, 1 critical, 2 high, 3 moderate, 4 low")
	f.StringVar(&q.owner, "owner", "", "whose; - for nobody's")
	f.StringVar(&q.source, "source", "", "only what this inventory, registry or gateway sees")
	f.StringVar(&q.scanned, "scanned", "", "yes or no: whether its files were scanned")
	f.StringVar(&q.described, "described", "", "yes or no: whether purpose, data and exposure are known")
	f.StringVar(&q.search, "search", "", "part of the id, name, provider, owner or digest")
	f.BoolVar(&q.gone, "gone", false, "what nothing sees any more")
	f.BoolVar(&q.parts, "parts", false, "also what assets are made of: libraries, prompts, keys")
}

func (q *assetQuery) values() url.Values {
	v := url.Values{"limit": {"500"}, "tier": {strconv.Itoa(q.tier)}}
	for name, value := range map[string]string{
		"family": q.family, "kind": q.kind, "owner": q.owner, "source": q.source, "search": q.search, "scanned": q.scanned, "tiered": q.described,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	for name, value := range map[string]bool{"gone": q.gone, "parts": q.parts} {
		if value {
			v.Set(name, "true")
		}
	}
	return v
}

func newAssetList(a *app) *cobra.Command {
	var (
		q      assetQuery
		format string
		limit  int
	)
	c := formatFlag(&cobra.Command{
		Use: "list", Short: "List assets, those with the most urgent findings first", Args: args(cobra.NoArgs),
		Long: "Families: own (models of the registry, model files), service (providers, endpoints, routes), public (models of\n" +
			"others that run here), assistant, agent; part has libraries, prompts and keys.",
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			vs, err := all[register.View](c.Context(), cl, "/api/v1/assets", q.values(), limit)
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, orEmpty(vs))
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "TIER\tFAMILY\tOWNER\tSTATE\tVERDICT\tFINDINGS\tGAPS\tSOURCES\tID")
			for i := range vs {
				v := &vs[i]
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", v.Tier, v.Family, dash(ownerText(v.Owner)), cmp.Or(map[bool]string{true: "gone"}[v.Gone], dash(v.State)), dash(v.Verdict), v.Open, v.Gaps, sources(v), v.ID)
			}
			return t.Flush()
		},
	}, &format)
	q.flags(c.Flags())
	c.Flags().IntVar(&limit, "limit", 0, "most assets to list (default: all)")
	return c
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func ownerText(o register.Owner) string {
	if o.Disabled {
		return o.Name + " (disabled)"
	}
	return o.Name
}

func sources(v *register.View) string {
	var out []string
	for _, s := range v.Sightings {
		if !s.Gone {
			out = append(out, s.Source)
		}
	}
	return dash(strings.Join(out, ","))
}

func (a *app) asset(ctx context.Context, id string) (assetDetail, error) {
	var d assetDetail
	cl, err := a.client()
	if err != nil {
		return d, err
	}
	err = cl.call(ctx, http.MethodGet, assetPath(id, ""), nil, &d)
	return d, err
}

func newAssetShow(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{
		Use: "show ID", Short: "One asset with all that is known of it", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error {
			d, err := a.asset(c.Context(), x[0])
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, d)
			}
			return a.printAsset(d)
		},
	}, &format)
}

func (a *app) printAsset(d assetDetail) error {
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	row := func(name, format string, x ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, x...)) }
	p := d.Person
	row("asset", "%s (%s, %s), version %d", d.ID, d.Family, d.Kind, d.Version)
	if d.Owner.Name == "" {
		row("owner", "nobody: warden asset set %s --owner TEAM", d.ID)
	} else {
		row("owner", "%s (%s)", ownerText(d.Owner), d.Owner.From)
	}
	row("contact, approver", "%s, %s", dash(p.Contact), dash(p.Approver))
	row("purpose", "%s  %s", cmp.Or(p.System.Purpose, "unknown"), p.Use)
	row("data, exposure", "%s, %s", cmp.Or(strings.Join(p.System.Data, "+"), "unknown"), cmp.Or(p.System.Exposure, "unknown"))
	row("tier", "%d (%s), class %s", d.Tier, d.TierFrom, d.Risk.Class)
	for _, f := range d.Risk.Fired {
		row("", "%s %s", f.ID, f.Title)
	}
	if o := d.Override; o != nil && o.Lowers && len(o.Votes) < o.Needs() {
		row("asked for", "tier %d by %s: %d of %d approvals", o.Tier, o.By, len(o.Votes), o.Needs())
	}
	row("use in 30 days", "%d requests, %d stopped by guards, routes %s, last %s", d.Use.Requests, d.Use.Denied, dash(strings.Join(d.Use.Routes, ",")), since(d.Use.Last))
	for _, s := range d.Sightings {
		row("seen by", "%s at %s: %s, %s to %s%s", s.Source, dash(s.Place), dash(s.State), since(s.First), since(s.Last), map[bool]string{true: ", gone"}[s.Gone])
	}
	for _, e := range d.Evidence {
		row("evidence", "%s: %s %s", e.Title, e.State, e.Detail)
	}
	for i := range d.Groups {
		g := &d.Groups[i]
		row("finding", "P%d %d %s %s %s %s", g.Band, g.Priority, g.State, g.ID, g.Rule, g.Title)
	}
	return t.Flush()
}

// personFlags are what people say of an asset. Only flags that were given count.
func personFlags(f *pflag.FlagSet) {
	f.String("owner", "", "who answers for it: user:NAME, group:NAME or a team")
	f.String("contact", "", "technical contact")
	f.String("approver", "", "who approves its risks")
	f.String("use", "", "intended use, in a sentence")
	f.Int("criticality", 0, "business impact: 1 to 4")
	f.String("stage", "", "candidate, approved, deployed, restricted or retired")
	systemFlags(f)
}

func systemFlags(f *pflag.FlagSet) {
	f.String("purpose", "", "what it is for: a name of the list that `warden risk tiers --format json` shows")
	f.StringSlice("traits", nil, "what else holds: profiling, talks_to_people, generates_media, annex_i_safety, …")
	f.StringSlice("categories", nil, "categories it sees: none, internal, personal, special_category, payment, health, credentials, children")
	f.String("exposure", "", "who reaches it: none, internal, partner or internet")
	f.String("effect", "", "of its decisions: advisory, human_decides, automatic_reversible or automatic_irreversible")
	f.String("autonomy", "", "answers, suggests, acts_with_approval or acts_alone")
	f.StringSlice("tools", nil, "what its tools may do: read, write, money, code, identity")
	f.String("exemption", "", "ground of Art. 6(3) that is claimed")
	f.String("role", "", "provider, deployer, importer or distributor")
	f.Float64("flop", 0, "operations of training, of a general-purpose model")
}

// given returns the values of flags of the command itself that were set.
func given(c *cobra.Command, skip ...string) map[string]any {
	out, f := map[string]any{}, c.Flags()
	f.Visit(func(x *pflag.Flag) {
		if slices.Contains(skip, x.Name) || c.InheritedFlags().Lookup(x.Name) != nil {
			return
		}
		name := x.Name
		if name == "categories" { // --data is the data folder
			name = "data"
		}
		switch x.Value.Type() {
		case "int":
			out[name], _ = f.GetInt(x.Name)
		case "float64":
			out[name], _ = f.GetFloat64(x.Name)
		case "stringSlice":
			list, _ := f.GetStringSlice(x.Name)
			out[name] = orEmpty(list)
		default:
			out[name] = x.Value.String()
		}
	})
	return out
}

func newAssetSet(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "set ID", Short: "Say who answers for an asset, what it is for, which data it sees", Args: args(cobra.ExactArgs(1)),
		Long: "Set changes what people know of an asset; what machines see stays. An empty value takes a field back. With\n" +
			"--version nothing is done if somebody else changed the asset since.\n\n" +
			"  warden asset set model:registry:team/chat --owner group:ml --purpose customer_support --categories personal --exposure internet",
		RunE: func(c *cobra.Command, x []string) error {
			in := given(c)
			if len(in) == 0 {
				return usage("nothing to set (hint: %s --help)", c.CommandPath())
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			var d assetDetail
			if err := cl.call(c.Context(), http.MethodPatch, assetPath(x[0], ""), in, &d); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "%s: owner %s, tier %d, class %s, %d gaps, version %d\n", d.ID, cmp.Or(d.Owner.Name, "nobody"), d.Tier, d.Risk.Class, d.Gaps, d.Version)
			return err
		},
	}
	personFlags(c.Flags())
	c.Flags().Int("version", 0, "version that is changed")
	return c
}

func newAssetGaps(a *app) *cobra.Command {
	var (
		q      assetQuery
		format string
	)
	c := formatFlag(&cobra.Command{
		Use: "gaps [ID]", Short: "Evidence that tiers ask for and that is missing; exit code 1 if there is any", Args: args(cobra.MaximumNArgs(1)),
		Long: "Gaps lists, for one asset or all, the evidence that the risk tier asks for and that is missing or stale, with what\n" +
			"makes it. Evidence that nothing here can make yet is a gap, too, and is said to be one.",
		RunE: func(c *cobra.Command, x []string) error {
			var vs []register.View
			if len(x) == 1 {
				d, err := a.asset(c.Context(), x[0])
				if err != nil {
					return err
				}
				vs = append(vs, d.View)
			} else {
				cl, err := a.client()
				if err != nil {
					return err
				}
				v := q.values()
				v.Set("gaps", "true")
				if vs, err = all[register.View](c.Context(), cl, "/api/v1/assets", v, 0); err != nil {
					return err
				}
			}
			return a.printGaps(vs, format)
		},
	}, &format)
	q.flags(c.Flags())
	return c
}

type gap struct {
	Asset string `json:"asset"`
	Tier  int    `json:"tier"`
	Owner string `json:"owner"`
	register.Evidence
}

func (a *app) printGaps(vs []register.View, format string) error {
	gaps := []gap{}
	for i := range vs {
		for _, e := range vs[i].Evidence {
			if e.Gap() {
				gaps = append(gaps, gap{vs[i].ID, vs[i].Tier, vs[i].Owner.Name, e})
			}
		}
	}
	if format == "json" {
		if err := printJSON(a.Stdout, gaps); err != nil {
			return err
		}
	} else {
		t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "TIER\tOWNER\tASSET\tLACKS\tSTATE\tCLOSE IT WITH")
		for _, g := range gaps {
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", g.Tier, dash(g.Owner), g.Asset, g.Title, g.State, dash(cmp.Or(g.Close, g.Detail)))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(gaps) > 0 {
		return &exit{exitFindings, nil}
	}
	return nil
}

func newAssetOwners(a *app) *cobra.Command {
	var format, match, owner string
	list := formatFlag(&cobra.Command{
		Use: "list", Short: "Rules that give assets owners, in order: the last that matches counts", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			rs, err := all[register.OwnerRule](c.Context(), cl, "/api/v1/owners", nil, 0)
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, orEmpty(rs))
			}
			for _, r := range rs {
				fmt.Fprintf(a.Stdout, "%s  %s  (%s, %s)\n", r.Match, r.Owner, r.By, since(r.At))
			}
			return nil
		},
	}, &format)
	set := &cobra.Command{
		Use: "set --match GLOB --owner TEAM", Short: "Give all assets that match an owner", Args: args(cobra.NoArgs),
		Long: "GLOB is compared with the id, the name, and SOURCE/PATH of the first evidence: * within a segment, ** across. What\n" +
			"a person says of one asset comes first, then these rules, then CODEOWNERS. An empty owner takes the rule away.\n\n" +
			"  warden asset owners set --match 'model:registry:team/*' --owner group:ml",
		RunE: func(c *cobra.Command, _ []string) error {
			if match == "" {
				return usage("--match is missing")
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			return cl.call(c.Context(), http.MethodPost, "/api/v1/owners", map[string]string{"match": match, "owner": owner}, nil)
		},
	}
	set.Flags().StringVar(&match, "match", "", "glob over id, name or source/path")
	set.Flags().StringVar(&owner, "owner", "", "user:NAME, group:NAME or a team")
	return group("owners", "Rules that give many assets an owner", list, set)
}

func newAssetSources(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{
		Use: "sources", Short: "Inventories that were registered, with when", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			ss, err := all[register.Source](c.Context(), cl, "/api/v1/inventories", nil, 0)
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, orEmpty(ss))
			}
			for _, s := range ss {
				fmt.Fprintf(a.Stdout, "%s  %d assets  complete %t  %s by %s  %s\n", s.Name, s.Assets, s.Complete, since(s.At), s.By, s.Digest)
			}
			return nil
		},
	}, &format)
}

// columns of an export: what people may change, after the id.
func assetColumns() []string {
	return []string{"id", "owner", "contact", "approver", "use", "criticality", "stage", "purpose", "traits", "data", "exposure", "effect", "autonomy", "tools", "exemption", "role"}
}

func newAssetExport(a *app) *cobra.Command {
	var q assetQuery
	c := &cobra.Command{
		Use: "export", Short: "Write what people know of assets as CSV, to be changed and imported", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			vs, err := all[register.View](c.Context(), cl, "/api/v1/assets", q.values(), 0)
			if err != nil {
				return err
			}
			w := csv.NewWriter(a.Stdout)
			if err := w.Write(assetColumns()); err != nil {
				return err
			}
			for i := range vs {
				p := vs[i].Person
				criticality := ""
				if p.Criticality > 0 {
					criticality = strconv.Itoa(p.Criticality)
				}
				row := []string{vs[i].ID, p.Owner, p.Contact, p.Approver, p.Use, criticality, p.Stage, p.System.Purpose, strings.Join(p.System.Traits, " "), strings.Join(p.System.Data, " "), p.System.Exposure, p.System.Effect, p.System.Autonomy, strings.Join(p.System.Tools, " "), p.System.Exemption, p.System.Role}
				for j := range row {
					row[j] = cell(row[j])
				}
				if err := w.Write(row); err != nil {
					return err
				}
			}
			w.Flush()
			return w.Error()
		},
	}
	q.flags(c.Flags())
	return c
}

// cell keeps a text from being a formula where a table program opens the file.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

const maxImport = 32 << 20

func newAssetImport(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Read what people know of assets from CSV, as export writes it", Args: args(cobra.ExactArgs(1)),
		Long: "Import sets the columns that the file has; an empty cell takes a field back. Each line is one change: lines that\n" +
			"cannot be used are listed, the others hold, and the exit code is 1.",
		RunE: func(c *cobra.Command, x []string) error {
			f, err := os.Open(filepath.Clean(x[0]))
			if err != nil {
				return usage("%w", err)
			}
			defer f.Close() //nolint:errcheck // only read
			cl, err := a.client()
			if err != nil {
				return err
			}
			return a.importAssets(c.Context(), cl, io.LimitReader(f, maxImport))
		},
	}
}

func (a *app) importAssets(ctx context.Context, cl *client, r io.Reader) error {
	in := csv.NewReader(r)
	head, err := in.Read()
	if err != nil {
		return usage("the file has no first line with names of columns: %w", err)
	}
	known := assetColumns()
	for _, h := range head {
		if !slices.Contains(known, h) {
			return usage("column %.40q is none of %v", h, known)
		}
	}
	at := slices.Index(head, "id")
	if at < 0 {
		return usage("the column id is missing")
	}
	done, failed := 0, 0
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return usage("%w", err)
		}
		change := map[string]any{}
		for i, h := range head {
			value := strings.TrimPrefix(row[i], "'")
			switch h {
			case "id":
			case "traits", "data", "tools":
				change[h] = orEmpty(strings.Fields(value))
			case "criticality":
				n, _ := strconv.Atoi(cmp.Or(value, "0"))
				change[h] = n
			default:
				change[h] = value
			}
		}
		if err := cl.call(ctx, http.MethodPatch, assetPath(strings.TrimPrefix(row[at], "'"), ""), change, nil); err != nil {
			fmt.Fprintf(a.Stderr, "%s: %v\n", row[at], err)
			failed++
			continue
		}
		done++
	}
	fmt.Fprintf(a.Stdout, "%d assets set, %d lines refused\n", done, failed)
	if failed > 0 {
		return &exit{exitFindings, nil}
	}
	return nil
}

// day reads a day or a time.
func day(name, text string) (time.Time, error) {
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage("--%s %q: want a day as 2027-01-31", name, text)
}

// decodeInto reads a file of one JSON object strictly.
func decodeInto(r io.Reader, v any) error {
	dec := json.NewDecoder(io.LimitReader(r, 1<<20))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}
