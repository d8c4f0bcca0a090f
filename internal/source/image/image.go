// Package image lists the files of a container image: a tar file as docker save
// and OCI tools write it, or a folder in OCI layout. Layers are applied in order
// with their whiteouts.
//
// What a reader of source or an inventory asks for is copied to one private
// folder under numbers; no name from the image is ever used as a path, and links
// are not followed.
package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/modelwarden/warden/internal/source"
	"github.com/modelwarden/warden/internal/source/config"
	"github.com/modelwarden/warden/internal/source/sight"
)

// Errors to branch on.
var (
	ErrImage = errors.New("not a container image")
	ErrLimit = errors.New("limit")
)

// Limits bound what an image may hold. A field that is 0 stands for its default.
type Limits struct {
	Members int   // of all layers; default 1,000,000
	Bytes   int64 // of all layers, after decompression; default 64 GiB
	Kept    int64 // copied for reading; default 4 GiB
	File    int64 // of one source or configuration file; default 8 MiB
}

func (l Limits) withDefaults() Limits {
	if l.Members <= 0 {
		l.Members = 1_000_000
	}
	if l.Bytes <= 0 {
		l.Bytes = 64 << 30
	}
	if l.Kept <= 0 {
		l.Kept = 4 << 30
	}
	if l.File <= 0 {
		l.File = 8 << 20
	}
	return l
}

// A Config is what an image says of how it runs.
type Config struct {
	Env        []string `json:"Env"`
	Entrypoint []string `json:"Entrypoint"`
	Cmd        []string `json:"Cmd"`
	WorkingDir string   `json:"WorkingDir"`
}

// An Image was read; it must be closed.
type Image struct {
	Name   string // the first tag, if the image has one
	Config Config

	files  map[string]kept
	cached map[string]string // models that a cache holds, org/name to commit or tag
	notes  []error
	dir    string
}

type kept struct {
	size  int64
	layer int
	file  string // in dir; "" if only the name counts
	err   error
}

// descriptor names a blob of an OCI layout.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Platform  *struct {
		OS string `json:"os"`
	} `json:"platform"`
	Annotations map[string]string `json:"annotations"`
}

// Open reads an image: a tar file, or a folder in OCI layout. temp is where its
// private folder is made.
func Open(ctx context.Context, name, temp string, lim Limits) (*Image, error) {
	lim = lim.withDefaults()
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(temp, "warden-image-")
	if err != nil {
		return nil, err
	}
	im := &Image{files: map[string]kept{}, cached: map[string]string{}, dir: dir}
	blob := func(p string) (io.ReadCloser, error) { return os.OpenInRoot(name, filepath.FromSlash(p)) }
	if !info.IsDir() {
		if blob, err = im.outer(ctx, name, lim); err != nil {
			return nil, errors.Join(err, im.Close())
		}
	}
	layers, err := im.manifest(blob)
	if err != nil {
		return nil, errors.Join(err, im.Close())
	}
	r := &reader{im: im, lim: lim}
	for _, l := range layers {
		rc, err := blob(l)
		if err != nil {
			im.notes = append(im.notes, fmt.Errorf("layer %s: %w", l, err))
			continue
		}
		err = r.layer(ctx, rc)
		r.whiteouts()
		_ = rc.Close()
		if ctx.Err() != nil {
			return nil, errors.Join(context.Cause(ctx), im.Close())
		}
		if err != nil {
			im.notes = append(im.notes, fmt.Errorf("layer %s: %w", l, err))
		}
	}
	return im, nil
}

// IsLayout reports whether a folder is in OCI layout.
func IsLayout(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "oci-layout"))
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(dir, "index.json"))
	return err == nil
}

// Close removes the private folder.
func (im *Image) Close() error { return os.RemoveAll(im.dir) }

