package api

import (
	"context"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
)

type jobBody struct {
	Kind      string    `json:"kind" enum:"scan"`
	Artifact  string    `json:"artifact" doc:"digest; names the job"`
	Model     string    `json:"model" doc:"namespace/model@number of one version of the artifact; empty if it has none"`
	State     string    `json:"state" enum:"waiting,running,done,failed,cancelled"`
	Class     string    `json:"class" doc:"how urgent: interactive, admission or sweep"`
	Why       string    `json:"why" doc:"push, rules, age, request or retry"`
	Attempts  int       `json:"attempts"`
	FilesDone int       `json:"files_done"`
	Files     int       `json:"files"`
	BytesDone int64     `json:"bytes_done" doc:"read so far; a file that need not be read whole counts whole at its end"`
	Bytes     int64     `json:"bytes"`
	Problem   string    `json:"problem" doc:"of the last attempt, or why it was cancelled"`
	Wanted    time.Time `json:"wanted"`
	Started   time.Time `json:"started" doc:"the last attempt; zero if there was none"`
	Changed   time.Time `json:"changed"`
}

func jobOf(j registry.Job, model string) jobBody {
	return jobBody{
		"scan", j.Artifact.String(), model, string(j.State), j.Class, j.Why, j.Attempts, j.FilesDone, j.Files, j.BytesDone, j.Bytes, j.Problem,
		j.Wanted, j.Started, j.Changed,
	}
}

// called returns one name of an artifact.
func called(ctx context.Context, r registry.Reader, d warden.Digest) (string, error) {
	vs, err := r.VersionsOf(ctx, d)
	if err != nil || len(vs) == 0 {
		return "", err
	}
	return vs[len(vs)-1].Ref().ID, nil
}

type jobsInput struct {
	Part
	State string `query:"state" enum:"waiting,running,done,failed,cancelled"`
}

func (s *service) listJobs(ctx context.Context, in *jobsInput) (*body[list[jobBody]], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	return pageOf(ctx, s, func(r registry.Reader) ([]jobBody, string, error) {
		js, next, err := r.Jobs(ctx, registry.JobState(in.State), in.page())
		out := make([]jobBody, len(js))
		for i, j := range js {
			name, err := called(ctx, r, j.Artifact)
			if err != nil {
				return nil, "", err
			}
			out[i] = jobOf(j, name)
		}
		return out, next, err
	}, func(j jobBody) jobBody { return j })
}

func (s *service) job(ctx context.Context, j registry.Job, err error) (*body[jobBody], error) {
	if err != nil {
		return nil, s.fail(err)
	}
	var name string
	err = s.Registry.View(ctx, func(r registry.Reader) (err error) {
		name, err = called(ctx, r, j.Artifact)
		return err
	})
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(jobOf(j, name)), nil
}

func (s *service) getJob(ctx context.Context, in *DigestInput) (*body[jobBody], error) {
	d, err := parseDigest(in.Digest)
	if err == nil {
		err = s.may(ctx, policy.Read)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	j, err := s.Registry.Job(ctx, d)
	return s.job(ctx, j, err)
}

// changeable returns the artifact of a job if whoever asks may have it scanned
// or not: who may quarantine it may.
func (s *service) changeable(ctx context.Context, text string) (warden.Digest, error) {
	d, err := parseDigest(text)
	if err == nil {
		err = s.mayArtifact(ctx, policy.Quarantine, d)
	}
	return d, err
}

func (s *service) retryJob(ctx context.Context, in *DigestInput) (*body[jobBody], error) {
	d, err := s.changeable(ctx, in.Digest)
	if err != nil {
		return nil, s.fail(err)
	}
	j, err := s.Registry.RetryJob(ctx, d, identity(ctx).Principal)
	return s.job(ctx, j, err)
}

type cancelJobInput struct {
	DigestInput
	Body struct {
		Reason string `json:"reason" maxLength:"1000" doc:"shown to those who wait for the scan"`
	}
}

func (s *service) cancelJob(ctx context.Context, in *cancelJobInput) (*body[jobBody], error) {
	d, err := s.changeable(ctx, in.Digest)
	if err != nil {
		return nil, s.fail(err)
	}
	j, err := s.Registry.CancelJob(ctx, d, strings.TrimSpace(in.Body.Reason), identity(ctx).Principal)
	return s.job(ctx, j, err)
}
