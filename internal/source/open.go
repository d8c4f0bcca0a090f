package source

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/modelwarden/warden/internal/source/config"
	"github.com/modelwarden/warden/internal/source/notebook"
	"github.com/modelwarden/warden/internal/source/python"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// Options configure [Open]. The zero value reads everything within the default limits.
type Options struct {
	Name      string // of the tree, for reports
	Limits    Limits
	Installed bool         // read what folders of others' code say of installed packages: of an image
	Facts     []config.Doc // what is known besides the files: the configuration of an image
	// Progress is called after each file with what was read so far. It may be nil
	// and is called by one goroutine at a time.
	Progress func(files int, bytes int64)
}

// Open lists and reads a tree. It returns an error only if ctx ended; all else
// that goes wrong is a [Status].
func Open(ctx context.Context, l Lister, opts Options) (*Tree, error) {
	opts.Limits = opts.Limits.withDefaults()
	t := &Tree{Name: opts.Name}
	entries := t.list(ctx, l, opts.Limits, opts.Installed)
	jobs := opts.Limits.Jobs
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	type result struct {
		file     *File
		doc      config.Doc
		statuses []Status
	}
	results := make([]result, len(entries))
	var wg sync.WaitGroup
	var mu sync.Mutex // guards next, done and t.Bytes
	next, done := 0, 0
	for range min(jobs, len(entries)) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(entries) || ctx.Err() != nil {
					return
				}
				r := reader{lim: opts.Limits}
				f := r.read(ctx, entries[i])
				results[i] = result{f, r.doc, r.statuses}
				mu.Lock()
				done++
				if f != nil && f.Lang != Weights {
					t.Bytes += f.Size
				}
				if opts.Progress != nil {
					opts.Progress(done, t.Bytes)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	for i := range results {
		if results[i].file != nil {
			t.Files = append(t.Files, results[i].file)
		}
		t.Statuses = append(t.Statuses, results[i].statuses...)
		t.facts.add(&results[i].doc, results[i].file)
	}
	for i := range opts.Facts {
		t.facts.add(&opts.Facts[i], nil)
	}
	slices.SortFunc(t.Statuses, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Reader, b.Reader), cmp.Compare(a.Detail, b.Detail))
	})
	t.Statuses = slices.Compact(t.Statuses)
	return t, nil
}

// list returns what is to be read, sorted by path, so that limits cut the same
// files however the tree was listed.
func (t *Tree) list(ctx context.Context, l Lister, lim Limits, installed bool) []Entry {
	var entries []Entry
	left := map[string]bool{}
	total := 0
	for e, err := range l.List(ctx) {
		if err != nil {
			state := "skipped"
			if errors.Is(err, ErrLink) {
				state = "not_examined"
			}
			t.Statuses = append(t.Statuses, Status{Reader: "source/walk", Path: e.Path, State: state, Detail: reason(err)})
			continue
		}
		if o := other(e.Path); o != "" && (!installed || !config.Installed(e.Path)) {
			left[o] = true
			continue
		}
		if total++; total > 20*lim.Files {
			t.Statuses = append(t.Statuses, Status{Reader: "source/walk", State: "skipped", Detail: fmt.Sprintf("more than %d files: the rest was not listed", 20*lim.Files)})
			break
		}
		if langOf(e.Path) != "" {
			entries = append(entries, e)
		} else if e.lang = script(e); e.lang != "" {
			entries = append(entries, e)
		}
	}
	for o := range left {
		t.Left = append(t.Left, o)
	}
	slices.Sort(t.Left)
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	entries = slices.CompactFunc(entries, func(a, b Entry) bool { return a.Path == b.Path })
	if len(entries) > lim.Files {
		t.Statuses = append(t.Statuses, Status{Reader: "source/walk", Path: entries[lim.Files].Path, State: "skipped", Detail: fmt.Sprintf("more than %d files: this one and those after it were not read", lim.Files)})
		entries = entries[:lim.Files]
	}
	sum := int64(0)
	for i, e := range entries {
		if langOf(e.Path) == Weights {
			continue
		}
		if sum += min(e.Size, lim.FileBytes); sum > lim.Bytes {
			t.Statuses = append(t.Statuses, Status{Reader: "source/walk", Path: e.Path, State: "skipped", Detail: fmt.Sprintf("more than %d bytes of source: this file and those after it were not read", lim.Bytes)})
			return entries[:i]
		}
	}
	return entries
}

