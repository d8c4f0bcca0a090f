package source

import (
	"context"

	"github.com/modelwarden/warden/internal/source/config"
)

// facts are what the files that are no code say, brought together.
type facts struct {
	docs []placed
}

type placed struct {
	doc  config.Doc
	file *File
}

func (f *facts) add(d *config.Doc, file *File) {
	if len(d.Sightings)+len(d.Env)+len(d.Packages)+len(d.Entries) > 0 || d.Value != nil {
		f.docs = append(f.docs, placed{*d, file})
	}
}

// other reads the languages that have no reader here yet.
func (r *reader) other(_ context.Context, f *File, _ []byte) {
	r.status(f.Lang, 0, "not_examined", "no reader for this language")
}
