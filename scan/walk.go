package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
)

// ErrNotRegular is wrapped by the status of a path that is no regular file.
// Such paths are never opened: a device or a pipe may block for ever, and a
// symbolic link may lead outside the tree.
var ErrNotRegular = errors.New("not a regular file")

// Walk configures Paths. The zero value scans everything with one job per CPU.
type Walk struct {
	Options Options
	Jobs    int      // files examined at once; zero: one per CPU
	Include []string // path.Match patterns on base name or whole path; none: all files
	Exclude []string // likewise; wins over Include

	// Skipped is called for each file that Include or Exclude left out. It may be nil.
	Skipped func(path string)
	// Started is called when a worker begins a file. It may be nil and is
	// called from several goroutines.
	Started func(path string, size int64)
}

// Paths examines every regular file below the roots and yields one report each,
// in the order of the walk, which is sorted. A root that is a symbolic link is
// followed, links below it are not. A path that is missing or cannot be read
// yields a report with a status. When ctx ends, files not yet examined yield
// reports that say so.
func Paths(ctx context.Context, roots []string, w Walk) iter.Seq[Report] {
	return func(yield func(Report) bool) {
		ctx, stop := context.WithCancel(ctx)
		quit := make(chan struct{}) // closed when the consumer stops
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()

		jobs := w.Jobs
		if jobs <= 0 {
			jobs = runtime.NumCPU()
		}
		type job struct {
			path string
			err  error
			out  chan Report
		}
		work, order := make(chan job), make(chan chan Report, 4*jobs)
		for range jobs {
			wg.Go(func() {
				for j := range work {
					if j.err != nil {
						j.out <- unread(j.path, j.err)
					} else {
						j.out <- w.one(ctx, j.path)
					}
				}
			})
		}
		wg.Go(func() {
			defer close(order)
			defer close(work)
			for p, err := range w.files(roots) {
				out := make(chan Report, 1)
				select {
				case order <- out:
					work <- job{p, err, out}
				case <-quit:
					return
				}
			}
		})
		for out := range order {
			if !yield(<-out) {
				stop()
				close(quit)
				for out := range order {
					<-out
				}
				return
			}
		}
	}
}

// one examines the regular file at name.
func (w Walk) one(ctx context.Context, name string) Report {
	if err := ctx.Err(); err != nil {
		return unread(name, context.Cause(ctx))
	}
	f, err := os.Open(filepath.FromSlash(name))
	if err != nil {
		return unread(name, err)
	}
	defer f.Close() //nolint:errcheck // only read
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", st.Mode().Type(), ErrNotRegular)
	}
	if err != nil {
		return unread(name, err)
	}
	if w.Started != nil {
		w.Started(name, st.Size())
	}
	return File(ctx, name, f, st.Size(), w.Options)
}

// unread is the report of a path that could not be opened.
func unread(name string, err error) Report {
	state := detect.StateOf(err)
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = fmt.Errorf("%s: %w", pe.Op, pe.Err) // the path is in the report already
	}
	return Report{
		Path: name, Artifact: warden.Artifact{Size: -1}, Verdict: warden.Inconclusive,
		Counts:   map[warden.RuleID]int{},
		Statuses: []detect.Status{{Detector: "read/file", State: state, Err: err}},
	}
}

// files yields the slash-separated paths below the roots that are wanted, with
// an error for those that must not or cannot be opened.
func (w Walk) files(roots []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, root := range roots {
			st, err := os.Stat(root)
			if err == nil && !st.IsDir() && !st.Mode().IsRegular() {
				err = fmt.Errorf("%s: %w", kind(st.Mode().Type()), ErrNotRegular)
			}
			if err != nil || !st.IsDir() {
				if !yield(filepath.ToSlash(root), err) {
					return
				}
				continue
			}
			err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
				name := filepath.ToSlash(p)
				switch {
				case err != nil:
				case d.IsDir():
					return nil
				case !w.wants(name):
					return nil
				case !d.Type().IsRegular():
					err = fmt.Errorf("%s: %w", kind(d.Type()), ErrNotRegular)
				}
				if !yield(name, err) {
					return fs.SkipAll
				}
				return nil
			})
			if err != nil && !yield(filepath.ToSlash(root), err) {
				return
			}
		}
	}
}

func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "symbolic link, not followed"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	default:
		return "device"
	}
}

func (w Walk) wants(name string) bool {
	ok := (len(w.Include) == 0 || matches(w.Include, name)) && !matches(w.Exclude, name)
	if !ok && w.Skipped != nil {
		w.Skipped(name)
	}
	return ok
}

func matches(globs []string, name string) bool {
	for _, g := range globs {
		if ok, err := path.Match(g, path.Base(name)); ok && err == nil {
			return true
		}
		if ok, err := path.Match(g, name); ok && err == nil {
			return true
		}
	}
	return false
}
