package policy

import (
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/modelwarden/warden"
)

// A memo remembers decisions that depend on nothing but who asks, for what and
// about which thing: those about actions whose policies have no conditions. The
// gateway asks the same for every request. It is safe for concurrent use.
type memo struct {
	conditional map[Action]bool // some policy that may apply has conditions
	all         bool            // one for every action has

	mu   sync.RWMutex // guards the map
	said map[memoKey]warden.Decision
}

type memoKey struct {
	principal, roles string
	action           Action
	on               warden.Ref
}

// memoKept bounds a memo.
const memoKept = 10_000

func newMemo() *memo {
	return &memo{conditional: map[Action]bool{}, said: map[memoKey]warden.Decision{}}
}

// learn looks at a policy of the set.
func (m *memo) learn(p *cedar.Policy) {
	a := (*ast.Policy)(p.AST())
	if len(a.Conditions) == 0 {
		return
	}
	for _, action := range actionsOf(a.Action) {
		if action.IsZero() {
			m.all = true
		}
		m.conditional[Action(action.ID)] = true
	}
}

// key returns the name of a decision, and whether it may be remembered.
func (m *memo) key(r Request) (memoKey, bool) {
	if m.all || m.conditional[r.Action] {
		return memoKey{}, false
	}
	return memoKey{r.Principal.ID, strings.Join(r.Principal.Roles, "\x00"), r.Action, r.Resource.Ref}, true
}

func (m *memo) get(k memoKey) (warden.Decision, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	d, ok := m.said[k]
	return d, ok
}

func (m *memo) put(k memoKey, d warden.Decision) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.said) >= memoKept {
		clear(m.said)
	}
	m.said[k] = d
}
