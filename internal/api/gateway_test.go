package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/api"
	"github.com/modelwarden/warden/internal/monitor"
)

// get decodes an answer that must be there.
func (b *bench) get(role, path string, out any) {
	b.T.Helper()
	resp, text := b.do(role, http.MethodGet, path, "")
	b.want(http.StatusOK, "", resp, text)
	if err := json.Unmarshal([]byte(text), out); err != nil {
		b.T.Fatal(err)
	}
}

type exchanges struct {
	Items []monitor.Exchange
	Next  string
}

// keep writes so many exchanges of a route, in batches of eight records, the
// admission and the end of some in different ones. Every third is denied.
func (b *bench) keep(n int) {
	b.T.Helper()
	var batch []monitor.Record
	flush := func() {
		if err := b.Traffic.Keep(b.T.Context(), "replica-1", batch); err != nil {
			b.T.Fatal(err)
		}
		batch = nil
	}
	number := int64(0)
	put := func(r monitor.Record) {
		number++
		r.Number = number
		if batch = append(batch, r); len(batch) == 8 {
			flush()
		}
	}
	for i := range n + 3 {
		if i < n {
			put(monitor.Record{Step: monitor.Admitted, At: b.Now().UTC(), Request: fmt.Sprintf("R%04d", i), Principal: "user:ann", Route: "chat", Because: []string{"p1"}, Body: "aa"})
		}
		if j := i - 3; j >= 0 {
			r := monitor.Record{Step: monitor.Finished, At: b.Now().UTC(), Request: fmt.Sprintf("R%04d", j), Principal: "user:ann", Key: "k1", Route: "chat", Provider: "openai/x", Status: 200, End: "complete", Input: 10, Output: 5, Cost: 7, Own: 100, First: 20}
			if j%3 == 0 {
				r.Guard, r.End, r.Found = warden.Deny, "denied", map[string]int{"WDN-EX-001": 2}
			}
			put(r)
		}
	}
	flush()
}

// TestExchanges: pages together hold every exchange once, completed by its
// admission; filters select; reading it is for readers.
func TestExchanges(t *testing.T) {
	b := newBench(t)
	b.keep(50)
	seen := map[string]int{}
	after := ""
	for range 20 {
		var p exchanges
		b.get("reader", "/api/v1/gateway/exchanges?limit=7&after="+after, &p)
		for _, x := range p.Items {
			seen[x.Request]++
			if x.Running || len(x.Because) != 1 || x.Status != 200 {
				t.Errorf("%s is not complete: %+v", x.Request, x)
			}
		}
		if after = p.Next; after == "" {
			break
		}
	}
	if len(seen) != 50 {
		t.Errorf("pages hold %d exchanges, want 50", len(seen))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s is there %d times", id, n)
		}
	}
	var p exchanges
	if b.get("reader", "/api/v1/gateway/exchanges?blocked=true&limit=1000", &p); len(p.Items) != 17 {
		t.Errorf("%d blocked, want 17", len(p.Items))
	}
	for kind, want := range map[string]int{"denied": 17, "passed": 33, "refused": 0} {
		if b.get("reader", "/api/v1/gateway/exchanges?limit=1000&kind="+kind, &p); len(p.Items) != want {
			t.Errorf("%d %s, want %d", len(p.Items), kind, want)
		}
	}
	if b.get("reader", "/api/v1/gateway/exchanges?route=other", &p); len(p.Items) != 0 {
		t.Errorf("another route has %d", len(p.Items))
	}
	if b.get("reader", "/api/v1/gateway/exchanges?request=R0049", &p); len(p.Items) != 1 {
		t.Errorf("one id has %d", len(p.Items))
	}
	resp, text := b.do("client", http.MethodGet, "/api/v1/gateway/exchanges", "")
	b.want(http.StatusForbidden, "denied", resp, text)
	resp, text = b.do("reader", http.MethodGet, "/api/v1/gateway/exchanges?after=x", "")
	b.want(http.StatusBadRequest, "invalid", resp, text)

	var use struct{ Items []api.UseBody }
	b.get("reader", "/api/v1/gateway/use?by=provider", &use)
	if len(use.Items) != 1 || use.Items[0].Requests != 50 || use.Items[0].Cost != 350 || use.Items[0].Denied != 17 {
		t.Errorf("use is %+v", use.Items)
	}
	var tr struct {
		All     monitor.Minute
		Minutes []monitor.Minute
		Blocked []monitor.Exchange
	}
	for range 2 { // what was counted is counted once
		b.get("reader", "/api/v1/gateway/traffic", &tr)
		if tr.All.Requests != 50 || tr.All.Denied != 17 || len(tr.Minutes) != 60 || len(tr.Blocked) != 8 || tr.All.Own.P50 < 95 || tr.All.Own.P50 > 110 {
			t.Errorf("traffic is %+v, %d minutes, %d blocked", tr.All, len(tr.Minutes), len(tr.Blocked))
		}
	}
	b.keep(3)
	if b.get("reader", "/api/v1/gateway/traffic", &tr); tr.All.Requests != 53 {
		t.Errorf("later there are %d requests, want 53", tr.All.Requests)
	}
	b.Skip(2 * time.Hour)
	if b.get("reader", "/api/v1/gateway/traffic", &tr); tr.All.Requests != 0 {
		t.Errorf("two hours later there are %d requests", tr.All.Requests)
	}
}

