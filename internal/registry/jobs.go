package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/queue"
)

// A JobState says how far a scan has come.
type JobState string

// The states of jobs.
const (
	JobWaiting   JobState = "waiting"
	JobRunning   JobState = "running"
	JobDone      JobState = "done"
	JobFailed    JobState = "failed" // given up after all attempts
	JobCancelled JobState = "cancelled"
)

// JobStates lists the states.
func JobStates() []JobState {
	return []JobState{JobWaiting, JobRunning, JobDone, JobFailed, JobCancelled}
}

// A Job is what people see of the last scan of an artifact that was wanted. The
// truth about work is [Wanted]; both change in the same transactions.
type Job struct {
	ID        int64 // given by the store
	Artifact  warden.Digest
	Class     string // class of queue
	Why       string // as of Wanted
	State     JobState
	Attempts  int
	FilesDone int
	Files     int
	BytesDone int64
	Bytes     int64
	Problem   string // of the last attempt, or why it was cancelled
	Wanted    time.Time
	Started   time.Time // of the last attempt
	Changed   time.Time
}

// Ended reports whether nobody works on it or will.
func (j Job) Ended() bool { return j.State != JobWaiting && j.State != JobRunning }

// ErrCancelled is the cause of the end of a scan that somebody cancelled.
var ErrCancelled = errors.New("the scan was cancelled")

// Progress is how much of an artifact was read so far. It may be read while a
// scan fills it in.
type Progress struct{ files, bytes atomic.Int64 }

// Done returns how many files and bytes are done.
func (p *Progress) Done() (files int, bytes int64) { return int(p.files.Load()), p.bytes.Load() }

// A followed file tells how much of it was read, and stops when ctx ends.
type followed struct {
	ctx  context.Context //nolint:containedctx // of the scan that reads
	r    io.ReaderAt
	left atomic.Int64 // bytes that were not counted yet
	p    *Progress
}

// ReadAt implements [io.ReaderAt].
func (f *followed) ReadAt(b []byte, off int64) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := f.r.ReadAt(b, off)
	f.count(int64(n))
	return n, err
}

// count counts n bytes more, never more than the file has: readers come back to
// the same place.
func (f *followed) count(n int64) {
	for {
		left := f.left.Load()
		n = min(n, left)
		if f.left.CompareAndSwap(left, left-n) {
			f.p.bytes.Add(n)
			return
		}
	}
}

// end counts the whole file as done.
func (f *followed) end() {
	f.count(f.left.Load())
	f.p.files.Add(1)
}

// want wants a scan of a, and shows it as a job.
func (s *Service) want(ctx context.Context, tx Tx, a *Artifact, w Wanted) error {
	if err := tx.WantScan(ctx, w); err != nil {
		return err
	}
	j, err := tx.Job(ctx, a.Digest)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err == nil && !j.Ended() {
		return nil
	}
	if a.Scanned.IsZero() && a.Reason != "" { // it was cancelled before
		a.Reason = ""
		if a.Epoch, err = tx.BumpEpoch(ctx); err != nil {
			return err
		}
		if err := tx.SetArtifact(ctx, *a); err != nil {
			return err
		}
	}
	return tx.PutJob(ctx, Job{
		Artifact: a.Digest, Class: w.Class, Why: w.Why, State: JobWaiting, Files: a.Files, Bytes: a.Size, Wanted: w.Since, Changed: w.Since,
	})
}

