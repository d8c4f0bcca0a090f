package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/server/servertest"
)

func TestPeople(t *testing.T) {
	b := newBench(t)
	for _, x := range []struct {
		name, role, method, path, body string
		status                         int
		code, holds                    string
	}{
		{"reader_lists", "reader", "GET", "/api/v1/users", "", 403, "denied", ""},
		{"engineer_adds", "engineer", "POST", "/api/v1/users", `{"id":"user:eve","roles":["admin"]}`, 403, "denied", ""},
		{"reader_makes_group", "reader", "PATCH", "/api/v1/groups/x", `{"add":["user:eve"]}`, 403, "denied", ""},
		{"admin_adds", "admin", "POST", "/api/v1/users", `{"id":"user:ann","name":"Ann","roles":["engineer@team-a"]}`, 200, "", `"engineer@team-a"`},
		{"twice", "admin", "POST", "/api/v1/users", `{"id":"user:ann"}`, 409, "conflict", ""},
		{"bad_role", "admin", "PATCH", "/api/v1/users/user:ann", `{"roles":["root"]}`, 400, "invalid", ""},
		{"unknown_user", "admin", "PATCH", "/api/v1/users/user:bob", `{"disabled":true}`, 404, "not_found", ""},
		{"group", "admin", "PATCH", "/api/v1/groups/ml", `{"note":"those who train","roles":["reader"],"add":["user:ann"]}`, 200, "", `"user:ann"`},
		{"list", "admin", "GET", "/api/v1/users", "", 200, "", `"groups":["ml"]`},
		{"list_groups", "admin", "GET", "/api/v1/groups", "", 200, "", `those who train`},
		{"disable", "admin", "PATCH", "/api/v1/users/user:ann", `{"disabled":true}`, 200, "", `"disabled":true`},
		{"remove_group", "admin", "DELETE", "/api/v1/groups/ml", "", 204, "", ""},
		{"remove_again", "admin", "DELETE", "/api/v1/groups/ml", "", 404, "not_found", ""},
		{"key_of_nobody", "admin", "POST", "/api/v1/keys", `{"name":"x","roles":["reader"],"user":"user:bob"}`, 404, "not_found", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			resp, text := b.do(x.role, x.method, x.path, x.body)
			b.want(x.status, x.code, resp, text)
			if !strings.Contains(text, x.holds) {
				t.Errorf("answer %s, want %s in it", text, x.holds)
			}
		})
	}
}

// A role for one namespace is one there and nowhere else, whichever way the
// bytes are asked for.
func TestScope(t *testing.T) {
	b := newBench(t)
	ours := b.Admit("team-a/one", "a.pkl", []byte(servertest.Clean))
	theirs := b.Admit("team-b/two", "b.pkl", []byte(servertest.Clean+"\n"))
	file := func(of string, name string) string { return "/api/v1/artifacts/" + of + "/files/" + name }
	for role, grants := range map[string][]string{"ours": {"engineer@team-a", "security@team-a/*"}, "pattern": {"reader@team-*"}, "both": {"reader", "engineer@team-b"}} {
		_, b.keys[role] = b.Key(grants)
	}
	_, secret, err := b.Access.CreateKey(t.Context(), access.NewKey{Name: "x", Roles: []string{"admin"}, Actions: []string{"read"}}, servertest.Admin())
	if err != nil {
		t.Fatal(err)
	}
	b.keys["read_only"] = secret.Reveal()
	get := func(role, path string, status int) {
		t.Helper()
		if resp, text := b.do(role, http.MethodGet, path, ""); resp.StatusCode != status {
			t.Errorf("%s: GET %s: %d %s, want %d", role, path, resp.StatusCode, text, status)
		}
	}
	post := func(role, path, body string, status int) {
		t.Helper()
		if resp, text := b.do(role, http.MethodPost, path, body); resp.StatusCode != status {
			t.Errorf("%s: POST %s: %d %s, want %d", role, path, resp.StatusCode, text, status)
		}
	}
	a, c := ours.Digest.String(), theirs.Digest.String()
	get("ours", "/api/v1/models", 200)
	get("ours", file(a, "a.pkl"), 200)
	get("ours", file(c, "b.pkl"), 403)
	get("ours", "/api/v1/keys", 403)
	get("pattern", file(a, "a.pkl"), 403) // team-* has no slash: a pattern of namespaces is team-*/*
	get("both", file(c, "b.pkl"), 200)
	get("read_only", "/api/v1/models", 200)
	get("read_only", file(a, "a.pkl"), 403)
	get("read_only", "/api/v1/keys", 403)
	post("read_only", "/api/v1/users", `{"id":"user:eve","roles":["admin"]}`, 403)

	// Pushing the digest of bytes one may not read is no way to them.
	var list struct {
		Members []struct{ Path, Digest string }
	}
	_, text := b.do("admin", http.MethodGet, "/api/v1/artifacts/"+c, "")
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Members) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	push := func(model string) string {
		b, err := json.Marshal(map[string]any{"model": model, "files": []map[string]any{{"path": "b.pkl", "digest": list.Members[0].Digest, "size": len(servertest.Clean) + 1}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	post("ours", "/api/v1/artifacts", push("team-a/stolen"), 403)
	post("ours", "/api/v1/artifacts", push("team-b/other"), 403)
	post("both", "/api/v1/artifacts", push("team-b/other"), 200)
	post("both", "/api/v1/artifacts", push("team-a/other"), 403)

	// What is changed belongs to all who have it: one name does not do.
	post("ours", "/api/v1/artifacts/"+a+"/quarantine", `{"reason":"drill"}`, 200)
	post("ours", "/api/v1/artifacts/"+a+"/release", `{"reason":"drill"}`, 200)
	post("ours", "/api/v1/artifacts/"+c+"/quarantine", `{"reason":"drill"}`, 403)
	post("admin", "/api/v1/artifacts", push("team-a/shared"), 200)
	post("ours", "/api/v1/artifacts/"+c+"/quarantine", `{"reason":"drill"}`, 403)
	get("ours", file(c, "b.pkl"), 200)
}
