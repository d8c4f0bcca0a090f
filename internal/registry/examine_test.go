package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/blob/dirblob"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/registry/registrytest"
	"github.com/modelwarden/warden/internal/report"
	"github.com/modelwarden/warden/rules"
)

// A bench holds the parts that turn bytes into a decision.
type bench struct {
	t     *testing.T
	blobs *dirblob.Store
	reg   *registry.Service
	judge *registry.Judge
	exam  *registry.Examiner
}

func newBench(t *testing.T) *bench {
	t.Helper()
	fx := registrytest.New(t, registrytest.NewMemory())
	b := &bench{t: t}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	b.blobs, err = dirblob.Open(dirblob.Config{Dir: t.TempDir(), Now: time.Now})
	check(err)
	key, err := attest.GenerateKey(nil)
	check(err)
	signer, err := attest.NewSigner(key)
	check(err)
	b.reg, err = registry.New(registry.Config{Store: fx.Store, Log: fx.Log, Blobs: b.blobs, Now: fx.Clock.Now, Signer: signer})
	check(err)
	set, err := policy.NewSet("standard", rules.PolicySchema(), policy.Source{Name: "standard.cedar", Text: rules.StandardPolicies()})
	check(err)
	trust := attest.TrustStore{attest.Server(signer.Public())}
	b.judge, err = registry.NewJudge(registry.JudgeConfig{Registry: b.reg, Trust: trust, Policies: set, Now: fx.Clock.Now})
	check(err)
	b.exam, err = registry.NewExaminer(registry.ExaminerConfig{
		Registry: b.reg, Blobs: b.blobs, Judge: b.judge, Signer: signer, Tool: report.Tool{Name: "warden", Version: "v1", Rules: "r1"}, Now: fx.Clock.Now,
	})
	check(err)
	return b
}

func (b *bench) push(model string, files map[string]string) warden.Digest {
	b.t.Helper()
	var m registry.Manifest
	for name, text := range files {
		info, err := b.blobs.Put(b.t.Context(), strings.NewReader(text), warden.Digest{}, 1<<20)
		if err != nil {
			b.t.Fatal(err)
		}
		m.Files = append(m.Files, registry.File{Path: name, Digest: info.Digest, Size: info.Size})
	}
	v, err := b.reg.Push(b.t.Context(), registry.Push{Model: registry.Name(model), Manifest: m, Actor: warden.Principal{ID: "user:ann"}})
	if err != nil {
		b.t.Fatal(err)
	}
	return v.Digest
}

