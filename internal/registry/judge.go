package registry

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/policy"
)

// A Judge answers whether somebody may do something with an artifact: it joins
// the statements that the registry keeps, the trust store and the policies. The
// policy set can be swapped while it runs. It is safe for concurrent use.
type Judge struct {
	reg      *Service
	trust    attest.TrustStore
	now      func() time.Time
	policies atomic.Pointer[policy.Set]

	mu    sync.Mutex // guards facts
	facts map[warden.Digest]cachedFacts
}

type cachedFacts struct {
	epoch uint64
	facts policy.Facts
	until time.Time
}

const (
	factsKept = 10_000           // artifacts whose facts are remembered
	factsAge  = 30 * time.Second // longest time until expiry dates are looked at again
)

// NewJudge returns a Judge.
func NewJudge(reg *Service, trust attest.TrustStore, policies *policy.Set, now func() time.Time) (*Judge, error) {
	if reg == nil || policies == nil || now == nil {
		return nil, errors.New("registry: a judge needs a registry, policies and a clock")
	}
	j := &Judge{reg: reg, trust: trust, now: now, facts: map[warden.Digest]cachedFacts{}}
	j.policies.Store(policies)
	return j, nil
}

// Policies returns the set that holds now.
func (j *Judge) Policies() *policy.Set { return j.policies.Load() }

// SetPolicies makes s the set for decisions from now on.
func (j *Judge) SetPolicies(s *policy.Set) { j.policies.Store(s) }

// Facts returns what trusted signers say about an artifact, as policies see it.
// Facts are remembered until the artifact changes.
func (j *Judge) Facts(ctx context.Context, a Artifact) (policy.Facts, error) {
	now := j.now()
	j.mu.Lock()
	c, ok := j.facts[a.Digest]
	j.mu.Unlock()
	if ok && c.epoch == a.Epoch && now.Before(c.until) {
		return c.facts, nil
	}
	var stored []Statement
	err := j.reg.View(ctx, func(r Reader) (err error) {
		stored, err = r.Statements(ctx, a.Digest)
		return err
	})
	if err != nil {
		return policy.Facts{}, j.reg.explain("read the statements about "+a.Digest.String(), err)
	}
	envelopes := make([][]byte, len(stored))
	for i, s := range stored {
		envelopes[i] = s.Envelope
	}
	facts := j.reduce(a.Digest, envelopes, now)
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.facts) >= factsKept {
		clear(j.facts)
	}
	j.facts[a.Digest] = cachedFacts{a.Epoch, facts, now.Add(factsAge)}
	return facts, nil
}

func (j *Judge) reduce(d warden.Digest, envelopes [][]byte, now time.Time) policy.Facts {
	claims, _ := attest.Verify(d, envelopes, j.trust, now)
	return policy.Reduce(claims, now)
}

// Artifact decides whether who may do action with artifact d as it is now. What
// is not in the registry is decided on as unregistered, which the standard
// policies deny.
func (j *Judge) Artifact(ctx context.Context, who warden.Principal, action policy.Action, d warden.Digest) (warden.Decision, Artifact, error) {
	a, err := j.reg.State(ctx, d)
	var we *warden.Error
	if errors.As(err, &we) && we.Code == warden.CodeNotFound {
		return j.decide(who, action, policy.Resource{Ref: ArtifactRef(d)}), Artifact{}, nil
	}
	if err != nil {
		return warden.Decision{}, Artifact{}, err
	}
	facts, err := j.Facts(ctx, a)
	if err != nil {
		return warden.Decision{}, Artifact{}, err
	}
	return j.decide(who, action, policy.Resource{Ref: a.Ref(), Facts: facts, State: string(a.State())}), a, nil
}

// Thing decides about anything that is not an artifact.
func (j *Judge) Thing(who warden.Principal, action policy.Action, on policy.Resource) warden.Decision {
	return j.decide(who, action, on)
}

func (j *Judge) decide(who warden.Principal, action policy.Action, on policy.Resource) warden.Decision {
	return j.Policies().Decide(policy.Request{Principal: who, Action: action, Resource: on, Now: j.now()})
}

// admit decides whether a, with the envelopes that are known and new, is
// admitted, and returns the decision with all that is needed to make it again.
func (j *Judge) admit(who warden.Principal, a Artifact, envelopes [][]byte) (Decision, error) {
	now := j.now()
	set := j.Policies()
	facts := j.reduce(a.Digest, envelopes, now)
	req := policy.Request{
		Principal: who, Action: policy.Admit, Now: now,
		Resource: policy.Resource{Ref: a.Ref(), Facts: facts, State: string(Pending)},
	}
	dec := set.Decide(req)
	factsJSON, err := json.Marshal(facts)
	if err != nil {
		return Decision{}, err
	}
	reqJSON, err := json.Marshal(map[string]any{
		"principal": who.ID, "roles": who.Roles, "action": req.Action, "resource": a.Ref().String(), "state": req.Resource.State, "now": now.Unix(),
	})
	if err != nil {
		return Decision{}, err
	}
	return Decision{
		Artifact: a.Digest, Action: string(policy.Admit), Effect: dec.Effect, Policy: dec.Policy, Because: dec.Because,
		Reason: reason(dec, facts), Request: reqJSON, Facts: factsJSON,
	}, nil
}

// reason says in one sentence why an artifact was admitted or not.
func reason(dec warden.Decision, f policy.Facts) string {
	what := "the scan is " + f.Scan.Verdict
	switch {
	case !f.Scan.Present:
		what = "no trusted scan statement exists"
	case !f.Scan.Complete:
		what += " and incomplete"
	}
	verb := "denied"
	if dec.Effect == warden.Allow {
		verb = "admitted"
	}
	return verb + ": " + what + " (" + strings.Join(dec.Because, ", ") + ")"
}
