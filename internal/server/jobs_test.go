package server

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/blob"
	"github.com/modelwarden/warden/internal/queue"
	"github.com/modelwarden/warden/internal/registry"
)

// slowBlobs are blobs of which each read waits until the test lets it go.
type slowBlobs struct {
	blob.Store
	reads chan struct{} // one for each read; closed: no wait
}

type slowBlob struct {
	blob.Blob
	s slowBlobs
}

func (s slowBlobs) Open(ctx context.Context, d warden.Digest) (blob.Blob, error) {
	b, err := s.Store.Open(ctx, d)
	return slowBlob{b, s}, err
}

func (b slowBlob) ReadAt(p []byte, off int64) (int, error) {
	<-b.s.reads
	return b.Blob.ReadAt(p, off)
}

// A scan that runs is cancelled from outside: it stops, says so, and the
// artifact is not handed out. It can be wanted again, and goes on from there.
func TestCancelJob(t *testing.T) {
	ctx := t.Context()
	s, err := Open(ctx, testConfig(t.TempDir()), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	reads := make(chan struct{}, 1)
	s.examiner, err = registry.NewExaminer(registry.ExaminerConfig{
		Registry: s.registry, Blobs: slowBlobs{s.blobs, reads}, Judge: s.judge, Signer: s.keys.statements, Tool: s.opts.Tool, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	who := warden.Principal{ID: "user:a", Roles: []string{"admin"}}
	var files []registry.File
	for _, name := range []string{"a.json", "b.json"} {
		info, err := s.blobs.Put(ctx, strings.NewReader(`{"name": "`+name+`"}`), warden.Digest{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, registry.File{Path: name, Digest: info.Digest, Size: info.Size})
	}
	v, err := s.registry.Push(ctx, registry.Push{Model: "team/slow", Manifest: registry.Manifest{Files: files}, Actor: who})
	if err != nil {
		t.Fatal(err)
	}
	state := func() registry.Job {
		t.Helper()
		j, err := s.registry.Job(ctx, v.Digest)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	work := func() chan error {
		done := make(chan error, 1)
		go func() { done <- s.examine(ctx, v.Digest, queue.Job{Key: v.Digest.String(), Attempt: 1}) }()
		return done
	}
	done := work()
	reads <- struct{}{}
	for end := time.Now().Add(10 * time.Second); state().BytesDone == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no progress: %+v", state())
		}
	}
	if j := state(); j.State != registry.JobRunning || j.Files != 2 {
		t.Fatalf("job = %+v", j)
	}
	if _, err := s.registry.CancelJob(ctx, v.Digest, "too slow", who); err != nil {
		t.Fatal(err)
	}
	close(reads)
	if err := <-done; err != nil {
		t.Errorf("a cancelled scan ends with %v", err)
	}
	if j := state(); j.State != registry.JobCancelled || !strings.Contains(j.Problem, "too slow") {
		t.Errorf("job = %+v", j)
	}
	a, err := s.registry.State(ctx, v.Digest)
	if err != nil || a.State() != registry.Pending || !a.Scanned.IsZero() || !strings.Contains(a.Why(), "too slow") {
		t.Errorf("artifact = %+v, %v", a, err)
	}
	if err := <-work(); err != nil || !state().Ended() {
		t.Errorf("the queue's job about what was cancelled ends with %v, %+v", err, state())
	}
	if _, err := s.registry.RetryJob(ctx, v.Digest, who); err != nil {
		t.Fatal(err)
	}
	if err := <-work(); err != nil {
		t.Fatal(err)
	}
	if a, err = s.registry.State(ctx, v.Digest); err != nil || a.State() != registry.Admitted || state().State != registry.JobDone {
		t.Errorf("after the retry: %+v, %+v, %v", a, state(), err)
	}
}

// Jobs over the API: seen by those who read, changed by those who may refuse an
// artifact.
func TestJobsAPI(t *testing.T) {
	r := start(t, testConfig(t.TempDir()), testOptions())
	v := r.push("team/bert", []byte(`{"a": 1}`)).Digest.String()
	var j struct {
		State, Model, Artifact, Problem string
		Files                           int `json:"files"`
	}
	r.eventually("the scan to be done", func() bool {
		return r.call(http.MethodGet, "/api/v1/jobs/"+v, "", &j) == http.StatusOK && j.State == "done"
	})
	if j.Model != "team/bert@1" || j.Artifact != v || j.Files != 1 {
		t.Errorf("job = %+v", j)
	}
	var l struct{ Items []struct{ State string } }
	if code := r.call(http.MethodGet, "/api/v1/jobs?state=done", "", &l); code != http.StatusOK || len(l.Items) != 1 {
		t.Errorf("list = %d, %+v", code, l)
	}
	if code := r.call(http.MethodPost, "/api/v1/jobs/"+v+"/cancel", `{"reason":"late"}`, nil); code != http.StatusConflict {
		t.Errorf("cancel what is done = %d", code)
	}
	if code := r.call(http.MethodPost, "/api/v1/jobs/"+v+"/retry", "", &j); code != http.StatusOK {
		t.Errorf("retry = %d", code)
	}
	if code := r.call(http.MethodGet, "/api/v1/jobs/"+warden.Sum(nil).String(), "", nil); code != http.StatusNotFound {
		t.Errorf("job about nothing = %d", code)
	}
	r.eventually("the scan to be done again", func() bool {
		return r.call(http.MethodGet, "/api/v1/jobs/"+v, "", &j) == http.StatusOK && j.State == "done"
	})
}
