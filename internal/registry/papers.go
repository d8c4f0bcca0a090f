package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/oms"
	"github.com/modelwarden/warden/internal/policy"
)

// A Paper is one statement about an artifact, and whether it counts.
type Paper struct {
	Statement Statement
	Signer    string // trust entry that verified it; "" if none did
	Err       error  // why it does not count; nil if it does
	Told      bool   // it only tells others of a quarantine, which itself counts
}

// Papers are the statements about an artifact and what they come to.
type Papers struct {
	Facts  policy.Facts
	All    []Paper
	People []string // who holds the keys that signed the files; sorted
	Trust  int64    // version of the trust store
}

// inputs are the payloads that became claims.
func (p Papers) inputs() []warden.Digest {
	var out []warden.Digest
	for _, x := range p.All {
		if x.Err == nil && !x.Told {
			out = append(out, x.Statement.Payload)
		}
	}
	return out
}

// certifies reports whether statements of a type say that something is bad, or
// good again.
func certifies(predicateType string) bool {
	return predicateType == attest.CertifyBadType || predicateType == attest.CertifyGoodType
}

// Papers returns the statements about an artifact as they count now, for one of
// its models, or with "" for all.
func (j *Judge) Papers(ctx context.Context, d warden.Digest, model Name) (Papers, error) {
	var p Papers
	err := j.cfg.Registry.View(ctx, func(r Reader) error {
		if _, err := r.Artifact(ctx, d); err != nil {
			return err
		}
		book, err := j.rules(ctx, r)
		if err != nil {
			return err
		}
		p, err = j.papers(ctx, r, book, d, model)
		return err
	})
	if err != nil {
		return Papers{}, j.cfg.Registry.explain("read the statements about "+d.String(), err)
	}
	return p, nil
}

// papers verifies all statements about an artifact and reduces those that count.
func (j *Judge) papers(ctx context.Context, r Reader, book *rulebook, d warden.Digest, model Name) (Papers, error) {
	stored, err := r.Statements(ctx, d)
	if err != nil {
		return Papers{}, err
	}
	vs, err := r.VersionsOf(ctx, d)
	if err != nil {
		return Papers{}, err
	}
	about := attest.Subject{Digest: d, Model: string(model)}
	for _, v := range vs {
		if !slices.Contains(about.Names, string(v.Model)) {
			about.Names = append(about.Names, string(v.Model))
		}
	}
	out := Papers{Trust: book.trustVersion}
	var claims []warden.Claim
	for _, st := range stored {
		if st.Subjects[0] != d {
			continue // it is about something that contains this, or is contained
		}
		v, err := j.verify(ctx, r, book, about, st)
		if err != nil {
			return Papers{}, err
		}
		told := v.err == nil && v.claim.Signer == attest.ServerSigner && certifies(v.claim.Statement.PredicateType)
		out.All = append(out.All, Paper{Statement: st, Signer: v.claim.Signer, Err: v.err, Told: told})
		if v.err != nil || told {
			continue
		}
		claims = append(claims, v.claim)
		if who := book.person(v.claim.Signer); v.claim.Statement.PredicateType == oms.PredicateType && who != "" {
			out.People = append(out.People, who)
		}
	}
	slices.Sort(out.People)
	out.People = slices.Compact(out.People)
	out.Facts = policy.Reduce(claims, j.cfg.Now())
	return out, nil
}

// person returns who holds the key of a trust entry.
func (b *rulebook) person(id string) string {
	i := slices.IndexFunc(b.trust, func(t attest.Trusted) bool { return t.ID == id })
	if i < 0 {
		return ""
	}
	return b.trust[i].Principal
}

// A verifiedKey names everything that a verification depends on.
type verifiedKey struct {
	statement warden.Digest
	received  int64 // nanoseconds since 1970
	trust     warden.Digest
	names     string
}

// A verdict is a claim or the reason why there is none.
type verdict struct {
	claim warden.Claim
	err   error
}

// verify returns what a statement proves. The error is for what could not be
// looked at.
func (j *Judge) verify(ctx context.Context, r Reader, book *rulebook, about attest.Subject, st Statement) (verdict, error) {
	key := verifiedKey{st.ID, st.Received.UnixNano(), book.trustDigest, about.Model + "\n" + strings.Join(about.Names, "\n")}
	j.mu.Lock()
	v, ok := j.verified[key]
	j.mu.Unlock()
	if ok {
		return v, nil
	}
	if isBundle(st.Envelope) {
		v.claim, v.err = j.verifyBundle(ctx, r, book, about, st)
	} else {
		v.claim, v.err = attest.VerifyStatement(about, st.Envelope, book.trust, st.Received)
	}
	if errors.Is(v.err, errUnread) {
		return verdict{}, v.err
	}
	if v.err == nil {
		v.err = book.spokenFor(v.claim)
	}
	if v.err != nil {
		v.claim = warden.Claim{}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.verified) >= verifiedKept {
		clear(j.verified)
	}
	j.verified[key] = v
	return v, nil
}

