package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/source"
)

type inventoryFlags struct {
	format, output, failOn string
	callgraph              string
	all, quiet             bool
	noColour, noProgress   bool
	timeout                time.Duration
}

func newInventory(a *app) *cobra.Command {
	f := &inventoryFlags{}
	c := &cobra.Command{
		Use:   "inventory DIR",
		Short: "Find what AI a source tree uses: models, providers, datasets, agents, unsafe flags",
		Long: "Inventory reads source, notebooks, configurations and lock files, follows names and values through\n" +
			"the code, and lists the AI that it uses with the place, the state (reachable, possibly reachable,\n" +
			"configured only, unreachable) and the calls that lead there. Nothing in the tree is executed,\n" +
			"installed or fetched. What could not be read is said, and gives exit code 3.\n\n" +
			"  warden inventory .\n  warden inventory --format json --output inventory.json ./app\n" +
			"  warden inventory --callgraph calls.json ./app",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error { return a.inventory(c.Context(), f, x[0]) },
	}
	fl := c.Flags()
	fl.StringVar(&f.format, "format", "text", "text or json")
	fl.StringVar(&f.output, "output", "", "write the report to this file")
	fl.StringVar(&f.failOn, "fail-on", "never", "least severity of an unsafe use that gives exit code 1: critical, high, medium, low or never")
	fl.StringVar(&f.callgraph, "callgraph", "", "also write the call graph to this file: a JSON object from caller to callees")
	fl.BoolVar(&f.all, "all", false, "also what is commented out")
	fl.DurationVar(&f.timeout, "timeout", 0, "for the whole run (default: none)")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	fl.BoolVar(&f.noColour, "no-color", false, "no colours")
	fl.BoolVar(&f.noProgress, "no-progress", false, "no progress line")
	return c
}

func (a *app) inventory(ctx context.Context, f *inventoryFlags, dir string) error {
	if f.format != "text" && f.format != "json" {
		return usage("--format %q: want text or json", f.format)
	}
	failAt := warden.Critical + 1
	if f.failOn != "never" {
		s, err := warden.ParseSeverity(f.failOn)
		if err != nil {
			return usage("--fail-on %q: want critical, high, medium, low or never", f.failOn)
		}
		failAt = s
	}
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	tree, done, err := a.openTree(ctx, f, dir)
	if err != nil {
		return err
	}
	defer done()
	if f.callgraph != "" {
		tree.Whole()
	}
	doc, err := inventory.Build(ctx, tree, inventory.Options{Root: ".", All: f.all})
	if err != nil {
		return &exit{exitIncomplete, err}
	}
	if f.callgraph != "" {
		g, _ := tree.Flow(ctx)
		if err := writeJSON(f.callgraph, g.Calls()); err != nil {
			return &exit{exitIncomplete, err}
		}
	}
	w := a.Stdout
	if f.output != "" {
		out, err := os.Create(filepath.Clean(f.output))
		if err != nil {
			return &exit{exitIncomplete, err}
		}
		defer out.Close()
		w = out
	}
	if err := renderInventory(w, f.format, doc); err != nil {
		return &exit{exitIncomplete, err}
	}
	return verdictOf(doc, failAt)
}

// openTree reads what the argument names.
func (a *app) openTree(ctx context.Context, _ *inventoryFlags, dir string) (*source.Tree, func(), error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, nil, &exit{exitUsage, err}
	}
	if !info.IsDir() {
		return nil, nil, usage("%s is not a folder", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, &exit{exitIncomplete, err}
	}
	tree, err := source.Open(ctx, source.Dir{Root: root}, source.Options{Name: dir})
	if err != nil {
		_ = root.Close()
		return nil, nil, &exit{exitIncomplete, err}
	}
	return tree, func() { _ = root.Close() }, nil
}

func writeJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Clean(name), append(b, '\n'), 0o600)
}

func renderInventory(w io.Writer, format string, d *inventory.Document) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", " ")
		enc.SetEscapeHTML(false)
		return enc.Encode(d)
	}
	var b strings.Builder
	for _, x := range d.Assets {
		fmt.Fprintf(&b, "%-12s %-50s %-18s %-18s %s\n", x.Kind, x.Name+x.Dynamic, x.Provider, x.State, x.Scope)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// verdictOf gives the exit code: findings win over incompleteness.
func verdictOf(d *inventory.Document, failAt warden.Severity) error {
	for _, x := range d.Assets {
		for _, n := range x.Findings {
			if s, err := warden.ParseSeverity(n.Severity); err == nil && s >= failAt {
				return &exit{code: exitFindings}
			}
		}
	}
	if !d.Complete {
		return &exit{exitIncomplete, errors.New("not everything could be read: see the statuses of the report")}
	}
	return nil
}