// outer copies the members of the outer tar, which are named by digest or by a
// manifest, to numbered files.
func (im *Image) outer(ctx context.Context, name string, lim Limits) (func(string) (io.ReadCloser, error), error) {
	f, err := os.Open(filepath.Clean(name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	in, done, err := decompress(f)
	if err != nil {
		return nil, err
	}
	defer done()
	members := map[string]string{}
	links := map[string]string{}
	tr := tar.NewReader(in)
	total := int64(0)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if n == 0 {
				return nil, fmt.Errorf("%w: %w (hint: give a folder, or a tar made by docker save or in OCI layout)", ErrImage, err)
			}
			im.notes = append(im.notes, err)
			break
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		p := path.Clean(strings.TrimPrefix(h.Name, "./"))
		if h.Typeflag == tar.TypeSymlink || h.Typeflag == tar.TypeLink {
			links[p] = path.Join(path.Dir(p), h.Linkname) //nolint:gosec // a name inside the archive, never one of the file system
			continue
		}
		if h.Typeflag != tar.TypeReg || n > 10_000 {
			continue
		}
		if total += h.Size; total > lim.Bytes {
			return nil, fmt.Errorf("%w: more than %d bytes", ErrLimit, lim.Bytes)
		}
		to := filepath.Join(im.dir, "m"+strconv.Itoa(n))
		if err := save(to, tr); err != nil {
			im.notes = append(im.notes, err)
			break
		}
		members[p] = to
	}
	return func(p string) (io.ReadCloser, error) {
		p = path.Clean(p)
		if to, ok := links[p]; ok {
			p = to
		}
		file, ok := members[p]
		if !ok {
			return nil, fmt.Errorf("%s: not in the file", p)
		}
		return os.Open(filepath.Clean(file))
	}, nil
}

func save(name string, r io.Reader) error {
	f, err := os.OpenFile(filepath.Clean(name), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

const mostJSON = 8 << 20

func readJSON(blob func(string) (io.ReadCloser, error), name string, to any) error {
	rc, err := blob(name)
	if err != nil {
		return err
	}
	defer func() { _ = rc.Close() }()
	d := json.NewDecoder(io.LimitReader(rc, mostJSON))
	return d.Decode(to)
}

// manifest finds the layers, and reads the configuration.
func (im *Image) manifest(blob func(string) (io.ReadCloser, error)) ([]string, error) {
	var saved []struct {
		Config   string   `json:"Config"`
		RepoTags []string `json:"RepoTags"`
		Layers   []string `json:"Layers"`
	}
	if err := readJSON(blob, "manifest.json", &saved); err == nil && len(saved) > 0 {
		m := saved[0]
		if len(m.RepoTags) > 0 {
			im.Name = m.RepoTags[0]
		}
		im.configuration(blob, m.Config)
		return m.Layers, nil
	}
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	if err := readJSON(blob, "index.json", &index); err != nil {
		return nil, fmt.Errorf("%w: neither manifest.json nor index.json can be read: %w", ErrImage, err)
	}
	at := index.Manifests
	for depth := 0; depth < 4 && len(at) > 0; depth++ {
		d := at[0]
		for _, m := range at {
			if m.Platform == nil || m.Platform.OS == "linux" {
				d = m
				break
			}
		}
		if n := d.Annotations["org.opencontainers.image.ref.name"]; n != "" {
			im.Name = n
		}
		var m struct {
			Manifests []descriptor `json:"manifests"`
			Config    descriptor   `json:"config"`
			Layers    []descriptor `json:"layers"`
		}
		if err := readJSON(blob, blobName(d.Digest), &m); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrImage, err)
		}
		if len(m.Layers) > 0 {
			var layers []string
			for _, l := range m.Layers {
				layers = append(layers, blobName(l.Digest))
			}
			im.configuration(blob, blobName(m.Config.Digest))
			return layers, nil
		}
		at = m.Manifests
	}
	return nil, fmt.Errorf("%w: no layers", ErrImage)
}

// blobName is where a layout keeps a digest. A digest that is none names nothing.
func blobName(digest string) string {
	alg, hex, ok := strings.Cut(digest, ":")
	if !ok || alg == "" || hex == "" || strings.Trim(hex, "0123456789abcdef") != "" || strings.Trim(alg, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return "invalid-digest"
	}
	return "blobs/" + alg + "/" + hex
}

// configuration reads how the image runs. That it cannot be read is a note.
func (im *Image) configuration(blob func(string) (io.ReadCloser, error), name string) {
	var c struct {
		Config Config `json:"config"`
	}
	if err := readJSON(blob, name, &c); err != nil {
		im.notes = append(im.notes, fmt.Errorf("configuration: %w", err))
		return
	}
	im.Config = c.Config
}

// decompress tells gzip and zstd from the first bytes.
func decompress(r io.Reader) (io.Reader, func(), error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, _ := b.Peek(4)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		return z, func() {}, err
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxMemory(1<<30), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return b, func() {}, nil
}

// reader applies layers.
type reader struct {
	im      *Image
	lim     Limits
	members int
	bytes   int64
	kept    int64
	n       int

	// What the layer that is read hides of those below: a path with all under it,
	// or only what is under a folder. Its own files stay, wherever in the layer
	// the mark stands (OCI image-spec, layer.md, Whiteouts).
	at           int
	gone, opaque map[string]bool
}

func (r *reader) layer(ctx context.Context, rc io.Reader) error {
	r.at++
	r.gone, r.opaque = map[string]bool{}, map[string]bool{}
	in, done, err := decompress(rc)
	if err != nil {
		return err
	}
	defer done()
	counted := &counter{r: in, left: r.lim.Bytes - r.bytes}
	defer func() { r.bytes = r.lim.Bytes - counted.left }()
	tr := tar.NewReader(counted)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if r.members++; r.members > r.lim.Members {
			return fmt.Errorf("%w: more than %d members", ErrLimit, r.lim.Members)
		}
		p := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if p == "" {
			continue
		}
		dir, base := path.Split(p)
		if base == ".wh..wh..opq" {
			r.opaque[strings.TrimSuffix(dir, "/")] = true
			continue
		}
		if gone, ok := strings.CutPrefix(base, ".wh."); ok {
			if gone == "" || gone == "." || gone == ".." {
				r.im.notes = append(r.im.notes, fmt.Errorf("%s: a mark that hides no file", p))
				continue
			}
			r.gone[dir+gone] = true
			continue
		}
		r.drop(p)
		r.cache(p)
		if h.Typeflag == tar.TypeReg {
			if err := r.file(p, h.Size, tr); err != nil {
				return err
			}
		}
		if h.Typeflag == tar.TypeLink {
			r.link(p, strings.TrimPrefix(path.Clean("/"+h.Linkname), "/"))
		}
	}
}

