package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/report"
	"github.com/modelwarden/warden/scan"
)

type scanFlags struct {
	format, output, failOn, digest string
	strict, quiet, noColour        bool
	noProgress                     bool
	jobs                           int
	timeout, fileTimeout           time.Duration
	include, exclude               []string
	limits                         scan.Limits
	noSpool                        bool
	baseline, writeBaseline        string
	attest, key                    string
	full                           bool
}

func newScan(a *app) *cobra.Command {
	f := &scanFlags{limits: scan.DefaultLimits()}
	c := &cobra.Command{
		Use:   "scan PATH…",
		Short: "Scan model files and folders without loading them",
		Long: "Scan reads model files and simulates what loaders would do. Nothing is executed, imported\n" +
			"or deserialised. What could not be looked at is inconclusive, never clean.\n\n" +
			"  warden scan model.pkl\n  warden scan --format sarif --output scan.sarif ./models\n  cat model.pt | warden scan -\n" +
			"  warden scan hf://org/model@revision      reads only what matters of a remote model",
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, paths []string) error { return a.scan(c.Context(), f, paths) },
	}
	fl := c.Flags()
	fl.StringVar(&f.format, "format", "text", "text, json, sarif, cyclonedx or markdown")
	fl.StringVar(&f.baseline, "baseline", "", "file of accepted findings (YAML); they do not fail the run")
	fl.StringVar(&f.writeBaseline, "write-baseline", "", "write a first baseline of what fails now to this file")
	fl.StringVar(&f.attest, "attest", "", "write a signed statement of the result to this file; needs --key and one file or folder")
	a.keyFlag(fl, &f.key)
	fl.StringVar(&f.output, "output", "", "write the report to this file, and the text to the terminal")
	fl.StringVar(&f.failOn, "fail-on", "high", "least severity that gives exit code 1: critical, high, medium, low or never")
	fl.BoolVar(&f.strict, "strict", false, "same as --fail-on medium: review fails too")
	fl.StringVar(&f.digest, "digest", "always", "SHA-256 of each file: always or never")
	fl.IntVar(&f.jobs, "jobs", 0, "files scanned at once (default: number of CPUs)")
	fl.DurationVar(&f.timeout, "timeout", 0, "for the whole run (default: none)")
	fl.DurationVar(&f.fileTimeout, "file-timeout", time.Minute, "for the analysis of one file")
	fl.StringArrayVar(&f.include, "include", nil, "scan only files that match this glob; repeatable")
	fl.StringArrayVar(&f.exclude, "exclude", nil, "do not scan files that match this glob; repeatable")
	fl.IntVar(&f.limits.Depth, "max-depth", f.limits.Depth, "containers inside one another")
	fl.IntVar(&f.limits.Members, "max-members", f.limits.Members, "members of one container")
	fl.Int64Var(&f.limits.Expand, "max-expand", f.limits.Expand, "bytes that one file may decompress to")
	fl.IntVar(&f.limits.Ops, "max-ops", f.limits.Ops, "pickle opcodes of one stream")
	fl.BoolVar(&f.full, "full", false, "also search all weight bytes for secrets, addresses and programs; slow")
	fl.BoolVar(&f.noSpool, "no-spool", false, "never use a temporary file")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no line of counts")
	fl.BoolVar(&f.noColour, "no-color", false, "no colours")
	fl.BoolVar(&f.noProgress, "no-progress", false, "no progress line")
	return c
}

// failAt returns the least severity that fails, or one above all for "never".
func (f *scanFlags) failAt() (warden.Severity, error) {
	if f.strict {
		return warden.Medium, nil
	}
	if f.failOn == "never" {
		return warden.Critical + 1, nil
	}
	s, err := warden.ParseSeverity(f.failOn)
	if err != nil || s == warden.Info {
		return 0, usage("--fail-on %q: want critical, high, medium, low or never", f.failOn)
	}
	return s, nil
}

