// Package gitrepo lists the files of a commit without a work tree: objects are
// read raw from the store of a clone, so that no hook, filter, attribute or
// submodule of a hostile repository has any effect.
//
// It runs the system's git for the protocol and the store only.
package gitrepo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/modelwarden/warden/internal/source"
)

// Errors to branch on.
var (
	ErrNoGit = errors.New("git is not installed") // the machine has no git
	ErrURL   = errors.New("not the address of a repository")
	ErrClone = errors.New("the repository could not be read")
)

var scp = regexp.MustCompile(`^[A-Za-z0-9][\w.-]*@[A-Za-z0-9][\w.-]*:[\w./~-]+$`)

// IsURL reports whether s has the form of an address that [Clone] takes: https,
// ssh or file, or user@host:path.
func IsURL(s string) bool {
	if scp.MatchString(s) {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "ssh" || u.Scheme == "file") && (u.Host != "" || u.Scheme == "file") && u.Path != ""
}

// A Repo is a clone whose objects can be read. It must be closed.
type Repo struct {
	Commit string // 40 or 64 hex digits

	dir string

	mu    sync.Mutex // guards the conversation with cat-file
	batch *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
}

// environment of git: nothing that asks, no configuration of the repository's
// choosing, only protocols that transfer objects.
func environment(env []string) []string {
	return append(append([]string{}, env...), "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=https:ssh:file", "GIT_NO_REPLACE_OBJECTS=1", "GIT_ATTR_NOSYSTEM=1", "GIT_OPTIONAL_LOCKS=0", "GIT_LFS_SKIP_SMUDGE=1", "LC_ALL=C")
}

func command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "git", append([]string{"-c", "core.hooksPath=" + os.DevNull, "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never", "-c", "uploadpack.packObjectsHook="}, args...)...) //nolint:gosec // the program is fixed; what callers give is checked, and stands behind --
	c.Env = environment(env)
	return c
}

