package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const inventoryJSON = `{"schema":"warden.inventory/v1","root":".","complete":true,"statuses":[],"assets":[
 {"id":"model:openai:gpt-4o","kind":"model","name":"gpt-4o","provider":"openai","state":"reachable","scope":"production","evidence":[{"path":"a.py","line":3}],"owner":"@org/support"},
 {"id":"agent:x","kind":"agent","name":"x","state":"reachable","scope":"production","evidence":[{"path":"b.py","line":9}],
  "findings":[{"rule":"WDN-SC-018","flag":"code-exec-tool","severity":"high","path":"b.py","line":9,"message":"A tool runs code"}]}],
 "edges":[],"findings":[],"later_field":1}`

// TestAssets: who may do what with the register, and that a change that was made
// to another version is a conflict.
func TestAssets(t *testing.T) {
	b := newBench(t)
	const inventories = "/api/v1/inventories?source=team%2Fshop"
	asset := "/api/v1/assets/" + url.PathEscape("model:openai:gpt-4o")
	want := func(role, method, path, body string, status int) string {
		t.Helper()
		resp, text := b.do(role, method, path, body)
		if resp.StatusCode != status {
			t.Errorf("%s %s %s %.60s: status %d, want %d\n%.300s", role, method, path, body, resp.StatusCode, status, text)
		}
		return text
	}
	for role, status := range map[string]int{"": http.StatusUnauthorized, "client": http.StatusForbidden, "reader": http.StatusForbidden, "engineer": http.StatusOK} {
		want(role, http.MethodPost, inventories, inventoryJSON, status)
	}
	for _, bad := range []string{"", "[]", "{}", `{"schema":"x"}`, strings.Replace(inventoryJSON, `"high"`, `"huge"`, 1), inventoryJSON + "{}"} {
		want("engineer", http.MethodPost, inventories, bad, http.StatusBadRequest)
	}
	want("engineer", http.MethodPost, "/api/v1/inventories?source=registry", inventoryJSON, http.StatusBadRequest)
	want("client", http.MethodGet, "/api/v1/assets", "", http.StatusForbidden)

	var list struct {
		Items []struct {
			ID    string
			Owner struct{ Name string }
		}
		Next     string
		Total    int
		Coverage struct{ Assets, Owned int }
	}
	text := want("reader", http.MethodGet, "/api/v1/assets?limit=1", "", http.StatusOK)
	if err := json.Unmarshal([]byte(text), &list); err != nil || list.Total != 2 || len(list.Items) != 1 || list.Items[0].ID != "agent:x" || list.Coverage.Assets != 2 || list.Coverage.Owned != 1 {
		t.Errorf("assets = %+v, %v", list, err)
	}
	want("reader", http.MethodGet, "/api/v1/assets?after="+list.Next, "", http.StatusOK)
	want("reader", http.MethodGet, "/api/v1/assets?after=x", "", http.StatusBadRequest)

	want("reader", http.MethodPatch, asset, `{"owner":"user:me"}`, http.StatusForbidden)
	want("engineer", http.MethodPatch, asset, `{"version":1,"purpose":"customer_support","data":["personal"],"exposure":"internet"}`, http.StatusOK)
	want("engineer", http.MethodPatch, asset, `{"version":1,"purpose":"search"}`, http.StatusConflict)
	want("engineer", http.MethodPatch, asset, `{"purpose":"fun"}`, http.StatusBadRequest)
	want("engineer", http.MethodPatch, "/api/v1/assets/none", `{"purpose":"search"}`, http.StatusNotFound)
	if text = want("reader", http.MethodGet, asset, "", http.StatusOK); !strings.Contains(text, `"tier":2`) || !strings.Contains(text, "TIER-2-DATA") {
		t.Errorf("the asset is %.600s", text)
	}

	// A milder tier: not by whoever asked, and not for ever.
	until := b.Now().AddDate(0, 0, 30).Format("2006-01-02T15:04:05Z")
	want("engineer", http.MethodPost, asset+"/tier", `{"tier":4,"reason":"a pilot"}`, http.StatusBadRequest)
	want("engineer", http.MethodPost, asset+"/tier", `{"tier":4,"reason":"a pilot","until":"`+until+`"}`, http.StatusOK)
	want("engineer", http.MethodPost, asset+"/tier/approve", `{"reason":"fine"}`, http.StatusForbidden)
	want("security", http.MethodPost, asset+"/tier/approve", `{"reason":"fine"}`, http.StatusForbidden) // another key of the same person

	// Triage: by security alone, a result for each.
	var inbox struct{ Items []struct{ ID, Rule string } }
	text = want("reader", http.MethodGet, "/api/v1/inbox?rule=WDN-SC-018", "", http.StatusOK)
	if err := json.Unmarshal([]byte(text), &inbox); err != nil || len(inbox.Items) != 1 {
		t.Fatalf("inbox = %s", text)
	}
	body := fmt.Sprintf(`{"ids":[%q,"F-none"],"do":"accept","note":"known"}`, inbox.Items[0].ID)
	want("engineer", http.MethodPost, "/api/v1/inbox/triage", body, http.StatusForbidden)
	if text = want("security", http.MethodPost, "/api/v1/inbox/triage", body, http.StatusOK); !strings.Contains(text, `"ok":true,"state":"accepted"`) || !strings.Contains(text, `"ok":false`) {
		t.Errorf("triage = %s", text)
	}
	want("security", http.MethodPost, "/api/v1/inbox/triage", strings.Replace(body, "known", "", 1), http.StatusBadRequest)
	want("reader", http.MethodGet, "/api/v1/inbox?state=fun", "", http.StatusBadRequest)
	want("reader", http.MethodPost, "/api/v1/risk/classify", `{"purpose":"recruitment"}`, http.StatusOK)
	want("engineer", http.MethodPost, "/api/v1/owners", `{"match":"agent:*","owner":"group:x"}`, http.StatusForbidden)
	want("security", http.MethodPost, "/api/v1/owners", `{"match":"agent:*","owner":"group:x"}`, http.StatusOK)
}
