package pii

import (
	"bytes"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/modelwarden/warden/internal/text/stream"
)

// Most letters of an address and of its parts (RFC 5321, RFC 1035).
const (
	maxLocal  = 64
	maxDomain = 253
	maxLabel  = 63
)

// Email decides at an "@" whether it stands in an address. Addresses of domains
// that are for examples (RFC 2606, RFC 6761) are none.
func Email(w stream.Window) ([]stream.Match, stream.State) {
	b, at := w.B, w.At
	start := at
	for start > w.Lo && at-start < maxLocal+1 && isLocal(b[start-1]) {
		n := 1
		if b[start-1] >= 0x80 {
			var r rune
			if r, n = utf8.DecodeLastRune(b[w.Lo:start]); n != 2 || !unicode.IsLetter(r) {
				break
			}
		}
		start -= n
	}
	for start < at && (b[start] == '.' || b[start] == '-' || b[start] == '\'' || b[start] == '/' || b[start] == '=') {
		start++
	}
	if start == at || at-start > maxLocal || b[at-1] == '.' {
		return nil, stream.No
	}
	end, label := at+1, at+1
	for end < len(b) && end-at <= maxDomain+1 && (isAlnum(b[end]) || b[end] == '-' || b[end] == '.' || b[end] >= 0x80) {
		if b[end] == '.' {
			if end == label || end-label > maxLabel {
				break
			}
			label = end + 1
		}
		end++
	}
	if end == len(b) && !w.Ended() {
		return nil, stream.More
	}
	if end < len(b) && b[end] == '@' {
		return nil, stream.No
	}
	for end > at+1 && (b[end-1] == '.' || b[end-1] == '-') {
		end--
	}
	dot := at + 1 + bytes.LastIndexByte(b[at+1:end], '.')
	top := b[dot+1 : max(end, dot+1)]
	if dot <= at || len(top) < 2 || b[at+1] == '-' || string(b[start:at]) == "git" {
		return nil, stream.No
	}
	if !bytes.HasPrefix(bytes.ToLower(top), []byte("xn--")) && bytes.ContainsFunc(top, func(r rune) bool { return r < 0x80 && !unicode.IsLetter(r) }) {
		return nil, stream.No
	}
	if reserved(strings.ToLower(string(b[at+1 : end]))) {
		return nil, stream.No
	}
	return []stream.Match{match(start, end, "email", 0)}, stream.Yes
}

func isLocal(c byte) bool {
	return isAlnum(c) || c >= 0x80 || strings.IndexByte("!#$%&'*+-/=?^_{}~.", c) >= 0
}

// reserved reports whether a name is for examples and tests.
func reserved(domain string) bool {
	labels := strings.Split(domain, ".")
	n := len(labels)
	switch labels[n-1] {
	case "example", "test", "invalid", "localhost", "local":
		return true
	}
	return n >= 2 && labels[n-2] == "example" && (labels[n-1] == "com" || labels[n-1] == "net" || labels[n-1] == "org")
}

func match(start, end int, kind string, priority int) stream.Match {
	return stream.Match{Start: int64(start), End: int64(end), Kind: kind, Group: Group, Priority: priority}
}

// personal reports whether an address may belong to somebody: addresses of own
// networks, of documentation (RFC 5737, RFC 3849) and of groups do not.
func personal(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsUnspecified() {
		return false
	}
	for _, p := range notPersonal {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

var notPersonal = []netip.Prefix{
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("3fff::/20"),
}

// address decides about an IPv6 or a hardware address that the run at w.At is
// part of.
func address(w stream.Window) ([]stream.Match, stream.State) {
	b := w.B
	start, end := w.At, w.At
	for start > w.Lo && w.At-start < 48 && (isHex(b[start-1]) || b[start-1] == ':') {
		start--
	}
	dash := false
	for end < len(b) && end-w.At < 64 && (isHex(b[end]) || b[end] == ':' || b[end] == '.' || b[end] == '-') {
		dash = dash || b[end] == '-'
		end++
	}
	if end == len(b) && !w.Ended() {
		return nil, stream.More
	}
	if start > 0 && isWord(b[start-1]) || end < len(b) && (isWord(b[end]) || b[end] == '%') {
		return nil, stream.No
	}
	if !dash && start < w.At && b[start] == ':' && (start+1 >= len(b) || b[start+1] != ':') {
		start++
	}
	for end > start && (b[end-1] == '.' || b[end-1] == '-' || b[end-1] == ':' && (end < 2 || b[end-2] != ':')) {
		end--
	}
	s := string(b[start:end])
	if hardware(s) {
		return []stream.Match{match(start, end, "mac", 5)}, stream.Yes
	}
	if strings.Count(s, ":") < 2 {
		return nil, stream.No
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !personal(a.Unmap()) {
		return nil, stream.No
	}
	return []stream.Match{match(start, end, "ip", 1)}, stream.Yes
}

// hardware reports whether s is six pairs of hexadecimal digits, of one device
// and not all equal.
func hardware(s string) bool {
	if len(s) != 17 || s[2] != ':' && s[2] != '-' {
		return false
	}
	same := true
	for i := range 17 {
		switch {
		case i%3 == 2 && s[i] != s[2]:
			return false
		case i%3 != 2 && !isHex(s[i]):
			return false
		}
		same = same && (i%3 == 2 || s[i] == s[0])
	}
	return !same
}
