package attest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
)

func signer(t *testing.T) *attest.Signer {
	t.Helper()
	key, err := attest.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := attest.PrivatePEM(key)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = attest.ParsePrivatePEM(text); err != nil {
		t.Fatal(err)
	}
	s, err := attest.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func scanStatement(t *testing.T, subject warden.Digest) warden.Statement {
	t.Helper()
	s, err := attest.New(attest.ScanType, attest.Scan{Verdict: "clean", Complete: true, Scanned: time.Unix(1, 0).UTC()}, subject)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVerify(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	good, other := signer(t), signer(t)
	subject := warden.Sum([]byte("manifest"))
	env, err := attest.SignStatement(good, scanStatement(t, subject))
	if err != nil {
		t.Fatal(err)
	}
	entry := attest.Trusted{ID: "server", Key: good.Public(), Predicates: []string{attest.ScanType}}
	with := func(change func(*attest.Trusted)) attest.TrustStore {
		e := entry
		change(&e)
		return attest.TrustStore{e}
	}
	edit := func(old, replacement string) []byte {
		var e attest.Envelope
		if err := json.Unmarshal(env, &e); err != nil {
			t.Fatal(err)
		}
		e.Payload = []byte(strings.Replace(string(e.Payload), old, replacement, 1))
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, tt := range []struct {
		name  string
		env   []byte
		trust attest.TrustStore
		want  error
	}{
		{"good", env, attest.TrustStore{entry}, nil},
		{"nobody_trusted", env, nil, attest.ErrUntrusted},
		{"other_key", env, with(func(e *attest.Trusted) { e.Key = other.Public() }), attest.ErrUntrusted},
		{"other_predicate", env, with(func(e *attest.Trusted) { e.Predicates = []string{"x"} }), attest.ErrUntrusted},
		{"expired", env, with(func(e *attest.Trusted) { e.NotAfter = now.Add(-1) }), attest.ErrExpired},
		{"not_yet_valid", env, with(func(e *attest.Trusted) { e.NotBefore = now.Add(1) }), attest.ErrExpired},
		{"revoked", env, with(func(e *attest.Trusted) { e.Revoked = true }), attest.ErrRevoked},
		{"verdict_changed", edit(`"clean"`, `"other"`), attest.TrustStore{entry}, attest.ErrUntrusted},
		{"duplicate_name", edit(`"verdict":"clean"`, `"verdict":"clean","verdict":"malicious"`), attest.TrustStore{entry}, attest.ErrMalformed},
		{"names_alike_but_for_case", bytes.Replace(env, []byte(`{`), []byte(`{"Payload":"",`), 1), attest.TrustStore{entry}, attest.ErrMalformed},
		{"trailing_bytes", append(bytes.Clone(env), "{}"...), attest.TrustStore{entry}, attest.ErrMalformed},
		{"truncated", env[:len(env)/2], attest.TrustStore{entry}, attest.ErrMalformed},
		{"two_signatures", bytes.Replace(env, []byte(`"signatures":[`), []byte(`"signatures":[{"keyid":"","sig":""},`), 1), attest.TrustStore{entry}, attest.ErrMalformed},
		{"deeply_nested", []byte(strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)), attest.TrustStore{entry}, attest.ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			claims, rejected := attest.Verify(subject, [][]byte{tt.env}, tt.trust, now)
			if tt.want == nil {
				if len(claims) != 1 || len(rejected) != 0 || claims[0].Signer != "server" {
					t.Fatalf("claims %+v, rejected %+v", claims, rejected)
				}
				if d := cmp.Diff(scanStatement(t, subject), claims[0].Statement); d != "" {
					t.Errorf("-want +got:\n%s", d)
				}
				return
			}
			if len(claims) != 0 || len(rejected) != 1 || !errors.Is(rejected[0].Err, tt.want) {
				t.Errorf("claims %+v, rejected %+v, want %v", claims, rejected, tt.want)
			}
		})
	}
	if _, rejected := attest.Verify(warden.Sum(nil), [][]byte{env}, attest.TrustStore{entry}, now); len(rejected) != 1 || !errors.Is(rejected[0].Err, attest.ErrSubject) {
		t.Errorf("another subject: %+v, want ErrSubject", rejected)
	}
}

func FuzzDecodeEnvelope(f *testing.F) {
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"","sig":""}]}`))
	f.Add([]byte(`{"payloadType":"x","payloadType":"y"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := attest.DecodeEnvelope(b)
		if err != nil {
			return
		}
		if _, err := json.Marshal(e); err != nil {
			t.Error(err)
		}
		s, err := attest.Decode(e.Payload)
		if err != nil {
			return
		}
		text, err := attest.Encode(s)
		if err != nil {
			return // a number without a canonical form
		}
		if again, err := attest.Decode(text); err != nil || len(again.Subjects) != len(s.Subjects) {
			t.Errorf("Decode(Encode(s)) = %+v, %v", again, err)
		}
	})
}
