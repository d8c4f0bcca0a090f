package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/report"
)

// A guardWriter renders results as they come.
type guardWriter struct {
	a       *app
	format  string
	rules   map[warden.RuleID]warden.Rule
	sarif   report.Writer // nil for other formats
	begun   time.Time
	n       int
	partial int
	found   int
}

func newGuardWriter(a *app, f *guardFlags) *guardWriter {
	w := &guardWriter{a: a, format: f.format, rules: guard.Rules(), begun: time.Now()}
	if f.format == "sarif" {
		w.sarif = report.NewSARIF(a.Stdout, w.rules)
	}
	return w
}

func (w *guardWriter) begin() error {
	switch w.format {
	case "sarif":
		return w.sarif.Begin(tool(), w.begun)
	case "json":
		_, err := fmt.Fprint(w.a.Stdout, `{"schema":"warden.guard/v1","results":[`)
		return err
	}
	return nil
}

func (w *guardWriter) write(r guardResult) error {
	w.n++
	w.found += len(r.Findings)
	if !r.Complete {
		w.partial++
	}
	switch w.format {
	case "sarif":
		return w.target(r)
	case "text":
		return w.text(r)
	}
	if w.format == "json" && w.n > 1 {
		if _, err := fmt.Fprint(w.a.Stdout, ","); err != nil {
			return err
		}
	}
	e := json.NewEncoder(w.a.Stdout)
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// text shows the rules and places of findings, never the text they are about.
func (w *guardWriter) text(r guardResult) error {
	state := ""
	if !r.Complete {
		state = ", incomplete"
	}
	_, err := fmt.Fprintf(w.a.Stdout, "%s: %s%s\n", detect.Printable(r.ID, 256), r.Verdict, state)
	for i, f := range r.Findings {
		_, e := fmt.Fprintf(w.a.Stdout, "  %-8s  %s  %s", f.Severity, f.Rule, f.Message)
		err = errors.Join(err, e)
		if f.At.Start >= 0 {
			_, e = fmt.Fprintf(w.a.Stdout, "  (%s, %s %d to %d)", f.At.Path, f.At.Unit, f.At.Start, f.At.End)
			err = errors.Join(err, e)
		}
		if evidence := r.found[i].Evidence; evidence != "" {
			_, e = fmt.Fprintf(w.a.Stdout, "  [%s]", evidence)
			err = errors.Join(err, e)
		}
		_, e = fmt.Fprintln(w.a.Stdout)
		err = errors.Join(err, e)
	}
	for _, why := range r.Reasons {
		_, e := fmt.Fprintf(w.a.Stdout, "  not looked at: %s\n", detect.Printable(why, 512))
		err = errors.Join(err, e)
	}
	return err
}

func (w *guardWriter) target(r guardResult) error {
	t := report.Target{Path: detect.Printable(r.ID, 4096), Size: -1, Format: "exchange", Verdict: r.Verdict, Complete: r.Complete, Counts: map[string]int{}}
	for _, f := range r.found {
		t.Findings = append(t.Findings, report.NewFinding(f, w.rules[f.Rule]))
		t.Counts[string(f.Rule)]++
	}
	for _, why := range r.Reasons {
		t.Statuses = append(t.Statuses, report.Status{Detector: "guard", State: string(detect.Skipped), Error: why})
	}
	return w.sarif.Target(t)
}

func (w *guardWriter) end() error {
	switch w.format {
	case "sarif":
		return w.sarif.End(report.Summary{Files: w.n}, time.Since(w.begun))
	case "json":
		_, err := fmt.Fprintln(w.a.Stdout, "]}")
		return err
	case "text":
		_, err := fmt.Fprintf(w.a.Stdout, "%d examined, %d findings, %d incomplete\n", w.n, w.found, w.partial)
		return err
	}
	return nil
}