// link gives a file its second name. What stood under the first is kept only if
// that name is one to read, too: else it is said that the file was not read.
func (r *reader) link(p, to string) {
	if !wanted(p) || p == to {
		return
	}
	k, ok := r.im.files[to]
	if !ok {
		k = kept{err: fmt.Errorf("a hard link to %s, which was not kept", to)}
	}
	k.layer = r.at
	if k.file != "" {
		r.n++
		copied := "f" + strconv.Itoa(r.n)
		if r.kept+k.size > r.lim.Kept {
			k.file, k.err = "", fmt.Errorf("%w: more than %d bytes of files to read", ErrLimit, r.lim.Kept)
		} else if err := os.Link(filepath.Join(r.im.dir, k.file), filepath.Join(r.im.dir, copied)); err != nil {
			k.file, k.err = "", fmt.Errorf("a hard link to %s: %w", to, err)
		} else {
			k.file = copied
			r.kept += k.size
		}
	}
	r.im.files[p] = k
}

// whiteouts takes away what the layer that was read hides of those below.
func (r *reader) whiteouts() {
	if len(r.gone)+len(r.opaque) == 0 {
		return
	}
	for name, k := range r.im.files {
		if k.layer == r.at {
			continue
		}
		hidden := r.gone[name] || r.opaque[""]
		for i := len(name) - 1; i > 0 && !hidden; i-- {
			hidden = name[i] == '/' && (r.gone[name[:i]] || r.opaque[name[:i]])
		}
		if hidden {
			r.drop(name)
		}
	}
}

func (r *reader) drop(p string) {
	if k, ok := r.im.files[p]; ok {
		if k.file != "" {
			r.kept -= k.size
			_ = os.Remove(filepath.Join(r.im.dir, k.file))
		}
		delete(r.im.files, p)
	}
}

// file keeps what somebody may want to read.
func (r *reader) file(p string, size int64, in io.Reader) error {
	if !wanted(p) {
		return nil
	}
	k := kept{size: size, layer: r.at}
	weights := source.IsWeights(p)
	switch {
	case !weights && size > r.lim.File:
		k.err = fmt.Errorf("%w: %d bytes, at most %d", ErrLimit, size, r.lim.File)
	case r.kept+size > r.lim.Kept:
		k.err = fmt.Errorf("%w: more than %d bytes of files to read", ErrLimit, r.lim.Kept)
	default:
		r.n++
		k.file = "f" + strconv.Itoa(r.n)
		if err := save(filepath.Join(r.im.dir, k.file), in); err != nil {
			return err
		}
		r.kept += size
	}
	r.im.files[p] = k
	return nil
}

