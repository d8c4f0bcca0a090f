package registrytest

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

// governance is the part of a state that people decide on.
type governance struct {
	trust    []registry.TrustList
	policies []registry.PolicyVersion
	stages   []registry.StageChange
	content  map[warden.Digest][]byte
	counters map[string]int64
}

// TrustVersion implements [registry.Governance].
func (s *state) TrustVersion(context.Context) (int64, error) { return int64(len(s.trust)), nil }

// Trust implements [registry.Governance].
func (s *state) Trust(_ context.Context, version int64) (registry.TrustList, error) {
	return find(s.trust, func(l registry.TrustList) bool { return l.Version == version })
}

// PutTrust implements [registry.GovernanceWriter].
func (s *state) PutTrust(_ context.Context, l registry.TrustList) error {
	if l.Version != int64(len(s.trust))+1 {
		return registry.ErrExists
	}
	s.trust = append(s.trust, l)
	return nil
}

// PolicyApplied implements [registry.Governance].
func (s *state) PolicyApplied(context.Context) (int64, error) {
	last := registry.PolicyVersion{}
	for _, v := range s.policies {
		if v.State == registry.Applied && !v.DecidedAt.Before(last.DecidedAt) {
			last = v
		}
	}
	return last.Version, nil
}

// PolicyVersions implements [registry.Governance].
func (s *state) PolicyVersions(context.Context) ([]registry.PolicyVersion, error) {
	out := slices.Clone(s.policies)
	slices.Reverse(out)
	return out, nil
}

// PutPolicyVersion implements [registry.GovernanceWriter].
func (s *state) PutPolicyVersion(_ context.Context, v registry.PolicyVersion) error {
	i := slices.IndexFunc(s.policies, func(x registry.PolicyVersion) bool { return x.Version == v.Version })
	if i < 0 {
		s.policies = append(s.policies, v)
		return nil
	}
	s.policies[i].State, s.policies[i].DecidedBy, s.policies[i].DecidedAt = v.State, v.DecidedBy, v.DecidedAt
	return nil
}

// StageChanges implements [registry.Governance].
func (s *state) StageChanges(_ context.Context, model registry.Name, number int) ([]registry.StageChange, error) {
	return keep(s.stages, func(c registry.StageChange) bool { return c.Model == model && (number == 0 || c.Number == number) }), nil
}

// PutStageChange implements [registry.GovernanceWriter].
func (s *state) PutStageChange(_ context.Context, c registry.StageChange) error {
	s.stages = append(s.stages, c)
	return nil
}

// Attested implements [registry.Governance].
func (s *state) Attested(_ context.Context, after warden.Digest, limit int) ([]warden.Digest, error) {
	var out []warden.Digest
	for _, x := range s.statements {
		if x.By != "" && bytes.Compare(x.Subjects[0][:], after[:]) > 0 && !slices.Contains(out, x.Subjects[0]) {
			out = append(out, x.Subjects[0])
		}
	}
	return firstBy(out, limit, func(x, y warden.Digest) int { return bytes.Compare(x[:], y[:]) }), nil
}

// Content implements [registry.Governance].
func (s *state) Content(_ context.Context, d warden.Digest) ([]byte, error) { return got(s.content, d) }

// PutContent implements [registry.GovernanceWriter].
func (s *state) PutContent(_ context.Context, b []byte) error {
	s.content[warden.Sum(b)] = b
	return nil
}

// Counter implements [registry.Governance].
func (s *state) Counter(_ context.Context, name string) (int64, error) { return s.counters[name], nil }

// SetCounter implements [registry.GovernanceWriter].
func (s *state) SetCounter(_ context.Context, name string, value int64) error {
	s.counters[name] = value
	return nil
}

// LastDecisions implements [registry.Decisions].
func (s *state) LastDecisions(_ context.Context, limit int) ([]registry.Decision, error) {
	ds := values(s.decisions)
	slices.Reverse(ds)
	return ds[:min(len(ds), limit)], nil
}

// Job implements [registry.Feed].
func (s *state) Job(_ context.Context, d warden.Digest) (registry.Job, error) { return got(s.jobs, d) }

// Jobs implements [registry.Feed].
func (s *state) Jobs(_ context.Context, of registry.JobState, p registry.Page) ([]registry.Job, string, error) {
	all := slices.SortedFunc(maps.Values(s.jobs), func(x, y registry.Job) int {
		return cmp.Or(y.Changed.Compare(x.Changed), cmp.Compare(y.ID, x.ID))
	})
	all = keep(all, func(j registry.Job) bool { return of == "" || j.State == of })
	return part(all, p, func(j registry.Job) string { return registry.Cursor(j.Changed.UnixNano(), j.ID) })
}

// PutJob implements [registry.FeedWriter].
func (s *state) PutJob(_ context.Context, j registry.Job) error {
	j.ID = s.jobs[j.Artifact].ID
	if j.ID == 0 {
		j.ID = s.id()
	}
	s.jobs[j.Artifact] = j
	return nil
}

// DeleteJobs implements [registry.FeedWriter].
func (s *state) DeleteJobs(_ context.Context, of registry.JobState, before time.Time) (n int, err error) {
	for d, j := range s.jobs {
		if j.State == of && j.Changed.Before(before) {
			delete(s.jobs, d)
			n++
		}
	}
	return n, nil
}