// Job returns what is known of the last scan of an artifact that was wanted.
func (s *Service) Job(ctx context.Context, d warden.Digest) (Job, error) {
	var j Job
	err := s.cfg.Store.View(ctx, func(r Reader) (err error) {
		j, err = r.Job(ctx, d)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return j, &warden.Error{Code: warden.CodeNotFound, Message: "no job about " + d.String(), Hint: "list them with: warden jobs list", Err: err}
	}
	if err != nil {
		return j, s.explain("look up the job about "+d.String(), err)
	}
	return j, nil
}

// change changes the job about an artifact in a transaction of its own, unless
// fn reports that there is nothing to change.
func (s *Service) change(ctx context.Context, d warden.Digest, fn func(j *Job) bool) error {
	err := s.cfg.Store.Update(ctx, func(tx Tx) error {
		j, err := tx.Job(ctx, d)
		if err != nil || !fn(&j) {
			return err
		}
		j.Changed = s.cfg.Now().UTC()
		return tx.PutJob(ctx, j)
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return s.explain("change the job about "+d.String(), err)
	}
	return err
}

// StartJob begins an attempt, of which it is told the number. It reports false if the scan is not wanted
// any more: it was done, cancelled, or its artifact removed.
func (s *Service) StartJob(ctx context.Context, d warden.Digest, attempt int) (bool, error) {
	wanted := false
	err := s.change(ctx, d, func(j *Job) bool {
		if wanted = !j.Ended(); !wanted {
			return false
		}
		j.State, j.Started, j.Attempts, j.FilesDone, j.BytesDone = JobRunning, s.cfg.Now().UTC(), min(attempt, queue.MaxAttempts), 0, 0
		return true
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return wanted, err
}

// ProgressJob keeps how far a running scan has come, and reports whether it is
// wanted still. It writes only what changed.
func (s *Service) ProgressJob(ctx context.Context, d warden.Digest, files int, bytes int64) (bool, error) {
	j, err := s.Job(ctx, d)
	var we *warden.Error
	switch {
	case errors.As(err, &we) && we.Code == warden.CodeNotFound:
		return false, nil
	case err != nil:
		return true, err
	case j.Ended() || j.FilesDone == files && j.BytesDone == bytes:
		return !j.Ended(), nil
	}
	wanted := true
	err = s.change(ctx, d, func(j *Job) bool {
		wanted = !j.Ended()
		j.FilesDone, j.BytesDone = files, bytes
		return j.State == JobRunning
	})
	return wanted, err
}

// maxProblem bounds what is kept of an error.
const maxProblem = 500

// ReturnJob keeps why an attempt ended without a result; it is tried again.
func (s *Service) ReturnJob(ctx context.Context, d warden.Digest, why error) error {
	err := s.change(ctx, d, func(j *Job) bool {
		j.Problem = fmt.Sprintf("%.*s", maxProblem, why.Error())
		if j.State == JobRunning {
			j.State = JobWaiting
		}
		return !j.Ended()
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// endJob marks the job about a scan that is recorded as done, or as failed. One
// that was cancelled meanwhile is not recorded: the error wraps ErrCancelled.
func (s *Service) endJob(ctx context.Context, tx Tx, a Artifact, failed string) error {
	j, err := tx.Job(ctx, a.Digest)
	if errors.Is(err, ErrNotFound) {
		return nil // nobody wanted it
	}
	if err != nil {
		return err
	}
	if j.State == JobCancelled {
		return ErrCancelled
	}
	j.State, j.FilesDone, j.BytesDone, j.Problem, j.Changed = JobDone, a.Files, a.Size, "", a.Scanned
	if failed != "" {
		j.State, j.Problem, j.FilesDone, j.BytesDone = JobFailed, failed, 0, 0
	}
	return tx.PutJob(ctx, j)
}

// CancelJob takes a scan back that waits or runs; one that runs stops at its
// next read after at most a second. An artifact that was never scanned stays
// pending, with the reason: it is handed out to nobody.
func (s *Service) CancelJob(ctx context.Context, d warden.Digest, reason string, actor warden.Principal) (Job, error) {
	if err := named(actor); err != nil {
		return Job{}, err
	}
	if err := reasoned(reason); err != nil {
		return Job{}, err
	}
	var (
		j Job
		a Artifact
	)
	err := s.cfg.Store.Update(ctx, func(tx Tx) (err error) {
		if a, err = tx.Artifact(ctx, d); err != nil {
			return err
		}
		if j, err = tx.Job(ctx, d); err != nil {
			return err
		}
		if j.Ended() {
			return &warden.Error{Code: warden.CodeConflict, Message: fmt.Sprintf("the scan of %s is %s already", d, j.State), Hint: "only what waits or runs can be cancelled"}
		}
		if err := tx.UnwantScan(ctx, d); err != nil {
			return err
		}
		before := j.State
		j.State, j.Changed, j.Problem = JobCancelled, s.cfg.Now().UTC(), "cancelled by "+actor.ID+": "+reason
		if err := tx.PutJob(ctx, j); err != nil {
			return err
		}
		if a.Scanned.IsZero() {
			a.Reason = "the scan was " + j.Problem
			if a.Epoch, err = tx.BumpEpoch(ctx); err != nil {
				return err
			}
			if err := tx.SetArtifact(ctx, a); err != nil {
				return err
			}
		}
		_, err = s.cfg.Log.Append(ctx, tx, warden.Event{Actor: actor, Action: "registry.cancel-scan", Object: a.Ref()}, map[string]any{
			"reason": reason, "before": before, "attempts": j.Attempts, "state": a.State(),
		})
		return err
	})
	if err != nil {
		return Job{}, s.explain("cancel the scan of "+d.String(), err)
	}
	s.tell(Change{Epoch: a.Epoch, Artifact: d, State: a.State()})
	return j, nil
}

// RetryJob wants a scan that ended once more.
func (s *Service) RetryJob(ctx context.Context, d warden.Digest, actor warden.Principal) (Job, error) {
	j, err := s.Job(ctx, d)
	if err != nil {
		return j, err
	}
	if !j.Ended() {
		return j, &warden.Error{Code: warden.CodeConflict, Message: fmt.Sprintf("the scan of %s is %s", d, j.State), Hint: "only what ended can be tried again"}
	}
	if err := s.Rescan(ctx, d, "retry", actor); err != nil {
		return j, err
	}
	return s.Job(ctx, d)
}

// SweepJobs forgets scans that were done before age.
func (s *Service) SweepJobs(ctx context.Context, age time.Duration) error {
	err := s.cfg.Store.Update(ctx, func(tx Tx) error {
		_, err := tx.DeleteJobs(ctx, JobDone, s.cfg.Now().Add(-age))
		return err
	})
	if err != nil {
		return s.explain("forget old jobs", err)
	}
	return nil
}
