package cli

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/source"
	"github.com/modelwarden/warden/scan"
)

// verdicts tells what is known of model files: from the report of a scan, and by
// scanning those that lie in the folder.
type verdicts struct {
	byPath, byDigest map[string]warden.Verdict
}

// find looks for a file by its digest, then by its path.
func (v *verdicts) find(name, digest, _, _ string) (warden.Verdict, bool) {
	if r, ok := v.byDigest[digest]; ok && digest != "" {
		return r, true
	}
	r, ok := v.byPath[path.Clean(name)]
	return r, ok
}

// fileVerdicts reads --artifacts and scans the files of weights below dir.
func (a *app) fileVerdicts(ctx context.Context, f *inventoryFlags, dir string, t *source.Tree) (*verdicts, error) {
	v := &verdicts{byPath: map[string]warden.Verdict{}, byDigest: map[string]warden.Verdict{}}
	if f.artifacts != "" {
		if err := v.read(f.artifacts, dir); err != nil {
			return nil, err
		}
	}
	info, err := os.Stat(dir)
	if f.noScan || err != nil || !info.IsDir() {
		return v, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return v, nil // the tree was read already: what cannot be opened now stays unscanned
	}
	defer func() { _ = root.Close() }()
	for _, w := range t.Files {
		if w.Lang != source.Weights || w.Pointer {
			continue
		}
		in, err := root.Open(filepath.FromSlash(w.Path))
		if err != nil {
			continue
		}
		rep := scan.File(ctx, w.Path, in, w.Size, scan.Options{NoDigest: true})
		if ctx.Err() == nil {
			v.byPath[w.Path] = rep.Verdict
		}
		_ = in.Close()
	}
	return v, nil
}

// read takes the verdicts of a report that warden scan --format json wrote. Its
// paths count as they are, and relative to dir.
func (v *verdicts) read(name, dir string) error {
	in, err := os.Open(filepath.Clean(name))
	if err != nil {
		return usage("--artifacts: %w", err)
	}
	defer func() { _ = in.Close() }()
	var rep struct {
		Schema  string `json:"schema"`
		Targets []struct {
			Path    string `json:"path"`
			Digest  string `json:"digest"`
			Verdict string `json:"verdict"`
		} `json:"targets"`
	}
	if err := json.NewDecoder(io.LimitReader(in, 1<<30)).Decode(&rep); err != nil || !strings.HasPrefix(rep.Schema, "warden.scan/") {
		return usage("--artifacts %s: no report of warden scan --format json", name)
	}
	for _, t := range rep.Targets {
		verdict, err := warden.ParseVerdict(t.Verdict)
		if err != nil {
			return usage("--artifacts %s: %s: %w", name, t.Path, err)
		}
		if t.Digest != "" {
			v.byDigest[t.Digest] = verdict
		}
		p := filepath.ToSlash(t.Path)
		v.byPath[path.Clean(p)] = verdict
		if rel, err := filepath.Rel(dir, t.Path); err == nil && filepath.IsLocal(rel) {
			v.byPath[filepath.ToSlash(rel)] = verdict
		}
	}
	return nil
}
