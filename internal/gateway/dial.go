package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// errAddress is the error of a connection to an address that no route allows.
var errAddress = errors.New("address is not allowed for an upstream")

// A dialGuard looks at the address a connection really goes to, after name
// resolution, so that no name can lead to the inside. Loopback, private,
// link-local (cloud metadata), shared, multicast and translated addresses are
// refused unless its route lists the range. It guards against server-side
// request forgery; see RFC 6890 for the ranges. Each route has its own, and its
// own connections: what one route may reach, another may not.
type dialGuard struct{ allowed []netip.Prefix }

// special are ranges that are not for the public, besides those that
// netip.Addr names.
func special() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
		// IPv6 forms that carry an IPv4 address, or that no public host has.
		netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
		netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
	}
}

func (d dialGuard) check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("") // no prefix contains an address with a zone
	for _, p := range d.allowed {
		if p.Contains(addr) {
			return nil
		}
	}
	bad := addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified()
	for _, p := range special() {
		bad = bad || p.Contains(addr)
	}
	if bad {
		return fmt.Errorf("%s: %w", addr, errAddress)
	}
	return nil
}

// dial connects, and checks every address.
func (d dialGuard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 10 * time.Second, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return d.check(ap.Addr())
	}}
	return dialer.DialContext(ctx, network, address)
}
