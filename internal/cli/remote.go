package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/blob/hub"
	"github.com/modelwarden/warden/scan"
)

const remoteScheme = "hf://"

// wholeBytes is the size up to which a remote file is read whole and hashed.
const wholeBytes = 1 << 20

// scanHub scans a model of a hub, file by file, without downloading the weights:
// readers fetch only the ranges that they look at. HF_ENDPOINT and HF_TOKEN are
// honoured; the token appears in no output.
func (a *app) scanHub(ctx context.Context, target string, w scan.Walk, emit func(scan.Report) error) error {
	ref, err := hub.ParseRef(target)
	if err != nil {
		return usage("%w", err)
	}
	base := a.Getenv("HF_ENDPOINT")
	if base == "" {
		base = "https://huggingface.co"
	}
	c := &hub.Client{Base: strings.TrimSuffix(base, "/"), Token: a.Getenv("HF_TOKEN"), HTTP: &http.Client{Timeout: 5 * time.Minute}}
	l, err := c.List(ctx, ref)
	if err != nil {
		return emit(scan.Report{
			Path: target, Artifact: warden.Artifact{Size: -1}, Verdict: warden.Inconclusive, Counts: map[warden.RuleID]int{},
			Statuses: []detect.Status{{Detector: "read/hub", State: detect.Failed, Err: err}},
		})
	}
	for _, f := range l.Files {
		name := fmt.Sprintf("%s%s@%s/%s", remoteScheme, ref.ID, l.Commit, f.Path)
		if !wanted(w, f.Path) {
			if w.Skipped != nil {
				w.Skipped(name)
			}
			continue
		}
		if w.Started != nil {
			w.Started(name, f.Size)
		}
		opts := w.Options
		opts.NoDigest = opts.NoDigest || f.Size > wholeBytes
		rep := scan.File(ctx, name, c.Open(ctx, l, f), f.Size, opts)
		if declared, got := f.Digest, rep.Artifact.Digest; declared != (warden.Digest{}) && got != (warden.Digest{}) && declared != got {
			rep.Statuses = append(rep.Statuses, detect.Status{Detector: "read/hub", State: detect.Failed, Err: fmt.Errorf("%w: %s, read %s", hub.ErrDigest, declared, got)})
			rep.Verdict = max(rep.Verdict, warden.Inconclusive)
		}
		if err := emit(rep); err != nil {
			return err
		}
	}
	return nil
}

func wanted(w scan.Walk, name string) bool {
	match := func(globs []string) bool {
		for _, g := range globs {
			whole, err := path.Match(g, name)
			base, err2 := path.Match(g, path.Base(name))
			if errors.Join(err, err2) == nil && (whole || base) {
				return true
			}
		}
		return false
	}
	return (len(w.Include) == 0 || match(w.Include)) && !match(w.Exclude)
}
