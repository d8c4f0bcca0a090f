package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/api"
)

func newAccess(a *app) *cobra.Command {
	return group("access", "Users, groups, access keys and sign-in links", newUser(a), newUserGroup(a), group("key", "Access keys", newKeyCreate(a), newKeyList(a), newAccessKeyRotate(a), newKeyRevoke(a)), newReview(a), newLink(a))
}

type key struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Roles   []string  `json:"roles"`
	Routes  []string  `json:"routes"`
	Expires time.Time `json:"expires"`
	State   string    `json:"state"`
	Secret  string    `json:"secret,omitempty"`
	Actions []string  `json:"actions"`
	Owner   string    `json:"owner"`
	Used    time.Time `json:"used"`
}

func newKeyCreate(a *app) *cobra.Command {
	var (
		format, name, as       string
		roles, routes, actions []string
		days                   int
	)
	c := formatFlag(&cobra.Command{
		Use: "create --name NAME --role ROLE", Short: "Make an access key; its secret is shown once", Args: args(cobra.NoArgs),
		Long: rolesHelp + "\n\n" +
			"  warden access key create --name web-shop --role client --route support-chat",
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			var k key
			in := map[string]any{"name": name, "roles": roles, "days": days}
			if len(routes) > 0 {
				in["routes"] = routes
			}
			if len(actions) > 0 {
				in["actions"] = actions
			}
			if as != "" {
				in["user"] = as
			}
			if err := cl.call(c.Context(), http.MethodPost, "/api/v1/keys", in, &k); err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, k)
			}
			fmt.Fprintf(a.Stderr, "key %s, valid until %s; this is shown once:\n", k.ID, since(k.Expires))
			_, err = fmt.Fprintln(a.Stdout, k.Secret)
			return err
		},
	}, &format)
	c.Flags().StringVar(&name, "name", "", "what it is for")
	c.Flags().StringArrayVar(&roles, "role", nil, "role; repeatable")
	c.Flags().StringArrayVar(&routes, "route", nil, "limit to this gateway route; repeatable")
	c.Flags().StringArrayVar(&actions, "action", nil, "limit to this action, for example modify; repeatable")
	c.Flags().StringVar(&as, "user", "", "the user whom the key acts as (default: the key itself)")
	c.Flags().IntVar(&days, "days", 90, "days until it expires")
	return c
}

func newKeyList(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{Use: "list", Short: "List access keys, without secrets", Args: args(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		ks, err := all[key](c.Context(), cl, "/api/v1/keys", nil, 0)
		if err != nil {
			return err
		}
		if format == "json" {
			return printJSON(a.Stdout, ks)
		}
		t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tNAME\tROLES\tSTATE\tEXPIRES\tUSED\tMADE BY")
		for _, k := range ks {
			used := "never"
			if !k.Used.IsZero() {
				used = since(k.Used)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, strings.Join(k.Roles, " "), k.State, since(k.Expires), used, k.Owner)
		}
		return t.Flush()
	}}, &format)
}

func newKeyRevoke(a *app) *cobra.Command {
	return &cobra.Command{Use: "revoke ID", Short: "End an access key at once", Args: args(cobra.ExactArgs(1)), RunE: func(c *cobra.Command, ids []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		if err := cl.call(c.Context(), http.MethodDelete, "/api/v1/keys/"+url.PathEscape(ids[0]), nil, nil); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.Stdout, "revoked %s\n", ids[0])
		return err
	}}
}

func newAccessKeyRotate(a *app) *cobra.Command {
	var (
		format  string
		overlap time.Duration
	)
	c := formatFlag(&cobra.Command{
		Use: "rotate ID", Short: "Make a new secret with the same rights; the old one ends after an overlap", Args: args(cobra.ExactArgs(1)),
		Long: "The new key acts as the same principal, with the same roles, routes and actions, for as long as the old\n" +
			"one was made for. Its secret is shown once.\n\n  warden access key rotate ID --overlap 24h",
		RunE: func(c *cobra.Command, ids []string) error {
			if overlap < 0 || overlap > access.MaxOverlap {
				return usage("--overlap %v: want 0 to %v", overlap, access.MaxOverlap)
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			var k key
			if err := cl.call(c.Context(), http.MethodPost, "/api/v1/keys/"+url.PathEscape(ids[0])+"/rotate", map[string]any{"overlap_seconds": int(overlap.Seconds())}, &k); err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, k)
			}
			fmt.Fprintf(a.Stderr, "key %s takes the place of %s, which ends in %v; valid until %s; this is shown once:\n", k.ID, ids[0], overlap, since(k.Expires))
			_, err = fmt.Fprintln(a.Stdout, k.Secret)
			return err
		},
	}, &format)
	c.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old secret works besides the new one; 0: it ends now")
	return c
}

func newReview(a *app) *cobra.Command {
	var (
		format, failOn string
		days           int
	)
	c := formatFlag(&cobra.Command{
		Use: "review", Short: "Rights that nobody uses, and keys that need a person", Args: args(cobra.NoArgs),
		Long: "Review holds the rights of keys, users and groups against what was used: queries by the sums of the\n" +
			"gateways, everything else by the audit log. It tells administrators' keys that only query, keys that\n" +
			"nobody used for 30 days, keys that end within 14, and roles, routes and actions without use.\n" +
			"Exit code 1: there is something at or above --fail-on.",
		RunE: func(c *cobra.Command, _ []string) error {
			limit, err := warden.ParseSeverity(failOn)
			if err != nil {
				return usage("--fail-on: %w", err)
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			issues, err := all[api.IssueBody](c.Context(), cl, "/api/v1/access/review", url.Values{"days": {fmt.Sprint(days)}}, 0)
			if err != nil {
				return err
			}
			bad := 0
			for _, i := range issues {
				if sev, err := warden.ParseSeverity(i.Severity); err != nil || sev >= limit {
					bad++
				}
			}
			if err := a.printIssues(issues, format); err != nil {
				return err
			}
			if bad > 0 {
				return &exit{code: exitFindings}
			}
			return nil
		},
	}, &format)
	c.Flags().IntVar(&days, "days", 30, "what was not used for so many days counts as unused")
	c.Flags().StringVar(&failOn, "fail-on", "high", "exit 1 from this severity on: info, low, medium, high, critical")
	return c
}

func (a *app) printIssues(issues []api.IssueBody, format string) error {
	if format == "json" {
		if issues == nil {
			issues = []api.IssueBody{}
		}
		return printJSON(a.Stdout, issues)
	}
	if len(issues) == 0 {
		_, err := fmt.Fprintln(a.Stdout, "nothing to do")
		return err
	}
	for _, i := range issues {
		if _, err := fmt.Fprintf(a.Stdout, "%s  %s  %s (%s) %s\n  %s\n", i.Severity, i.Kind, i.Subject, i.Name, i.Message, i.Advice); err != nil {
			return err
		}
	}
	return nil
}

func newLink(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "link", Short: "Make a one-time administrator link for the console", Args: args(cobra.NoArgs),
		Long: "Link asks the server on this machine for a new one-time sign-in link. Whoever opens it within\n24 hours is signed in as administrator.",
		RunE: func(c *cobra.Command, _ []string) error { return a.link(c.Context()) },
	}
}

func (a *app) link(ctx context.Context) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	var l struct{ URL string }
	if err := cl.call(ctx, http.MethodPost, "/api/v1/links", nil, &l); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.Stdout, l.URL)
	return err
}