func (b *bench) examine(d warden.Digest) registry.Artifact {
	b.t.Helper()
	a, err := b.exam.Examine(b.t.Context(), d)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// TestExamine follows bytes to a state, for each verdict.
func TestExamine(t *testing.T) {
	b := newBench(t)
	for _, tt := range []struct {
		name    string
		files   map[string]string
		state   registry.State
		verdict string
		by      string
	}{
		{"clean", map[string]string{"README.md": "hi\n", "m.pkl": "(dp0\nS'a'\nI1\ns."}, registry.Admitted, "clean", "admit-examined"},
		{"hostile", map[string]string{"README.md": "hi\n", "deep/m.pkl": "cposix\nsystem\n(S'id'\ntR."}, registry.Denied, "malicious", "no-dangerous"},
		{"unread", map[string]string{"m.bin": "\xde\xad\xbe\xef\x00\x01\x02\x03"}, registry.Denied, "inconclusive", "no-unexamined"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := b.push("team/"+tt.name, tt.files)
			a := b.examine(d)
			if a.State() != tt.state || a.Verdict != tt.verdict || !strings.Contains(a.Why(), tt.by) {
				t.Fatalf("got %s, %s, %q", a.State(), a.Verdict, a.Why())
			}
			err := b.reg.View(t.Context(), func(r registry.Reader) error {
				sts, err := r.Statements(t.Context(), d)
				if err != nil || len(sts) != 1 || sts[0].Subjects[0] != d || len(sts[0].Subjects) != 1+len(tt.files) {
					t.Errorf("statements %+v, %v", sts, err)
				}
				dec, err := r.Decision(t.Context(), a.Decision)
				if err != nil || len(dec.Facts) == 0 || len(dec.Request) == 0 || dec.Policy == "" {
					t.Errorf("decision %+v, %v", dec, err)
				}
				sc, err := r.Scan(t.Context(), d)
				var doc report.Document
				if err != nil || json.Unmarshal(sc.Report, &doc) != nil || len(doc.Targets) != len(tt.files) || sc.RuleSet != "r1" {
					t.Errorf("scan %+v, %v", sc, err)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if again := b.examine(d); again.State() != tt.state {
				t.Errorf("examined twice: %s", again.State())
			}
		})
	}
}

// TestGiveUp: an artifact that cannot be examined ends denied, with the reason.
func TestGiveUp(t *testing.T) {
	b := newBench(t)
	d := b.push("team/killer", map[string]string{"m.pkl": "."})
	a, err := b.exam.GiveUp(t.Context(), d, context.DeadlineExceeded)
	if err != nil || a.State() != registry.Denied || a.Verdict != "inconclusive" || a.Complete {
		t.Fatalf("got %+v, %v", a, err)
	}
}

// TestExamineKeepsWork: an error or the end of ctx records nothing.
func TestExamineKeepsWork(t *testing.T) {
	b := newBench(t)
	d := b.push("team/late", map[string]string{"m.pkl": "."})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a, err := b.exam.Examine(ctx, d); err == nil {
		t.Fatalf("got %+v, want an error", a)
	}
	if a, err := b.reg.State(t.Context(), d); err != nil || a.State() != registry.Pending {
		t.Errorf("state %v, %v; want pending", a.State(), err)
	}
	if err := b.blobs.Delete(t.Context(), warden.Sum([]byte("."))); err != nil {
		t.Fatal(err)
	}
	if a, err := b.exam.Examine(t.Context(), d); err == nil {
		t.Errorf("a missing blob: %+v, want an error", a)
	}
}

// TestLineage: what a configuration declares becomes an edge of the lowest tier.
func TestLineage(t *testing.T) {
	b := newBench(t)
	d := b.push("team/adapter", map[string]string{
		"adapter_config.json": `{"base_model_name_or_path":"team/base"}`, "config.json": `{"base_model":7}`, "other/adapter_config.json": `{"base_model_name_or_path":"../etc"}`,
	})
	b.examine(d)
	err := b.reg.View(t.Context(), func(r registry.Reader) error {
		es, err := r.Edges(t.Context(), registry.ArtifactRef(d), false)
		if err != nil || len(es) != 1 || es[0].To != registry.Name("team/base").Ref() || es[0].Kind != "adapter" || es[0].Tier != registry.Declared {
			t.Errorf("edges %+v, %v", es, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestJudgeForgetsOnChange: remembered facts do not outlive a change of state.
func TestJudgeForgetsOnChange(t *testing.T) {
	b := newBench(t)
	d := b.push("team/model", map[string]string{"m.pkl": "(dp0\nS'a'\nI1\ns."})
	who := warden.Principal{ID: "service:gateway"}
	serve := func() warden.Effect {
		t.Helper()
		dec, _, err := b.judge.Artifact(t.Context(), who, policy.Serve, d)
		if err != nil {
			t.Fatal(err)
		}
		return dec.Effect
	}
	if serve() != warden.Deny {
		t.Error("a pending artifact is served")
	}
	b.examine(d)
	if serve() != warden.Allow {
		t.Error("an admitted artifact is not served")
	}
	if _, err := b.reg.Quarantine(t.Context(), d, "drill", warden.Principal{ID: "user:sec"}); err != nil {
		t.Fatal(err)
	}
	if serve() != warden.Deny {
		t.Error("a quarantined artifact is served")
	}
	if dec, _, err := b.judge.Artifact(t.Context(), who, policy.Serve, warden.Sum(bytes.Repeat([]byte("x"), 9))); err != nil || dec.Effect != warden.Deny {
		t.Errorf("an unregistered artifact: %+v, %v", dec, err)
	}
}
