package api

import (
	"context"
	"time"

	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
)

type attachInput struct {
	DigestInput
	RawBody []byte `contentType:"application/json" doc:"a DSSE envelope of at most 16 MiB, or a Sigstore bundle of at most 64 MiB"`
}

type attachedBody struct {
	ID            string       `json:"id"`
	Payload       string       `json:"payload" doc:"digest of the payload"`
	PredicateType string       `json:"predicate_type"`
	Verified      bool         `json:"verified" doc:"somebody who is trusted for it signed it; else it is kept and never a fact"`
	Signer        string       `json:"signer" doc:"trust entry; empty if not verified"`
	Reason        string       `json:"reason" doc:"why it does not count; empty if it does"`
	New           bool         `json:"new" doc:"it was not there before"`
	Artifact      ArtifactBody `json:"artifact" doc:"as it is decided now"`
}

func (s *service) attach(ctx context.Context, in *attachInput) (*body[attachedBody], error) {
	d, err := parseDigest(in.Digest)
	if err == nil {
		err = s.mayArtifact(ctx, policy.Attest, d)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	x, err := s.Governor.Attach(ctx, d, in.RawBody, identity(ctx).Principal)
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(attachedBody{
		x.Statement.ID.String(), x.Statement.Payload.String(), x.Statement.PredicateType, x.Err == nil, x.Signer, reasonOf(x.Paper), x.New, artifactOf(x.Artifact),
	}), nil
}

// reasonOf says why a statement does not count.
func reasonOf(p registry.Paper) string {
	if p.Err == nil {
		return ""
	}
	return p.Err.Error()
}

// A TrustEntry is one signer that is trusted.
type TrustEntry struct {
	ID         string     `json:"id" maxLength:"64" doc:"how claims and explanations name the signer"`
	Kind       string     `json:"kind" enum:"key,ca,identity"`
	Value      string     `json:"value" maxLength:"65536" doc:"PEM of a public key or of certificates, or an identity"`
	Issuer     string     `json:"issuer,omitempty" maxLength:"500" doc:"of an identity: who vouches for it"`
	Root       string     `json:"root,omitempty" maxLength:"1048576" doc:"of an identity: Sigstore trusted_root.json; empty for the public instance"`
	Principal  string     `json:"principal,omitempty" maxLength:"500" doc:"person who holds the key: four eyes count people"`
	Subjects   []string   `json:"subjects,omitempty" maxItems:"100" doc:"patterns of model names such as team/*; none: every model"`
	Predicates []string   `json:"predicates" minItems:"1" maxItems:"100" doc:"predicate types it is trusted for"`
	NotBefore  *time.Time `json:"not_before,omitempty"`
	NotAfter   *time.Time `json:"not_after,omitempty"`
	AnyPurpose bool       `json:"any_purpose,omitempty" doc:"certificates for other purposes than code signing are taken"`
	Comment    string     `json:"comment,omitempty" maxLength:"500"`
}

type trustEntryBody struct {
	TrustEntry
	RevokedAt  *time.Time `json:"revoked_at,omitempty"`
	Revocation string     `json:"revocation,omitempty" enum:"signed-after,all"`
	State      string     `json:"state" enum:"valid,expired,revoked,not_yet"`
	KeyID      string     `json:"key_id,omitempty" doc:"of a key"`
	BuiltIn    bool       `json:"built_in" doc:"the key of this server"`
}

type trustBody struct {
	Version int64            `json:"version"`
	At      time.Time        `json:"at" doc:"of the last change; zero if there was none"`
	By      string           `json:"by"`
	Action  string           `json:"action"`
	Entry   string           `json:"entry" doc:"that changed"`
	Entries []trustEntryBody `json:"entries"`
	Changed []changedBody    `json:"changed,omitempty" doc:"artifacts whose state this changed"`
}

type changedBody struct {
	Artifact string `json:"artifact"`
	Before   string `json:"before"`
	After    string `json:"after"`
}

func changes(cs []registry.Changed) []changedBody {
	out := []changedBody{}
	for _, c := range cs {
		out = append(out, changedBody{c.Artifact.String(), string(c.Before), string(c.After)})
	}
	return out
}

func pointer(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func instant(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

func (s *service) trustOf(l registry.TrustList) trustBody {
	out := trustBody{Version: l.Version, At: l.At, By: l.By, Action: l.Action, Entry: l.Entry, Entries: []trustEntryBody{}}
	server := trustEntryBody{TrustEntry: TrustEntry{
		ID: attest.ServerSigner, Kind: attest.KindKey, Value: string(s.PublicKey), Predicates: attest.Server(nil).Predicates, Comment: "the key of this server",
	}, State: "valid", BuiltIn: true}
	if key, err := attest.ParsePublicPEM(s.PublicKey); err == nil {
		server.KeyID, _ = attest.KeyID(key)
	}
	out.Entries = append(out.Entries, server)
	now := s.Now()
	for _, e := range l.Entries {
		b := trustEntryBody{TrustEntry: TrustEntry{
			ID: e.ID, Kind: e.Kind, Value: e.Value, Issuer: e.Issuer, Root: e.Root, Principal: e.Principal, Subjects: e.Subjects, Predicates: e.Predicates,
			NotBefore: pointer(e.NotBefore), NotAfter: pointer(e.NotAfter), AnyPurpose: e.AnyPurpose, Comment: e.Comment,
		}, RevokedAt: pointer(e.RevokedAt), Revocation: e.Revocation, State: "valid"}
		switch {
		case e.Revocation != "":
			b.State = "revoked"
		case !e.NotAfter.IsZero() && now.After(e.NotAfter):
			b.State = "expired"
		case now.Before(e.NotBefore):
			b.State = "not_yet"
		}
		if t, err := e.Trusted(); err == nil && t.Key != nil {
			b.KeyID, _ = attest.KeyID(t.Key)
		}
		out.Entries = append(out.Entries, b)
	}
	return out
}

type trustInput struct {
	Version int64 `query:"version" minimum:"-1" default:"-1" doc:"a past version; -1 for the newest"`
}

func (s *service) getTrust(ctx context.Context, in *trustInput) (*body[trustBody], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	l, err := s.Governor.Trust(ctx, in.Version)
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(s.trustOf(l)), nil
}

type addTrustInput struct{ Body TrustEntry }

func (s *service) addTrust(ctx context.Context, in *addTrustInput) (*body[trustBody], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	e := in.Body
	l, err := s.Governor.AddTrust(ctx, attest.Entry{
		ID: e.ID, Kind: e.Kind, Value: e.Value, Issuer: e.Issuer, Root: e.Root, Principal: e.Principal, Subjects: e.Subjects, Predicates: e.Predicates,
		NotBefore: instant(e.NotBefore), NotAfter: instant(e.NotAfter), AnyPurpose: e.AnyPurpose, Comment: e.Comment,
	}, identity(ctx).Principal)
	return s.reconciled(ctx, l, err)
}

type revokeTrustInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Revocation string     `json:"revocation" enum:"signed-after,all" doc:"what falls: what was received from a time on, or all of it"`
		From       *time.Time `json:"from,omitempty" doc:"time of signed-after; now if absent"`
		Reason     string     `json:"reason" maxLength:"1000"`
	}
}

func (s *service) revokeTrust(ctx context.Context, in *revokeTrustInput) (*body[trustBody], error) {
	if err := s.may(ctx, policy.Administer); err != nil {
		return nil, s.fail(err)
	}
	l, err := s.Governor.RevokeTrust(ctx, in.ID, in.Body.Revocation, instant(in.Body.From), in.Body.Reason, identity(ctx).Principal)
	return s.reconciled(ctx, l, err)
}

// reconciled answers a change of trust after everything that it concerns was
// decided again. If that fails the change holds all the same, and the server
// goes on with it in the background.
func (s *service) reconciled(ctx context.Context, l registry.TrustList, err error) (*body[trustBody], error) {
	var changed []registry.Changed
	if err == nil {
		changed, err = s.Governor.Reconcile(ctx)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	out := s.trustOf(l)
	out.Changed = changes(changed)
	return answer(out), nil
}