func (a *app) scan(ctx context.Context, f *scanFlags, paths []string) (err error) {
	failAt, err := f.failAt()
	if err != nil {
		return err
	}
	if f.digest != "always" && f.digest != "never" {
		return usage("--digest %q: want always or never", f.digest)
	}
	for _, g := range append(append([]string{}, f.include...), f.exclude...) {
		if _, err := path.Match(g, "x"); err != nil {
			return usage("glob %q: %w", g, err)
		}
	}
	accepted, err := newAccepted(f)
	if err != nil {
		return err
	}
	st, err := a.newStatement(ctx, f, paths)
	if err != nil {
		return err
	}
	out, text, closeOut, err := a.scanOutput(f)
	if err != nil {
		return err
	}
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	f.limits.Spool = !f.noSpool
	var left atomic.Int64
	p := newProgress(a, f)
	w := scan.Walk{
		Options: scan.Options{Limits: f.limits, Timeout: f.fileTimeout, NoDigest: f.digest == "never", Full: f.full},
		Jobs:    f.jobs, Include: f.include, Exclude: f.exclude,
		Skipped: func(string) { left.Add(1) }, Started: p.started,
	}
	t, started := tool(), time.Now()
	if err := errors.Join(out.Begin(t, started), st.Begin(t, started)); err != nil {
		return &exit{exitIncomplete, err}
	}
	var sum report.Summary
	rules, code := scan.Rules(), exitOK
	emit := func(r scan.Report) error {
		p.done(r)
		target := report.NewTarget(r.Path, r.Artifact, r.Verdict, r.Findings, r.Statuses, r.Counts, r.Truncated, rules)
		accepted.apply(&target)
		accepted.note(target, failAt)
		sum.Count(target.Verdict)
		code = worse(code, exitOf(target, failAt))
		p.clear()
		return errors.Join(out.Target(target), text.Target(target), st.Target(target))
	}
	err = a.each(ctx, w, paths, emit)
	p.stop()
	if err == nil {
		took := time.Since(started)
		err = errors.Join(out.End(sum, took), text.End(sum, took), st.End(sum, took))
	}
	if err = errors.Join(err, closeOut(err == nil)); err != nil {
		if ex := (*exit)(nil); errors.As(err, &ex) {
			return ex
		}
		return &exit{exitIncomplete, err}
	}
	if err := errors.Join(accepted.finish(a.Stderr), st.write()); err != nil {
		return &exit{exitIncomplete, err}
	}
	if n := left.Load(); n > 0 && !f.quiet {
		fmt.Fprintf(a.Stderr, "%d files were not scanned because of --include or --exclude\n", n)
	}
	if code != exitOK {
		return &exit{code, nil}
	}
	return nil
}

// each runs the scan over paths, where "-" is standard input.
func (a *app) each(ctx context.Context, w scan.Walk, paths []string, emit func(scan.Report) error) error {
	var roots []string
	for _, p := range paths {
		if p == "-" {
			rep, err := a.scanStdin(ctx, w.Options)
			if err != nil {
				return err
			}
			if err := emit(rep); err != nil {
				return err
			}
			continue
		}
		if strings.HasPrefix(p, remoteScheme) {
			if err := a.scanHub(ctx, p, w, emit); err != nil {
				return err
			}
			continue
		}
		roots = append(roots, p)
	}
	if len(roots) == 0 {
		return nil
	}
	for r := range scan.Paths(ctx, roots, w) {
		if err := emit(r); err != nil {
			return err
		}
	}
	return nil
}

// scanStdin holds standard input in memory up to a limit and in an unlinked
// temporary file beyond it: readers need random access.
func (a *app) scanStdin(ctx context.Context, opts scan.Options) (scan.Report, error) {
	const name = "stdin"
	var head bytes.Buffer
	n, err := io.Copy(&head, io.LimitReader(a.Stdin, opts.Limits.Hold))
	if err != nil {
		return scan.Report{}, fmt.Errorf("standard input: %w", err)
	}
	if n == 0 { // the command before the pipe failed: no reason to call it clean
		return scan.Report{}, &warden.Error{Code: warden.CodeInvalid, Message: "standard input is empty: nothing was scanned", Hint: "look at the command before the pipe, and use `set -o pipefail` in scripts"}
	}
	if n < opts.Limits.Hold {
		return scan.File(ctx, name, bytes.NewReader(head.Bytes()), n, opts), nil
	}
	if !opts.Limits.Spool {
		return scan.Report{}, &warden.Error{Code: warden.CodeLimit, Message: fmt.Sprintf("standard input is larger than %d bytes", opts.Limits.Hold), Hint: "leave out --no-spool, or give a file"}
	}
	tmp, err := os.CreateTemp("", "warden-stdin-*")
	if err != nil {
		return scan.Report{}, err
	}
	defer tmp.Close() //nolint:errcheck // it is gone already
	if err := os.Remove(tmp.Name()); err != nil {
		return scan.Report{}, err
	}
	size, err := io.Copy(tmp, io.LimitReader(io.MultiReader(&head, a.Stdin), opts.Limits.Expand+1))
	if err != nil {
		return scan.Report{}, fmt.Errorf("standard input: %w", err)
	}
	if size > opts.Limits.Expand {
		return scan.Report{}, &warden.Error{Code: warden.CodeLimit, Message: fmt.Sprintf("standard input is larger than %d bytes", opts.Limits.Expand), Hint: "raise --max-expand, or give a file"}
	}
	return scan.File(ctx, name, tmp, size, opts), nil
}

