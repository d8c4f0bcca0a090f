// Package source reads source trees, as hostile input, into a [Tree]: the
// files, their syntax, and what of AI is seen in them.
//
// Nothing in a tree is executed, built, imported or installed. Symbolic links
// are not followed, so no file outside the tree is read. What cannot be read,
// wholly or in part, is a [Status] with its place; it is never taken for empty.
// The same files give the same tree, in whatever order they are listed.
package source

import (
	"context"
	"errors"
	"io"
	"iter"
	"path"
	"strings"

	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// ErrLimit is wrapped by the status of what is beyond a limit.
var ErrLimit = errors.New("limit")

// ErrLink is wrapped by a lister's error for a symbolic link or a submodule:
// what it leads to is not read, or under its own name.
var ErrLink = errors.New("a link")

// Limits bound what [Open] reads. A field that is 0 stands for its default.
type Limits struct {
	FileBytes int64 // of one source or configuration file; default 8 MiB
	Files     int   // of a tree; default 200,000
	Bytes     int64 // of source in a tree; default 2 GiB
	Jobs      int   // files read at once; default one for each CPU
}

// DefaultLimits returns the limits that zero fields stand for.
func DefaultLimits() Limits {
	return Limits{FileBytes: 8 << 20, Files: 200_000, Bytes: 2 << 30}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.FileBytes <= 0 {
		l.FileBytes = d.FileBytes
	}
	if l.Files <= 0 {
		l.Files = d.Files
	}
	if l.Bytes <= 0 {
		l.Bytes = d.Bytes
	}
	return l
}

// An Entry is a regular file of a tree that was listed but not read.
type Entry struct {
	Path string // relative, with slashes
	Size int64
	Open func() (io.ReadCloser, error)

	lang Lang // of a script without extension, from its first line
}

// A Lister lists the regular files of a tree, in any order. An error stands for
// a part that could not be listed; Entry.Path then names it.
type Lister interface {
	List(ctx context.Context) iter.Seq2[Entry, error]
}

// A Lang is what a file is written in.
type Lang string

// The languages that have readers. Others are "".
const (
	Python     Lang = "python"
	Notebook   Lang = "notebook"
	JavaScript Lang = "javascript" // JSX, TypeScript, TSX, Vue and Svelte as well
	Go         Lang = "go"
	Java       Lang = "java"
	Kotlin     Lang = "kotlin"
	CSharp     Lang = "csharp"
	Config     Lang = "config" // anything that leaf config reads
	Weights    Lang = "weights"
)

// A File is one file of a tree.
type File struct {
	Path    string
	Lang    Lang
	Scope   sight.Scope
	Size    int64
	Syntax  *syntax.File // of code; nil if nothing could be read
	Cells   []int        // of a notebook: the first line of each code cell in Syntax, from 1
	Imports bool         // generated or minified: only its imports count
	Digest  string       // of a weights file that was hashed, or named by a Git LFS pointer: sha256:…
	Pointer bool         // a Git LFS pointer stands for the file

	group string // the name of the package, where files share theirs
}

// A Status says what of a tree was not looked at, or not wholly.
type Status struct {
	Reader string // source/python, source/walk, …
	Path   string
	Line   int    // from 1; 0: the whole file
	State  string // skipped: over a limit or unreadable; partial: the rest of the file was read; not_examined: does not count, but said
	Detail string
}

// Complete reports whether everything that counts was read.
func (t *Tree) Complete() bool {
	for _, s := range t.Statuses {
		if s.State != "not_examined" {
			return false
		}
	}
	return true
}

// A Tree is a source tree that was read. It is not changed afterwards.
type Tree struct {
	Name     string
	Files    []*File  // sorted by path
	Statuses []Status // sorted
	Left     []string // folders that hold the code of others and were not looked into: node_modules, virtual environments; sorted
	Bytes    int64    // of source that was read

	facts facts
}

// scopeOf tells from a path what a file is for.
func scopeOf(p string) sight.Scope {
	dir, base := path.Split(strings.ToLower(p))
	for part := range strings.SplitSeq(dir, "/") {
		switch part {
		case "test", "tests", "testing", "__tests__", "spec", "specs", "e2e", "fixtures", "testdata", "eval", "evals", "evaluation", "evaluations", "benchmark", "benchmarks", "bench":
			return sight.Test
		case "example", "examples", "demo", "demos", "sample", "samples", "cookbook", "cookbooks", "tutorial", "tutorials", "playground", "quickstart":
			return sight.Example
		case "doc", "docs", "documentation":
			return sight.Docs
		}
	}
	stem, _, _ := strings.Cut(base, ".")
	switch {
	case strings.HasPrefix(base, "test_"), strings.HasSuffix(stem, "_test"), strings.HasSuffix(stem, "_tests"), stem == "conftest",
		strings.Contains(base, ".test."), strings.Contains(base, ".spec."), strings.HasPrefix(base, "eval_"), strings.HasSuffix(stem, "_eval"):
		return sight.Test
	}
	return sight.Production
}

// languages tells by extension; config.Wants tells the rest.
var languages = map[string]Lang{
	".py": Python, ".pyw": Python, ".pyi": "", ".ipynb": Notebook,
	".js": JavaScript, ".mjs": JavaScript, ".cjs": JavaScript, ".jsx": JavaScript, ".ts": JavaScript, ".mts": JavaScript, ".cts": JavaScript,
	".tsx": JavaScript, ".vue": JavaScript, ".svelte": JavaScript,
	".go": Go, ".java": Java, ".kt": Kotlin, ".kts": Kotlin, ".cs": CSharp,
	".safetensors": Weights, ".gguf": Weights, ".ggml": Weights, ".onnx": Weights, ".pt": Weights, ".pth": Weights, ".bin": Weights, ".ckpt": Weights,
	".pkl": Weights, ".pickle": Weights, ".joblib": Weights, ".dill": Weights, ".h5": Weights, ".hdf5": Weights, ".keras": Weights, ".pb": Weights,
	".tflite": Weights, ".mlmodel": Weights, ".engine": Weights, ".plan": Weights, ".nemo": Weights, ".llamafile": Weights, ".npz": Weights, ".npy": Weights,
	".mar": Weights, ".pmml": Weights, ".caffemodel": Weights, ".pdparams": Weights, ".pdmodel": Weights, ".msgpack": Weights, ".ot": Weights,
	".skops": Weights, ".cbm": Weights, ".ubj": Weights,
}

// others are folders that hold the code of others, or what tools made.
var others = map[string]bool{
	"node_modules": true, "bower_components": true, "site-packages": true, "dist-packages": true, "__pycache__": true, ".venv": true, "venv": true,
	"virtualenv": true, ".tox": true, ".nox": true, ".mypy_cache": true, ".pytest_cache": true, ".ruff_cache": true, ".git": true, ".hg": true, ".svn": true,
	"vendor": true, "third_party": true, "thirdparty": true, ".next": true, ".nuxt": true, ".svelte-kit": true, ".gradle": true, ".terraform": true,
	".ipynb_checkpoints": true, ".yarn": true, ".pnpm-store": true, ".eggs": true,
}

// other returns the folder of others that holds p, or "".
func other(p string) string {
	at := 0
	for part := range strings.SplitSeq(p, "/") {
		if at+len(part) < len(p) && (others[part] || strings.HasSuffix(part, ".egg-info") || strings.HasSuffix(part, ".dist-info")) {
			return p[:at+len(part)]
		}
		at += len(part) + 1
	}
	return ""
}