// Clone fetches one commit of a repository, the newest of rev, or of its main
// branch if rev is "", into a folder below temp. env is the environment that git
// may see, for its credentials. progress gets what git says; it may be nil.
func Clone(ctx context.Context, address, rev, temp string, env []string, progress io.Writer) (*Repo, error) {
	if !IsURL(address) || strings.HasPrefix(address, "-") {
		return nil, fmt.Errorf("%w: %q (hint: https://host/path, ssh://host/path, file:///path or user@host:path)", ErrURL, address)
	}
	if _, err := exec.LookPath("git"); err != nil {
		return nil, fmt.Errorf("%w (hint: install git, or give a folder)", ErrNoGit)
	}
	dir, err := os.MkdirTemp(temp, "warden-repo-")
	if err != nil {
		return nil, err
	}
	r := &Repo{dir: dir}
	args := []string{"clone", "--bare", "--depth", "1", "--no-tags", "--no-recurse-submodules", "--template=", "--progress"}
	if rev != "" && !commitID.MatchString(rev) {
		if strings.HasPrefix(rev, "-") {
			return nil, errors.Join(fmt.Errorf("%w: revision %q", ErrURL, rev), r.Close())
		}
		args = append(args, "--branch", rev)
	}
	if commitID.MatchString(rev) {
		args = append(args, "--no-single-branch")
		args[2], args[3] = "--filter", "blob:none"
	}
	var said tail
	c := command(ctx, env, append(args, "--", address, filepath.Join(dir, "git"))...)
	c.Stderr = &said
	if progress != nil {
		c.Stderr = io.MultiWriter(&said, progress)
	}
	if err := c.Run(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrClone, lastLine(said.String(), err)), r.Close())
	}
	at := "HEAD"
	if commitID.MatchString(rev) {
		at = rev
	}
	b, err := r.git(ctx, env, "rev-parse", "--verify", "--end-of-options", at+"^{commit}").Output()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: there is no commit %s", ErrClone, at), r.Close())
	}
	r.Commit = strings.TrimSpace(string(b))
	r.batch = r.git(ctx, env, "cat-file", "--batch")
	if r.in, err = r.batch.StdinPipe(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	out, err := r.batch.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.out = bufio.NewReaderSize(out, 1<<20)
	if err := r.batch.Start(); err != nil {
		r.batch = nil
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

var commitID = regexp.MustCompile(`^[0-9a-f]{40}(?:[0-9a-f]{24})?$`)

// tail keeps the end of what git says, which may be without end.
type tail struct{ b []byte }

// Write implements [io.Writer].
func (t *tail) Write(p []byte) (int, error) {
	const most = 16 << 10
	t.b = append(t.b, p...)
	if len(t.b) > 2*most {
		t.b = append(t.b[:0], t.b[len(t.b)-most:]...)
	}
	return len(p), nil
}

// String returns what is kept.
func (t *tail) String() string { return string(t.b) }

func lastLine(said string, err error) string {
	lines := strings.FieldsFunc(said, func(r rune) bool { return r == '\n' || r == '\r' })
	for _, line := range slices.Backward(lines) {
		if l := strings.TrimSpace(line); l != "" {
			return l
		}
	}
	return err.Error()
}

func (r *Repo) git(ctx context.Context, env []string, args ...string) *exec.Cmd {
	return command(ctx, env, append([]string{"--git-dir=" + filepath.Join(r.dir, "git")}, args...)...)
}

// Close ends git and removes the clone.
func (r *Repo) Close() error {
	if r.in != nil {
		_ = r.in.Close()
	}
	if r.batch != nil {
		_ = r.batch.Wait()
	}
	return os.RemoveAll(r.dir)
}

// List implements [source.Lister].
func (r *Repo) List(ctx context.Context) iter.Seq2[source.Entry, error] {
	return func(yield func(source.Entry, error) bool) {
		c := r.git(ctx, nil, "ls-tree", "-r", "-z", "-l", "--full-tree", r.Commit)
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			yield(source.Entry{}, err)
			return
		}
		in := bufio.NewReaderSize(out, 64<<10)
		for {
			rec, err := in.ReadString(0)
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(source.Entry{}, err)
				}
				break
			}
			meta, name, ok := strings.Cut(strings.TrimSuffix(rec, "\x00"), "\t")
			f := strings.Fields(meta)
			if !ok || len(f) != 4 {
				continue
			}
			e := source.Entry{Path: name}
			switch {
			case f[1] == "commit":
				err = fmt.Errorf("%w: a submodule, its repository was not read", source.ErrLink)
			case f[0] == "120000":
				err = fmt.Errorf("%w: not followed", source.ErrLink)
			case !filepath.IsLocal(filepath.FromSlash(name)):
				err = errors.New("a name that leaves the tree: not read")
			}
			if err != nil {
				if source.Wants(name) || f[1] == "commit" {
					if !yield(e, err) {
						break
					}
				}
				continue
			}
			e.Size, _ = strconv.ParseInt(f[3], 10, 64)
			oid := f[2]
			e.Open = func() (io.ReadCloser, error) { return r.blob(oid) }
			if !yield(e, nil) {
				break
			}
		}
		_ = out.Close()
		if err := c.Wait(); err != nil && ctx.Err() != nil {
			yield(source.Entry{}, context.Cause(ctx))
		}
	}
}

// mostBlob is the largest blob that is read whole.
const mostBlob = 64 << 20

// blob reads an object. It is copied, so that readers do not wait for each other.
func (r *Repo) blob(oid string) (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := io.WriteString(r.in, oid+"\n"); err != nil {
		return nil, err
	}
	head, err := r.out.ReadString('\n')
	if err != nil {
		return nil, err
	}
	f := strings.Fields(head)
	if len(f) != 3 || f[1] != "blob" {
		return nil, fmt.Errorf("object %s: %s", oid, strings.TrimSpace(head))
	}
	size, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil || size < 0 {
		return nil, fmt.Errorf("object %s: size %q", oid, f[2])
	}
	if size > mostBlob {
		if _, err := io.CopyN(io.Discard, r.out, size+1); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %d bytes in one object, at most %d are read from a repository", source.ErrLimit, size, int64(mostBlob))
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r.out, size); err != nil {
		return nil, err
	}
	if _, err := r.out.ReadByte(); err != nil {
		return nil, err
	}
	return io.NopCloser(&b), nil
}
