// Package scan examines model files at rest. It is the library API of the
// platform for files: give it bytes, get a verdict with findings.
//
// Nothing is executed, imported or deserialised: the scan reads bytes and
// simulates what loaders would do. It opens no socket and starts no process.
// A verdict depends on the bytes and on the rules only, never on what is
// installed on the scanning host, and what could not be looked at is never
// [warden.Clean].
package scan

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/check/file"
	"github.com/modelwarden/warden/internal/format"
)

// Limits bound what a scan may read and keep; start from [DefaultLimits].
type Limits = format.Limits

// DefaultLimits returns the limits used when Options.Limits is zero.
func DefaultLimits() Limits { return format.DefaultLimits() }

// What a report keeps of its findings, worst first. Counts stay exact.
const (
	FindingsPerTarget = 1000
	FindingsPerRule   = 100
)

// Options configure a scan. The zero value is the usual scan.
type Options struct {
	Limits   Limits        // zero: DefaultLimits
	Timeout  time.Duration // of the analysis of one file, hashing not counted; zero: 60 s
	NoDigest bool          // do not hash the file; Report.Artifact.Digest stays zero
	Full     bool          // also search all weight bytes for secrets, addresses and programs; slow
}

func (o Options) withDefaults() Options {
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	o.Limits.Full = o.Limits.Full || o.Full
	return o
}

// A Report is what a scan learned about one file.
type Report struct {
	Path     string          // as the caller named it
	Artifact warden.Artifact // zero Digest: not every byte was hashed
	Verdict  warden.Verdict

	// Findings are sorted by severity (worst first), place and rule, and cut to
	// FindingsPerTarget and FindingsPerRule.
	Findings []warden.Finding
	// Statuses holds one row for each detector or reader that could not finish.
	// A report with a row is never Clean.
	Statuses  []detect.Status
	Counts    map[warden.RuleID]int // findings per rule before cutting
	Truncated bool                  // more was found than Findings holds
}

// Complete reports whether everything that applies was looked at.
func (r Report) Complete() bool { return len(r.Statuses) == 0 }

// Rules returns every rule a scan may report, by id.
func Rules() map[warden.RuleID]warden.Rule {
	rules := map[warden.RuleID]warden.Rule{}
	for _, d := range file.All() {
		for _, r := range d.Rules {
			rules[r.ID] = r
		}
	}
	return rules
}

// Detectors describes every check of a scan, in the order they run.
func Detectors() []detect.Info {
	var infos []detect.Info
	for _, d := range file.All() {
		infos = append(infos, d.Info())
	}
	return infos
}

// small is the size up to which a file is read into memory once, for hash and
// analysis together.
const small = 1 << 20

// File examines the size bytes of r. The name is used for locations and as a
// hint only: the format is told from the content. File does not fail: bytes
// that cannot be read, damage, limits and the end of ctx are rows of
// Report.Statuses, and what was found before stays found.
func File(ctx context.Context, name string, r io.ReaderAt, size int64, opts Options) Report {
	opts = opts.withDefaults()
	rep := Report{Path: name, Artifact: warden.Artifact{Size: size}, Counts: map[warden.RuleID]int{}}
	if size < 0 {
		rep.fail("read/file", fmt.Errorf("negative size %d", size))
		return rep.finish()
	}
	if size <= small {
		b := make([]byte, size)
		if n, err := r.ReadAt(b, 0); n < len(b) {
			rep.fail("read/file", fmt.Errorf("read %d of %d bytes: %w", n, size, err))
		}
		r = bytes.NewReader(b)
		if !opts.NoDigest && rep.Complete() {
			rep.Artifact.Digest = warden.Sum(b)
		}
		rep.analyse(ctx, name, r, size, opts)
		return rep.finish()
	}
	type hashed struct {
		digest warden.Digest
		err    error
	}
	done := make(chan hashed, 1)
	if opts.NoDigest {
		done <- hashed{}
	} else {
		go func() {
			d, err := digest(ctx, r, size)
			done <- hashed{d, err}
		}()
	}
	rep.analyse(ctx, name, r, size, opts)
	h := <-done
	rep.Artifact.Digest = h.digest
	if h.err != nil {
		rep.fail("read/digest", h.err)
	}
	return rep.finish()
}

