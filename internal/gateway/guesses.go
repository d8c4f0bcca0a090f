package gateway

import (
	"net/netip"
	"sync"
	"time"
)

// guesses counts wrong credentials by address, so that nobody can try many. It
// is safe for concurrent use.
type guesses struct {
	now func() time.Time

	mu     sync.Mutex // guards the fields below
	minute int64
	wrong  map[netip.Addr]int
}

const (
	guessesAllowed = 300    // wrong credentials of one address in a minute
	guessesKept    = 50_000 // addresses
)

func newGuesses(now func() time.Time) *guesses {
	return &guesses{now: now, wrong: map[netip.Addr]int{}}
}

// network is what addresses of one guesser have in common: of IPv6 anybody has
// many.
func network(a netip.Addr) netip.Addr {
	if a.Is6() && !a.Is4In6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a.Unmap()
}

func (g *guesses) turn() {
	if m := g.now().Unix() / 60; m != g.minute {
		g.minute = m
		clear(g.wrong)
	}
}

// many reports whether an address was wrong too often.
func (g *guesses) many(a netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turn()
	return g.wrong[network(a)] >= guessesAllowed
}

// add counts one wrong credential.
func (g *guesses) add(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turn()
	if n := network(a); len(g.wrong) < guessesKept || g.wrong[n] > 0 {
		g.wrong[n]++
	}
}
