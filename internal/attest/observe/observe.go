// Package observe runs a command and tells which files below some folders it
// read and wrote, so that provenance can say what happened instead of what
// somebody typed.
//
// Writes are found by comparing the folders before and after. Reads are told by
// the system where it can (Linux, inotify): files that were opened while the
// command ran, by whatever process. A file that is opened is taken for read; one
// that is written too counts as written, and what it held before is not known.
// Files outside the folders are not seen.
package observe

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/modelwarden/warden"
)

// A Config says what to run and where to look. Command and Folders are
// required.
type Config struct {
	Command        []string
	Dir            string   // in which it runs; "": the current one
	Env            []string // of the command
	Folders        []string // that are observed, with all below them
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	MaxFiles       int // below the folders; zero: 1,000,000
}

// A File is one file that was read or written, as it was at the end, or for a
// file that was removed or changed as it was before.
type File struct {
	Path   string // absolute
	Digest warden.Digest
	Size   int64
}

// A Result is what was seen. Incomplete says why it may not be all.
type Result struct {
	Read    []File // opened, and not written
	Written []File // new or changed
	Removed []string

	Started, Finished time.Time
	ExitCode          int
	Incomplete        []string
}

// stamp tells whether a file changed.
type stamp struct {
	size    int64
	changed time.Time
}

// A watcher tells which files were opened. Stop returns them, and why the list
// may not be whole.
type watcher interface {
	Stop() (opened []string, incomplete []string)
}

// skipped folders hold what version control keeps, not what a step works with.
func skipped(name string) bool { return name == ".git" }

// Run starts the command, waits for it, and hashes what it read and wrote. The
// error is not nil if the command could not be started or the folders could not
// be read; an exit code is no error.
func Run(ctx context.Context, cfg Config) (Result, error) {
	var r Result
	if len(cfg.Command) == 0 || len(cfg.Folders) == 0 {
		return r, errors.New("observe: a command and a folder are needed")
	}
	if cfg.MaxFiles == 0 {
		cfg.MaxFiles = 1_000_000
	}
	var roots []string
	for _, f := range cfg.Folders {
		full, err := filepath.Abs(f)
		if err != nil {
			return r, err
		}
		if full, err = filepath.EvalSymlinks(full); err != nil {
			return r, err
		}
		roots = append(roots, full)
	}
	before, folders, err := snapshot(roots, cfg.MaxFiles)
	if err != nil {
		return r, err
	}
	w, err := watch(folders)
	if err != nil {
		r.Incomplete = append(r.Incomplete, "files that were read are not known: "+err.Error())
	}
	c := exec.CommandContext(ctx, cfg.Command[0], cfg.Command[1:]...)
	c.Dir, c.Env, c.Stdin, c.Stdout, c.Stderr = cfg.Dir, cfg.Env, cfg.Stdin, cfg.Stdout, cfg.Stderr
	c.WaitDelay = 5 * time.Second
	r.Started = time.Now()
	err = c.Run()
	r.Finished = time.Now()
	var opened []string
	if w != nil {
		var why []string
		opened, why = w.Stop()
		r.Incomplete = append(r.Incomplete, why...)
	}
	if ee := (*exec.ExitError)(nil); errors.As(err, &ee) {
		r.ExitCode = ee.ExitCode()
	} else if err != nil {
		return r, fmt.Errorf("run %s: %w", cfg.Command[0], err)
	}
	after, _, err := snapshot(roots, cfg.MaxFiles)
	if err != nil {
		return r, err
	}
	return r, r.compare(ctx, before, after, opened)
}

// compare hashes what was written and what was read.
func (r *Result) compare(ctx context.Context, before, after map[string]stamp, opened []string) error {
	written := map[string]bool{}
	for _, path := range sorted(after) {
		if old, there := before[path]; there && old == after[path] {
			continue
		}
		written[path] = true
		f, err := hashFile(ctx, path)
		if err != nil {
			return err
		}
		r.Written = append(r.Written, f)
	}
	for _, path := range sorted(before) {
		if _, there := after[path]; !there {
			r.Removed = append(r.Removed, path)
		}
	}
	slices.Sort(opened)
	for _, path := range slices.Compact(opened) {
		if _, there := after[path]; !there || written[path] {
			continue
		}
		f, err := hashFile(ctx, path)
		if err != nil {
			return err
		}
		r.Read = append(r.Read, f)
	}
	return nil
}

func sorted(m map[string]stamp) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// snapshot lists the regular files below the roots, and the folders.
func snapshot(roots []string, maxFiles int) (files map[string]stamp, folders []string, err error) {
	files = map[string]stamp{}
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil // it went while we looked
			case err != nil:
				return err
			case d.IsDir() && skipped(d.Name()):
				return fs.SkipDir
			case d.IsDir():
				folders = append(folders, path)
				return nil
			case !d.Type().IsRegular():
				return nil
			}
			st, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if files[path] = (stamp{st.Size(), st.ModTime()}); len(files) > maxFiles {
				return fmt.Errorf("more than %d files below %s: observe smaller folders", maxFiles, root)
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return files, folders, nil
}

func hashFile(ctx context.Context, path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, reader{ctx, f})
	if err != nil {
		return File{}, fmt.Errorf("read %s: %w", path, err)
	}
	return File{path, warden.Digest(h.Sum(nil)), n}, nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}
