package format

import (
	"cmp"
	"slices"
)

// A Range is a part of a file, in bytes; its end is not in it.
type Range struct{ Start, End int64 }

// Full reports whether all weight bytes are to be searched too.
func (f *File) Full() bool { return f.limits().Full }

// Rest returns the parts of f that none of its members holds, in order: all of a
// file that is no container, none of a compressed one, and headers, gaps and
// what comes before and after in an archive.
func (f *File) Rest() []Range {
	if f.Seven != nil || f.wrapper != "" {
		return nil
	}
	var held []Range
	if f.Zip != nil {
		for _, e := range f.Zip.Entries {
			if !e.Dir() && e.Data >= 0 {
				held = append(held, Range{e.Data, e.Data + e.Packed})
			}
		}
	}
	if f.Tar != nil {
		for _, e := range f.Tar.Entries {
			held = append(held, Range{e.Data, e.Data + e.Size})
		}
	}
	for _, at := range []int64{f.object, f.rest} {
		if at > 0 {
			held = append(held, Range{at, f.Size})
		}
	}
	slices.SortFunc(held, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	var rest []Range
	at := int64(0)
	for _, h := range held {
		if h.Start > at {
			rest = append(rest, Range{at, min(h.Start, f.Size)})
		}
		at = max(at, h.End)
	}
	if at < f.Size {
		rest = append(rest, Range{at, f.Size})
	}
	return rest
}
