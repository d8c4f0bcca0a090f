package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

func newPush(a *app) *cobra.Command {
	var (
		noWait  bool
		waitFor time.Duration
	)
	c := &cobra.Command{
		Use: "push MODEL PATH", Short: "Upload a file or folder as a new version, and wait for its verdict",
		Long: "Push uploads what the server does not have yet, registers it as the next version of MODEL\n" +
			"(namespace/model) and waits for scan and decision. A push that broke off goes on where it was.\n\n" +
			"  warden registry push team/sentiment ./model",
		Args: args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, x []string) error { return a.push(c.Context(), x[0], x[1], noWait, waitFor) },
	}
	c.Flags().BoolVar(&noWait, "no-wait", false, "do not wait for the scan")
	c.Flags().DurationVar(&waitFor, "wait", 10*time.Minute, "longest wait for the scan")
	return c
}

func (a *app) push(ctx context.Context, model, root string, noWait bool, waitFor time.Duration) error {
	if _, err := registry.ParseName(model); err != nil {
		return err
	}
	files, err := pushFiles(root)
	if err != nil {
		return usage("%w", err)
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	var list []fileOf
	for i, f := range files {
		if terminal(a.Stderr) {
			fmt.Fprintf(a.Stderr, "\r\x1b[K%d/%d %q", i+1, len(files), f.path)
		}
		up, err := cl.upload(ctx, f)
		if err != nil {
			return err
		}
		list = append(list, up)
	}
	if terminal(a.Stderr) {
		fmt.Fprint(a.Stderr, "\r\x1b[K")
	}
	var v versionOf
	if err := cl.call(ctx, http.MethodPost, "/api/v1/artifacts", map[string]any{"model": model, "files": list}, &v); err != nil {
		return err
	}
	fmt.Fprintf(a.Stdout, "pushed %s@%d  %s\n", v.Model, v.Number, v.Artifact.Digest)
	if noWait {
		return nil
	}
	x, err := cl.wait(ctx, v.Artifact.Digest, waitFor)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.Stdout, x.says())
	if x.State != "admitted" {
		return &exit{exitFindings, fmt.Errorf("%s@%d cannot be pulled or served (hint: warden registry show %s@%d lists what was found)", v.Model, v.Number, v.Model, v.Number)}
	}
	return nil
}

// files counts files for people.
func files(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

type localFile struct {
	path string // in the manifest
	name string // on disk
}

// pushFiles lists the regular files at or below root, sorted. Links and special
// files are refused: what is pushed must be what is there.
func pushFiles(root string) ([]localFile, error) {
	st, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	if st.Mode().IsRegular() {
		return []localFile{{filepath.Base(root), root}}, nil
	}
	var out []localFile
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is a link or special file: a pushed artifact holds regular files only", p)
		}
		rel, err := filepath.Rel(root, p)
		out = append(out, localFile{filepath.ToSlash(rel), p})
		return err
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s holds no files", root)
	}
	return out, err
}

const (
	offsetHeader = "Upload-Offset"
	uploadTries  = 4
)

// hashed returns the digest and the size of an open file.
func hashed(f *os.File) (warden.Digest, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return warden.Digest{}, 0, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return warden.Digest(h.Sum(nil)), n, nil
}

// upload brings one file to the server, if it is not there already. It hashes
// first: the server checks that what arrives has that digest.
func (c *client) upload(ctx context.Context, f localFile) (fileOf, error) {
	file, err := os.Open(f.name)
	if err != nil {
		return fileOf{}, err
	}
	defer file.Close() //nolint:errcheck // only read
	d, size, err := hashed(file)
	if err != nil {
		return fileOf{}, err
	}
	out := fileOf{f.path, d.String(), size}
	var we *warden.Error
	resp, err := c.do(ctx, http.MethodHead, "/api/v1/blobs/"+out.Digest, nil, nil)
	if err == nil {
		return out, resp.Body.Close()
	}
	if !errors.As(err, &we) || we.Code != warden.CodeNotFound {
		return out, err
	}
	resp, err = c.do(ctx, http.MethodPost, "/api/v1/uploads", nil, nil)
	if err != nil {
		return out, err
	}
	where := resp.Header.Get("Location")
	if err := resp.Body.Close(); err != nil {
		return out, err
	}
	if err := c.send(ctx, where, file, size); err != nil {
		return out, fmt.Errorf("upload %s: %w", f.path, err)
	}
	return out, c.call(ctx, http.MethodPut, where+"?"+url.Values{"digest": {out.Digest}}.Encode(), nil, nil)
}

// send sends the bytes, and goes on where the server stands when a connection
// breaks.
func (c *client) send(ctx context.Context, where string, file io.ReaderAt, size int64) error {
	var offset int64
	for try := 1; ; try++ {
		header := http.Header{"Content-Type": {"application/octet-stream"}, offsetHeader: {strconv.FormatInt(offset, 10)}}
		resp, err := c.do(ctx, http.MethodPatch, where, header, io.NewSectionReader(file, offset, size-offset))
		if err == nil {
			return resp.Body.Close()
		}
		var we *warden.Error
		again := errors.As(err, &we) && (we.Code == warden.CodeUnavailable || we.Code == warden.CodeConflict)
		if !again || try == uploadTries || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * 500 * time.Millisecond):
		}
		resp, herr := c.do(ctx, http.MethodHead, where, nil, nil)
		if herr != nil {
			return errors.Join(err, herr)
		}
		offset, herr = strconv.ParseInt(resp.Header.Get(offsetHeader), 10, 64)
		if herr = errors.Join(herr, resp.Body.Close()); herr != nil {
			return errors.Join(err, herr)
		}
	}
}

