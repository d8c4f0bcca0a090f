// Package hub reads models of a Hugging Face compatible hub without downloading
// them: it lists the files of one commit and reads ranges of them. A revision is
// resolved to a commit once, and everything is read at that commit, so what is
// scanned is what was listed. It keeps nothing and follows redirects for bytes
// only, without the token.
//
// Sources: the hub's HTTP API (api/models/…/revision, …/tree, …/resolve) and
// RFC 9110, sections 13 and 14, for conditional range requests.
package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/modelwarden/warden"
)

// Errors to branch on.
var (
	ErrName    = errors.New("not a model reference") // hf://org/model[@revision]
	ErrAnswer  = errors.New("unexpected answer of the hub")
	ErrChanged = errors.New("the file changed while it was read")
	ErrDigest  = errors.New("bytes do not match the digest that the hub declares")
)

// A Ref names a model at a revision.
type Ref struct {
	ID       string // "org/model", or "model" for old ones
	Revision string // branch, tag or commit
}

var idPart = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$`)

// ParseRef reads "hf://org/model[@revision]"; the revision is "main" if absent.
func ParseRef(text string) (Ref, error) {
	rest, ok := strings.CutPrefix(text, "hf://")
	id, rev, cut := strings.Cut(rest, "@")
	parts := strings.Split(id, "/")
	good := ok && len(parts) <= 2 && (!cut || rev != "")
	for _, p := range parts {
		good = good && idPart.MatchString(p) && !strings.Contains(p, "..")
	}
	if !good {
		return Ref{}, fmt.Errorf("%q: %w: want hf://org/model or hf://org/model@revision", text, ErrName)
	}
	if !cut {
		rev = "main"
	}
	return Ref{id, rev}, nil
}

// A Client speaks to one hub. It is safe for concurrent use.
type Client struct {
	Base  string // "https://huggingface.co", or a mirror
	Token string // may be empty; sent to Base only
	HTTP  *http.Client
}

// A File is one file of a commit.
type File struct {
	Path   string
	Size   int64
	Digest warden.Digest // declared SHA-256 of a large file; zero if none is declared
}

// A Listing is the files of one commit.
type Listing struct {
	Ref    Ref
	Commit string
	Files  []File
}

// Bounds of a listing.
const (
	maxFiles  = 100_000
	maxAnswer = 64 << 20
	maxPages  = 1000
	tries     = 4
)

var commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)

// List resolves the revision and lists its files.
func (c *Client) List(ctx context.Context, ref Ref) (Listing, error) {
	out := Listing{Ref: ref}
	var info struct {
		SHA string `json:"sha"`
	}
	api := c.Base + "/api/models/" + ref.ID
	if _, err := c.json(ctx, api+"/revision/"+url.PathEscape(ref.Revision), &info); err != nil {
		return out, fmt.Errorf("resolve %s@%s: %w", ref.ID, ref.Revision, err)
	}
	if !commitForm.MatchString(info.SHA) {
		return out, fmt.Errorf("resolve %s@%s: %w: commit %.60q", ref.ID, ref.Revision, ErrAnswer, info.SHA)
	}
	out.Commit = info.SHA
	next := api + "/tree/" + info.SHA + "?recursive=true"
	for range maxPages {
		var rows []struct {
			Type string `json:"type"`
			Path string `json:"path"`
			Size int64  `json:"size"`
			LFS  *struct {
				OID  string `json:"oid"`
				Size int64  `json:"size"`
			} `json:"lfs"`
		}
		link, err := c.json(ctx, next, &rows)
		if err != nil {
			return out, fmt.Errorf("list %s@%s: %w", ref.ID, info.SHA, err)
		}
		for _, r := range rows {
			if r.Type != "file" {
				continue
			}
			f := File{Path: r.Path, Size: r.Size}
			if r.LFS != nil {
				f.Size = r.LFS.Size
				if d, err := warden.ParseDigest("sha256:" + r.LFS.OID); err == nil {
					f.Digest = d
				}
			}
			if f.Path == "" || f.Size < 0 || len(out.Files) == maxFiles {
				return out, fmt.Errorf("list %s@%s: %w: file %.60q of %d bytes, number %d", ref.ID, info.SHA, ErrAnswer, f.Path, f.Size, len(out.Files)+1)
			}
			out.Files = append(out.Files, f)
		}
		if link == "" {
			return out, nil
		}
		if !strings.HasPrefix(link, c.Base+"/") { // the token goes nowhere else
			return out, fmt.Errorf("list %s@%s: %w: next page on another host", ref.ID, info.SHA, ErrAnswer)
		}
		next = link
	}
	return out, fmt.Errorf("list %s@%s: %w: more than %d pages", ref.ID, info.SHA, ErrAnswer, maxPages)
}

// json gets one document, and the address of the next page.
func (c *Client) json(ctx context.Context, address string, into any) (next string, err error) {
	resp, err := c.get(ctx, address, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%w: status %s", ErrAnswer, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return "", fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return nextLink(resp.Header.Get("Link")), nil
}

// nextLink returns the address of rel="next" (RFC 8288).
func nextLink(header string) string {
	for part := range strings.SplitSeq(header, ",") {
		address, params, ok := strings.Cut(strings.TrimSpace(part), ">;")
		if ok && strings.HasPrefix(address, "<") && strings.Contains(params, `rel="next"`) {
			return address[1:]
		}
	}
	return ""
}

// get sends a request, and again after 429 and server errors.
func (c *Client) get(ctx context.Context, address string, header http.Header) (*http.Response, error) {
	for try := 1; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, err
		}
		maps.Copy(req.Header, header)
		req.Header.Set("Accept-Encoding", "identity")
		if c.Token != "" {
			req.Header.Set("Authorization", "Bearer "+c.Token) // net/http drops it when a redirect leaves the host
		}
		resp, err := c.HTTP.Do(req)
		if err == nil && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < http.StatusInternalServerError {
			return resp, nil
		}
		wait := time.Duration(try*try) * 250 * time.Millisecond
		if err == nil {
			if s, perr := strconv.Atoi(resp.Header.Get("Retry-After")); perr == nil && s >= 0 && s <= 30 {
				wait = time.Duration(s) * time.Second
			}
			err = errors.Join(fmt.Errorf("%w: status %s", ErrAnswer, resp.Status), resp.Body.Close())
		}
		if try == tries || ctx.Err() != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}
