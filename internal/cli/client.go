package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/server"
)

// A client speaks to the API of a server.
type client struct {
	base string
	key  string
	http *http.Client
}

// dataDir is the data folder of the server on this machine.
func (a *app) dataDir() string {
	switch {
	case a.data != "":
		return a.data
	case a.Getenv("WARDEN_DATA") != "":
		return a.Getenv("WARDEN_DATA")
	default:
		return server.DefaultConfig().Data
	}
}

// client finds the server and the key: flags, then the environment, then what a
// server on this machine left in its data folder.
func (a *app) client() (*client, error) {
	base, key := a.server, a.Getenv("WARDEN_KEY")
	if base == "" {
		base = a.Getenv("WARDEN_SERVER")
	}
	if a.keyFile != "" {
		b, err := os.ReadFile(a.keyFile)
		if err != nil {
			return nil, usage("--key-file: %w", err)
		}
		key = string(b)
	}
	if base == "" || key == "" {
		name := filepath.Join(a.dataDir(), server.LocalFile)
		l, err := server.ReadLocal(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, &warden.Error{
				Code: warden.CodeInvalid, Message: "no server is known: " + name + " does not exist",
				Hint: "start one with `warden serve`, give its data folder with --data, or set WARDEN_SERVER and WARDEN_KEY",
			}
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if base == "" {
			base = l.API
		} else if key == "" {
			return nil, usage("no access key for %s (hint: set WARDEN_KEY or --key-file)", base)
		}
		if key == "" {
			key = l.Key
		}
	}
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, usage("server %q is no http(s) URL", base)
	}
	return &client{base: strings.TrimSuffix(base, "/"), key: strings.TrimSpace(key), http: &http.Client{}}, nil
}

// do sends a request and returns the answer, whose status is below 300. The
// caller closes its body.
func (c *client) do(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Authorization", "Bearer "+c.key)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &warden.Error{Code: warden.CodeUnavailable, Message: "the server does not answer: " + err.Error(), Hint: "is `warden serve` running at " + c.base + "?", Err: err}
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	return nil, errors.Join(problem(resp), resp.Body.Close())
}

const maxProblem = 64 << 10

// problem reads an error answer.
func problem(resp *http.Response) error {
	var p struct {
		Detail, Code, Hint string
		Errors             []struct{ Message, Location string }
	}
	err := json.NewDecoder(io.LimitReader(resp.Body, maxProblem)).Decode(&p)
	if err != nil || p.Detail == "" {
		p.Detail = "the server answered " + resp.Status
	}
	for _, e := range p.Errors {
		p.Detail += "; " + e.Location + ": " + e.Message
	}
	if p.Code == "" {
		p.Code = map[int]string{
			http.StatusUnauthorized: string(warden.CodeUnauthenticated), http.StatusForbidden: string(warden.CodeDenied), http.StatusNotFound: string(warden.CodeNotFound),
			http.StatusUnprocessableEntity: string(warden.CodeInvalid), http.StatusBadRequest: string(warden.CodeInvalid),
		}[resp.StatusCode]
	}
	return &warden.Error{Code: warden.Code(p.Code), Message: p.Detail, Hint: p.Hint}
}

// maxAnswer bounds an answer that is read into memory.
const maxAnswer = 256 << 20

// call sends in as JSON, if it is not nil, and decodes the answer into out.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	header := http.Header{}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
		header.Set("Content-Type", "application/json")
	}
	resp, err := c.do(ctx, method, path, header, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("answer of %s: %w", path, err)
	}
	return nil
}

// page is one part of a list.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// all reads a list part by part, up to limit items; 0 means all.
func all[T any](ctx context.Context, c *client, path string, query url.Values, limit int) ([]T, error) {
	if query == nil {
		query = url.Values{}
	}
	var out []T
	for {
		var p page[T]
		if err := c.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &p); err != nil {
			return nil, err
		}
		out = append(out, p.Items...)
		if p.Next == "" || limit > 0 && len(out) >= limit {
			if limit > 0 && len(out) > limit {
				out = out[:limit]
			}
			return out, nil
		}
		query.Set("after", p.Next)
	}
}

// What the commands read of answers. docs/api/openapi.yaml has all fields.
type (
	artifact struct {
		Digest   string    `json:"digest"`
		State    string    `json:"state"`
		Why      string    `json:"why"`
		Verdict  string    `json:"verdict"`
		Complete bool      `json:"complete"`
		Files    int       `json:"files"`
		Size     int64     `json:"size"`
		Scanned  time.Time `json:"scanned"`
	}
	versionOf struct {
		Model    string    `json:"model"`
		Number   int       `json:"number"`
		PushedBy string    `json:"pushed_by"`
		Created  time.Time `json:"created"`
		Artifact artifact  `json:"artifact"`
	}
	fileOf struct {
		Path   string `json:"path"`
		Digest string `json:"digest"`
		Size   int64  `json:"size"`
	}
)

// find resolves a reference.
func (c *client) find(ctx context.Context, ref string) (versionOf, error) {
	var v versionOf
	err := c.call(ctx, http.MethodGet, "/api/v1/find?"+url.Values{"ref": {ref}}.Encode(), nil, &v)
	return v, err
}

func artifactPath(digest string, more string) string { return "/api/v1/artifacts/" + digest + more }

// printJSON writes v for programs.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
