package server

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/audit/witnesstest"
)

// A running platform's log is exported, and verifies without it; its checkpoint
// is copied outside.
func TestExportAudit(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Audit.Outside = filepath.Join(t.TempDir(), "checkpoint")
	r := start(t, cfg, testOptions())
	if _, err := r.s.registry.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "log")
	x, err := ExportAudit(t.Context(), cfg, testOptions(), dir)
	if err != nil || x.Entries == 0 {
		t.Fatalf("ExportAudit = %+v, %v", x, err)
	}
	if _, err := ExportAudit(t.Context(), cfg, testOptions(), dir); err == nil {
		t.Error("an export was written over another")
	}
	in, err := audit.OpenExport(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if rep, err := audit.Verify(t.Context(), in, r.s.keys.verifier); err != nil || rep.Size != x.Entries {
		t.Errorf("Verify = %v, %v", rep, err)
	}
	if err := r.s.outside(t.Context()); err != nil {
		t.Fatal(err)
	}
	note, err := os.ReadFile(cfg.Audit.Outside)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.OpenCheckpoint(note, r.s.keys.verifier); err != nil {
		t.Error(err)
	}
}

// Witnesses are managed over the API; verify tells how many signed.
func TestWitnessAPI(t *testing.T) {
	r := start(t, testConfig(t.TempDir()), testOptions())
	w := witnesstest.New(t, "witness.example/w", r.s.keys.verifier)
	var list struct {
		Items []struct {
			Name string
			Size uint64
		}
	}
	const path = "/api/v1/audit/witnesses"
	if got := r.call(http.MethodPost, path, `{"url":"`+w.URL+`","key":"`+w.Public()+`"}`, &list); got >= 300 || len(list.Items) != 1 {
		t.Fatalf("add = %d, %+v", got, list)
	}
	var pushed struct {
		Signed int
		Failed string
	}
	if got := r.call(http.MethodPost, path+"/push", "", &pushed); got >= 300 || pushed.Failed != "" {
		t.Fatalf("push = %d, %+v", got, pushed)
	}
	r.call(http.MethodGet, path, "", &list)
	if list.Items[0].Size == 0 {
		t.Errorf("list = %+v, want it signed", list)
	}
	var rep struct {
		OK                  bool
		Cosigned, Witnesses int
		Witnessed           uint64
	}
	if r.call(http.MethodPost, "/api/v1/audit/verify", "{}", &rep); !rep.OK || rep.Cosigned != 1 || rep.Witnesses != 1 || rep.Witnessed == 0 {
		t.Errorf("verify = %+v", rep)
	}
	if got := r.call(http.MethodDelete, path+"?name=witness.example/w", "", &list); got >= 300 || len(list.Items) != 0 {
		t.Errorf("remove = %d, %+v", got, list)
	}
	if got := r.call(http.MethodPost, path, `{"url":"`+w.URL+`","key":"nonsense"}`, nil); got != http.StatusBadRequest && got != http.StatusUnprocessableEntity {
		t.Errorf("add of a bad key = %d", got)
	}
	if got := r.callWith("wrong", http.MethodPost, r.local.API+path, `{"url":"`+w.URL+`","key":"x"}`, nil); got != http.StatusUnauthorized {
		t.Errorf("add by nobody = %d", got)
	}
}
