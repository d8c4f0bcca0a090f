package oms

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A model is a file or a folder that is signed or verified. Everything is opened
// below its root, so that no link and no name leads outside.
type model struct {
	root   *os.Root
	base   string // name of the folder or file
	single bool
	full   string // absolute path, to leave out a signature that lies inside
}

// An entry is one regular file of a model.
type entry struct {
	name    string // canonical: relative, with slashes
	size    int64
	changed time.Time
}

func openModel(name string) (*model, error) {
	full, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(full)
	if err != nil {
		return nil, err
	}
	m := &model{base: filepath.Base(full), full: full}
	switch {
	case st.IsDir():
	case st.Mode().IsRegular():
		m.single, full = true, filepath.Dir(full)
	default:
		return nil, reject("%s is neither a file nor a folder", name)
	}
	m.root, err = os.OpenRoot(full)
	return m, err
}

func (m *model) close() error { return m.root.Close() }

// open opens a listed file and makes sure that it is still a regular one.
func (m *model) open(e entry) (*os.File, error) {
	f, err := m.root.Open(filepath.FromSlash(e.name))
	if err != nil {
		return nil, err
	}
	if err := e.unchanged(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// defaultIgnored lie at the top of a folder and are never part of a model.
var defaultIgnored = []string{".git", ".gitattributes", ".github", ".gitignore"}

// ignores is what is left out: exact relative paths with all below them.
type ignores []string

func (ig ignores) match(name string) bool {
	return slices.ContainsFunc(ig, func(p string) bool { return name == p || strings.HasPrefix(name, p+"/") })
}

// userIgnore checks a path that a user wants left out and makes it relative.
func userIgnore(p string) (string, error) {
	if p == "" || strings.HasPrefix(p, "/") || strings.ContainsAny(p, "*?[\\") || path.Clean(p) != strings.TrimSuffix(p, "/") || p == "." || p == ".." || strings.HasPrefix(p, "../") {
		return "", reject("--ignore %q: want an exact path below the model, without patterns", p)
	}
	return strings.TrimSuffix(p, "/"), nil
}

// inside returns the path of a signature file relative to the model, or "" if it
// lies elsewhere.
func (m *model) inside(signature string) string {
	if m.single || signature == "" {
		return ""
	}
	full, err := filepath.Abs(signature)
	if err != nil {
		return ""
	}
	rel, err := filepath.Rel(m.full, full)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return ""
	}
	return filepath.ToSlash(rel)
}

const maxDepth = 100

// list returns the regular files of a model in code point order, without what
// is ignored. Links and special files are rejected unless links are followed,
// and those that lead outside always.
func (m *model) list(skip ignores, follow bool) ([]entry, error) {
	if m.single {
		st, err := m.root.Stat(m.base)
		if err != nil {
			return nil, err
		}
		return []entry{{m.base, st.Size(), st.ModTime()}}, nil
	}
	top, err := m.root.Stat(".")
	if err != nil {
		return nil, err
	}
	w := &walker{m: m, skip: skip, follow: follow}
	if err := w.folder(".", []fs.FileInfo{top}); err != nil {
		return nil, err
	}
	slices.SortFunc(w.out, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return w.out, nil
}

type walker struct {
	m      *model
	skip   ignores
	follow bool
	out    []entry
}

func (w *walker) folder(name string, above []fs.FileInfo) error {
	if len(above) > maxDepth {
		return reject("%.200q lies more than %d folders deep", name, maxDepth)
	}
	d, err := w.m.root.Open(filepath.FromSlash(name))
	if err != nil {
		return err
	}
	list, err := d.ReadDir(-1)
	if err = errors.Join(err, d.Close()); err != nil {
		return err
	}
	for _, e := range list {
		if err := w.one(path.Join(name, e.Name()), e, above); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) one(name string, e fs.DirEntry, above []fs.FileInfo) error {
	if !utf8.ValidString(name) {
		return reject("file name %q is not UTF-8 and cannot be written into a statement", name)
	}
	if w.skip.match(name) {
		return nil
	}
	if len(w.out) >= maxResources {
		return reject("more than %d files", maxResources)
	}
	st, err := e.Info()
	if err != nil {
		return err
	}
	if st.Mode()&fs.ModeSymlink != 0 {
		if !w.follow {
			return reject("%.200q is a symbolic link; links are not followed", name)
		}
		if st, err = w.m.root.Stat(filepath.FromSlash(name)); err != nil {
			return reject("symbolic link %.200q: %w", name, err)
		}
	}
	switch {
	case st.IsDir():
		if slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, st) }) {
			return reject("%.200q leads back to a folder above it", name)
		}
		return w.folder(name, append(slices.Clone(above), st))
	case st.Mode().IsRegular():
		w.out = append(w.out, entry{name, st.Size(), st.ModTime()})
		return nil
	default:
		return reject("%.200q is a %s, no file", name, kind(st.Mode()))
	}
}

func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	default:
		return fmt.Sprintf("special file (%v)", m.Type())
	}
}
