package file

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/rules"
)

// A found address is one that deserves a remark.
type found struct {
	rule       warden.RuleID
	start, end int
	shown      string // without what may be a secret in it
}

// collectors are the beginnings of paths, by host.
var collectors = sync.OnceValue(func() map[string][]string {
	hosts := map[string][]string{}
	for line := range strings.Lines(rules.CollectorHosts()) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			host, path, _ := strings.Cut(line, "/")
			hosts[host] = append(hosts[host], path)
		}
	}
	return hosts
})

// schemes are those of addresses that programs open.
var schemes = []string{"https", "http", "wss", "ws", "ftp", "tcp", "dns"}

// addresses returns what in b, beginning between lo and hi, names a collector or
// a machine by its number.
func addresses(b []byte, lo, hi int) (all []found) {
	for from := lo; from < len(b); {
		i := bytes.Index(b[from:], []byte("://"))
		if i < 0 {
			break
		}
		at := from + i
		from = at + 3
		start := -1
		for _, s := range schemes {
			if n := len(s); at >= n && strings.EqualFold(string(b[at-n:at]), s) {
				start = at - n
				break
			}
		}
		if start < lo || start >= hi {
			continue
		}
		const longest = 256
		host, path, end := cutAddress(b[from:min(len(b), from+longest)])
		a := found{start: start, end: from + end, shown: string(b[start:from]) + host}
		switch {
		case collector(&a, host, path), numeric(&a, host):
			all = append(all, a)
		}
	}
	return all
}

// cutAddress returns host and path of what follows the scheme, and its length.
// User and password are left out.
func cutAddress(b []byte) (host, path string, n int) {
	for n < len(b) && b[n] > ' ' && b[n] < 0x7f && !strings.ContainsRune("\"'`<>\\{}|^,;)", rune(b[n])) {
		n++
	}
	host, path, _ = strings.Cut(string(b[:n]), "/")
	host, _, _ = strings.Cut(host, "?")
	host, _, _ = strings.Cut(host, "#")
	return strings.ToLower(host[strings.LastIndexByte(host, '@')+1:]), path, n
}

// withoutPort returns the name or the number of a host.
func withoutPort(host string) string {
	if v6, _, ok := strings.Cut(strings.TrimPrefix(host, "["), "]"); ok && host[0] == '[' {
		return v6
	}
	host, _, _ = strings.Cut(host, ":")
	return strings.TrimSuffix(host, ".")
}

func collector(a *found, host, path string) bool {
	for name := withoutPort(host); name != ""; {
		for _, begin := range collectors()[name] {
			if strings.HasPrefix(strings.ToLower(path), begin) {
				a.rule = ruleCollector
				if begin != "" {
					a.shown += "/" + begin
				}
				return true
			}
		}
		_, rest, _ := strings.Cut(name, ".")
		name = rest
	}
	return false
}

// numeric reports whether the host is a number, in any form that programs take,
// of a machine somewhere else.
func numeric(a *found, host string) bool {
	name := withoutPort(host)
	ip, err := netip.ParseAddr(name)
	if n, bad := strconv.ParseUint(name, 0, 32); err != nil && bad == nil && n >= 1<<24 {
		ip, err = netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), nil
	}
	if err != nil || ip.IsLoopback() || ip.IsPrivate() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() {
		return false
	}
	a.rule = ruleNumeric
	return true
}
