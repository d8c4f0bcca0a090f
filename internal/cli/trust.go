package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/oms"
	"github.com/modelwarden/warden/internal/registry"
)

func newAttach(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{
		Use: "attach REF FILE", Short: "Attach a signature or a signed statement to an artifact", Args: args(cobra.ExactArgs(2)),
		Long: "Attach sends a signed statement to the registry: what warden sign, warden attest or warden scan --attest wrote,\n" +
			"or any DSSE envelope or Sigstore bundle about the artifact. One that nobody who is trusted signed is kept too,\n" +
			"and never counts; warden trust add says whom to trust. Exit code 1: it does not count.\n\n" +
			"  warden registry attach team/chat@3 model.sig",
		RunE: func(c *cobra.Command, x []string) error { return a.attach(c.Context(), x[0], x[1], format) },
	}, &format)
}

type attached struct {
	ID            string   `json:"id"`
	Payload       string   `json:"payload"`
	PredicateType string   `json:"predicate_type"`
	Verified      bool     `json:"verified"`
	Signer        string   `json:"signer"`
	Reason        string   `json:"reason"`
	New           bool     `json:"new"`
	Artifact      artifact `json:"artifact"`
}

func (a *app) attach(ctx context.Context, ref, name, format string) error {
	text, err := readUpTo(name, registry.MaxBundle)
	if err != nil {
		return usage("%w", err)
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	v, err := cl.find(ctx, ref)
	if err != nil {
		return err
	}
	var out attached
	if err := cl.post(ctx, artifactPath(v.Artifact.Digest, "/statements"), bytes.NewReader(text), "application/json", &out); err != nil {
		var we *warden.Error
		if errors.As(err, &we) && we.Code == warden.CodeInvalid {
			return &exit{exitFindings, err} // a malformed bundle is a no, as for warden verify
		}
		return err
	}
	if format == "json" {
		if err := printJSON(a.Stdout, out); err != nil {
			return err
		}
	} else {
		verb := "attached"
		if !out.New {
			verb = "is attached already"
		}
		fmt.Fprintf(a.Stdout, "%s  %s\n%s\n", verb, out.PredicateType, v.Artifact.Digest)
		if out.Verified {
			fmt.Fprintf(a.Stdout, "signed by %s, who is trusted for it\n", out.Signer)
		}
		fmt.Fprintf(a.Stdout, "%s is %s\n", ref, out.Artifact.says())
	}
	if !out.Verified {
		return &exit{exitFindings, fmt.Errorf("the statement was kept and does not count: %s (hint: warden trust list shows who is trusted for what)", out.Reason)}
	}
	return nil
}

type trustEntry struct {
	attest.Entry
	State   string `json:"state"`
	KeyID   string `json:"key_id,omitempty"`
	BuiltIn bool   `json:"built_in"`
}

type trustList struct {
	Version int64        `json:"version"`
	At      time.Time    `json:"at"`
	By      string       `json:"by"`
	Action  string       `json:"action"`
	Entry   string       `json:"entry"`
	Entries []trustEntry `json:"entries"`
	Changed []struct {
		Artifact string `json:"artifact"`
		Before   string `json:"before"`
		After    string `json:"after"`
	} `json:"changed"`
}

func newTrust(a *app) *cobra.Command {
	return group("trust", "Who is trusted to say what about which models", newTrustList(a), newTrustShow(a), newTrustAdd(a), newTrustRevoke(a))
}

func (c *client) trust(ctx context.Context, version int64) (trustList, error) {
	var l trustList
	err := c.call(ctx, http.MethodGet, fmt.Sprintf("/api/v1/trust?version=%d", version), nil, &l)
	return l, err
}

func newTrustList(a *app) *cobra.Command {
	var (
		format  string
		version int64
	)
	c := formatFlag(&cobra.Command{
		Use: "list", Short: "List the trusted signers", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			l, err := cl.trust(c.Context(), version)
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, l)
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "ID\tKIND\tSTATE\tMODELS\tSAYS\tHELD BY")
			for _, e := range l.Entries {
				models := strings.Join(e.Subjects, ",")
				if models == "" {
					models = "all"
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", e.ID, e.Kind, e.State, models, strings.Join(shortTypes(e.Predicates), ","), dash(e.Principal))
			}
			if err := t.Flush(); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "\nversion %d\n", l.Version)
			return err
		},
	}, &format)
	c.Flags().Int64Var(&version, "version", -1, "a past version; -1 for the newest")
	return c
}

