package format

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/format/opaque"
	"github.com/modelwarden/warden/internal/format/torch7"
)

// llamafile is the format of a program that carries its model in an archive at
// its end.
const llamafile = "llamafile"

// tryLlamafile takes a program with a model or with arguments in its archive.
// What it begins with is what runs, so that comes first.
func (f *File) tryLlamafile(_ context.Context, w window) bool {
	if f.Zip == nil || !w.has(apeMagic) && !executable(w.head) {
		return false
	}
	for _, e := range f.Zip.Entries {
		if name := path.Base(e.Name); name == ".args" || strings.EqualFold(path.Ext(name), ".gguf") {
			f.Also = slices.DeleteFunc(append([]string{f.Format}, f.Also...), func(s string) bool { return s == llamafile || s == "" })
			f.Format = llamafile
			return true
		}
	}
	return false
}

// tryTorch7 takes what the Lua Torch serialiser writes. Only objects of a class
// and functions can be told by their beginning; of others the walk must end with
// the file, or the name must say it.
func (f *File) tryTorch7(ctx context.Context, w window) bool {
	named := slices.Contains([]string{".t7", ".th", ".net"}, f.ext())
	maybe, certain, ascii := torch7.Sniff(w.head)
	if !maybe || !certain && f.Format != "" {
		return false
	}
	d, err := torch7.Open(ctx, f.R, f.Size, ascii, f.limits())
	if !certain && !named && (err != nil || d.Size != f.Size || d.Objects < 3) {
		return false
	}
	f.claim("torch7")
	f.Torch7 = d
	for _, t := range d.Texts {
		f.text("text", t.Value, t.At)
	}
	switch {
	case err != nil:
		f.unread("read/torch7", err)
	case d.Size < f.Size:
		f.unread("read/torch7", fmt.Errorf("%d bytes follow the object", f.Size-d.Size))
	}
	return true
}

// tryOpaque takes engines that only their own loader can read.
func (f *File) tryOpaque(ctx context.Context, w window) bool {
	kind, start, certain := opaque.Sniff(w.head, f.ext())
	if kind == "" || !certain && (f.Format != "" || plain(w.head)) {
		return false
	}
	f.claim(kind)
	b, err := opaque.Open(ctx, f.R, f.Size, kind, start, f.limits())
	f.Opaque = b
	if err != nil {
		f.unread("read/"+kind, err)
	}
	for _, t := range b.Texts {
		f.text("text", t.Value, t.At)
	}
	return true
}