// TestExchangeProof: a record is proven up to a signed checkpoint, and no change
// of any part is.
func TestExchangeProof(t *testing.T) {
	b := newBench(t)
	b.keep(9)
	type answer struct {
		Records []monitor.Record
		Proof   *monitor.Receipt
		Pending bool
	}
	var a answer
	if b.get("reader", "/api/v1/gateway/exchanges/R0004?proof=true", &a); !a.Pending || a.Proof != nil {
		t.Fatal("it is proven before there is a checkpoint")
	}
	if _, err := b.Registry.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	a = answer{}
	b.get("reader", "/api/v1/gateway/exchanges/R0004?proof=true", &a)
	if a.Proof == nil || len(a.Records) != 2 {
		t.Fatalf("got %+v", a)
	}
	rs, err := a.Proof.Verify(b.Verifier)
	if err != nil || len(rs) != 2 || rs[0].Request != "R0004" {
		t.Fatalf("%v %+v", err, rs)
	}
	text, err := json.Marshal(a.Proof)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{`\"status\":200`, `\"status\":201`},
		{`R0004`, `R0005`},
		{`"count":8`, `"count":9`},
		{`gateway.traffic`, `gateway.tr4ffic`},
		{`"salt":"`, `"salt":"AA`},
		{`\"count\":8`, `\"count\":7`},
	} {
		forged := strings.Replace(string(text), change[0], change[1], 1)
		if forged == string(text) {
			t.Errorf("the proof has no %s", change[0])
		}
		var r monitor.Receipt
		if json.Unmarshal([]byte(forged), &r) != nil {
			continue
		}
		if _, err := r.Verify(b.Verifier); err == nil {
			t.Errorf("a proof with %s for %s holds", change[1], change[0])
		}
	}
	all := a.Proof.Records
	for name, some := range map[string][]monitor.Proven{
		"twice": {all[0], all[0], all[1]}, "first_twice": {all[0], all[1], all[1]}, "turned": {all[1], all[0]}, "end_alone": {all[0]},
	} {
		if _, err := (monitor.Receipt{Request: "R0004", Records: some}).Verify(b.Verifier); err == nil {
			t.Errorf("%s: it holds", name)
		}
	}
	begun, err := monitor.Receipt{Request: "R0004", Records: all[1:]}.Verify(b.Verifier)
	if err != nil || len(begun) != 1 || begun[0].Step != monitor.Admitted { // who reads it sees that there is no end
		t.Errorf("the beginning alone: %v %+v", err, begun)
	}
	resp, got := b.do("reader", http.MethodGet, "/api/v1/gateway/exchanges/NONE", "")
	b.want(http.StatusNotFound, "not_found", resp, got)
}

