package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/modelwarden/warden/internal/source"
	"github.com/modelwarden/warden/internal/source/gitrepo"
	"github.com/modelwarden/warden/internal/source/image"
)

// openTree reads what the argument names: a folder, a repository, an image. What
// it returns to be called at the end removes what was fetched.
func (a *app) openTree(ctx context.Context, f *inventoryFlags, name string) (*source.Tree, func() error, error) {
	opts := source.Options{Name: name}
	show := a.treeProgress(f)
	opts.Progress = show.files
	defer show.end()
	if gitrepo.IsURL(name) {
		return a.openRepo(ctx, f, name, opts, show)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, usage("%w (hint: a folder, the address of a repository, or the tar file of an image)", err)
	}
	if f.rev != "" {
		return nil, nil, usage("--rev is for the address of a repository; %s is a file or folder here", name)
	}
	if !info.IsDir() || image.IsLayout(name) {
		im, err := image.Open(ctx, name, "", image.Limits{})
		if err != nil {
			return nil, nil, &exit{exitIncomplete, err}
		}
		opts.Installed, opts.Facts = true, append(opts.Facts, im.Doc())
		tree, err := source.Open(ctx, im, opts)
		if err != nil {
			return nil, nil, &exit{exitIncomplete, errors.Join(err, im.Close())}
		}
		return tree, im.Close, nil
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, nil, &exit{exitIncomplete, err}
	}
	tree, err := source.Open(ctx, source.Dir{Root: root}, opts)
	if err != nil {
		return nil, nil, &exit{exitIncomplete, errors.Join(err, root.Close())}
	}
	return tree, root.Close, nil
}

func (a *app) openRepo(ctx context.Context, f *inventoryFlags, name string, opts source.Options, show *treeProgress) (*source.Tree, func() error, error) {
	var said io.Writer
	if show.on {
		said = a.Stderr
	}
	r, err := gitrepo.Clone(ctx, name, f.rev, "", os.Environ(), said)
	switch {
	case errors.Is(err, gitrepo.ErrNoGit), errors.Is(err, gitrepo.ErrURL):
		return nil, nil, usage("%w", err)
	case err != nil:
		return nil, nil, &exit{exitIncomplete, err}
	}
	tree, err := source.Open(ctx, r, opts)
	if err != nil {
		return nil, nil, &exit{exitIncomplete, errors.Join(err, r.Close())}
	}
	return tree, r.Close, nil
}

// treeProgress shows how far reading is, on a terminal, once it takes a while.
type treeProgress struct {
	w  io.Writer
	on bool

	mu    sync.Mutex // guards what follows
	since time.Time
	last  time.Time
	drawn bool
}

func (a *app) treeProgress(f *inventoryFlags) *treeProgress {
	now := time.Now()
	return &treeProgress{w: a.Stderr, on: terminal(a.Stderr) && !f.noProgress && !f.quiet, since: now, last: now}
}

func (p *treeProgress) files(n int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.on || now.Sub(p.since) < progressAfter || now.Sub(p.last) < progressEvery {
		return
	}
	p.last, p.drawn = now, true
	fmt.Fprintf(p.w, "\r\x1b[K%d files, %.1f MB read", n, float64(bytes)/1e6)
}

func (p *treeProgress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