// exitOf lets findings win over incompleteness: they hold whatever else was not
// read. Accepted findings do not count.
func exitOf(t report.Target, failAt warden.Severity) int {
	for _, f := range t.Findings {
		if f.Waiver == nil && severityOf(f) >= failAt {
			return exitFindings
		}
	}
	if !t.Complete {
		return exitIncomplete
	}
	return exitOK
}

func severityOf(f report.Finding) warden.Severity {
	s, err := warden.ParseSeverity(f.Severity)
	if err != nil {
		return warden.Critical // never accept what cannot be understood
	}
	return s
}

// worse combines exit codes of files: findings, then incompleteness, then none.
func worse(a, b int) int {
	switch {
	case a == exitFindings || b == exitFindings:
		return exitFindings
	default:
		return max(a, b)
	}
}

// noReport is a Writer that writes nothing.
type noReport struct{}

func (noReport) Begin(report.Tool, time.Time) error      { return nil }
func (noReport) Target(report.Target) error              { return nil }
func (noReport) End(report.Summary, time.Duration) error { return nil }

// scanOutput returns the writer of the report and, if that goes to a file, the
// one of the text. Closing without success removes the file: half a report
// must not look like a whole one.
func (a *app) scanOutput(f *scanFlags) (out, text report.Writer, closeOut func(ok bool) error, err error) {
	closeOut = func(bool) error { return nil }
	text = noReport{}
	w := a.Stdout
	if f.output != "" {
		file, err := os.Create(f.output)
		if err != nil {
			return nil, nil, nil, usage("--output: %w", err)
		}
		w = file
		text = report.NewText(a.Stdout, report.TextOptions{Color: a.colour(a.Stdout) && !f.noColour, Quiet: f.quiet})
		closeOut = func(ok bool) error {
			err := file.Close()
			if !ok || err != nil {
				err = errors.Join(err, os.Remove(f.output))
			}
			return err
		}
	}
	switch f.format {
	case "text":
		out = report.NewText(w, report.TextOptions{Color: f.output == "" && a.colour(a.Stdout) && !f.noColour, Quiet: f.quiet})
	case "json":
		out = report.NewJSON(w)
	case "sarif":
		out = report.NewSARIF(w, scan.Rules())
	case "cyclonedx":
		out = report.NewCycloneDX(w)
	case "markdown":
		out = report.NewMarkdown(w)
	default:
		return nil, nil, nil, errors.Join(usage("--format %q: want text, json, sarif, cyclonedx or markdown", f.format), closeOut(false))
	}
	return out, text, closeOut, nil
}

// A progress line shows what happens, on a terminal only and not before a scan
// has taken a moment.
type progress struct {
	on bool
	w  io.Writer
	wg sync.WaitGroup

	quit chan struct{}

	mu       sync.Mutex // guards the fields below
	files    int
	bytes    int64
	findings int
	current  string
	shown    bool
}

const (
	progressAfter = 300 * time.Millisecond
	progressEvery = 100 * time.Millisecond
)

func newProgress(a *app, f *scanFlags) *progress {
	p := &progress{on: terminal(a.Stderr) && !f.noProgress && !f.quiet, w: a.Stderr, quit: make(chan struct{})}
	if !p.on {
		return p
	}
	p.wg.Go(func() {
		wait := progressAfter
		for {
			select {
			case <-p.quit:
				return
			case <-time.After(wait):
				p.show()
				wait = progressEvery
			}
		}
	})
	return p
}

func (p *progress) started(path string, _ int64) {
	p.mu.Lock()
	p.current = path
	p.mu.Unlock()
}

func (p *progress) done(r scan.Report) {
	p.mu.Lock()
	p.files++
	p.bytes += max(r.Artifact.Size, 0)
	p.findings += len(r.Findings)
	p.mu.Unlock()
}

func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := p.current
	if len(name) > 40 {
		name = "…" + name[len(name)-39:]
	}
	p.shown = true
	fmt.Fprintf(p.w, "\r\x1b[K%d files, %.1f MB, %d findings  %q", p.files, float64(p.bytes)/1e6, p.findings, name)
}

// clear removes the line before something else is written.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

func (p *progress) stop() {
	if p.on {
		close(p.quit)
		p.wg.Wait()
		p.clear()
	}
}