// wanted reports whether a file of an image is read: application source and
// configuration, what names packages, weights. The system's own folders hold
// neither.
func wanted(p string) bool {
	if strings.HasSuffix(p, ".dist-info/METADATA") {
		return true
	}
	for _, s := range [...]string{"usr/share/", "usr/lib/python", "usr/include/", "proc/", "sys/", "dev/", "var/lib/dpkg/", "var/cache/", "usr/lib/node_modules/npm/", "usr/local/lib/node_modules/npm/", "lib/", "usr/lib/x86_64-linux-gnu/"} {
		if strings.HasPrefix(p, s) {
			return strings.Contains(p, "-packages/") && strings.HasSuffix(p, "METADATA")
		}
	}
	if strings.Contains(p, "/python3") && strings.Contains(p, "lib/python3") && !strings.Contains(p, "-packages/") {
		return false
	}
	if strings.Contains(p, "node_modules/") {
		return path.Base(p) == "package.json" && strings.Count(p[strings.LastIndex(p, "node_modules/")+len("node_modules/"):], "/") <= 2
	}
	return source.Wants(p) && (source.IsWeights(p) || !strings.Contains(p, "-packages/"))
}

// Caches of models: the hub's, and Ollama's.
var (
	hubCache    = regexp.MustCompile(`(?:^|/)(models|datasets)--([\w.-]+?)--([\w.-]+)/snapshots/([0-9a-f]{40})(?:/|$)`)
	ollamaCache = regexp.MustCompile(`(?:^|/)models/manifests/[\w.-]+/([\w.-]+)/([\w.-]+)/([\w.-]+)$`)
)

// cache notes a model that a path of a cache names.
func (r *reader) cache(p string) {
	if m := hubCache.FindStringSubmatch(p); m != nil && m[1] == "models" {
		r.im.cached["huggingface\x00"+m[2]+"/"+m[3]] = m[4]
	}
	if m := ollamaCache.FindStringSubmatch(p); m != nil {
		name := m[2] + ":" + m[3]
		if m[1] != "library" {
			name = m[1] + "/" + name
		}
		r.im.cached["ollama\x00"+name] = ""
	}
}

// Doc returns what the image itself says: the variables it sets, where its
// program begins, and the models in its caches.
func (im *Image) Doc() config.Doc {
	const at = "image configuration"
	var d config.Doc
	for _, e := range im.Config.Env {
		if k, v, ok := strings.Cut(e, "="); ok && k != "PATH" {
			d.Env = append(d.Env, config.Variable{Name: k, Value: v, At: sight.Place{Path: at, Snippet: sight.Snippet(e)}})
		}
	}
	d.Entries = config.Command(at, strings.Join(append(slices.Clone(im.Config.Entrypoint), im.Config.Cmd...), " "), im.Config.WorkingDir)
	for k, rev := range im.cached {
		provider, name, _ := strings.Cut(k, "\x00")
		s := sight.Sighting{
			Kind: sight.Model, Name: name, Provider: provider, Revision: rev, Pinned: sight.Pinned(rev), State: sight.ConfigOnly, Scope: sight.Production,
			Evidence: []sight.Place{{Path: "cache of models", Via: "image"}}, Note: "in the image",
		}
		d.Sightings = append(d.Sightings, s)
	}
	return d
}

type counter struct {
	r    io.Reader
	left int64
}

// Read implements [io.Reader].
func (c *counter) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("%w: the layers are larger than allowed", ErrLimit)
	}
	n, err := c.r.Read(b)
	c.left -= int64(n)
	return n, err
}

// List implements [source.Lister].
func (im *Image) List(context.Context) iter.Seq2[source.Entry, error] {
	return func(yield func(source.Entry, error) bool) {
		names := make([]string, 0, len(im.files))
		for p := range im.files {
			names = append(names, p)
		}
		slices.Sort(names)
		for _, p := range names {
			k := im.files[p]
			e := source.Entry{Path: p, Size: k.size}
			if k.err != nil {
				if !yield(e, k.err) {
					return
				}
				continue
			}
			file := filepath.Join(im.dir, k.file)
			e.Open = func() (io.ReadCloser, error) { return os.Open(filepath.Clean(file)) }
			if !yield(e, nil) {
				return
			}
		}
		for _, err := range im.notes {
			if !yield(source.Entry{}, err) {
				return
			}
		}
	}
}
