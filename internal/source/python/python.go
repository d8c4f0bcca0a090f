// Package python reads Python source, as hostile input, into a small tree.
//
// It accepts the language from 3.8 to 3.14 and the statements of Python 2 that
// later versions dropped. Nothing is executed or imported. A statement that
// does not parse becomes a [syntax.Bad] node and an [Error], and reading goes on with
// the next one, so that one odd line never hides the rest of a file; a caller
// that must know that all of it was read looks at the errors.
//
// The tree is that of package syntax. On top of it stand [syntax.Dotted],
// [Fold] and [NewImports], with which a consumer tells that c.run() means
// a.b.run().
package python

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// Limits bound what [Parse] reads. A field that is 0 stands for its default.
type Limits struct {
	Bytes  int // of source; default 8 MiB
	Depth  int // of brackets, blocks and operators inside each other; default 500
	Errors int // that are kept; default 100
}

// DefaultLimits returns the limits that zero fields stand for.
func DefaultLimits() Limits { return Limits{Bytes: 8 << 20, Depth: 500, Errors: 100} }

// An Error says what could not be read. It covers bytes Start to End.
type Error struct {
	Start, End int
	Message    string
	Err        error // what errors.Is should find: [ErrLimit] or the context's cause; else nil
}

// Error returns the message and the place.
func (e Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("byte %d: %s: %v", e.Start, e.Message, e.Err)
	}
	return fmt.Sprintf("byte %d: %s", e.Start, e.Message)
}

// Unwrap returns Err.
func (e Error) Unwrap() error { return e.Err }

// A Module is a file of source.
type Module struct {
	syntax.File
	Python2 bool // something was read that only Python 2 accepts
}

// Parse reads src. It always returns a module, which holds what could be read;
// the errors tell what could not, in the order of the source. It does not keep
// src. The encoding is UTF-8 unless the first two lines declare Latin-1 or one
// of its subsets; offsets then count in the text as UTF-8, which is
// [Module.Source].
func Parse(ctx context.Context, src []byte, lim Limits) (*Module, []Error) {
	def := DefaultLimits()
	if lim.Bytes <= 0 || lim.Bytes > 1<<30 {
		lim.Bytes = def.Bytes
	}
	if lim.Depth <= 0 || lim.Depth > 4*def.Depth {
		lim.Depth = def.Depth
	}
	if lim.Errors <= 0 {
		lim.Errors = def.Errors
	}
	l := &lexer{lim: lim}
	if len(src) > lim.Bytes {
		l.fail(lim.Bytes, len(src), ErrLimit, "the source is longer than %d bytes", lim.Bytes)
		src = src[:lim.Bytes]
	}
	text, encErr := decode(src)
	if encErr != "" {
		l.fail(0, 0, nil, "%s", encErr)
	}
	m := &Module{File: syntax.File{Source: text}}
	l.src = text
	l.toks = make([]token, 0, len(text)/5+16)
	if strings.HasPrefix(text, "\uFEFF") {
		l.pos = len("\uFEFF")
	}
	l.run(ctx)
	p := &parser{lexer: l, stop: func() error { return context.Cause(ctx) }}
	m.Body = p.file()
	m.Python2 = l.python2
	if l.dropped {
		l.fail(0, len(text), ErrLimit, "there are more than %d errors", lim.Errors)
	}
	sort.SliceStable(l.errs, func(i, j int) bool { return l.errs[i].Start < l.errs[j].Start })
	return m, l.errs
}

// declaration finds the encoding in one of the first two lines, see PEP 263.
var declaration = regexp.MustCompile(`^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)`)

// decode turns src into UTF-8. Bytes that are wrong stay as they are.
func decode(src []byte) (text, problem string) {
	rest := src[:min(len(src), 1024)]
	for range 2 {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		if m := declaration.FindSubmatch(line); m != nil {
			return recode(src, strings.ToLower(strings.ReplaceAll(string(m[1]), "_", "-")))
		}
		if t := bytes.TrimLeft(line, " \t\f\r\xef\xbb\xbf"); len(t) > 0 && t[0] != '#' {
			break
		}
		rest = after
	}
	return recode(src, "utf-8")
}

func recode(src []byte, name string) (text, problem string) {
	if ascii(src) {
		return string(src), ""
	}
	switch {
	case strings.HasPrefix(name, "utf-8"), name == "utf8", name == "ascii", name == "us-ascii", strings.HasPrefix(name, "mbcs"):
		if !utf8.Valid(src) {
			return string(src), "the source is not valid UTF-8"
		}
		return string(src), ""
	case strings.HasPrefix(name, "latin"), strings.HasPrefix(name, "iso-8859-1"), strings.HasPrefix(name, "iso8859-1"), name == "cp1252", name == "windows-1252":
		var b strings.Builder
		b.Grow(len(src) + len(src)/8)
		for _, c := range src {
			b.WriteRune(rune(c))
		}
		return b.String(), ""
	default:
		return string(src), fmt.Sprintf("the encoding %q is not known: text beyond ASCII may be wrong", name)
	}
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
