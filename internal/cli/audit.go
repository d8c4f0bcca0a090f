package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/server"
)

func newAuditExport(a *app) *cobra.Command {
	var config string
	c := &cobra.Command{
		Use: "export DIR", Short: "Write the log to a new folder that can be verified without the platform", Args: args(cobra.ExactArgs(1)),
		Long: "Export writes every sealed entry with its details as JSON lines, the tiles of the tree in the layout of\n" +
			"tlog-tiles, the newest checkpoint, checkpoints that witnesses signed, and the public key. It reads the\n" +
			"database of this machine's platform, which may be running.\n\n" +
			"  warden audit export log && warden audit verify --from log --key KEY",
		RunE: func(c *cobra.Command, x []string) error {
			cfg, err := a.config(config)
			if err != nil {
				return err
			}
			out, err := server.ExportAudit(c.Context(), cfg, server.Options{Getenv: a.Getenv}, x[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "exported %d entries, %d checkpoints signed by witnesses\nverify with: warden audit verify --from %s\n", out.Entries, out.Cosigned, x[0])
			return err
		},
	}
	c.Flags().StringVar(&config, "config", "", "configuration file (YAML)")
	return c
}

// verifyExport verifies a folder that audit export wrote.
func (a *app) verifyExport(ctx context.Context, dir, key string, outside []string) (err error) {
	x, err := audit.OpenExport(dir)
	if errors.Is(err, audit.ErrTampered) {
		return &exit{exitFindings, err}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	if key == "" {
		key = x.Key()
		fmt.Fprintln(a.Stderr, "verified with the key in the export itself: give the one you know with --key")
	} else if b, err := os.ReadFile(key); err == nil {
		key = strings.TrimSpace(string(b))
	}
	v, err := audit.NewVerifier(key)
	if err != nil {
		return usage("--key: %w", err)
	}
	checkpoints := x.Cosigned()
	for _, name := range outside {
		b, err := os.ReadFile(name)
		if err != nil {
			return usage("--checkpoint: %w", err)
		}
		checkpoints = append(checkpoints, audit.Checkpoint{Note: b})
	}
	rep, err := audit.Verify(ctx, x, v, checkpoints...)
	fmt.Fprintln(a.Stdout, rep)
	if errors.Is(err, audit.ErrTampered) {
		return &exit{exitFindings, err}
	}
	return err
}

type witness struct {
	Name string    `json:"name"`
	URL  string    `json:"url"`
	Key  string    `json:"key"`
	Size uint64    `json:"size"`
	At   time.Time `json:"at"`
	Note string    `json:"note"`
}

const witnessPath = "/api/v1/audit/witnesses"

func newAuditWitness(a *app) *cobra.Command {
	show := func(ws []witness) error {
		t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "NAME\tSIGNED\tWHEN\tURL")
		for _, w := range ws {
			when := "never"
			if w.Size > 0 {
				when = since(w.At)
			}
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", w.Name, w.Size, when, w.URL)
		}
		return t.Flush()
	}
	call := func(ctx context.Context, method, path string, in any) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		var out struct{ Items []witness }
		if err := cl.call(ctx, method, path, in, &out); err != nil {
			return err
		}
		return show(out.Items)
	}
	var format string
	list := formatFlag(&cobra.Command{
		Use: "list", Short: "List witnesses and how far each has signed", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			ws, err := all[witness](c.Context(), cl, witnessPath, nil, 0)
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.Stdout, ws)
			}
			return show(ws)
		},
	}, &format)
	add := &cobra.Command{
		Use: "add URL KEY", Short: "Show checkpoints to a witness from now on", Args: args(cobra.ExactArgs(2)),
		Long: "Add keeps a witness: a server of somebody else that signs checkpoints of the log which continue the last\n" +
			"one it saw (c2sp.org/tlog-witness). URL is the address below which add-checkpoint is, KEY its public key.\n\n" +
			"  warden audit witness add https://witness.example 'witness.example+1234abcd+BA…'",
		RunE: func(c *cobra.Command, x []string) error {
			return call(c.Context(), http.MethodPost, witnessPath, map[string]string{"url": x[0], "key": x[1]})
		},
	}
	remove := &cobra.Command{
		Use: "remove NAME", Short: "Forget a witness", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error {
			return call(c.Context(), http.MethodDelete, witnessPath+"?"+url.Values{"name": {x[0]}}.Encode(), nil)
		},
	}
	push := &cobra.Command{
		Use: "push", Short: "Show the newest checkpoint to every witness now", Args: args(cobra.NoArgs),
		Long: "Push does at once what the platform does every ten seconds. Exit code 1: a witness did not sign.",
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			var out struct {
				Signed int
				Failed string
			}
			if err := cl.call(c.Context(), http.MethodPost, witnessPath+"/push", nil, &out); err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "%d witnesses signed just now\n", out.Signed)
			if out.Failed != "" {
				return &exit{exitFindings, errors.New(out.Failed)}
			}
			return nil
		},
	}
	return group("witness", "Servers of others that sign checkpoints", add, list, push, remove)
}
