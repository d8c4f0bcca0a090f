package source

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
)

// A Dir lists a folder. Symbolic links in it are not followed; that they are
// there is told.
type Dir struct {
	Root *os.Root // closed by the caller, after the tree was opened
}

// List implements [Lister].
func (d Dir) List(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		err := fs.WalkDir(d.Root.FS(), ".", func(p string, e fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return fs.SkipAll
			case err != nil:
				if !yield(Entry{Path: p}, err) {
					return fs.SkipAll
				}
				if e != nil && e.IsDir() {
					return fs.SkipDir
				}
				return nil
			case e.IsDir():
				// What is in there is not read: naming one file tells that it is there.
				if p != "." && other(p+"/x") == p {
					if !yield(Entry{Path: p + "/x"}, nil) {
						return fs.SkipAll
					}
					return fs.SkipDir
				}
				return nil
			case !e.Type().IsRegular():
				err := fmt.Errorf("not a regular file (%s): not read", kindOf(e.Type()))
				if e.Type()&fs.ModeSymlink != 0 {
					err = fmt.Errorf("%w: not followed", ErrLink)
				}
				folder := e.Type()&fs.ModeSymlink != 0 && filepath.Ext(p) == "" // maybe: what it leads to is not asked
				if (langOf(p) != "" || folder) && !yield(Entry{Path: p}, err) {
					return fs.SkipAll
				}
				return nil
			}
			info, err := e.Info()
			if err != nil {
				if !yield(Entry{Path: p}, err) {
					return fs.SkipAll
				}
				return nil
			}
			open := func() (io.ReadCloser, error) { return d.Root.Open(filepath.FromSlash(p)) }
			if !yield(Entry{Path: p, Size: info.Size(), Open: open}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(Entry{}, err)
		}
	}
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeDevice != 0:
		return "device"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "irregular"
}