// errUnread is wrapped by errors that say nothing of a statement: it could not
// be looked at.
var errUnread = errors.New("statement could not be verified")

// errPerson says that an approval is not by the person that the key is of.
var errPerson = errors.New("an approval counts only if the trust entry names the person it is by")

// spokenFor refuses approvals in the name of others. The server signs on behalf
// of whom it authenticated.
func (b *rulebook) spokenFor(c warden.Claim) error {
	if c.Statement.PredicateType != attest.ApprovalType || c.Signer == attest.ServerSigner {
		return nil
	}
	var p attest.Approval
	if err := json.Unmarshal(c.Statement.Predicate, &p); err != nil || p.Who == "" || p.Who != b.person(c.Signer) {
		return errPerson
	}
	return nil
}

// isBundle tells a Sigstore bundle from a bare envelope.
func isBundle(b []byte) bool {
	var x struct {
		MediaType string          `json:"mediaType"`
		Envelope  json.RawMessage `json:"dsseEnvelope"`
	}
	return json.Unmarshal(b, &x) == nil && (x.MediaType != "" || x.Envelope != nil)
}

// verifyBundle tries the trust entries that can verify a bundle.
func (j *Judge) verifyBundle(ctx context.Context, r Reader, book *rulebook, about attest.Subject, st Statement) (warden.Claim, error) {
	p, err := oms.Peek(st.Envelope)
	if err != nil {
		return warden.Claim{}, err
	}
	reason := attest.ErrUntrusted
	for _, t := range book.trust {
		cfg, ok, err := j.verifier(t, p.Method, st.Received)
		if err != nil {
			return warden.Claim{}, fmt.Errorf("%w: %s: %w", errUnread, t.ID, err)
		}
		if !ok {
			continue
		}
		res, err := oms.Authenticate(ctx, st.Envelope, cfg)
		if err != nil {
			if !oms.IsRejected(err) || ctx.Err() != nil {
				return warden.Claim{}, fmt.Errorf("%w: %w", errUnread, err)
			}
			if p.Method != oms.MethodKey { // of a key there is nothing to say but that it is another
				reason = fmt.Errorf("%s: %w", t.ID, err)
			}
			continue
		}
		at := st.Received
		if p.Method == oms.MethodKeyless && res.CertTime.Before(at) {
			at = res.CertTime // the transparency log's
		}
		if err = t.For(p.PredicateType, about); err == nil {
			err = t.Holds(at)
		}
		if err != nil {
			reason = err
			continue
		}
		s, err := j.stated(ctx, r, about.Digest, p, st.Envelope)
		if err != nil {
			return warden.Claim{}, err
		}
		return warden.Claim{Statement: s, Signer: t.ID, Verified: at}, nil
	}
	return warden.Claim{}, reason
}

// verifier returns how an entry verifies bundles that were signed by a method.
func (j *Judge) verifier(t attest.Trusted, method string, received time.Time) (oms.VerifyConfig, bool, error) {
	cfg := oms.VerifyConfig{Now: received, AnyPurpose: t.AnyPurpose}
	switch {
	case method == oms.MethodKey && t.Key != nil:
		cfg.Key = t.Key
	case method == oms.MethodCertificate && len(t.Roots) > 0:
		cfg.Roots = t.Roots
	case method == oms.MethodKeyless && t.Identity != "" && j.cfg.Keyless != nil:
		v, err := j.cfg.Keyless(t)
		if err != nil {
			return cfg, false, err
		}
		cfg.Keyless = v
	default:
		return cfg, false, nil
	}
	return cfg, true, nil
}

// stated returns what the payload of a bundle says about an artifact. Of a
// signature over files it is what the comparison with the artifact found.
func (j *Judge) stated(ctx context.Context, r Reader, d warden.Digest, p oms.Peeked, bundle []byte) (warden.Statement, error) {
	if !p.Signed() {
		s, err := attest.Decode(p.Payload)
		if err == nil && s.Subjects[0] != d {
			err = fmt.Errorf("%w: %v, want %v", attest.ErrSubject, s.Subjects[0], d)
		}
		return s, err
	}
	files, err := listed(ctx, r, d)
	if err != nil {
		return warden.Statement{}, fmt.Errorf("%w: %w", errUnread, err)
	}
	res, err := oms.Compare(p.Payload, files, warden.Sum(bundle))
	if err != nil {
		return warden.Statement{}, err
	}
	return attest.New(oms.PredicateType, map[string]any{
		"order": res.Order, "hash": res.Hash, "legacy": res.Legacy, "ignored_present": append([]string{}, res.Ignored...), "method": p.Method,
	}, d)
}

// listed returns the files of an artifact by path.
func listed(ctx context.Context, r Reader, d warden.Digest) (map[string]oms.Listed, error) {
	raw, err := r.Manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	m, err := DecodeManifest(raw)
	if err != nil {
		return nil, err
	}
	files := make(map[string]oms.Listed, len(m.Files))
	for _, f := range m.Files {
		files[f.Path] = oms.Listed{Digest: f.Digest, Size: f.Size}
	}
	return files, nil
}
