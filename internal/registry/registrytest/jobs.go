package registrytest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

// testJobs follows scans from wanted to ended, in every way that they end.
func testJobs(t *testing.T, f *Fixture) {
	ctx := t.Context()
	job := func(d warden.Digest, want registry.JobState) registry.Job {
		t.Helper()
		j, err := f.Service.Job(ctx, d)
		if err != nil || j.State != want {
			t.Fatalf("job = %+v, %v; want %s", j, err, want)
		}
		return j
	}
	start := func(d warden.Digest, attempt int) bool {
		t.Helper()
		ok, err := f.Service.StartJob(ctx, d, attempt)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	progress := func(d warden.Digest, files int, bytes int64) bool {
		t.Helper()
		ok, err := f.Service.ProgressJob(ctx, d, files, bytes)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	_, err := f.Service.Job(ctx, warden.Digest{9})
	code(t, "job about nothing", err, warden.CodeNotFound)
	if start(warden.Digest{9}, 1) || progress(warden.Digest{9}, 1, 1) {
		t.Error("what was never wanted is wanted")
	}

	done := f.Push(t, "team/done", "weights").Digest
	if j := job(done, registry.JobWaiting); j.Files != 1 || j.Bytes != 7 || j.Why != "push" {
		t.Errorf("job = %+v", j)
	}
	if !start(done, 1) || !progress(done, 0, 3) || !progress(done, 0, 3) {
		t.Error("a running scan is not wanted")
	}
	if j := job(done, registry.JobRunning); j.BytesDone != 3 || j.Attempts != 1 || j.Started.IsZero() {
		t.Errorf("job = %+v", j)
	}
	if err := f.Service.ReturnJob(ctx, done, errors.New("disk")); err != nil {
		t.Fatal(err)
	}
	if j := job(done, registry.JobWaiting); j.Problem != "disk" {
		t.Errorf("job = %+v", j)
	}
	if !start(done, 2) {
		t.Error("a second attempt is refused")
	}
	f.record(t, Outcome(done, warden.Allow))
	if j := job(done, registry.JobDone); j.BytesDone != 7 || j.FilesDone != 1 || j.Attempts != 2 || j.Problem != "" {
		t.Errorf("job = %+v", j)
	}
	if start(done, 3) {
		t.Error("a scan that was done is done again")
	}
	_, err = f.Service.CancelJob(ctx, done, "late", alice())
	code(t, "cancel what is done", err, warden.CodeConflict)

	cancelled := f.Push(t, "team/cancelled", "weights 2").Digest
	start(cancelled, 1)
	_, err = f.Service.RetryJob(ctx, cancelled, alice())
	code(t, "retry what runs", err, warden.CodeConflict)
	if _, err := f.Service.CancelJob(ctx, cancelled, "wrong file", alice()); err != nil {
		t.Fatal(err)
	}
	if j := job(cancelled, registry.JobCancelled); !strings.Contains(j.Problem, "alice: wrong file") {
		t.Errorf("job = %+v", j)
	}
	if _, err := f.Service.RecordScan(ctx, Outcome(cancelled, warden.Allow)); !errors.Is(err, registry.ErrCancelled) {
		t.Errorf("the outcome of a cancelled scan is kept: %v", err)
	}
	if progress(cancelled, 1, 1) || start(cancelled, 2) {
		t.Error("a cancelled scan is wanted")
	}
	a, err := f.Service.State(ctx, cancelled)
	if err != nil || a.State() != registry.Pending || !strings.Contains(a.Why(), "wrong file") {
		t.Errorf("artifact of a cancelled scan = %s, %q, %v", a.State(), a.Why(), err)
	}
	if _, err := f.Service.Retrieve(ctx, cancelled, alice()); err == nil {
		t.Error("an artifact whose scan was cancelled is handed out")
	}
	wantText(t, "events", f.actions(t, registry.ArtifactRef(cancelled)), []string{"registry.push", "registry.cancel-scan", "registry.refuse"})
	if _, err := f.Service.RetryJob(ctx, cancelled, alice()); err != nil {
		t.Fatal(err)
	}
	job(cancelled, registry.JobWaiting)
	if a, err := f.Service.State(ctx, cancelled); err != nil || strings.Contains(a.Why(), "wrong file") {
		t.Errorf("artifact whose scan is wanted again = %q, %v", a.Why(), err)
	}

	failed := f.Push(t, "team/failed", "weights 3").Digest
	o := Outcome(failed, warden.Deny)
	o.Failed = "5 attempts"
	f.record(t, o)
	if j := job(failed, registry.JobFailed); j.Problem != "5 attempts" {
		t.Errorf("job = %+v", j)
	}

	f.view(t, func(r registry.Reader) error {
		js, next, err := r.Jobs(ctx, "", registry.Page{Limit: 2})
		if err != nil || len(js) != 2 || next == "" || js[0].Artifact != failed || js[1].Artifact != cancelled {
			t.Errorf("jobs = %+v, %q, %v", js, next, err)
		}
		rest, next, err := r.Jobs(ctx, "", registry.Page{Limit: 2, After: next})
		if err != nil || len(rest) != 1 || next != "" || rest[0].Artifact != done {
			t.Errorf("more jobs = %+v, %q, %v", rest, next, err)
		}
		only, _, err := r.Jobs(ctx, registry.JobFailed, registry.Page{})
		if err != nil || len(only) != 1 || only[0].Artifact != failed {
			t.Errorf("failed jobs = %+v, %v", only, err)
		}
		return nil
	})
	if err := f.Service.SweepJobs(ctx, time.Hour); err != nil {
		t.Fatal(err)
	}
	job(done, registry.JobDone)
	if err := f.Service.SweepJobs(ctx, -time.Hour); err != nil {
		t.Fatal(err)
	}
	_, err = f.Service.Job(ctx, done)
	code(t, "old job", err, warden.CodeNotFound)
	f.Verify(t)
}
