package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/oms"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/rules"
)

// A JudgeConfig is what a [Judge] needs; all but Keyless and Engine are required.
type JudgeConfig struct {
	Registry *Service
	Trust    attest.TrustStore // who is trusted whatever the trust store says: the server itself
	Policies *policy.Set       // version 0: what holds until a set is applied
	Now      func() time.Time
	Engine   string // version of this program, which decisions keep
	// Keyless makes a verifier of one identity; nil: such entries trust nobody.
	Keyless func(t attest.Trusted) (oms.KeylessVerifier, error)
}

// A Judge answers whether somebody may do something with an artifact: it joins
// the statements that the registry keeps, the trust store and the policies. It
// reads at every decision on an artifact which versions of these hold, so that
// a change, also of another process, holds at once. It is safe for concurrent
// use.
type Judge struct {
	cfg  JudgeConfig
	book atomic.Pointer[rulebook] // the last that was read

	mu       sync.Mutex // guards the maps
	facts    map[factsKey]cachedFacts
	verified map[verifiedKey]verdict
}

// A rulebook is one version of the trust store and of the policies.
type rulebook struct {
	trustVersion, policyVersion int64
	trustDigest                 warden.Digest // of the entries: what is remembered is remembered for these
	trust                       attest.TrustStore
	policies                    *policy.Set
}

type factsKey struct {
	artifact warden.Digest
	model    Name
}

type cachedFacts struct {
	epoch  uint64
	trust  warden.Digest
	papers Papers
	until  time.Time
}

const (
	factsKept    = 10_000           // artifacts whose facts are remembered
	verifiedKept = 50_000           // statements whose verification is remembered
	factsAge     = 30 * time.Second // longest time until expiry dates are looked at again
)

// NewJudge returns a Judge.
func NewJudge(cfg JudgeConfig) (*Judge, error) {
	if cfg.Registry == nil || cfg.Policies == nil || cfg.Now == nil {
		return nil, errors.New("registry: a judge needs a registry, policies and a clock")
	}
	j := &Judge{cfg: cfg, facts: map[factsKey]cachedFacts{}, verified: map[verifiedKey]verdict{}}
	j.book.Store(&rulebook{trust: cfg.Trust, policies: cfg.Policies})
	return j, nil
}

// Policies returns the set that held when it was last looked at.
func (j *Judge) Policies() *policy.Set { return j.book.Load().policies }

// Refresh reads which trust store and policies hold. Decisions about artifacts
// do so by themselves, others are as fresh as the last Refresh.
func (j *Judge) Refresh(ctx context.Context) error {
	err := j.cfg.Registry.View(ctx, func(r Reader) error {
		_, err := j.rules(ctx, r)
		return err
	})
	if err != nil {
		return j.cfg.Registry.explain("read trust store and policies", err)
	}
	return nil
}

// rules returns what holds in one state of the registry.
func (j *Judge) rules(ctx context.Context, r Reader) (*rulebook, error) {
	trust, err := r.TrustVersion(ctx)
	if err != nil {
		return nil, err
	}
	policies, err := r.PolicyApplied(ctx)
	if err != nil {
		return nil, err
	}
	now := j.book.Load()
	if now.trustVersion == trust && now.policyVersion == policies {
		return now, nil
	}
	next := &rulebook{trustVersion: trust, policyVersion: policies, trustDigest: now.trustDigest, trust: now.trust, policies: now.policies}
	if trust != now.trustVersion {
		l, err := r.Trust(ctx, trust)
		if err != nil {
			return nil, err
		}
		if next.trust, err = j.trusted(l); err != nil {
			return nil, err
		}
		entries, err := warden.Canonical(l.Entries)
		if err != nil {
			return nil, err
		}
		next.trustDigest = warden.Sum(entries)
	}
	if policies != now.policyVersion {
		if next.policies, err = j.policySet(ctx, r, policies); err != nil {
			return nil, err
		}
	}
	if _, writing := r.(Tx); !writing { // what a transaction reads may never come to be
		j.book.Store(next)
	}
	return next, nil
}

