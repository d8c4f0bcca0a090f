package policy_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/rules"
)

func said(kind, signer string, received time.Time, predicate string) warden.Claim {
	return warden.Claim{Signer: signer, Verified: received, Statement: warden.Statement{PredicateType: kind, Predicate: []byte(predicate)}}
}

const (
	signature   = "https://model_signing/signature/v1.0"
	approval    = "https://modelwarden.dev/approval/v1"
	certifyBad  = "https://modelwarden.dev/certify-bad/v1"
	certifyGood = "https://modelwarden.dev/certify-good/v1"
	provenance  = "https://slsa.dev/provenance/v1"
)

func approves(who, stage string, received, expires time.Time, withdrawn bool) warden.Claim {
	return said(approval, "server", received, fmt.Sprintf(`{"who":%q,"role":"risk","action":"promote","model":"team/m","version":3,"stage":%q,"withdrawn":%v,"expires":%q}`,
		who, stage, withdrawn, expires.Format(time.RFC3339)))
}

func TestReduceTrust(t *testing.T) {
	later := at.Add(time.Hour)
	for _, tt := range []struct {
		name   string
		claims []warden.Claim
		got    func(policy.Facts) any
		want   any
	}{
		{"a_scan_is_no_signature", []warden.Claim{claim(t, "server", "clean", true, at)}, func(f policy.Facts) any { return f.Signed }, false},
		{
			"signed",
			[]warden.Claim{
				said(signature, "release", at, `{"order":"string","hash":"sha256","ignored_present":["b"]}`),
				said(signature, "old", at, `{"order":"components","hash":"sha256","legacy":true,"ignored_present":["a","b"]}`),
			},
			func(f policy.Facts) any { return []any{f.Signed, f.Signers, f.OMS} },
			[]any{true, []string{"old", "release"}, policy.SignatureFacts{Orders: []string{"components", "string"}, Hashes: []string{"sha256"}, IgnoredPresent: []string{"a", "b"}}},
		},
		{"only_legacy", []warden.Claim{said(signature, "old", at, `{"legacy":true}`)}, func(f policy.Facts) any { return f.OMS.Legacy }, true},
		{
			"approved",
			[]warden.Claim{approves("user:b", "prod", at, later, false), approves("user:a", "prod", at, later, false), approves("user:a", "prod", at, later, false)},
			func(f policy.Facts) any {
				return []string{f.Approvals[0].Who, f.Approvals[1].Who, fmt.Sprint(len(f.Approvals))}
			},
			[]string{"user:a", "user:b", "2"},
		},
		{"approval_over", []warden.Claim{approves("user:a", "prod", at, at, false)}, func(f policy.Facts) any { return len(f.Approvals) }, 0},
		{"approval_taken_back", []warden.Claim{approves("user:a", "prod", at, later, false), approves("user:a", "prod", at.Add(1), later, true)}, func(f policy.Facts) any { return len(f.Approvals) }, 0},
		{"approval_given_again", []warden.Claim{approves("user:a", "prod", at.Add(-9), later, true), approves("user:a", "prod", at, later, false)}, func(f policy.Facts) any { return len(f.Approvals) }, 1},
		{"both_at_once", []warden.Claim{approves("user:a", "prod", at, later, true), approves("user:a", "prod", at, later, false)}, func(f policy.Facts) any { return len(f.Approvals) }, 0},
		{"bad", []warden.Claim{said(certifyBad, "sec", at, `{"scope":"x"}`)}, func(f policy.Facts) any { return f.Quarantined }, true},
		{"bad_then_good", []warden.Claim{said(certifyBad, "sec", at, `{"scope":"x"}`), said(certifyGood, "sec", at.Add(1), `{"scope":"x"}`)}, func(f policy.Facts) any { return f.Quarantined }, false},
		{"good_at_once", []warden.Claim{said(certifyBad, "sec", at, `{"scope":"x"}`), said(certifyGood, "sec", at, `{"scope":"x"}`)}, func(f policy.Facts) any { return f.Quarantined }, true},
		{"good_of_another_scope", []warden.Claim{said(certifyBad, "sec", at, `{"scope":"x"}`), said(certifyGood, "sec", at.Add(1), `{"scope":"y"}`)}, func(f policy.Facts) any { return f.Quarantined }, true},
		{"bad_not_understood", []warden.Claim{said(certifyBad, "sec", at, `7`), said(certifyGood, "sec", at.Add(1), `7`)}, func(f policy.Facts) any { return f.Quarantined }, true},
		{
			"provenance",
			[]warden.Claim{said(provenance, "ci", at, `{"runDetails":{"builder":{"id":"https://b"}}}`)},
			func(f policy.Facts) any { return f.Provenance },
			policy.ProvenanceFacts{Present: true, Builders: []string{"https://b"}},
		},
		{"provenance_of_nobody", []warden.Claim{said(provenance, "ci", at, `{"runDetails":{}}`)}, func(f policy.Facts) any { return f.Provenance.Present }, false},
		{"pickle", []warden.Claim{claim(t, "server", "clean", true, at)}, func(f policy.Facts) any { return []bool{f.HasPickle, f.HasCode} }, []bool{true, false}},
		// A scanner's clock that is years ahead does not make its old scan the newest.
		{"clock_skew", []warden.Claim{
			{Signer: "s", Verified: at, Statement: claim(t, "s", "clean", true, at.AddDate(40, 0, 0)).Statement},
			{Signer: "s", Verified: at.Add(time.Minute), Statement: claim(t, "s", "malicious", true, at).Statement},
		}, func(f policy.Facts) any { return f.Scan.Verdict }, "malicious"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, tt.got(policy.Reduce(tt.claims, at))); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestReducePermutes: the order of the statements does not change the facts.
func TestReducePermutes(t *testing.T) {
	kinds := []string{"https://modelwarden.dev/model-scan/v1", signature, approval, certifyBad, certifyGood, provenance}
	rapid.Check(t, func(t *rapid.T) {
		one := rapid.Custom(func(t *rapid.T) warden.Claim {
			received := at.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "received")) * time.Second)
			who := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "signer")
			kind := rapid.SampledFrom(kinds).Draw(t, "kind")
			p := map[string]any{
				"verdict": rapid.SampledFrom([]string{"clean", "review", "malicious", "great"}).Draw(t, "verdict"), "complete": rapid.Bool().Draw(t, "complete"), "code": rapid.Bool().Draw(t, "code"),
				"scanned": received, "expires": received.Add(time.Hour), "formats": []string{rapid.SampledFrom([]string{"pickle", "gguf"}).Draw(t, "format")},
				"scope": rapid.SampledFrom([]string{"x", "y"}).Draw(t, "scope"), "who": who, "action": "promote", "stage": "prod", "withdrawn": rapid.Bool().Draw(t, "withdrawn"),
				"scanner": map[string]any{"rules": rapid.SampledFrom([]string{"r1", "r2"}).Draw(t, "rules")}, "order": "string", "hash": "sha256", "legacy": rapid.Bool().Draw(t, "legacy"),
			}
			b, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			return said(kind, who, received, string(b))
		})
		claims := rapid.SliceOfN(one, 0, 12).Draw(t, "claims")
		mixed := rapid.Permutation(claims).Draw(t, "mixed")
		a, errA := policy.Reduce(claims, at).Digest()
		b, errB := policy.Reduce(mixed, at).Digest()
		if errA != nil || errB != nil || a != b {
			t.Fatalf("%v, %v: facts differ with the order: %v, %v", errA, errB, policy.Reduce(claims, at), policy.Reduce(mixed, at))
		}
	})
}