// langOf tells how the file at p is read; "" means not at all.
func langOf(p string) Lang {
	if l, ok := languages[strings.ToLower(path.Ext(p))]; ok && l != Weights {
		return l
	}
	if config.Wants(p) {
		return Config
	}
	return languages[strings.ToLower(path.Ext(p))]
}

// script tells the language of a program whose name has no extension from the
// line that names its interpreter. What cannot be opened is none.
func script(e Entry) Lang {
	base := path.Base(e.Path)
	if e.Open == nil || e.Size < 4 || strings.Contains(base, ".") {
		return ""
	}
	rc, err := e.Open()
	if err != nil {
		return ""
	}
	defer func() { _ = rc.Close() }()
	head := make([]byte, 128)
	n, _ := io.ReadFull(rc, head)
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	words := strings.Fields(strings.TrimPrefix(string(line), "#!"))
	if !bytes.HasPrefix(line, []byte("#!")) || len(words) == 0 {
		return ""
	}
	for _, w := range words { // env, its options and variables come first; uv run --script
		switch prog := strings.TrimRight(path.Base(w), "0123456789."); prog {
		case "python", "pypy", "uv":
			return Python
		case "node", "deno", "bun", "tsx", "ts-node":
			return JavaScript
		}
	}
	return ""
}

// A reader reads one file.
type reader struct {
	lim      Limits
	path     string
	statuses []Status
	doc      config.Doc
}

func (r *reader) status(lang Lang, line int, state, format string, args ...any) {
	r.statuses = append(r.statuses, Status{Reader: "source/" + string(lang), Path: r.path, Line: line, State: state, Detail: fmt.Sprintf(format, args...)})
}

// hashed is up to which size a file of weights is hashed.
const hashed = 64 << 30

func (r *reader) read(ctx context.Context, e Entry) *File {
	r.path = e.Path
	f := &File{Path: e.Path, Lang: cmp.Or(e.lang, langOf(e.Path)), Scope: scopeOf(e.Path), Size: e.Size}
	if f.Lang == Weights {
		r.weights(ctx, e, f)
		return f
	}
	if e.Size > r.lim.FileBytes {
		r.status(f.Lang, 0, "skipped", "%d bytes: more than the limit of %d", e.Size, r.lim.FileBytes)
		return f
	}
	data, err := slurp(e, r.lim.FileBytes)
	if err != nil {
		r.status(f.Lang, 0, "skipped", "%s", reason(err))
		return f
	}
	if oid, size, ok := pointer(data); ok {
		f.Pointer, f.Digest, f.Size = true, oid, size
		r.status(f.Lang, 0, "not_examined", "a Git LFS pointer: the file itself is not in the tree")
		return f
	}
	f.Imports = minified(data)
	switch f.Lang {
	case Python:
		f.Syntax = r.python(ctx, data)
	case Notebook:
		r.notebook(ctx, f, data)
	case Config:
		r.doc = config.Read(ctx, e.Path, data)
		for _, p := range r.doc.Problems {
			r.status(Config, p.Line, "partial", "%s", p.Detail)
		}
	default:
		r.other(ctx, f, data)
	}
	return f
}

func (r *reader) python(ctx context.Context, data []byte) *syntax.File {
	m, errs := python.Parse(ctx, data, python.Limits{})
	r.problems(Python, m, errs)
	return &m.File
}

