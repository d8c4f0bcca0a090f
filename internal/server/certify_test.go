package server

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
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

// Where witnesses are required, the first page and a verification say that none
// has signed what is older than ten minutes.
func TestWitnessesRequired(t *testing.T) {
	cfg, opts := testConfig(t.TempDir()), testOptions()
	cfg.Audit.WitnessesRequired = 1
	var late atomic.Int64 // nanoseconds that the clock is ahead
	opts.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	r := start(t, cfg, opts)
	type said struct {
		OK          bool
		Unwitnessed string
		Required    int `json:"witnesses_required"`
	}
	ask := func(method, path, body string) (out said) {
		t.Helper()
		if code := r.call(method, path, body, &out); code != http.StatusOK {
			t.Fatalf("%s = %d", path, code)
		}
		return out
	}
	if x := ask(http.MethodPost, "/api/v1/audit/verify", "{}"); !x.OK || x.Unwitnessed != "" || x.Required != 1 {
		t.Errorf("at first: %+v", x)
	}
	late.Store(int64(time.Hour))
	if x := ask(http.MethodPost, "/api/v1/audit/verify", "{}"); !x.OK || x.Unwitnessed == "" {
		t.Errorf("an hour later: %+v", x)
	}
	if x := ask(http.MethodGet, "/api/v1/posture", ""); x.Unwitnessed == "" {
		t.Errorf("first page: %+v", x)
	}
	cfg.Audit.WitnessesRequired = -1
	if err := cfg.Check(); err == nil {
		t.Error("-1 required witnesses are accepted")
	}
}
