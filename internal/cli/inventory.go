package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/inventory"
)

type inventoryFlags struct {
	format, output, failOn string
	callgraph              string
	rev, packages          string
	artifacts              string
	noScan                 bool
	quiet                  bool
	noColour, noProgress   bool
	timeout                time.Duration
	register               bool
	source                 string
	baseline, hub          string
	onlyNew                bool
}

func newInventory(a *app) *cobra.Command {
	f := &inventoryFlags{}
	c := &cobra.Command{
		Use:   "inventory DIR|REPO-URL|IMAGE-TAR",
		Short: "Find what AI a source tree uses: models, providers, datasets, agents, unsafe flags",
		Long: "Inventory reads source, notebooks, configurations and lock files, follows names and values through\n" +
			"the code, and lists the AI that it uses with the place, the state (reachable, possibly reachable,\n" +
			"configured only, unreachable) and the calls that lead there. Nothing in the tree is executed,\n" +
			"installed or fetched. What could not be read is said, and gives exit code 3.\n\n" +
			"A repository is cloned without a work tree and read from its objects; an image is a tar file as docker\n" +
			"save writes it, or a folder in OCI layout.\n\n" +
			"  warden inventory .\n  warden inventory --rev v2.1 https://example.org/team/app.git\n  warden inventory --format json --output inventory.json ./app\n" +
			"  warden inventory --callgraph calls.json ./app\n  warden inventory --format html --output ai.html ./app",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error { return a.inventory(c.Context(), f, x[0]) },
	}
	c.AddCommand(newInventoryLogs(a), newInventoryDiff(a), newInventoryHub(a))
	fl := c.Flags()
	fl.StringVar(&f.format, "format", "text", inventoryFormats)
	fl.StringVar(&f.output, "output", "", "write the report to this file")
	fl.StringVar(&f.failOn, "fail-on", "never", "least severity of an unsafe use that gives exit code 1: critical, high, medium, low or never")
	fl.StringVar(&f.callgraph, "callgraph", "", "also write the call graph to this file: a JSON object from caller to callees")
	fl.StringVar(&f.artifacts, "artifacts", "", "report of warden scan --format json: its verdicts meet the calls that load the files")
	fl.BoolVar(&f.noScan, "no-scan", false, "do not scan the model files of a folder")
	fl.StringVar(&f.packages, "site-packages", "", "folder with the installed packages of Python: calls are followed into those that the tree imports")
	fl.StringVar(&f.rev, "rev", "", "branch, tag or commit of a repository (default: its main branch)")
	fl.DurationVar(&f.timeout, "timeout", 0, "for the whole run (default: none)")
	fl.BoolVar(&f.register, "register", false, "send the assets to the register of the server")
	fl.StringVar(&f.source, "source", "", "name of the tree in the register (default: that of the folder)")
	fl.StringVar(&f.baseline, "baseline", "", "an inventory of before (--format json): only what it lacks gives exit code 1")
	fl.BoolVar(&f.onlyNew, "only-new", false, "show only what the baseline lacks")
	fl.StringVar(&f.hub, "hub", "", "snapshot of a hub's metadata, for scores of models (see warden inventory hub)")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no summary, no advice, no progress")
	fl.BoolVar(&f.noColour, "no-color", false, "no colours")
	fl.BoolVar(&f.noProgress, "no-progress", false, "no progress line")
	return c
}

func (a *app) inventory(ctx context.Context, f *inventoryFlags, dir string) (err error) {
	if !knownInventoryFormat(f.format) {
		return usage("--format %q: want %s", f.format, inventoryFormats)
	}
	began := time.Now()
	failAt, err := failLevel(f.failOn)
	if err != nil {
		return err
	}
	if f.onlyNew && f.baseline == "" {
		return usage("--only-new needs --baseline OLD.json, the inventory to compare with")
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
	defer func() { err = errors.Join(err, done()) }()
	if f.packages != "" {
		env, err := os.OpenRoot(f.packages)
		if err != nil {
			return usage("--site-packages: %w", err)
		}
		defer env.Close() //nolint:errcheck // only read
		if err := tree.Follow(ctx, env); err != nil {
			return &exit{exitIncomplete, err}
		}
	}
	if f.callgraph != "" {
		tree.Whole()
	}
	known, err := a.fileVerdicts(ctx, f, dir, tree)
	if err != nil {
		return err
	}
	doc, err := inventory.Build(ctx, tree, inventory.Options{Root: ".", Verdict: known.find})
	if err != nil {
		return &exit{exitIncomplete, err}
	}
	codeOwners(dir, doc)
	if f.hub != "" {
		if err := scoreModels(ctx, doc, f.hub); err != nil {
			return err
		}
	}
	shown, judged, err := againstBaseline(doc, f.baseline, f.onlyNew)
	if err != nil {
		return err
	}
	if f.register {
		if err := a.registerInventory(ctx, a.Stderr, f.source, dir, doc); err != nil {
			return err
		}
	}
	if f.callgraph != "" {
		g, _ := tree.Flow(ctx)
		if err := writeJSON(f.callgraph, g.Calls()); err != nil {
			return &exit{exitIncomplete, err}
		}
	}
	out := inventoryOutput{
		format: f.format, name: applicationName(dir), took: time.Since(began), created: createdTime(a.Getenv),
		colour: !f.noColour && f.output == "" && a.colour(a.Stdout), quiet: f.quiet,
	}
	if err := writeReport(a.Stdout, f.output, func(w io.Writer) error { return renderInventory(w, out, shown) }); err != nil {
		return &exit{exitIncomplete, err}
	}
	return verdictOf(judged, failAt)
}

// writeReport writes to the file, or to w where none is named. An error of
// closing the file counts: the report may not be whole.
func writeReport(w io.Writer, name string, write func(io.Writer) error) error {
	if name == "" {
		return write(w)
	}
	f, err := os.Create(filepath.Clean(name))
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

func writeJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Clean(name), append(b, '\n'), 0o600)
}

// verdictOf gives the exit code: findings win over incompleteness.
func verdictOf(d *inventory.Document, failAt warden.Severity) error {
	bad := func(n inventory.Finding) bool {
		s, err := warden.ParseSeverity(n.Severity)
		return err == nil && s >= failAt
	}
	if slices.ContainsFunc(d.Findings, bad) || slices.ContainsFunc(d.Assets, func(x inventory.Asset) bool { return slices.ContainsFunc(x.Findings, bad) }) {
		return &exit{code: exitFindings}
	}
	if !d.Complete {
		return &exit{exitIncomplete, errors.New("not everything could be read: see the statuses of the report")}
	}
	return nil
}