// problems makes a status of what could not be read. What only Python 2 accepts
// makes one, too: nobody runs it any more, and it may mean something else.
func (r *reader) problems(lang Lang, m *python.Module, errs []python.Error) {
	if len(errs) == 0 {
		return
	}
	e := errs[0]
	more := ""
	if len(errs) > 1 {
		more = fmt.Sprintf(" (and %d more)", len(errs)-1)
	}
	r.status(lang, m.Line(int32(min(e.Start, 1<<30))), "partial", "%s%s", e.Message, more) //nolint:gosec // bounded
}

func (r *reader) notebook(ctx context.Context, f *File, data []byte) {
	n, err := notebook.Read(data)
	if err != nil {
		r.status(Notebook, 0, "skipped", "%s", reason(err))
		return
	}
	if n.Problem != "" {
		r.status(Notebook, 0, "partial", "%s", n.Problem)
	}
	if n.Language != "" && n.Language != "python" {
		r.status(Notebook, 0, "not_examined", "cells are in %s", n.Language)
		return
	}
	m, errs := python.Parse(ctx, []byte(n.Source), python.Limits{})
	r.problems(Notebook, m, errs)
	f.Syntax, f.Cells = &m.File, n.Cells
	r.doc = config.Shell(ctx, f.Path, n.Shell)
}

// weights hashes a file, or reads the pointer that stands for it.
func (r *reader) weights(ctx context.Context, e Entry, f *File) {
	if e.Size < 1024 {
		if data, err := slurp(e, 1024); err == nil {
			if oid, size, ok := pointer(data); ok {
				f.Pointer, f.Digest, f.Size = true, oid, size
				return
			}
		}
	}
	if e.Size > hashed {
		r.status(Weights, 0, "skipped", "%d bytes: not hashed", e.Size)
		return
	}
	rc, err := e.Open()
	if err != nil {
		r.status(Weights, 0, "skipped", "%s", reason(err))
		return
	}
	defer func() { _ = rc.Close() }()
	h, buf := sha256.New(), make([]byte, 256<<10)
	for {
		if ctx.Err() != nil {
			return
		}
		n, err := rc.Read(buf)
		h.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			f.Digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
			return
		}
		if err != nil {
			r.status(Weights, 0, "skipped", "%s", reason(err))
			return
		}
	}
}

// slurp reads at most limit bytes and says so if there are more.
func slurp(e Entry, limit int64) ([]byte, error) {
	rc, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }()
	var b bytes.Buffer
	b.Grow(int(min(e.Size, limit)) + bytes.MinRead)
	n, err := io.Copy(&b, io.LimitReader(rc, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrLimit, limit)
	}
	return b.Bytes(), nil
}

// pointer reads a Git LFS pointer, see git-lfs/docs/spec.md.
func pointer(b []byte) (oid string, size int64, ok bool) {
	if len(b) > 1024 || !bytes.HasPrefix(b, []byte("version https://git-lfs.github.com/spec/")) {
		return "", 0, false
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if v, found := strings.CutPrefix(line, "oid sha256:"); found && len(v) == 64 && strings.Trim(v, "0123456789abcdef") == "" {
			oid = "sha256:" + v
		}
		if v, found := strings.CutPrefix(line, "size "); found {
			if n, err := fmt.Sscan(v, &size); n != 1 || err != nil {
				size = 0
			}
		}
	}
	return oid, size, oid != ""
}

// minified reports whether the median line is so long that nobody wrote it.
func minified(b []byte) bool {
	if len(b) < 4096 {
		return false
	}
	lines := bytes.Count(b, []byte{'\n'}) + 1
	if len(b)/lines < 250 {
		return false
	}
	var lengths []int
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		lengths = append(lengths, len(line))
	}
	slices.Sort(lengths)
	return lengths[len(lengths)/2] > 500
}

// reason shortens an error to what does not depend on the machine.
func reason(err error) string {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Op + ": " + p.Err.Error()
	}
	s := err.Error()
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "?")
	}
	return s
}

// Wants reports whether a file of that name would be read.
func Wants(p string) bool { return langOf(p) != "" }

// IsWeights reports whether a file of that name may hold a model.
func IsWeights(p string) bool { return langOf(p) == Weights }