// shortTypes returns the short names of predicate types, where they have one.
func shortTypes(uris []string) []string {
	names := trustTypes()
	out := []string{}
	for _, u := range uris {
		name := u
		for short, uri := range names {
			if uri == u {
				name = short
			}
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// trustTypes are the short names of what a signer may be trusted for.
func trustTypes() map[string]string {
	all := attest.PredicateTypes()
	all["signature"], all["signature-v0.2"] = oms.PredicateType, oms.LegacyType
	return all
}

func newTrustShow(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{
		Use: "show ID", Short: "Show one trusted signer", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			l, err := cl.trust(c.Context(), -1)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(l.Entries, func(e trustEntry) bool { return e.ID == x[0] })
			if i < 0 {
				return &exit{exitUsage, fmt.Errorf("no trust entry %q (hint: warden trust list)", x[0])}
			}
			e := l.Entries[i]
			if format == "json" {
				return printJSON(a.Stdout, e)
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			for _, row := range [][2]string{
				{"id", e.ID},
				{"kind", e.Kind},
				{"state", e.State},
				{"key id", e.KeyID},
				{"issuer", e.Issuer},
				{"held by", e.Principal},
				{"models", strings.Join(e.Subjects, ", ")},
				{"says", strings.Join(shortTypes(e.Predicates), ", ")},
				{"from", timeText(e.NotBefore)},
				{"until", timeText(e.NotAfter)},
				{"revoked", strings.TrimSpace(e.Revocation + " " + timeText(e.RevokedAt))},
				{"comment", e.Comment},
			} {
				if row[1] != "" {
					fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
				}
			}
			if err := t.Flush(); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Stdout, strings.TrimSpace(e.Value))
			return err
		},
	}, &format)
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

type trustFlags struct {
	key, identity, issuer, root, person, comment, from, until string
	cas, models, says                                         []string
	anyPurpose                                                bool
}

func newTrustAdd(a *app) *cobra.Command {
	f := &trustFlags{}
	c := &cobra.Command{
		Use: "add ID (--key FILE | --ca FILE | --identity WHO --issuer URL)", Short: "Trust one more signer", Args: args(cobra.ExactArgs(1)),
		Long: "Add trusts a key, a certificate authority or a keyless identity to say things of some types about some models.\n" +
			"Statements that were attached before count from then on, too. When something was said is when the server\n" +
			"received it: the word of a signer is no time.\n\n" +
			"  warden trust add release --key release.pub --held-by user:ann\n" +
			"  warden trust add acme --ca acme-ca.pem --model 'acme/*' --says signature --says provenance\n" +
			"  warden trust add ci --identity https://github.com/acme/train/.github/workflows/x.yml@refs/heads/main \\\n" +
			"    --issuer https://token.actions.githubusercontent.com\n\n" +
			"Types: " + strings.Join(trustTypeNames(), ", ") + ", or a URI.",
		RunE: func(c *cobra.Command, x []string) error { return a.trustAdd(c.Context(), f, x[0]) },
	}
	fl := c.Flags()
	fl.StringVar(&f.key, "key", "", "public key (PEM)")
	fl.StringArrayVar(&f.cas, "ca", nil, "certificate authority (PEM); repeatable")
	fl.StringVar(&f.identity, "identity", "", "keyless: who signs, whole")
	fl.StringVar(&f.issuer, "issuer", "", "keyless: who says so, whole")
	fl.StringVar(&f.root, "trusted-root", "", "keyless: Sigstore trusted_root.json (default: the public instance)")
	fl.StringArrayVar(&f.models, "model", nil, "only about models like this, such as team/*; repeatable (default: all)")
	fl.StringArrayVar(&f.says, "says", []string{"signature"}, "type of statement it is trusted for; repeatable")
	fl.StringVar(&f.person, "held-by", "", "principal who holds the key, for four eyes: who signed does not approve")
	fl.StringVar(&f.from, "from", "", "not before this time (RFC 3339)")
	fl.StringVar(&f.until, "until", "", "not after this time (RFC 3339)")
	fl.BoolVar(&f.anyPurpose, "any-purpose", false, "take certificates for other purposes than code signing too")
	fl.StringVar(&f.comment, "comment", "", "what it is for")
	return c
}

func trustTypeNames() []string {
	var names []string
	for n := range trustTypes() {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (a *app) trustAdd(ctx context.Context, f *trustFlags, id string) error {
	in := map[string]any{"id": id, "principal": f.person, "subjects": f.models, "any_purpose": f.anyPurpose, "comment": f.comment}
	switch {
	case f.key != "" && len(f.cas) == 0 && f.identity == "":
		text, err := readKeyFile(f.key)
		if err != nil {
			return usage("--key: %w", err)
		}
		in["kind"], in["value"] = attest.KindKey, string(text)
	case len(f.cas) > 0 && f.key == "" && f.identity == "":
		var all []byte
		for _, name := range f.cas {
			text, err := readSmall(name)
			if err != nil {
				return usage("--ca: %w", err)
			}
			all = append(append(all, text...), '\n')
		}
		in["kind"], in["value"] = attest.KindCA, string(all)
	case f.identity != "" && f.issuer != "" && f.key == "" && len(f.cas) == 0:
		in["kind"], in["value"], in["issuer"] = attest.KindIdentity, f.identity, f.issuer
		if f.root != "" {
			text, err := readSmall(f.root)
			if err != nil {
				return usage("--trusted-root: %w", err)
			}
			in["root"] = string(text)
		}
	default:
		return usage("say whom to trust: --key, --ca, or --identity with --issuer (one of them)")
	}
	for name, text := range map[string]string{"not_before": f.from, "not_after": f.until} {
		if text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return usage("time %q: want RFC 3339, for example 2027-01-31T00:00:00Z", text)
		}
		in[name] = t
	}
	says, err := predicateURIs(f.says)
	if err != nil {
		return err
	}
	in["predicates"] = says
	return a.changeTrust(ctx, "/api/v1/trust", in, "trusts "+id)
}

// predicateURIs resolves short names of predicate types.
func predicateURIs(names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		uri, ok := trustTypes()[n]
		if !ok {
			if u, err := url.Parse(n); err != nil || u.Scheme == "" || u.Host == "" {
				return nil, usage("--says %q: want a URI or one of %s", n, strings.Join(trustTypeNames(), ", "))
			}
			uri = n
		}
		out = append(out, uri)
	}
	return out, nil
}

func newTrustRevoke(a *app) *cobra.Command {
	var (
		all       bool
		from, why string
	)
	c := &cobra.Command{
		Use: "revoke ID --reason TEXT", Short: "Trust a signer no longer", Args: args(cobra.ExactArgs(1)),
		Long: "Revoke ends the trust in a signer. What the server received before --from (default: now) stays; with --all\n" +
			"nothing that the signer ever said counts any more. It takes effect on the next decision, and what was\n" +
			"decided before is decided again.",
		RunE: func(c *cobra.Command, x []string) error {
			in := map[string]any{"revocation": attest.RevokeAfter, "reason": why}
			if all {
				in["revocation"] = attest.RevokeAll
			}
			if strings.TrimSpace(why) == "" {
				return usage("--reason is empty (hint: say in a sentence why)")
			}
			if from != "" {
				t, err := time.Parse(time.RFC3339, from)
				if err != nil {
					return usage("--from %q: want RFC 3339, for example 2027-01-31T00:00:00Z", from)
				}
				in["from"] = t
			}
			return a.changeTrust(c.Context(), "/api/v1/trust/"+url.PathEscape(x[0])+"/revoke", in, "revoked "+x[0])
		},
	}
	c.Flags().BoolVar(&all, "all", false, "also what it said before")
	c.Flags().StringVar(&from, "from", "", "what was received from this time on falls (RFC 3339)")
	c.Flags().StringVar(&why, "reason", "", "why")
	return c
}

func (a *app) changeTrust(ctx context.Context, path string, in map[string]any, done string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	var l trustList
	if err := cl.call(ctx, http.MethodPost, path, in, &l); err != nil {
		return err
	}
	fmt.Fprintf(a.Stdout, "%s (version %d of the trust store)\n", done, l.Version)
	for _, c := range l.Changed {
		fmt.Fprintf(a.Stdout, "  %s was %s, is %s\n", c.Artifact, c.Before, c.After)
	}
	return nil
}

// writeOut writes a result to a file that is not there yet, or with "-" to
// standard output.
func (a *app) writeOut(name string, text []byte) error {
	if name == "-" {
		_, err := a.Stdout.Write(text)
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return usage("%w", err)
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Close()
}
