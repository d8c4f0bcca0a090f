package source

import (
	"context"
	"fmt"

	"github.com/modelwarden/warden/internal/source/golang"
	"github.com/modelwarden/warden/internal/source/js"
	"github.com/modelwarden/warden/internal/source/syntax"
	"github.com/modelwarden/warden/internal/source/tokens"
)

// other reads the languages besides Python.
func (r *reader) other(ctx context.Context, f *File, data []byte) {
	switch f.Lang {
	case JavaScript:
		var errs []js.Error
		f.Syntax, errs = js.Parse(ctx, f.Path, data)
		if f.Imports {
			f.Syntax = js.Imports(f.Syntax)
			r.status(f.Lang, 0, "not_examined", "generated or minified: read for its imports only")
			return
		}
		for i, e := range errs {
			if i == 0 {
				r.partly(f.Lang, f.Syntax, e.Start, e.Message, len(errs))
			}
		}
	case Go:
		g, errs := golang.Parse(ctx, data)
		f.Syntax, f.group = &g.File, g.Package
		if len(errs) > 0 {
			r.partly(f.Lang, f.Syntax, errs[0].Start, errs[0].Message, len(errs))
		}
	case Java, Kotlin, CSharp:
		m := tokens.Parse(ctx, f.Path, data)
		f.Syntax, f.group = &m.File, "vm:"+m.Package
		if !m.Whole {
			r.status(f.Lang, 0, "partial", "nested too deeply, or stopped")
		}
	default:
		r.status(f.Lang, 0, "not_examined", "no reader for this language")
	}
}

// partly makes a status of what a reader could not read.
func (r *reader) partly(lang Lang, m *syntax.File, at int, message string, n int) {
	more := ""
	if n > 1 {
		more = fmt.Sprintf(" (and %d more)", n-1)
	}
	r.status(lang, m.Line(int32(min(at, 1<<30))), "partial", "%s%s", message, more) //nolint:gosec // bounded
}
