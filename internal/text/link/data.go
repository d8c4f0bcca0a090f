package link

import (
	"encoding/base64"
	"encoding/hex"
	"hash/maphash"
	"math"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// What is long for a part of an address, and how much it varies then.
const (
	longQuery   = 512 // bytes
	longSegment = 48
	denseBits   = 4.3 // bits a byte, of a part of at least longSegment bytes
	longLabel   = 40  // of a host
	minWords    = 4   // of the context in a row
	minDigits   = 6
	minAtom     = 12
)

// opaque says whether parts of an address look like data that somebody packed.
func opaque(u *url.URL) (kind, note string) {
	for label := range strings.SplitSeq(u.Hostname(), ".") {
		if len(label) >= longLabel {
			return "url-query", "a label of the host is long"
		}
	}
	if len(u.RawQuery) >= longQuery {
		return "url-query", "the query is long"
	}
	for key, values := range u.Query() {
		for _, v := range values {
			if len(v) >= longSegment && entropy(v) >= denseBits && !strings.ContainsAny(v, " /") {
				return "url-query", "a value looks packed"
			}
		}
		if len(key) >= longSegment && entropy(key) >= denseBits {
			return "url-query", "a name looks packed"
		}
	}
	for seg := range strings.SplitSeq(u.Path, "/") {
		if len(seg) >= 2*longSegment && entropy(seg) >= denseBits && strings.IndexByte(seg, '-') < 0 && strings.IndexByte(seg, '_') < 0 {
			return "url-query", "a part of the path looks packed"
		}
	}
	return "", ""
}

func entropy(s string) float64 {
	var count [256]int
	for i := range len(s) {
		count[s[i]]++
	}
	e := 0.0
	for _, c := range count {
		if c > 0 {
			p := float64(c) / float64(len(s))
			e -= p * math.Log2(p)
		}
	}
	return e
}

// carries says whether an address carries something that the model was told: a
// number, a name with digits, an address of mail, or words in a row. An address
// that was itself said before carries nothing new.
func (p *Policy) carries(u *url.URL) (kind, note string) {
	if p.Known == nil || u.RawQuery == "" && len(u.Path) < minAtom && strings.Count(u.Host, ".") < 2 {
		return "", ""
	}
	if p.Known(u.Scheme + "://" + u.Host + u.RequestURI()) {
		return "", ""
	}
	host := u.Hostname()
	if i := strings.LastIndexByte(host, '.'); i > 0 {
		if j := strings.LastIndexByte(host[:i], '.'); j > 0 {
			host = host[:j]
		} else {
			host = ""
		}
	}
	place := u.Host + u.Path
	for _, part := range []struct{ text, where string }{{unescape(u.RawQuery), "query"}, {unescape(u.Fragment), "fragment"}, {u.Path, "path"}, {host, "host"}} {
		if part.text == "" || part.where == "path" && p.Known(place) {
			continue
		}
		for _, t := range decodings(part.text) {
			if slices.ContainsFunc(Atoms(t), p.Known) {
				return "url-context", "in its " + part.where
			}
		}
	}
	return "", ""
}

// decodings returns a text and what its parts mean in base64 and hexadecimal.
func decodings(s string) []string {
	out := []string{s}
	for _, f := range strings.FieldsFunc(s, func(r rune) bool {
		return r == '&' || r == '/' || r == '.' || r == ' ' || r == ',' || r == ';' || r == '?'
	}) {
		if i := strings.IndexByte(f, '='); i >= 0 && i < len(f)-2 {
			f = f[i+1:]
		}
		if len(f) < 8 || len(out) > 32 {
			continue
		}
		plain := strings.TrimRight(f, "=")
		for _, enc := range []*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding} {
			if b, err := enc.DecodeString(plain); err == nil && printable(b) {
				out = append(out, string(b))
			}
		}
		if b, err := hex.DecodeString(f); err == nil && printable(b) {
			out = append(out, string(b))
		}
	}
	return out
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' {
			return false
		}
	}
	return len(b) > 0
}

// Atoms returns what of a text is worth recognising elsewhere: addresses, numbers
// of six digits and more, long names with digits in them, and runs of words.
func Atoms(s string) []string {
	var out []string
	var words []string
	flush := func() {
		for i := 0; i+minWords <= len(words); i++ {
			out = append(out, strings.Join(words[i:i+minWords], " "))
		}
		words = words[:0]
	}
	for f := range strings.FieldsFuncSeq(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '@' && r != '.' && r != '-' && r != '_'
	}) {
		f = strings.ToLower(strings.Trim(f, ".-_"))
		digits, letters := 0, 0
		for _, r := range f {
			switch {
			case unicode.IsDigit(r):
				digits++
			case unicode.IsLetter(r):
				letters++
			}
		}
		switch {
		case f == "":
		case strings.IndexByte(f, '@') > 0, digits > 0 && digits+letters >= minAtom:
			out = append(out, f)
		case digits >= minDigits:
			out = append(out, strings.Map(func(r rune) rune {
				if unicode.IsDigit(r) {
					return r
				}
				return -1
			}, f))
		}
		if letters > 0 && digits == 0 {
			words = append(words, strings.Trim(f, "@"))
		} else {
			flush()
		}
	}
	flush()
	return out
}

// maxAtoms bounds a context.
const maxAtoms = 1 << 16

// A Context remembers atoms of texts. It is built once and read afterwards.
type Context struct {
	seed  maphash.Seed
	known map[uint64]struct{}
	full  bool
}

// NewContext reads texts.
func NewContext(texts ...[]byte) *Context {
	c := &Context{seed: maphash.MakeSeed(), known: map[uint64]struct{}{}}
	for _, t := range texts {
		s := string(t)
		for _, a := range Atoms(s) {
			c.add(a)
		}
		for f := range strings.FieldsSeq(s) {
			if i := strings.Index(f, "://"); i > 0 {
				f = strings.TrimRight(strings.TrimLeft(f, "(<\"'["), ".,;:!?)>]\"'")
				c.add(f)
				if _, rest, ok := strings.Cut(f, "://"); ok {
					rest, _, _ = strings.Cut(rest, "?")
					c.add(rest)
				}
			}
		}
	}
	return c
}

func (c *Context) add(s string) {
	if len(c.known) >= maxAtoms {
		c.full = true
		return
	}
	c.known[maphash.String(c.seed, s)] = struct{}{}
}

// Full reports that the texts hold more than is remembered.
func (c *Context) Full() bool { return c.full }

// Known reports whether s is an atom or an address of the texts.
func (c *Context) Known(s string) bool {
	_, ok := c.known[maphash.String(c.seed, s)]
	return ok
}