// digest hashes the size bytes of r. It tests ctx at every read.
func digest(ctx context.Context, r io.ReaderAt, size int64) (warden.Digest, error) {
	h, buf := sha256.New(), make([]byte, 1<<20)
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return warden.Digest{}, fmt.Errorf("stopped at byte %d of %d: %w", off, size, err)
		}
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		h.Write(buf[:n])
		off += int64(n)
		if err != nil && off < size {
			return warden.Digest{}, fmt.Errorf("read at byte %d of %d: %w", off, size, err)
		}
	}
	return warden.Digest(h.Sum(nil)), nil
}

func (r *Report) fail(detector string, err error) {
	r.Statuses = append(r.Statuses, detect.Status{Detector: detector, State: detect.Failed, Err: err})
}

// fullRate is the least rate, in bytes a second, at which a full search of all
// weight bytes is given time beyond the time of the analysis.
const fullRate = 16 << 20

// analyse opens the file and examines it and its members.
func (r *Report) analyse(ctx context.Context, name string, bytes io.ReaderAt, size int64, opts Options) {
	if opts.Limits.Full { // reading the weights is not analysis
		opts.Timeout += time.Duration(size/fullRate+1) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	f, err := format.Open(ctx, base(name), bytes, size, opts.Limits)
	if err != nil {
		r.fail("read/file", err)
		return
	}
	r.Artifact.Format = f.Format
	r.examine(ctx, f)
}

// examine runs every detector over f and then over its members, depth first.
// The readers bound the depth.
func (r *Report) examine(ctx context.Context, f *format.File) {
	r.Statuses = append(r.Statuses, f.Unread...)
	res := detect.Run(ctx, warden.Ref{Kind: warden.KindArtifact}, f, detect.Limits{Findings: FindingsPerTarget}, file.All()...)
	r.merge(res)
	for m, err := range f.Members(ctx) {
		if err != nil {
			r.Statuses = append(r.Statuses, detect.Status{Detector: "read/members", State: detect.StateOf(err), Err: fmt.Errorf("%s: %w", f.Path, err)})
			continue
		}
		r.examine(ctx, m)
		r.cut()
	}
}

func (r *Report) merge(res detect.Result) {
	r.Findings = append(r.Findings, res.Findings...)
	for _, s := range res.Statuses {
		for id, n := range s.Counts {
			r.Counts[id] += n
		}
		if s.State == detect.Failed || s.State == detect.Skipped {
			r.Statuses = append(r.Statuses, s)
		}
	}
}

// maxStatuses bounds the rows kept: a hostile container can have a hundred
// thousand members that cannot be read.
const maxStatuses = 200

// cut keeps memory bounded while a container with very many members is read.
func (r *Report) cut() {
	if len(r.Findings) > 2*FindingsPerTarget {
		r.Findings = worst(r.Findings)
	}
	if n := len(r.Statuses); n > maxStatuses {
		r.Statuses = r.Statuses[:maxStatuses]
		r.Statuses[maxStatuses-1] = detect.Status{Detector: "read/members", State: detect.Failed, Err: fmt.Errorf("and more than %d other parts that could not be read", maxStatuses)}
	}
}

func (r *Report) finish() Report {
	r.cut()
	total := 0
	for _, n := range r.Counts {
		total += n
	}
	r.Findings = worst(r.Findings)
	r.Truncated = total > len(r.Findings)
	ref := warden.Ref{Kind: warden.KindArtifact}
	if r.Artifact.Digest != (warden.Digest{}) {
		ref.ID = r.Artifact.Digest.String()
	}
	r.Verdict = warden.Clean
	if !r.Complete() {
		r.Verdict = warden.Inconclusive
	}
	for i := range r.Findings {
		r.Findings[i].Subject = ref
		r.Verdict = max(r.Verdict, r.Findings[i].Severity.Verdict())
	}
	return *r
}

// worst sorts the findings and keeps those that a report may hold.
func worst(all []warden.Finding) (kept []warden.Finding) {
	slices.SortStableFunc(all, func(a, b warden.Finding) int {
		return cmp.Or(
			cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.At.Path, b.At.Path),
			cmp.Compare(a.At.Span.Start, b.At.Span.Start), cmp.Compare(a.Rule, b.Rule),
		)
	})
	perRule := map[warden.RuleID]int{}
	for _, f := range all {
		if perRule[f.Rule]++; perRule[f.Rule] > FindingsPerRule || len(kept) == FindingsPerTarget {
			continue
		}
		kept = append(kept, f)
	}
	return kept
}

func base(name string) string {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			return name[i+1:]
		}
	}
	return name
}
