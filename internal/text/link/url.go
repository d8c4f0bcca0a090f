// Package link recognises addresses in text that a reader's program follows, by
// itself or at a click: in Markdown, HTML, CSS, Slack's markup and bare. It looks
// nothing up.
package link

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode"

	"github.com/modelwarden/warden/internal/text/stream"
)

// Groups of matches: addresses, and what waits for its other half.
const (
	Group     = 3
	PairGroup = 10
)

// Caps of constructs, in bytes.
const (
	URLCap       = 4 << 10
	ConstructCap = 8 << 10
)

// Kinds of pairs: a reference is an image only with its definition, and harmless
// without. Their Note is the label.
const (
	Use        = "image-use"
	Definition = "image-definition"
)

// An Entry is a host, and the beginning of a path, that is trusted. A host that
// begins with "*." stands for all below it.
type Entry struct{ Host, Path string }

// ParseEntry reads "host/path".
func ParseEntry(s string) Entry {
	host, path, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://"), "/")
	return Entry{strings.ToLower(host), "/" + path}
}

// A Policy says which addresses may stand in an answer.
type Policy struct {
	Links  []Entry // that are fine, whatever they look like
	Images []Entry // that may be fetched without being asked for
	// Known tells which parts of the text were said to the model before: data
	// that an address must not carry. It may be nil.
	Known func(part string) bool
}

// trusted reports whether an entry names u, and u does not name another place
// that its host would send the reader on to.
func trusted(list []Entry, u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	rest := strings.ToLower(u.Path + "?" + unescape(u.RawQuery))
	if strings.Contains(rest, "://") || strings.Contains(rest, "//") || strings.Contains(rest, "..") || strings.ContainsRune(rest, '\\') || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return false
	}
	for _, e := range list {
		if e.Host == host || strings.HasPrefix(e.Host, "*.") && strings.HasSuffix(host, e.Host[1:]) {
			if e.Path == "/" || u.Path == strings.TrimSuffix(e.Path, "/") || strings.HasPrefix(u.Path, strings.TrimSuffix(e.Path, "/")+"/") {
				return true
			}
		}
	}
	return false
}

func unescape(s string) string {
	if t, err := url.QueryUnescape(s); err == nil {
		return t
	}
	return s
}

// fetched reports whether a reader would fetch s over the network, and may not.
func (p *Policy) fetched(s string) bool {
	s = clean(s)
	if strings.HasPrefix(s, "//") || strings.HasPrefix(s, `\\`) || strings.HasPrefix(s, `/\`) {
		s = "https://" + s[2:]
	}
	if !strings.Contains(s, ":") {
		return false // of the page itself
	}
	scheme, _, _ := strings.Cut(strings.ToLower(s), ":")
	switch scheme {
	case "data", "cid", "blob", "about":
		return false
	}
	u, err := url.Parse(s)
	return err != nil || !trusted(p.Images, u)
}

// clean removes what readers ignore in an address: space around it, and control
// characters in it.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.TrimSpace(s))
}

// active reports whether following s runs it.
func active(s string) bool {
	scheme, rest, ok := strings.Cut(strings.ToLower(clean(s)), ":")
	if !ok {
		return false
	}
	switch strings.TrimSpace(scheme) {
	case "javascript", "vbscript", "livescript", "mocha", "jar", "feed":
		return true
	case "data":
		return !strings.HasPrefix(rest, "image/") || strings.HasPrefix(rest, "image/svg")
	case "file", "smb", "ms-msdt", "search-ms", "ms-officecmd", "ms-appinstaller", "shell":
		return true
	}
	return false
}

// judge says what is wrong with an address that has a scheme: the kind of the
// match, or "".
func (p *Policy) judge(s string) (kind, note string) {
	if active(s) {
		return "url-scheme", ""
	}
	u, err := url.Parse(s)
	if err != nil {
		return "url-malformed", ""
	}
	if u.User != nil {
		if _, secret := u.User.Password(); secret {
			if u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "ftp" {
				return "connection", u.Scheme
			}
			return "url-credentials", ""
		}
		if strings.ContainsAny(u.User.Username(), ".") || u.Scheme == "http" || u.Scheme == "https" {
			return "url-credentials", "what stands before the at sign is no host"
		}
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", ""
	}
	host := strings.ToLower(u.Hostname())
	if a, ok := numeric(host); ok {
		if metadata(a) {
			return "url-metadata", a.String()
		}
		if trusted(p.Links, u) || a.IsLoopback() || a.IsUnspecified() {
			return "", ""
		}
		return "url-address", ""
	}
	if host == "metadata.google.internal" || host == "metadata" {
		return "url-metadata", host
	}
	if mixed(host) {
		return "url-mixed", ""
	}
	if k, n := p.carries(u); k != "" {
		return k, n
	}
	if trusted(p.Links, u) {
		return "", ""
	}
	if strings.Contains(host, "xn--") || !ascii(host) {
		return "url-idn", ""
	}
	return opaque(u)
}

// numeric reads an IP address in any form that browsers take: dotted, with
// leading zeros, hexadecimal, or as one number (URL standard, "host parsing").
func numeric(host string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap(), true
	}
	parts := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(parts) > 4 || host == "" {
		return netip.Addr{}, false
	}
	var ip uint64
	for i, part := range parts {
		n, ok := number(part)
		if !ok {
			return netip.Addr{}, false
		}
		if i == len(parts)-1 {
			if n >= 1<<(8*(5-len(parts))) {
				return netip.Addr{}, false
			}
			ip += n
			break
		}
		if n > 255 {
			return netip.Addr{}, false
		}
		ip += n << (8 * (3 - i))
	}
	return netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)}), true
}

func number(s string) (uint64, bool) {
	base := uint64(10)
	switch {
	case strings.HasPrefix(s, "0x"):
		base, s = 16, s[2:]
	case len(s) > 1 && s[0] == '0':
		base, s = 8, s[1:]
	}
	if s == "" && base != 16 || len(s) > 12 {
		return 0, false
	}
	var n uint64
	for _, c := range []byte(s) {
		d := uint64(99)
		switch {
		case c >= '0' && c <= '9':
			d = uint64(c - '0')
		case c >= 'a' && c <= 'f':
			d = uint64(c-'a') + 10
		}
		if d >= base {
			return 0, false
		}
		n = n*base + d
	}
	return n, n < 1<<32
}

func metadata(a netip.Addr) bool {
	return a.IsLinkLocalUnicast() || a == netip.MustParseAddr("100.100.100.200") || a == netip.MustParseAddr("fd00:ec2::254") || a == netip.MustParseAddr("168.63.129.16")
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// mixed reports whether one label of a host has letters of scripts that people
// mistake for each other.
func mixed(host string) bool {
	for label := range strings.SplitSeq(host, ".") {
		latin, alike := false, false
		for _, r := range label {
			latin = latin || unicode.Is(unicode.Latin, r)
			alike = alike || unicode.Is(unicode.Cyrillic, r) || unicode.Is(unicode.Greek, r) || unicode.Is(unicode.Armenian, r) || unicode.Is(unicode.Cherokee, r)
		}
		if latin && alike {
			return true
		}
	}
	return false
}

// match returns one match.
func match(start, end int, kind, note, text string) []stream.Match {
	return []stream.Match{{Start: int64(start), End: int64(end), Kind: kind, Group: Group, Note: note, Text: text}}
}

// long returns a match that has no end as far as one may be.
func long(start, end int) []stream.Match {
	m := match(start, end, "unterminated-link", "", "")
	m[0].Long = true
	return m
}
