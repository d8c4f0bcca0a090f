package server

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/server/servertest"
)

// A quarantine tells others by a signed statement, and its release by another.
// Decisions here come from the quarantine itself: what was admitted is again.
func TestQuarantineCertifies(t *testing.T) {
	r := start(t, testConfig(t.TempDir()), testOptions())
	d := r.push("team/bert", []byte(servertest.Clean)).Digest
	r.eventually("admission", func() bool { return r.state(d).State() == registry.Admitted })
	path := "/api/v1/artifacts/" + d.String()
	said := func(kind string) (out []attest.Certification) {
		t.Helper()
		var l struct {
			Items []struct {
				PredicateType string `json:"predicate_type"`
				Verified      bool
				Signer        string
				Envelope      json.RawMessage
			}
		}
		if code := r.call(http.MethodGet, path+"/statements", "", &l); code != http.StatusOK {
			t.Fatalf("statements = %d", code)
		}
		for _, x := range l.Items {
			if x.PredicateType != kind {
				continue
			}
			trust := attest.TrustStore{attest.Server(r.s.keys.statements.Public())}
			claims, rejected := attest.Verify(d, [][]byte{x.Envelope}, trust, time.Now())
			if !x.Verified || x.Signer != attest.ServerSigner || len(claims) != 1 || len(rejected) != 0 {
				t.Fatalf("statement = %+v, %v, %v", x, claims, rejected)
			}
			var c attest.Certification
			if err := json.Unmarshal(claims[0].Statement.Predicate, &c); err != nil {
				t.Fatal(err)
			}
			out = append(out, c)
		}
		return out
	}
	if code := r.call(http.MethodPost, path+"/quarantine", `{"reason":"calls home"}`, nil); code != http.StatusOK {
		t.Fatalf("quarantine = %d", code)
	}
	bad := said(attest.CertifyBadType)
	if len(bad) != 1 || bad[0].Scope != "quarantine" || bad[0].Justification != "user:local: calls home" || bad[0].KnownSince.IsZero() {
		t.Errorf("certified as bad: %+v", bad)
	}
	scanned := r.state(d).Scanned
	if code := r.call(http.MethodPost, path+"/rescan", "", nil); code != http.StatusOK {
		t.Fatalf("rescan = %d", code)
	}
	r.eventually("another scan", func() bool { return r.state(d).Scanned.After(scanned) })
	if a := r.state(d); a.State() != registry.Quarantined || a.Decided != registry.Admitted {
		t.Errorf("scanned in quarantine = %+v", a)
	}
	if code := r.call(http.MethodPost, path+"/release", `{"reason":"false alarm"}`, nil); code != http.StatusOK {
		t.Fatalf("release = %d", code)
	}
	good := said(attest.CertifyGoodType)
	if len(good) != 1 || good[0].Scope != "quarantine" || len(said(attest.CertifyBadType)) != 1 {
		t.Errorf("certified as good: %+v", good)
	}
	if a := r.state(d); a.State() != registry.Admitted {
		t.Errorf("released = %+v", a)
	}
}
