package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelwarden/warden"
)

// A Cache answers who holds a key without asking the database each time. What
// it remembers counts as long as nothing changed in the directory of keys,
// users and groups: changes of this process count at once, those of others at
// the next [Cache.Refresh]. When the directory could not be looked at for
// longer than MaxStale, every question goes to the database again, and fails
// with it. It is safe for concurrent use.
type Cache struct {
	svc      *Service
	maxStale time.Duration

	mu     sync.RWMutex // guards the fields below
	state  directoryState
	at     time.Time // when state was seen
	keys   map[string]cachedKey
	tokens map[[sha256.Size]byte]cachedToken
}

// A directoryState changes with every change of the directory.
type directoryState struct{ here, all uint64 }

type cachedKey struct {
	key   Key // zero: there is none with this id
	id    Identity
	state directoryState
	err   error // ErrUnknown: its holder is disabled
	// proven is the digest of a text that was compared with the key's hash, and
	// fits: comparing with it again is cheaper. The text itself is not kept.
	proven [sha256.Size]byte
	used   *atomic.Int64 // Unix seconds of the last use that was noted
}

type cachedToken struct {
	id    Identity
	state directoryState
	until time.Time
}

// Bounds of a Cache.
const (
	cachedKeys   = 100_000
	cachedTokens = 100_000
	tokenAge     = time.Minute // a verified token is believed so long
)

// NewCache returns an empty Cache over s. Call Refresh before its first use,
// and again several times in maxStale.
func NewCache(s *Service, maxStale time.Duration) *Cache {
	return &Cache{svc: s, maxStale: maxStale, keys: map[string]cachedKey{}, tokens: map[[sha256.Size]byte]cachedToken{}}
}

// Refresh looks whether the directory changed.
func (c *Cache) Refresh(ctx context.Context) error {
	here, begun := c.svc.changes.Load(), c.svc.now()
	all, err := c.svc.cfg.Store.AccessEpoch(ctx)
	if err != nil {
		return fmt.Errorf("look at the directory of keys: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := (directoryState{here, all}); s != c.state {
		c.state = s
		clear(c.keys)
		clear(c.tokens)
	}
	c.at = begun
	return nil
}

// current returns the state that what is remembered must have, and whether
// anything may be remembered at all.
func (c *Cache) current() (directoryState, bool) {
	fresh := c.svc.now().Sub(c.at).Abs() <= c.maxStale // a clock that was set back is stale too
	return c.state, fresh && c.state.here == c.svc.changes.Load()
}

// Remembers reports whether a key or token was accepted lately, so that nothing
// has to be looked up or verified to accept it again.
func (c *Cache) Remembers(text string) bool {
	sum := sha256.Sum256([]byte(text))
	id, _, isKey := parse(text)
	c.mu.RLock()
	defer c.mu.RUnlock()
	state, usable := c.current()
	if !isKey {
		t, found := c.tokens[sum]
		return usable && found && t.state == state
	}
	k, found := c.keys[id]
	return usable && found && k.state == state && subtle.ConstantTimeCompare(sum[:], k.proven[:]) == 1
}

// Key is [Service.Key].
func (c *Cache) Key(ctx context.Context, text string) (Identity, error) {
	id, secret, ok := parse(text)
	if !ok {
		return Identity{}, ErrUnknown
	}
	c.mu.RLock()
	state, usable := c.current()
	k, found := c.keys[id]
	c.mu.RUnlock()
	if !usable || !found || k.state != state {
		var err error
		if k, err = c.load(ctx, id, state); err != nil {
			return Identity{}, err
		}
		if usable {
			c.remember(id, k)
		}
	}
	now := c.svc.cfg.Now()
	sum := sha256.Sum256([]byte(text))
	if subtle.ConstantTimeCompare(sum[:], k.proven[:]) != 1 {
		if subtle.ConstantTimeCompare(c.svc.hash(secret), k.key.Hash) != 1 {
			return Identity{}, ErrUnknown
		}
		k.proven = sum
		if usable {
			c.remember(id, k)
		}
	}
	if k.err != nil || !k.key.valid(now) {
		return Identity{}, ErrUnknown
	}
	if t := now.Unix(); k.used.Swap(t) != t {
		c.svc.use(k.key.ID)
	}
	return k.id, nil
}

// remember keeps what was read. Keys that do not exist may take half of the
// room, so that guesses do not drive out those that do.
func (c *Cache) remember(id string, k cachedKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case k.key.ID == "" && len(c.keys) >= cachedKeys/2:
		return
	case len(c.keys) >= cachedKeys:
		clear(c.keys)
	}
	c.keys[id] = k
}

// load reads a key with the groups of its holder.
func (c *Cache) load(ctx context.Context, id string, state directoryState) (cachedKey, error) {
	out := cachedKey{state: state, used: &atomic.Int64{}}
	k, err := c.svc.cfg.Store.Key(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return out, nil
	case err != nil:
		return out, fmt.Errorf("look up key: %w", err)
	}
	out.key = k
	if err := c.svc.enabled(ctx, k); errors.Is(err, ErrUnknown) {
		out.err = err
	} else if err != nil {
		return out, err
	}
	_, groups, err := c.svc.cfg.Store.Held(ctx, k.Principal)
	if err != nil {
		return out, fmt.Errorf("look up groups of %s: %w", k.Principal, err)
	}
	out.id = k.identity()
	out.id.Groups = groups
	return out, nil
}

// Token returns who holds a token. One that verify accepted is believed for a
// minute, and never beyond the end that verify gave it.
func (c *Cache) Token(ctx context.Context, token string, verify func(ctx context.Context, token string) (Identity, error)) (Identity, error) {
	sum := sha256.Sum256([]byte(token))
	c.mu.RLock()
	state, usable := c.current()
	t, found := c.tokens[sum]
	c.mu.RUnlock()
	now := c.svc.cfg.Now()
	if usable && found && t.state == state && now.Before(t.until) {
		return t.id, nil
	}
	id, err := verify(ctx, token)
	if err != nil {
		return Identity{}, err
	}
	if _, id.Groups, err = c.svc.cfg.Store.Held(ctx, id.Principal.ID); err != nil {
		return Identity{}, fmt.Errorf("look up groups of %s: %w", id.Principal.ID, err)
	}
	until := now.Add(tokenAge)
	if !id.Expires.IsZero() && id.Expires.Before(until) {
		until = id.Expires
	}
	if usable {
		c.mu.Lock()
		if len(c.tokens) >= cachedTokens {
			clear(c.tokens)
		}
		c.tokens[sum] = cachedToken{id, state, until}
		c.mu.Unlock()
	}
	return id, nil
}

func (k Key) identity() Identity {
	return Identity{
		Principal: warden.Principal{ID: k.Principal, Roles: k.Roles}, KeyID: k.ID, Routes: k.Routes, Actions: k.Actions, Expires: k.Expires, Owner: k.Owner,
	}
}