func (j *Judge) trusted(l TrustList) (attest.TrustStore, error) {
	out := slices.Clone(j.cfg.Trust)
	for _, e := range l.Entries {
		t, err := e.Trusted()
		if err != nil {
			return nil, fmt.Errorf("trust store version %d: %q: %w", l.Version, e.ID, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func (j *Judge) policySet(ctx context.Context, r Reader, version int64) (*policy.Set, error) {
	if version == 0 {
		return j.cfg.Policies, nil
	}
	all, err := r.PolicyVersions(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(v PolicyVersion) bool { return v.Version == version })
	if i < 0 {
		return nil, fmt.Errorf("policy version %d: %w", version, ErrNotFound)
	}
	text, err := r.Content(ctx, all[i].Digest)
	if err != nil {
		return nil, err
	}
	sources, err := policy.DecodeSources(text)
	if err != nil {
		return nil, err
	}
	return policy.NewSet(all[i].Name, rules.PolicySchema(), sources...)
}

// Facts returns what trusted signers say about an artifact, as policies see it.
// Facts are remembered until the artifact or the trust store changes.
func (j *Judge) Facts(ctx context.Context, a Artifact) (policy.Facts, error) {
	var f policy.Facts
	err := j.cfg.Registry.View(ctx, func(r Reader) error {
		book, err := j.rules(ctx, r)
		if err != nil {
			return err
		}
		p, err := j.remembered(ctx, r, book, a, "")
		f = p.Facts
		return err
	})
	if err != nil {
		return policy.Facts{}, j.cfg.Registry.explain("read the statements about "+a.Digest.String(), err)
	}
	return f, nil
}

// remembered is papers with a memory.
func (j *Judge) remembered(ctx context.Context, r Reader, book *rulebook, a Artifact, model Name) (Papers, error) {
	now, key := j.cfg.Now(), factsKey{a.Digest, model}
	j.mu.Lock()
	c, ok := j.facts[key]
	j.mu.Unlock()
	if ok && c.epoch == a.Epoch && c.trust == book.trustDigest && now.Before(c.until) {
		return c.papers, nil
	}
	p, err := j.papers(ctx, r, book, a.Digest, model)
	if err != nil {
		return Papers{}, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.facts) >= factsKept {
		clear(j.facts)
	}
	j.facts[key] = cachedFacts{a.Epoch, book.trustDigest, p, now.Add(factsAge)}
	return p, nil
}

// Artifact decides whether who may do action with artifact d as it is now. What
// is not in the registry is decided on as unregistered, which the standard
// policies deny.
func (j *Judge) Artifact(ctx context.Context, who warden.Principal, action policy.Action, d warden.Digest) (warden.Decision, Artifact, error) {
	var (
		a   Artifact
		dec warden.Decision
	)
	err := j.cfg.Registry.View(ctx, func(r Reader) error {
		book, err := j.rules(ctx, r)
		if err != nil {
			return err
		}
		on := policy.Resource{Ref: ArtifactRef(d)}
		a, err = r.Artifact(ctx, d)
		switch {
		case errors.Is(err, ErrNotFound):
			a = Artifact{}
		case err != nil:
			return err
		default:
			p, err := j.remembered(ctx, r, book, a, "")
			if err != nil {
				return err
			}
			on.Facts, on.State = p.Facts, string(a.State())
		}
		dec = book.policies.Decide(policy.Request{Principal: who, Action: action, Resource: on, Now: j.cfg.Now()})
		return nil
	})
	if err != nil {
		return warden.Decision{}, Artifact{}, j.cfg.Registry.explain("decide on "+d.String(), err)
	}
	return dec, a, nil
}

// Thing decides about anything that is not an artifact.
func (j *Judge) Thing(who warden.Principal, action policy.Action, on policy.Resource) warden.Decision {
	return j.Policies().Decide(policy.Request{Principal: who, Action: action, Resource: on, Now: j.cfg.Now()})
}

// Ask decides any request that is not about an artifact, as Thing does.
func (j *Judge) Ask(r policy.Request) warden.Decision { return j.Policies().Decide(r) }

// engine names what decides.
func (j *Judge) engine() string { return policy.Engine + ", warden " + cmp.Or(j.cfg.Engine, "devel") }

// admit decides whether a, as it is in r, is admitted, and returns the decision
// with all that is needed to make it again.
func (j *Judge) admit(ctx context.Context, r Reader, who warden.Principal, a Artifact) (Decision, error) {
	book, err := j.rules(ctx, r)
	if err != nil {
		return Decision{}, err
	}
	p, err := j.papers(ctx, r, book, a.Digest, "")
	if err != nil {
		return Decision{}, err
	}
	return j.judge(book, p, policy.Request{
		Principal: who, Action: policy.Admit, Now: j.cfg.Now(), Resource: policy.Resource{Ref: a.Ref(), Facts: p.Facts, State: string(Pending)},
	})
}

// judge decides a request about an artifact and returns what is kept of it.
func (j *Judge) judge(book *rulebook, p Papers, req policy.Request) (Decision, error) {
	dec := book.policies.Decide(req)
	facts, err := warden.Canonical(req.Resource.Facts)
	if err != nil {
		return Decision{}, err
	}
	request, err := warden.Canonical(req.Record())
	if err != nil {
		return Decision{}, err
	}
	d, err := warden.ParseDigest(req.Resource.Ref.ID)
	if err != nil {
		return Decision{}, err
	}
	return Decision{
		Artifact: d, Action: string(req.Action), Effect: dec.Effect, Policy: dec.Policy, Because: dec.Because, Reason: reason(req, dec),
		Request: request, Facts: facts, Trust: book.trustVersion, Engine: j.engine(), Policies: book.policies.Text(), Inputs: p.inputs(),
	}, nil
}

// reason says in one sentence why something was allowed or not.
func reason(req policy.Request, dec warden.Decision) string {
	f := req.Resource.Facts
	what := "the scan is " + f.Scan.Verdict
	switch {
	case !f.Scan.Present:
		what = "no trusted scan statement exists"
	case !f.Scan.Complete:
		what += " and incomplete"
	}
	if f.Quarantined {
		what = "a trusted signer certified it as bad; " + what
	}
	verb := "denied"
	switch {
	case dec.Effect == warden.Allow && req.Action == policy.Admit:
		verb = "admitted"
	case dec.Effect == warden.Allow:
		verb = "allowed"
	}
	if req.Action == policy.Promote {
		what = fmt.Sprintf("%s@%d to %s", req.Step.Model, req.Step.Version, req.Step.To)
	}
	return verb + ": " + what + " (" + strings.Join(dec.Because, ", ") + ")"
}