func newPull(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "pull REF DIR", Short: "Download an admitted artifact into a new or empty folder",
		Long: "Pull downloads the files of REF (digest, namespace/model or namespace/model@number) and checks\n" +
			"each against the manifest. Files appear under their names only when they are whole and right.\n" +
			"DIR then holds what was admitted and nothing else: pull refuses a folder with other files, and\n" +
			"overwrites none. It may be repeated after it broke off.\n\n" +
			"  warden registry pull team/sentiment@2 ./model",
		Args: args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, x []string) error { return a.pull(c.Context(), x[0], x[1]) },
	}
}

func (a *app) pull(ctx context.Context, ref, dir string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	v, err := cl.find(ctx, ref)
	if err != nil {
		return err
	}
	m, err := cl.manifest(ctx, v.Artifact.Digest)
	if err != nil {
		return err
	}
	if c := m.Collisions(); len(c) > 0 {
		return &exit{exitFindings, fmt.Errorf("paths %q are one on some file systems: nothing was written (hint: push the artifact with distinct names)", c[0])}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a folder of the user, like one made by mkdir
		return err
	}
	root, err := os.OpenRoot(dir) // nothing is written outside, whatever names say
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a folder
	if err := stray(root, m); err != nil {
		return err
	}
	for _, f := range m.Files {
		if err := cl.download(ctx, v.Artifact.Digest, f, root); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(a.Stdout, "pulled %s (%s) into %s\n", v.Artifact.Digest, files(len(m.Files)), dir)
	return err
}

// stray refuses a folder that holds a file which m does not name, or names with
// other bytes: a loader would take it for a part of what was admitted, and the
// user may want to keep it.
func stray(root *os.Root, m registry.Manifest) error {
	want := map[string]registry.File{}
	for _, f := range m.Files {
		want[f.Path] = f
	}
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if _, ok := want[strings.TrimSuffix(name, partSuffix)]; ok && strings.HasSuffix(name, partSuffix) {
			return nil // of a pull that broke off
		}
		f, ok := want[name]
		if ok && d.Type().IsRegular() {
			same, err := holds(root, f)
			if err != nil || same {
				return err
			}
		}
		says := "is not a file of this artifact"
		if ok {
			says = "is not what this artifact has under that name"
		}
		return usage("%s %s: nothing was written (hint: pull into a new or empty folder)", filepath.Join(root.Name(), filepath.FromSlash(name)), says)
	})
}

// holds reports whether f lies in root already, by its bytes.
func holds(root *os.Root, f registry.File) (bool, error) {
	file, err := root.Open(filepath.FromSlash(f.Path))
	if err != nil {
		return false, err
	}
	defer file.Close() //nolint:errcheck // only read
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(file, f.Size+1))
	return n == f.Size && warden.Digest(h.Sum(nil)) == f.Digest, err
}

// partSuffix marks a file that is not whole yet.
const partSuffix = ".part"

// manifest fetches a manifest and checks that it is the one that was named.
func (c *client) manifest(ctx context.Context, digest string) (registry.Manifest, error) {
	resp, err := c.do(ctx, http.MethodGet, artifactPath(digest, "/manifest"), nil, nil)
	if err != nil {
		return registry.Manifest{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	var b strings.Builder
	if _, err := io.Copy(&b, io.LimitReader(resp.Body, registry.MaxManifestBytes+1)); err != nil {
		return registry.Manifest{}, err
	}
	if got := warden.Sum([]byte(b.String())).String(); got != digest {
		return registry.Manifest{}, &exit{exitFindings, fmt.Errorf("the manifest has digest %s, want %s", got, digest)}
	}
	return registry.DecodeManifest([]byte(b.String()))
}

func (c *client) download(ctx context.Context, digest string, f registry.File, root *os.Root) error {
	parts := strings.Split(f.Path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	resp, err := c.do(ctx, http.MethodGet, artifactPath(digest, "/files/"+strings.Join(parts, "/")), nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	name := filepath.FromSlash(f.Path)
	if d := path.Dir(f.Path); d != "." {
		if err := root.MkdirAll(filepath.FromSlash(d), 0o755); err != nil {
			return err
		}
	}
	tmp := name + partSuffix
	out, err := root.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, h), io.LimitReader(resp.Body, f.Size+1))
	err = errors.Join(err, out.Sync(), out.Close())
	if got := warden.Digest(h.Sum(nil)); err == nil && (n != f.Size || got != f.Digest) {
		err = &exit{exitFindings, fmt.Errorf("%s: got %d bytes with digest %s, want %d with %s", f.Path, n, got, f.Size, f.Digest)}
	}
	if err != nil {
		return errors.Join(err, root.Remove(tmp))
	}
	return root.Rename(tmp, name)
}
