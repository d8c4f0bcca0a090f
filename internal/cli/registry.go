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
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/registry"
)

func newRegistry(a *app) *cobra.Command {
	return group("registry", "Push, pull and govern models in the registry",
		newPush(a), newPull(a), newList(a), newShow(a), newAttach(a), newPromote(a), newApprove(a), newHistory(a), newHold(a, "quarantine", "Refuse an artifact at every enforcement point at once"),
		newHold(a, "release", "End a quarantine"))
}

// formatFlag adds --format to a command that prints a table or JSON.
func formatFlag(c *cobra.Command, to *string) *cobra.Command {
	c.Flags().StringVar(to, "format", "text", "text or json")
	check := c.Args
	c.Args = func(c *cobra.Command, a []string) error {
		if *to != "text" && *to != "json" {
			return usage("--format %q: want text or json", *to)
		}
		return check(c, a)
	}
	return c
}

func newList(a *app) *cobra.Command {
	var format, state, search string
	c := formatFlag(&cobra.Command{
		Use: "list [MODEL]", Short: "List models, or the versions of one", Args: args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, refs []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			rows, err := cl.list(c.Context(), refs, url.Values{"state": keep(state), "search": keep(search)})
			if err != nil {
				return err
			}
			if format == "json" {
				if rows == nil {
					rows = []versionOf{}
				}
				return printJSON(a.Stdout, rows)
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "MODEL\tVERSION\tSTATE\tVERDICT\tSIZE\tPUSHED\tDIGEST")
			for _, v := range rows {
				fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%d\t%s\t%s\n", v.Model, v.Number, v.Artifact.State, dash(v.Artifact.Verdict), v.Artifact.Size, since(v.Created), v.Artifact.Digest)
			}
			return t.Flush()
		},
	}, &format)
	c.Flags().StringVar(&state, "state", "", "only pending, admitted, denied or quarantined")
	c.Flags().StringVar(&search, "search", "", "only names that contain this")
	return c
}

func keep(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (c *client) list(ctx context.Context, refs []string, query url.Values) ([]versionOf, error) {
	query.Set("limit", "500")
	if len(refs) == 1 {
		namespace, model, ok := strings.Cut(refs[0], "/")
		if !ok {
			return nil, usage("model %q is not namespace/model", refs[0])
		}
		return all[versionOf](ctx, c, "/api/v1/models/"+url.PathEscape(namespace)+"/"+url.PathEscape(model)+"/versions", url.Values{"limit": {"500"}}, 0)
	}
	models, err := all[struct {
		Latest versionOf `json:"latest"`
	}](ctx, c, "/api/v1/models", query, 0)
	var rows []versionOf
	for _, m := range models {
		rows = append(rows, m.Latest)
	}
	return rows, err
}

func newShow(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{
		Use: "show REF", Short: "State, reason and findings of an artifact", Args: args(cobra.ExactArgs(1)),
		Long: "REF is a digest, namespace/model (its newest version) or namespace/model@number.",
		RunE: func(c *cobra.Command, refs []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			v, err := cl.find(c.Context(), refs[0])
			if err != nil {
				return err
			}
			fs, err := all[finding](c.Context(), cl, artifactPath(v.Artifact.Digest, "/findings"), nil, 100)
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, map[string]any{"version": v, "findings": fs})
			}
			x := v.Artifact
			fmt.Fprintf(a.Stdout, "%s  %s\n%s\n%s, %d bytes, scanned %s\n%s\n", refs[0], x.State, x.Digest, files(x.Files), x.Size, since(x.Scanned), x.says())
			for _, f := range fs {
				fmt.Fprintf(a.Stdout, "  %s %s  %s\n    %s\n    %s\n", f.Severity, f.Rule, f.At.Path, f.Message, f.Evidence)
			}
			return nil
		},
	}, &format)
}

type finding struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Message  string `json:"message"`
	Evidence string `json:"evidence"`
	At       struct {
		Path string `json:"path"`
	} `json:"at"`
}

func newHold(a *app, verb, short string) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: verb + " REF --reason TEXT", Short: short, Args: args(cobra.ExactArgs(1)),
		Long: short + ".\n\nREF is a digest, namespace/model (its newest version) or namespace/model@number.",
		RunE: func(c *cobra.Command, refs []string) error {
			if strings.TrimSpace(reason) == "" {
				return usage("--reason is empty (hint: say in a sentence why, for those who are refused)")
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			v, err := cl.find(c.Context(), refs[0])
			if err != nil {
				return err
			}
			var x artifact
			if err := cl.call(c.Context(), http.MethodPost, artifactPath(v.Artifact.Digest, "/"+verb), map[string]string{"reason": reason}, &x); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "%s is %s\n", x.Digest, x.says())
			return err
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; shown to those who are refused")
	return c
}

const pollEvery = 100 * time.Millisecond

// says returns state and reason as one phrase that a terminal can show.
func (x artifact) says() string {
	return detect.Printable(registry.Phrase(registry.State(x.State), x.Why), 500)
}

// wait polls until an artifact is decided.
func (c *client) wait(ctx context.Context, digest string, limit time.Duration) (artifact, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		var x artifact
		if err := c.call(ctx, http.MethodGet, artifactPath(digest, ""), nil, &x); err != nil {
			return x, err
		}
		if x.State != "pending" {
			return x, nil
		}
		select {
		case <-ctx.Done():
			return x, &warden.Error{Code: warden.CodeUnavailable, Message: "the scan of " + digest + " has not finished", Hint: "look again with: warden registry show " + digest, Err: ctx.Err()}
		case <-time.After(pollEvery):
		}
	}
}
