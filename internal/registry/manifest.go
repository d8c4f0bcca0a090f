package registry

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/modelwarden/warden"
)

// ManifestSchema is the value of a manifest's schema field.
const ManifestSchema = "https://modelwarden.dev/manifest/v1"

// Bounds of a manifest.
const (
	MaxManifestBytes = 64 << 20
	MaxFiles         = 1_000_000
	MaxPathBytes     = 4096
	maxFileBytes     = 1 << 53 // RFC 8785 numbers
)

// ErrManifest is wrapped by errors about manifests that are not well-formed.
var ErrManifest = errors.New("malformed manifest")

// A File is one file of an artifact.
type File struct {
	Path   string // relative, slash-separated
	Digest warden.Digest
	Size   int64
}

// A Manifest lists the files of an artifact. Its canonical bytes are RFC 8785
// JSON with files sorted by code point of path; their digest names the
// artifact. Kind, tags and licence are not part of it, because they can change.
type Manifest struct {
	Files []File
}

type wireManifest struct {
	Files  []wireFile `json:"files"`
	Schema string     `json:"schema"`
}

type wireFile struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"` // 64 lower-case hex digits
	Size   int64  `json:"size"`
}

// Encode returns the canonical bytes of m, whatever the order of its files. It
// returns an error wrapping [ErrManifest] if m breaks a rule.
func (m Manifest) Encode() ([]byte, error) {
	files := slices.Clone(m.Files)
	// Byte order of UTF-8 is code point order.
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	if len(files) == 0 || len(files) > MaxFiles {
		return nil, fmt.Errorf("%w: %d files, want 1 to %d", ErrManifest, len(files), MaxFiles)
	}
	w := wireManifest{Files: make([]wireFile, len(files)), Schema: ManifestSchema}
	for i, f := range files {
		if err := checkPath(f.Path); err != nil {
			return nil, err
		}
		switch {
		case i > 0 && files[i-1].Path == f.Path:
			return nil, fmt.Errorf("%w: path %q is listed twice", ErrManifest, f.Path)
		case f.Size < 0 || f.Size > maxFileBytes:
			return nil, fmt.Errorf("%w: %q has size %d", ErrManifest, f.Path, f.Size)
		case f.Digest == (warden.Digest{}):
			return nil, fmt.Errorf("%w: %q has no digest", ErrManifest, f.Path)
		}
		w.Files[i] = wireFile{f.Path, hex.EncodeToString(f.Digest[:]), f.Size}
	}
	b, err := warden.Canonical(w)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	if len(b) > MaxManifestBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrManifest, len(b), MaxManifestBytes)
	}
	return b, nil
}

// checkPath holds the path rules: what cannot name a file inside a folder.
func checkPath(p string) error {
	switch {
	case p == "" || len(p) > MaxPathBytes:
		return fmt.Errorf("%w: path of %d bytes, want 1 to %d", ErrManifest, len(p), MaxPathBytes)
	case !utf8.ValidString(p) || strings.ContainsRune(p, 0):
		return fmt.Errorf("%w: path %.100q is not text", ErrManifest, p)
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("%w: path %.100q: must be relative, without empty, %q or %q parts", ErrManifest, p, ".", "..")
		}
	}
	return nil
}

// DecodeManifest is the inverse of [Manifest.Encode]. It accepts only canonical
// bytes, so equal manifests have equal digests. The error wraps [ErrManifest].
func DecodeManifest(b []byte) (Manifest, error) {
	if len(b) > MaxManifestBytes {
		return Manifest{}, fmt.Errorf("%w: %d bytes, at most %d", ErrManifest, len(b), MaxManifestBytes)
	}
	var w wireManifest
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	if w.Schema != ManifestSchema {
		return Manifest{}, fmt.Errorf("%w: schema %.100q, want %q", ErrManifest, w.Schema, ManifestSchema)
	}
	m := Manifest{Files: make([]File, len(w.Files))}
	for i, f := range w.Files {
		d, err := warden.ParseDigest("sha256:" + f.SHA256)
		if err != nil {
			return Manifest{}, fmt.Errorf("%w: %q: %w", ErrManifest, f.Path, err)
		}
		m.Files[i] = File{f.Path, d, f.Size}
	}
	again, err := m.Encode()
	if err != nil {
		return Manifest{}, err
	}
	if !bytes.Equal(again, b) {
		return Manifest{}, fmt.Errorf("%w: not canonical (RFC 8785, files sorted by path)", ErrManifest)
	}
	return m, nil
}

// Size returns the bytes of all files.
func (m Manifest) Size() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// Collisions returns sets of paths that some file systems cannot tell apart or
// cannot hold at once: equal after case folding and Unicode normalisation, or
// one the folder of the other. The server keeps such artifacts; whoever writes
// one to disk must refuse.
func (m Manifest) Collisions() [][]string {
	type path struct{ key, text string }
	fold := cases.Fold()
	paths := make([]path, len(m.Files))
	for i, f := range m.Files {
		// A separator below all other bytes sorts a folder before its content,
		// and its content before all else. No path has a zero byte.
		key := norm.NFC.String(fold.String(norm.NFC.String(f.Path)))
		paths[i] = path{strings.ReplaceAll(key, "/", "\x00"), f.Path}
	}
	slices.SortStableFunc(paths, func(a, b path) int { return strings.Compare(a.key, b.key) })
	var (
		out   [][]string
		above []path // files of which the present path may be inside
	)
	for i, p := range paths {
		if i > 0 && p.key == paths[i-1].key {
			if i > 1 && p.key == paths[i-2].key {
				out[len(out)-1] = append(out[len(out)-1], p.text)
			} else {
				out = append(out, []string{paths[i-1].text, p.text})
			}
			continue
		}
		for len(above) > 0 && !strings.HasPrefix(p.key, above[len(above)-1].key+"\x00") {
			above = above[:len(above)-1]
		}
		if len(above) > 0 {
			out = append(out, []string{above[len(above)-1].text, p.text})
		}
		above = append(above, p)
	}
	return out
}
