package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden/internal/inventory/logs"
	"github.com/modelwarden/warden/internal/source/recognise"
	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/rules"
)

type inventoryLogsFlags struct {
	format, inventory string
	identities        bool
	failOnShadow      bool
}

func newInventoryLogs(a *app) *cobra.Command {
	f := &inventoryLogsFlags{}
	c := &cobra.Command{
		Use:   "logs FILE…|-",
		Short: "Find which AI services are used according to proxy, DNS and cloud audit logs",
		Long: "Logs reads proxy and access logs (Squid, Common and Combined, JSON lines of Envoy and nginx), DNS logs\n" +
			"(BIND, dnsmasq, Zeek, JSON lines), audit logs of clouds (AWS CloudTrail, Azure, Google) and dumps of a\n" +
			"Kubernetes API (kubectl get -o json), plain or gzip. The format is told from the content. Clients are\n" +
			"told apart by a hash that changes with each run, unless --identities keeps their names.\n\n" +
			"With --inventory what no repository uses is marked as shadow.\n\n" +
			"  warden inventory logs access.log cloudtrail.json.gz\n  warden inventory --format json --output app.json ./app\n" +
			"  warden inventory logs --inventory app.json --fail-on-shadow proxy.log",
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, x []string) error { return a.inventoryLogs(c.Context(), f, x) },
	}
	fl := c.Flags()
	fl.StringVar(&f.format, "format", "text", "text or json")
	fl.StringVar(&f.inventory, "inventory", "", "inventory document (JSON) of what repositories use")
	fl.BoolVar(&f.identities, "identities", false, "keep addresses and names of clients")
	fl.BoolVar(&f.failOnShadow, "fail-on-shadow", false, "exit code 1 if something is used that the inventory does not have; needs --inventory")
	return c
}

func (a *app) inventoryLogs(ctx context.Context, f *inventoryLogsFlags, files []string) error {
	if f.format != "text" && f.format != "json" {
		return usage("--format %q: want text or json", f.format)
	}
	known, err := knownUses(f)
	if err != nil {
		return err
	}
	cat, err := rules.LoadCatalogue()
	if err != nil {
		return err
	}
	rows := recognise.Compile(cat)
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	r := logs.New(rows, logs.Options{Identities: f.identities, Key: key})
	for _, name := range files {
		if err := a.readLog(ctx, r, name); err != nil {
			return err
		}
	}
	rep := r.Report(known)
	if f.format == "json" {
		enc := json.NewEncoder(a.Stdout)
		enc.SetIndent("", " ")
		if err := enc.Encode(rep); err != nil {
			return err
		}
	} else if err := logsText(a.Stdout, rep, known != nil); err != nil {
		return err
	}
	if f.failOnShadow {
		for _, u := range rep.Uses {
			if u.Shadow {
				return &exit{code: exitFindings}
			}
		}
	}
	if !rep.Complete {
		return &exit{exitIncomplete, errors.New("not every log could be read to its end and understood: see the report")}
	}
	return nil
}

func (a *app) readLog(ctx context.Context, r *logs.Reader, name string) error {
	if name == "-" {
		r.Read(ctx, "standard input", a.Stdin)
		return nil
	}
	in, err := os.Open(filepath.Clean(name))
	if err != nil {
		return &exit{exitUsage, err}
	}
	defer func() { _ = in.Close() }()
	r.Read(ctx, name, in)
	return nil
}

// knownUses reads which providers and models an inventory has; nil without one.
func knownUses(f *inventoryLogsFlags) (func(provider, model string) bool, error) {
	if f.inventory == "" {
		if f.failOnShadow {
			return nil, usage("--fail-on-shadow needs --inventory")
		}
		return nil, nil
	}
	d, err := readInventory(f.inventory)
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, x := range d.Assets {
		if x.Kind == sight.Provider {
			have[strings.ToLower(x.Name)] = true
		}
		if x.Kind == sight.Model || x.Kind == sight.Container {
			have[strings.ToLower(x.Provider+"\x00"+x.Name)] = true
		}
	}
	return func(provider, model string) bool {
		if provider == "container" {
			return have[strings.ToLower("\x00"+model)]
		}
		if model == "" {
			return have[strings.ToLower(provider)]
		}
		return have[strings.ToLower(provider+"\x00"+model)]
	}, nil
}

func logsText(out io.Writer, rep logs.Report, marked bool) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	head := "PROVIDER\tMODEL\tHOST\tCLIENT\tCOUNT\tFIRST\tLAST\tFROM"
	if marked {
		head = "SHADOW\t" + head
	}
	fmt.Fprintln(w, head)
	day := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.Format(time.DateOnly)
	}
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return sight.Snippet(s)
	}
	for _, u := range rep.Uses {
		if marked {
			fmt.Fprint(w, map[bool]string{true: "shadow\t", false: "\t"}[u.Shadow])
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", u.Provider, dash(u.Model), dash(u.Host), dash(u.Client), u.Count, day(u.First), day(u.Last), u.Source)
	}
	for _, f := range rep.Files {
		fmt.Fprintf(w, "\n%s: %d lines", sight.Snippet(f.Name), f.Lines)
		if f.Unread > 0 {
			fmt.Fprintf(w, ", %d not understood (first: line %d)", f.Unread, f.Example)
		}
		if f.Error != "" {
			fmt.Fprintf(w, ", incomplete: %s", f.Error)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
