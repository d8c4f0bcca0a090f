package server

import (
	"context"
	"errors"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/oms"
	"github.com/modelwarden/warden/internal/registry"
)

// demoSigner begins the ids of trust entries of the demo. Their private keys are
// made at that moment and kept nowhere.
const demoSigner = "demo-release-"

// papers signs a demo model, has it approved by somebody else and promoted by a
// third one, so that the console has a version in production. Where the
// policies of this platform refuse that, the demo does without.
func (d *demo) papers(ctx context.Context, actor warden.Principal) error {
	list, err := d.s.governor.Trust(ctx, -1)
	if err != nil {
		return err
	}
	for _, e := range list.Entries {
		if strings.HasPrefix(e.ID, demoSigner) && e.Revocation == "" {
			return nil // loaded before
		}
	}
	key, err := attest.GenerateKey(nil)
	if err != nil {
		return err
	}
	signer, err := attest.NewSigner(key)
	if err != nil {
		return err
	}
	public, err := attest.PublicPEM(key.Public())
	if err != nil {
		return err
	}
	_, err = d.s.governor.AddTrust(ctx, attest.Entry{
		ID: demoSigner + signer.ID()[:8], Kind: attest.KindKey, Value: string(public), Principal: "user:demo-ann",
		Subjects: []string{"demo/*"}, Predicates: []string{oms.PredicateType}, Comment: "demo data: nobody has the private key",
	}, actor)
	if err != nil {
		return err
	}
	const model = "demo/sentiment"
	v, err := d.s.registry.Find(ctx, model)
	if err != nil {
		return err
	}
	bundle, err := d.bundle(ctx, v, signer)
	if err != nil {
		return err
	}
	if _, err := d.s.governor.Attach(ctx, v.Digest, bundle, actor); err != nil {
		return err
	}
	person := func(id string) warden.Principal {
		return warden.Principal{ID: id, Roles: []string{access.RoleEngineer}}
	}
	move := registry.Move{Model: v.Model, Version: v.Number, To: registry.Staging, Reason: "demo: tests pass", Actor: person("user:demo-cora")}
	if _, _, err := d.s.governor.Promote(ctx, move); err != nil {
		return unlessDenied(err)
	}
	move.To = registry.Prod
	approve := move
	approve.Reason, approve.Actor = "demo: read the card", person("user:demo-ben")
	if _, err := d.s.governor.Approve(ctx, registry.Approval{Move: approve}); err != nil {
		return unlessDenied(err)
	}
	move.Reason = "demo: release 1"
	_, _, err = d.s.governor.Promote(ctx, move)
	return unlessDenied(err)
}

// bundle signs the files of a version by their stored digests.
func (d *demo) bundle(ctx context.Context, v registry.Version, signer *attest.Signer) ([]byte, error) {
	var raw []byte
	err := d.s.registry.View(ctx, func(r registry.Reader) (err error) {
		raw, err = r.Manifest(ctx, v.Digest)
		return err
	})
	if err != nil {
		return nil, err
	}
	m, err := registry.DecodeManifest(raw)
	if err != nil {
		return nil, err
	}
	files := map[string]warden.Digest{}
	for _, f := range m.Files {
		files[f.Path] = f.Digest
	}
	signed, err := oms.FromDigests("sentiment", files)
	if err != nil {
		return nil, err
	}
	return oms.Sign(signed, signer, nil)
}

// unlessDenied takes a refusal by policy for an answer.
func unlessDenied(err error) error {
	if we := (*warden.Error)(nil); errors.As(err, &we) && we.Code == warden.CodeDenied {
		return nil
	}
	return err
}

// distrust ends the trust in signers of the demo.
func (d *demo) distrust(ctx context.Context, actor warden.Principal) error {
	list, err := d.s.governor.Trust(ctx, -1)
	if err != nil {
		return err
	}
	for _, e := range list.Entries {
		if strings.HasPrefix(e.ID, demoSigner) && e.Revocation == "" {
			_, rerr := d.s.governor.RevokeTrust(ctx, e.ID, attest.RevokeAll, d.s.opts.Now(), "demo data removed", actor)
			err = errors.Join(err, rerr)
		}
	}
	return err
}