// TestRotateKey: the new secret has the rights of the old one, which ends after
// the overlap.
func TestRotateKey(t *testing.T) {
	b := newBench(t)
	var made, fresh struct{ ID, Secret, Principal string }
	resp, text := b.do("admin", http.MethodPost, "/api/v1/keys", `{"name":"ci","roles":["engineer"],"actions":["modify","read"],"days":90}`)
	b.want(http.StatusOK, "", resp, text)
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		t.Fatal(err)
	}
	resp, text = b.do("reader", http.MethodPost, "/api/v1/keys/"+made.ID+"/rotate", `{}`)
	b.want(http.StatusForbidden, "denied", resp, text)
	resp, text = b.do("admin", http.MethodPost, "/api/v1/keys/"+made.ID+"/rotate", `{"overlap_seconds":3600}`)
	b.want(http.StatusOK, "", resp, text)
	if err := json.Unmarshal([]byte(text), &fresh); err != nil {
		t.Fatal(err)
	}
	if fresh.Principal != made.Principal || fresh.Secret == made.Secret || !strings.HasPrefix(fresh.Secret, "wdn_"+fresh.ID) {
		t.Errorf("got %+v of %+v", fresh, made)
	}
	b.keys["old"], b.keys["new"] = made.Secret, fresh.Secret
	for who, status := range map[string]int{"old": 200, "new": 200} {
		if resp, text := b.do(who, http.MethodGet, "/api/v1/me", ""); resp.StatusCode != status {
			t.Errorf("%s: %d %s", who, resp.StatusCode, text)
		}
	}
	b.Skip(2 * time.Hour)
	for who, status := range map[string]int{"old": 401, "new": 200} {
		if resp, text := b.do(who, http.MethodGet, "/api/v1/me", ""); resp.StatusCode != status {
			t.Errorf("after the overlap, %s: %d %s", who, resp.StatusCode, text)
		}
	}
	resp, text = b.do("admin", http.MethodPost, "/api/v1/keys/"+made.ID+"/rotate", `{}`)
	b.want(http.StatusConflict, "conflict", resp, text)
}

// TestReview: an administrator's key that only queries, unused roles and routes,
// stale and ending keys are told.
func TestReview(t *testing.T) {
	b := newBench(t)
	made := func(body string) string {
		resp, text := b.do("admin", http.MethodPost, "/api/v1/keys", body)
		b.want(http.StatusOK, "", resp, text)
		var k struct{ ID string }
		if err := json.Unmarshal([]byte(text), &k); err != nil {
			t.Fatal(err)
		}
		return k.ID
	}
	boss := made(`{"name":"boss","roles":["admin"],"days":366}`)
	shop := made(`{"name":"shop","roles":["client"],"routes":["chat","legacy"],"days":366}`)
	idle := made(`{"name":"idle","roles":["engineer"],"days":366}`)
	b.Skip(80 * 24 * time.Hour)
	if _, b.keys["admin"] = b.Key([]string{"admin"}); t.Failed() {
		return
	}
	young := made(`{"name":"young","roles":["engineer"]}`)
	for _, id := range []string{boss, shop} {
		err := b.Traffic.Keep(t.Context(), "r", []monitor.Record{{Number: 1, Step: monitor.Finished, At: b.Now().UTC(), Request: id, Principal: "key:" + id, Key: id, Route: "chat", Status: 200}})
		if err != nil {
			t.Fatal(err)
		}
	}
	ends := made(`{"name":"ends","roles":["reader"],"days":20}`)
	b.Skip(7 * 24 * time.Hour)
	err := b.Store.UpdateAccess(t.Context(), func(tx access.Tx) error {
		return errors.Join(tx.UseKey(t.Context(), boss, b.Now()), tx.UseKey(t.Context(), shop, b.Now()))
	})
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Items []api.IssueBody }
	b.get("admin", "/api/v1/access/review", &got)
	found := map[string]bool{}
	for _, i := range got.Items {
		if i.Message == "" || i.Advice == "" {
			t.Errorf("%+v says nothing", i)
		}
		found[i.Kind+" "+i.Subject] = true
	}
	for _, want := range []string{"over_privileged key:" + boss, "unused_route key:" + shop, "stale_key key:" + idle, "expires_soon key:" + ends} {
		if !found[want] {
			t.Errorf("no %s in %+v", want, got.Items)
		}
	}
	for k := range found {
		if strings.HasSuffix(k, young) {
			t.Errorf("a key that is younger than the time looked at is judged: %s", k)
		}
	}
	if got.Items[0].Severity != "high" {
		t.Errorf("the first is %+v, want the worst", got.Items[0])
	}
	resp, text := b.do("reader", http.MethodGet, "/api/v1/access/review", "")
	b.want(http.StatusForbidden, "denied", resp, text)
}
