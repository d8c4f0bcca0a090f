//go:build e2e

package e2e_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A groupJSON is a group of findings as the inbox has it.
type groupJSON struct {
	ID, Rule, State, Place string
	Priority, Band, Count  int
	Assets, Because        []string
}

// shop is a source tree that loads three files: one as it comes, one by a safe
// loader, and one in code that nothing calls.
const shop = `import torch

def load():
    a = torch.load("hostile.pkl", weights_only=False)
    b = torch.load("weights/shielded.pt", weights_only=True)
    return a, b

if __name__ == "__main__":
    load()
`

// checkInbox: the hostile model has one group; as soon as a registered inventory
// says that code loads the file, it is the first thing to do, and its asset has
// an owner from CODEOWNERS, a tier and gaps.
func checkInbox(t *testing.T, p *platform, dir string) {
	find := func() groupJSON {
		t.Helper()
		var gs listJSON[groupJSON]
		p.get("/api/v1/inbox?rule=WDN-MF-001", &gs)
		if len(gs.Items) != 1 {
			t.Fatalf("got %+v, want one group", gs.Items)
		}
		return gs.Items[0]
	}
	if g := find(); g.State != "new" || g.Band != 3 || len(g.Assets) != 1 || g.Assets[0] != "model:registry:team/bad" {
		t.Errorf("before anybody loads it: %+v", g)
	}
	tree := filepath.Join(dir, "shop")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(tree, "main.py"), shop)
	write(t, filepath.Join(tree, "requirements.txt"), "torch==2.7.1\n")
	write(t, filepath.Join(tree, "CODEOWNERS"), "* @team/ml\n")
	p.must(0, "inventory", tree, "--register", "--source", "team/shop")
	g := find()
	if g.Band != 1 || !strings.Contains(strings.Join(g.Because, "\n"), "team/shop/main.py:4") {
		t.Errorf("a reachable torch.load of it: %+v", g)
	}
	var first listJSON[groupJSON]
	p.get("/api/v1/inbox?state=active&limit=1", &first)
	if len(first.Items) != 1 || first.Items[0].ID != g.ID {
		t.Errorf("first in the inbox is %+v, want %s", first.Items, g.ID)
	}
	var a struct {
		Owner struct{ Name, From string }
		Tier  int
		Gaps  int
	}
	p.get("/api/v1/assets/"+url.PathEscape("model_file:hostile.pkl"), &a)
	if a.Owner.Name != "@team/ml" || a.Tier != 3 || a.Gaps == 0 {
		t.Errorf("the asset of the file: %+v", a)
	}
	p.must(0, "findings", "accept", g.ID, "--reason", "only in this test")
	p.must(0, "findings", "reopen", g.ID)
	if out := p.must(0, "findings", "explain", g.ID); !strings.Contains(out, "row 1 of the decision table") {
		t.Errorf("explain says:\n%s", out)
	}
}

// TestShielded: of two malicious files that code loads, the one that torch.load
// executes comes first, and the one that a safe loader reads comes last among
// the malicious ones.
func TestShielded(t *testing.T) {
	p := start(t, "")
	dir := t.TempDir()
	for _, name := range []string{"hostile.pkl", "shielded.pt", "nobody.pt"} {
		write(t, filepath.Join(dir, name), "cposix\nsystem\n(S'echo hello'\ntR.")
		p.must(1, "registry", "push", "team/"+strings.Split(name, ".")[0], filepath.Join(dir, name))
	}
	p.must(0, "asset", "set", "model:registry:team/nobody", "--use", "none: pushed a moment ago")
	tree := filepath.Join(dir, "shop")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(tree, "main.py"), shop)
	write(t, filepath.Join(tree, "requirements.txt"), "torch==2.7.1\n")
	p.must(0, "inventory", tree, "--register")
	var gs listJSON[groupJSON]
	p.get("/api/v1/inbox?rule=WDN-MF-001", &gs)
	var order []string
	for _, g := range gs.Items {
		order = append(order, g.Place)
	}
	if got := strings.Join(order, " "); got != "hostile.pkl nobody.pt shielded.pt" {
		t.Errorf("the order is %s", got)
	}
	p.must(0, "asset", "set", "model:registry:team/hostile", "--purpose", "recruitment", "--categories", "personal", "--exposure", "internet", "--owner", "group:hr")
	if out := p.must(0, "risk", "classify", "model:registry:team/hostile"); !strings.Contains(out, "tier 1") || !strings.Contains(out, "EU-III-4-A") {
		t.Errorf("classify says:\n%s", out)
	}
	if out := p.must(1, "asset", "gaps", "model:registry:team/hostile"); !strings.Contains(out, "signature") || !strings.Contains(out, "not yet producible here") {
		t.Errorf("gaps says:\n%s", out)
	}
	write(t, filepath.Join(tree, "main.py"), "print()\n")
	p.must(0, "inventory", tree, "--register")
	if out := p.must(0, "asset", "list", "--gone"); !strings.Contains(out, "model_file:hostile.pkl") {
		t.Errorf("what no tree has any more is not shown as gone:\n%s", out)
	}
	if out := p.must(0, "audit", "verify"); !strings.Contains(out, "whole") {
		t.Errorf("audit verify says:\n%s", out)
	}
}
