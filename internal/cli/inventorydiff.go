package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/report"
)

func newInventoryDiff(a *app) *cobra.Command {
	var format, failOn string
	var quiet, noColour bool
	c := &cobra.Command{
		Use:   "diff OLD.json NEW.json",
		Short: "What changed between two inventories: assets, states, revisions, unsafe uses",
		Long: "Diff compares two documents of warden inventory --format json: what appeared, what vanished, what\n" +
			"changed its state, revision, flags or priority, and which unsafe uses are new. Lines that move are no\n" +
			"change. Exit code 1: something new is at or above --fail-on; 3: an inventory is incomplete.\n\n" +
			"  warden inventory diff main.json branch.json\n  warden inventory diff --format markdown main.json branch.json > comment.md",
		Args: args(cobra.ExactArgs(2)),
		RunE: func(_ *cobra.Command, x []string) error {
			failAt, err := failLevel(failOn)
			if err != nil {
				return err
			}
			if format != "text" && format != "json" && format != "markdown" {
				return usage("--format %q: want text, json or markdown", format)
			}
			old, err := readInventory(x[0])
			if err != nil {
				return err
			}
			now, err := readInventory(x[1])
			if err != nil {
				return err
			}
			d := inventory.Compare(old, now)
			switch format {
			case "json":
				err = encodeJSON(a.Stdout, d)
			case "markdown":
				err = reportDiff(d).WriteMarkdown(a.Stdout)
			default:
				err = reportDiff(d).WriteText(a.Stdout, report.TextOptions{Color: !noColour && a.colour(a.Stdout), Quiet: quiet})
			}
			if err != nil {
				return &exit{exitIncomplete, err}
			}
			if worst, ok := d.Worst(); ok && worst >= failAt {
				return &exit{code: exitFindings}
			}
			if !d.Complete {
				return &exit{exitIncomplete, errors.New("one of the inventories is incomplete: what is absent may not have been read")}
			}
			return nil
		},
	}
	fl := c.Flags()
	fl.StringVar(&format, "format", "text", "text, json or markdown")
	fl.StringVar(&failOn, "fail-on", "high", "least severity of what is new that gives exit code 1: critical, high, medium, low or never")
	fl.BoolVarP(&quiet, "quiet", "q", false, "no summary, no advice")
	fl.BoolVar(&noColour, "no-color", false, "no colours")
	return c
}

// failLevel reads --fail-on; never is above every severity.
func failLevel(s string) (warden.Severity, error) {
	if s == "never" {
		return warden.Critical + 1, nil
	}
	v, err := warden.ParseSeverity(s)
	if err != nil {
		return 0, usage("--fail-on %q: want critical, high, medium, low or never", s)
	}
	return v, nil
}

// readInventory reads a document that inventory --format json wrote.
func readInventory(name string) (*inventory.Document, error) {
	f, err := os.Open(filepath.Clean(name))
	if err != nil {
		return nil, &exit{exitUsage, err}
	}
	defer f.Close() //nolint:errcheck // only read
	d, err := inventory.Read(f)
	if err != nil {
		return nil, &exit{exitUsage, fmt.Errorf("%s: %w", name, err)}
	}
	return d, nil
}

// againstBaseline returns what is shown and what decides the exit code: with a
// baseline only what it lacks fails, and with onlyNew only that is shown.
func againstBaseline(d *inventory.Document, baseline string, onlyNew bool) (shown, judged *inventory.Document, err error) {
	if baseline == "" {
		return d, d, nil
	}
	old, err := readInventory(baseline)
	if err != nil {
		return nil, nil, err
	}
	fresh := inventory.Only(old, d)
	if onlyNew {
		return fresh, fresh, nil
	}
	return d, fresh, nil
}

// reportDiff converts a difference into what reports are rendered from.
func reportDiff(d *inventory.Diff) *report.InventoryDiff {
	out := &report.InventoryDiff{Complete: d.Complete}
	for i := range d.Appeared {
		out.Appeared = append(out.Appeared, reportAsset(&d.Appeared[i]))
	}
	for i := range d.Vanished {
		out.Vanished = append(out.Vanished, reportAsset(&d.Vanished[i]))
	}
	for _, c := range d.Changed {
		n := report.AssetChange{Kind: c.Kind, Name: c.Name, Worse: c.Worse}
		for _, f := range c.Fields {
			n.Fields = append(n.Fields, report.FieldChange{Name: f.Name, Old: f.Old, New: f.New})
		}
		out.Changed = append(out.Changed, n)
	}
	for i := range d.New {
		out.New = append(out.New, report.DiffUse{Asset: d.New[i].Name, Use: reportUse(&d.New[i].Finding)})
	}
	for i := range d.Gone {
		out.Gone = append(out.Gone, report.DiffUse{Asset: d.Gone[i].Name, Use: reportUse(&d.Gone[i].Finding)})
	}
	out.Tidy()
	return out
}