// TestRequestFitsSchema: what a request says is what the schema promises to
// policies, for every action.
func TestRequestFitsSchema(t *testing.T) {
	for _, r := range []policy.Request{
		{Principal: who("user:a", "reader"), Action: policy.Retrieve, Resource: artifact("admitted", "clean", true), Now: at},
		{Principal: who("service:a"), Action: policy.Admit, Resource: artifact("pending", "", false), Now: at},
		{Principal: who("key:a", "engineer"), Action: policy.Promote, Resource: artifact("admitted", "clean", true), Now: at, Step: policy.Step{Model: "a/b", Version: 1, To: "prod"}},
		{Principal: who("key:a", "engineer"), Action: policy.Approve, Resource: artifact("admitted", "clean", true), Now: at},
		{Principal: who("key:a", "security"), Action: policy.Quarantine, Resource: artifact("admitted", "clean", true), Now: at},
		{Principal: who("user:a"), Action: policy.Attest, Resource: artifact("admitted", "clean", true), Now: at},
		{Principal: who("user:a"), Action: policy.Query, Resource: policy.Resource{Ref: warden.Ref{Kind: policy.KindRoute, ID: "chat"}}, Now: at},
		{Principal: who("key:a"), Action: policy.Embed, Resource: policy.Resource{Ref: warden.Ref{Kind: policy.KindRoute, ID: "chat"}}, Now: at, Asked: policy.Asked{Address: netip.MustParseAddr("::ffff:10.1.2.3"), Choices: 1}},
		{Principal: who("user:a"), Action: policy.Deliver, Resource: policy.Resource{Ref: warden.Ref{Kind: policy.KindRoute, ID: "chat"}}, Now: at, Found: policy.Found{Rule: "WDN-EX-501", Severity: warden.High, Effect: warden.Redact}},
		{Principal: who("service:gateway"), Action: policy.Use, Resource: policy.Resource{Ref: warden.Ref{Kind: policy.KindProvider, ID: "openai/gpt-4o"}}, Now: at},
		{Principal: who("user:a"), Action: policy.Modify, Resource: policy.Resource{Ref: warden.Ref{Kind: warden.KindModel, ID: "a/b"}}, Now: at},
		{Principal: who("user:a"), Action: policy.Administer, Resource: policy.Resource{Ref: warden.Ref{Kind: policy.KindPlatform, ID: "warden"}}, Now: at},
	} {
		if err := policy.CheckRequest(rules.PolicySchema(), r); err != nil {
			t.Errorf("%s: %v", r.Action, err)
		}
	}
}

