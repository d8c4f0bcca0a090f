package oms

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
)

// A SignConfig says what is signed and how. Its zero value signs whole files by
// SHA-256.
type SignConfig struct {
	Hash           string   // one of HashTypes; "" is sha256
	Shard          int64    // bytes of a shard; 0: whole files
	Ignore         []string // exact relative paths that are left out, with all below them
	FollowSymlinks bool
	Signature      string        // where the bundle will lie: left out if that is inside the model
	Progress       func(n int64) // told of bytes as they are read, from several goroutines; may be nil
}

// A Manifest is what a signature will say of a model.
type Manifest struct {
	Name      string // of the model
	Resources []Resource
	Method    Serialization
}

// Read lists and hashes a model. What it cannot sign it rejects: no files,
// links, special files, names that are not UTF-8, files that change.
func Read(ctx context.Context, path string, cfg SignConfig) (Manifest, error) {
	alg, ok := hashes[cfg.Hash]
	if cfg.Hash == "" {
		cfg.Hash, alg, ok = "sha256", hashes["sha256"], true
	}
	if !ok || cfg.Shard < 0 {
		return Manifest{}, reject("hash type %q or shard size %d is not known", cfg.Hash, cfg.Shard)
	}
	m, err := openModel(path)
	if err != nil {
		return Manifest{}, err
	}
	defer m.close()
	skip := ignores(slices.Clone(defaultIgnored))
	for _, p := range cfg.Ignore {
		clean, err := userIgnore(p)
		if err != nil {
			return Manifest{}, err
		}
		skip = append(skip, clean)
	}
	if in := m.inside(cfg.Signature); in != "" {
		skip = append(skip, in)
	}
	files, err := m.list(skip, cfg.FollowSymlinks)
	if err != nil {
		return Manifest{}, err
	}
	ps := pieces(files, cfg.Shard)
	if len(ps) == 0 {
		return Manifest{}, reject("%s holds no files to sign", path)
	}
	if len(ps) > maxResources {
		return Manifest{}, reject("%d files or shards, at most %d", len(ps), maxResources)
	}
	sums, err := digest(ctx, m, ps, alg, cfg.Progress)
	if err != nil {
		return Manifest{}, err
	}
	slices.Sort(skip)
	out := Manifest{Name: m.base, Method: Serialization{Method: methodFiles, HashType: cfg.Hash, AllowSymlinks: cfg.FollowSymlinks, IgnorePaths: slices.Compact(skip)}}
	if cfg.Shard > 0 {
		out.Method.Method, out.Method.ShardSize, out.Method.shard = methodShards, json.Number(strconv.FormatInt(cfg.Shard, 10)), cfg.Shard
	}
	for i, p := range ps {
		out.Resources = append(out.Resources, Resource{Name: p.name, Digest: sums[i], Algorithm: cfg.Hash})
	}
	out.sort()
	return out, nil
}

// FromDigests makes a Manifest from stored SHA-256 digests: nothing is read.
func FromDigests(name string, files map[string]warden.Digest) (Manifest, error) {
	m := Manifest{Name: name, Method: Serialization{Method: methodFiles, HashType: "sha256", IgnorePaths: slices.Clone(defaultIgnored)}}
	for path, d := range files {
		m.Resources = append(m.Resources, Resource{Name: path, Digest: strings.TrimPrefix(d.String(), "sha256:"), Algorithm: "sha256"})
	}
	m.sort()
	_, err := predicate{m.Resources, &m.Method}.check()
	return m, err
}

func (m *Manifest) sort() {
	slices.SortFunc(m.Resources, func(a, b Resource) int { return strings.Compare(a.Name, b.Name) })
}

// Payload returns the statement that is signed, as canonical JSON: signing a
// model twice signs the same bytes.
func (m Manifest) Payload() ([]byte, error) {
	root, err := rootOf(m.Resources)
	if err != nil {
		return nil, err
	}
	return warden.Canonical(statement{
		Type: attest.StatementType, Subject: []subject{{Name: m.Name, Digest: map[string]string{"sha256": root}}},
		PredicateType: PredicateType, Predicate: predicate{m.Resources, &m.Method},
	})
}

// Sign returns the bundle of m, signed with the key of s. With a chain, leaf
// first, the leaf must be of that key and the bundle carries the chain.
func Sign(m Manifest, s *attest.Signer, chain []*x509.Certificate) ([]byte, error) {
	payload, err := m.Payload()
	if err != nil {
		return nil, err
	}
	var mat any
	if len(chain) == 0 {
		mat = map[string]any{"publicKey": map[string]string{"hint": s.ID()}}
	} else {
		leaf, ok := chain[0].PublicKey.(*ecdsa.PublicKey)
		if !ok || !leaf.Equal(s.Public()) {
			return nil, reject("the certificate is not of the signing key")
		}
		if err := leafPurpose(chain[0]); err != nil {
			return nil, err
		}
		var certs []certificate
		for _, c := range chain {
			certs = append(certs, certificate{c.Raw})
		}
		mat = map[string]any{"x509CertificateChain": map[string]any{"certificates": certs}}
	}
	sig, err := s.Signature(attest.PayloadType, payload)
	if err != nil {
		return nil, err
	}
	return wrap(payload, sig, mat)
}

// wrap writes a bundle. Both references accept an empty list of log entries.
func wrap(payload, sig []byte, mat any) ([]byte, error) {
	text, err := json.Marshal(mat)
	if err != nil {
		return nil, err
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	fields["tlogEntries"] = json.RawMessage("[]")
	b, err := warden.Canonical(map[string]any{
		"mediaType": mediaType, "verificationMaterial": fields,
		"dsseEnvelope": map[string]any{
			"payload": base64.StdEncoding.EncodeToString(payload), "payloadType": attest.PayloadType,
			"signatures": []map[string]string{{"sig": base64.StdEncoding.EncodeToString(sig), "keyid": ""}},
		},
	})
	if err != nil {
		return nil, err
	}
	return append(bytes.TrimSpace(b), '\n'), nil
}
