// Package decode finds and decodes text inside text: what a model reads as
// easily as the text itself, and a filter does not. It is bounded in depth and in
// what it writes, and says where it stopped.
package decode

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits bound one search. Zero fields are the defaults.
type Limits struct {
	Depth int // encodings inside one another; 3
	Found int // texts that are decoded; 64
	Ratio int // bytes written for each byte read; 4
	Bytes int // written in all; 1 MiB
}

// leastBytes may be written for the shortest text.
const leastBytes = 4 << 10

func (l Limits) orDefault() Limits {
	if l.Depth == 0 {
		l.Depth = 3
	}
	if l.Found == 0 {
		l.Found = 64
	}
	if l.Ratio == 0 {
		l.Ratio = 4
	}
	if l.Bytes == 0 {
		l.Bytes = 1 << 20
	}
	return l
}

// A Found text stands encoded in [Start, End) of the text that was searched.
type Found struct {
	Chain      string // of encodings, outermost first: "base64>rot13"
	Start, End int
	Text       []byte
	Loose      bool // the spaces between its words are lost
}

// A Result is what was decoded, and which bounds were passed.
type Result struct {
	Found    []Found
	Exceeded []string
}

// A candidate is a stretch that an encoding decodes to a text.
type candidate struct {
	start, end int
	text       []byte
	loose      bool
}

// A codec finds what it can decode in a text. room is how many bytes it may
// write; it says so if that is too little. When ctx ends it may stop anywhere.
type codec struct {
	name string
	find func(ctx context.Context, b []byte, room int) (found []candidate, over bool)
}

var codecs = []codec{
	{"base64", base64s},
	{"base32", base32s},
	{"hex", hexes},
	{"percent", percents},
	{"entities", entities},
	{"escapes", escapes},
	{"quoted-printable", quotedPrintable},
	{"binary", binaries},
	{"morse", morse},
	{"spaced", spaced},
	{"leet", leet},
	{"rot13", rot13},
	{"reversed", reversed},
}

// Find decodes what is encoded in b, and what is encoded in that. It returns an
// error only if ctx ends.
func Find(ctx context.Context, b []byte, lim Limits) (Result, error) {
	lim = lim.orDefault()
	room := min(lim.Bytes, max(leastBytes, lim.Ratio*len(b)))
	var res Result
	level := []Found{{Text: b, End: len(b)}}
	for depth := 0; len(level) > 0; depth++ {
		var next []Found
		for _, in := range level {
			for _, c := range codecs {
				if err := ctx.Err(); err != nil {
					return res, err
				}
				if in.Loose || strings.HasSuffix(in.Chain, c.name) && inverse(c.name) {
					continue
				}
				found, over := c.find(ctx, in.Text, room)
				if err := ctx.Err(); err != nil {
					return res, err
				}
				if over {
					res.exceed("more than %d bytes are encoded", min(lim.Bytes, max(leastBytes, lim.Ratio*len(b))))
				}
				for _, f := range found {
					if room -= len(f.text); room < 0 {
						res.exceed("more than %d bytes are encoded", min(lim.Bytes, max(leastBytes, lim.Ratio*len(b))))
						return res, nil
					}
					if depth == lim.Depth {
						res.exceed("encoded more than %d times", lim.Depth)
						return res, nil
					}
					if len(res.Found) == lim.Found {
						res.exceed("more than %d encoded texts", lim.Found)
						return res, nil
					}
					out := Found{Chain: c.name, Start: f.start, End: f.end, Text: f.text, Loose: f.loose}
					if in.Chain != "" {
						out.Chain, out.Start, out.End = in.Chain+">"+c.name, in.Start, in.End
					}
					res.Found = append(res.Found, out)
					next = append(next, out)
				}
			}
		}
		level = next
	}
	return res, nil
}

// inverse reports whether an encoding undoes itself.
func inverse(name string) bool { return name == "rot13" || name == "reversed" }

func (r *Result) exceed(format string, args ...any) {
	why := fmt.Sprintf(format, args...)
	if !slices.Contains(r.Exceeded, why) {
		r.Exceeded = append(r.Exceeded, why)
	}
}

// readable reports whether decoded bytes are text: UTF-8 of which more than 85 %
// are printed, half of which are letters and digits.
func readable(b []byte) bool {
	if len(b) < 4 || !utf8.Valid(b) {
		return false
	}
	printed, all, letters := 0, 0, 0
	for _, r := range string(b) {
		all++
		if unicode.IsPrint(r) || r == '\n' || r == '\t' || r == '\r' {
			printed++
		}
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			letters++
		}
	}
	return printed*100 > all*85 && letters*2 > all
}