// TestRecorded: a decision can be made again from what is kept of it.
func TestRecorded(t *testing.T) {
	r := policy.Request{
		Principal: who("user:bob", "engineer"), Action: policy.Promote, Resource: artifact("admitted", "clean", true), Now: at,
		Step: policy.Step{Model: "team/m", Version: 3, To: "prod", PushedBy: []string{"user:ann"}, SignedBy: []string{}},
	}
	r.Resource.Stage = "staging"
	b, err := json.Marshal(r.Record())
	if err != nil {
		t.Fatal(err)
	}
	var rec policy.Recorded
	if err := json.Unmarshal(b, &rec); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, rec.Request(r.Resource.Facts), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestConditions(t *testing.T) {
	set := standard(t)
	r := policy.Request{
		Principal: who("user:bob", "engineer"), Action: policy.Promote, Resource: artifact("admitted", "clean", true), Now: at, Step: policy.Step{Model: "team/m", Version: 3, To: "prod"},
	}
	missing := func(cs []policy.Condition) (out []string) {
		for _, c := range cs {
			if c.Needs == "" || c.Policy != policy.Permitted && c.Fix == "" {
				t.Errorf("condition %+v says not what to do", c)
			}
			if !c.Met {
				out = append(out, c.Policy)
			}
		}
		return out
	}
	if d := cmp.Diff([]string{"prod-approved", "prod-signed"}, missing(set.Conditions(r))); d != "" {
		t.Errorf("to prod, -want +got:\n%s", d)
	}
	r.Step.To = "staging"
	cs := set.Conditions(r)
	if got := missing(cs); got != nil {
		t.Errorf("to staging: %v are missing", got)
	}
	if slices.ContainsFunc(cs, func(c policy.Condition) bool { return c.Policy == "prod-signed" }) {
		t.Errorf("staging asks for what prod needs: %+v", cs)
	}
	r.Principal.Roles = []string{"reader"}
	if d := cmp.Diff([]string{policy.Permitted}, missing(set.Conditions(r))); d != "" {
		t.Errorf("a reader, -want +got:\n%s", d)
	}
	i := slices.IndexFunc(cs, func(c policy.Condition) bool { return c.Policy == "promote-clean" })
	if !slices.Contains(cs[i].Reads, policy.Value{Path: "resource.scan.verdict", Value: `"clean"`}) {
		t.Errorf("promote-clean reads %+v", cs[i].Reads)
	}
}

// BenchmarkDecide1000 decides with a thousand policies of two hundred teams.
func BenchmarkDecide1000(b *testing.B) {
	var text strings.Builder
	text.Write(rules.StandardPolicies())
	for i := range 1000 {
		fmt.Fprintf(&text, "@id(\"p%d\") %s (principal in Group::\"team-%d\", action == Action::\"%s\", resource) when { resource.scan.verdict == \"clean\" && context.now > %d };\n",
			i, []string{"permit", "forbid"}[i%7/6], i%200, []string{"retrieve", "serve", "admit", "promote", "attest"}[i/200], i)
	}
	set, err := policy.NewSet("many", rules.PolicySchema(), policy.Source{Name: "many.cedar", Text: []byte(text.String())})
	if err != nil {
		b.Fatal(err)
	}
	req := policy.Request{Principal: who("user:ann", "reader", "team-17"), Action: policy.Retrieve, Resource: artifact("admitted", "clean", true), Now: at}
	if dec := set.Decide(req); dec.Effect != warden.Allow || !slices.Contains(dec.Because, "p17") {
		b.Fatalf("got %+v", dec)
	}
	for b.Loop() {
		set.Decide(req)
	}
}
