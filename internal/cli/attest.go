package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/observe"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/text/secret"
	"github.com/modelwarden/warden/rules"
)

type attestFlags struct {
	kind, predicate, key, output string
	artifact                     string
	folders                      []string
}

func newAttest(a *app) *cobra.Command {
	f := &attestFlags{}
	c := &cobra.Command{
		Use: "attest ARTIFACT --type NAME --predicate FILE --key KEY", Short: "Sign a statement about an artifact (in-toto)",
		Long: "Attest signs what a JSON file says about an artifact, which is a file, a folder or a digest. For a training\n" +
			"or conversion step use warden attest run: it writes what it saw, not what somebody typed.\n\n" +
			"  warden attest ./model --type test-result --predicate result.json --key ci.key --output result.dsse.json\n\n" +
			"Types: " + strings.Join(slices.Sorted(maps.Keys(attest.PredicateTypes())), ", ") + ", or a URI.",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error { return a.attest(c.Context(), f, x[0]) },
	}
	fl := c.Flags()
	fl.StringVar(&f.kind, "type", "", "predicate type: a short name or a URI")
	fl.StringVar(&f.predicate, "predicate", "", "JSON file with what is said")
	a.keyFlag(fl, &f.key)
	fl.StringVar(&f.output, "output", "", "write the signed statement to this file (default: standard output)")
	c.AddCommand(newAttestRun(a))
	return c
}

func newAttestRun(a *app) *cobra.Command {
	f := &attestFlags{}
	c := &cobra.Command{
		Use: "run --key KEY --output FILE [--folder DIR]… -- COMMAND…", Short: "Run a step and sign what it read and wrote (SLSA provenance)",
		Long: "Run starts a command, waits for it, and writes provenance from what it saw: files below the folders that\n" +
			"were opened and written, by digest, the command, the git commit, names of environment variables, container\n" +
			"and machine. Values of the environment are not kept, but for a few that change results.\n\n" +
			"  warden attest run --key ci.key --output train.json --artifact out/model -- python train.py --epochs 3\n\n" +
			"It ends with the exit code 0 if the command did; no statement is written for a step that failed. What could\n" +
			"not be observed is said in the statement, and the exit code is 3.",
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, x []string) error { return a.attestRun(c.Context(), f, x) },
	}
	fl := c.Flags()
	a.keyFlag(fl, &f.key)
	fl.StringVar(&f.output, "output", "", "write the signed statement to this file")
	fl.StringVar(&f.artifact, "artifact", "", "file or folder that the step makes: the first subject (default: every file that was written)")
	fl.StringArrayVar(&f.folders, "folder", nil, "folder to observe; repeatable (default: the current one)")
	return c
}

// maxPredicate bounds a predicate file in bytes.
const maxPredicate = 8 << 20

func (a *app) attest(ctx context.Context, f *attestFlags, artifact string) error {
	if f.kind == "" || f.predicate == "" || f.key == "" {
		return usage("--type, --predicate and --key are needed (hint: warden attest --help lists the types)")
	}
	kind, ok := attest.PredicateTypes()[f.kind]
	if !ok {
		if u, err := url.Parse(f.kind); err != nil || u.Scheme == "" || u.Host == "" {
			return usage("--type %q: want a URI or one of %s", f.kind, strings.Join(slices.Sorted(maps.Keys(attest.PredicateTypes())), ", "))
		}
		kind = f.kind
	}
	text, err := readUpTo(f.predicate, maxPredicate)
	if err != nil {
		return usage("--predicate: %w", err)
	}
	if err := attest.CheckJSON(text); err != nil {
		return usage("--predicate %s: %w", f.predicate, err)
	}
	signer, err := a.signer(ctx, f.key)
	if err != nil {
		return err
	}
	subjects, err := subjectsOf(ctx, artifact)
	if err != nil {
		return err
	}
	st, err := attest.New(kind, json.RawMessage(text), subjects...)
	if err != nil {
		return usage("--predicate %s: %w", f.predicate, err)
	}
	return a.emitStatement(signer, st, f.output)
}

func (a *app) emitStatement(signer *attest.Signer, st warden.Statement, output string) error {
	envelope, err := attest.SignStatement(signer, st)
	if err != nil {
		return err
	}
	envelope = append(envelope, '\n')
	if output == "" {
		_, err := a.Stdout.Write(envelope)
		return err
	}
	return writeWhole(output, envelope, 0o644)
}

// subjectsOf returns what a statement about a digest, a file or a folder is
// about: the digest of its manifest, and of each file.
func subjectsOf(ctx context.Context, artifact string) ([]warden.Digest, error) {
	if d, err := warden.ParseDigest(artifact); err == nil {
		return []warden.Digest{d}, nil
	}
	list, err := pushFiles(artifact)
	if err != nil {
		return nil, usage("%w", err)
	}
	var m registry.Manifest
	for _, f := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		file, err := os.Open(f.name)
		if err != nil {
			return nil, err
		}
		d, n, err := hashed(file)
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
		m.Files = append(m.Files, registry.File{Path: f.path, Digest: d, Size: n})
	}
	return manifestSubjects(m)
}

// manifestSubjects returns the digest of m and those of its files.
func manifestSubjects(m registry.Manifest) ([]warden.Digest, error) {
	raw, err := m.Encode()
	if err != nil {
		return nil, err
	}
	subjects := []warden.Digest{warden.Sum(raw)}
	for _, f := range m.Files {
		subjects = append(subjects, f.Digest)
	}
	return subjects, nil
}

func (a *app) attestRun(ctx context.Context, f *attestFlags, command []string) error {
	if f.key == "" || f.output == "" {
		return usage("--key and --output are needed")
	}
	signer, err := a.signer(ctx, f.key)
	if err != nil {
		return err
	}
	if len(f.folders) == 0 {
		f.folders = []string{"."}
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	git := gitState(ctx, dir)
	r, err := observe.Run(ctx, observe.Config{Command: command, Env: os.Environ(), Folders: f.folders, Stdin: a.Stdin, Stdout: a.Stdout, Stderr: a.Stderr})
	if err != nil {
		return usage("%w", err)
	}
	if r.ExitCode != 0 {
		return &exit{exitFindings, fmt.Errorf("no statement was written: the command ended with exit code %d", r.ExitCode)}
	}
	subjects, err := outputs(ctx, f.artifact, r)
	if err != nil {
		return err
	}
	shown, err := withoutSecrets(ctx, command)
	if err != nil {
		return err
	}
	st, err := attest.New(attest.ProvenanceType, provenanceOf(shown, dir, git, r), subjects...)
	if err != nil {
		return err
	}
	if err := a.emitStatement(signer, st, f.output); err != nil {
		return err
	}
	fmt.Fprintf(a.Stderr, "warden: %s read, %s written; provenance in %s\n", files(len(r.Read)), files(len(r.Written)), f.output)
	if len(r.Incomplete) > 0 {
		return &exit{exitIncomplete, fmt.Errorf("not everything could be observed: %s (the statement says so)", strings.Join(r.Incomplete, "; "))}
	}
	return nil
}

// outputs returns the subjects of provenance: the artifact that was asked for,
// or everything that was written.
func outputs(ctx context.Context, artifact string, r observe.Result) ([]warden.Digest, error) {
	if artifact != "" {
		return subjectsOf(ctx, artifact)
	}
	var subjects []warden.Digest
	for _, w := range r.Written {
		subjects = append(subjects, w.Digest)
	}
	if len(subjects) == 0 {
		return nil, &exit{exitFindings, errors.New("no statement was written: the command wrote no files below the observed folders (hint: --folder names others, --artifact an artifact)")}
	}
	return subjects, nil
}

// kept are variables of the environment that change what a training step makes
// and hold no secrets. Of all others only the name is kept.
var kept = []string{
	"CUBLAS_WORKSPACE_CONFIG", "CUDA_VISIBLE_DEVICES", "LANG", "LC_ALL", "MKL_NUM_THREADS", "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONHASHSEED",
	"RANK", "SOURCE_DATE_EPOCH", "TF_DETERMINISTIC_OPS", "TOKENIZERS_PARALLELISM", "TZ", "WORLD_SIZE",
}

func provenanceOf(command []string, dir string, git *attest.Descriptor, r observe.Result) attest.Provenance {
	names, values := []string{}, map[string]string{}
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		names = append(names, name)
		if slices.Contains(kept, name) {
			values[name] = value
		}
	}
	slices.Sort(names)
	rel := func(path string) string {
		if p, err := filepath.Rel(dir, path); err == nil && !strings.HasPrefix(p, "..") {
			return filepath.ToSlash(p)
		}
		return filepath.ToSlash(path)
	}
	p := attest.Provenance{
		BuildDefinition: attest.BuildDefinition{
			BuildType:          attest.RunBuildType,
			ExternalParameters: map[string]any{"command": command},
			InternalParameters: map[string]any{
				"environment": values, "environmentNames": names, "os": runtime.GOOS, "arch": runtime.GOARCH, "container": containerID(), "observed": len(r.Incomplete) == 0,
			},
		},
		RunDetails: attest.RunDetails{
			Builder:  attest.Builder{ID: "https://modelwarden.dev/warden", Version: map[string]string{"warden": version()}},
			Metadata: attest.RunMetadata{InvocationID: randomID(), StartedOn: r.Started.UTC(), FinishedOn: r.Finished.UTC()},
		},
	}
	if len(r.Incomplete) > 0 {
		p.BuildDefinition.InternalParameters["notObserved"] = r.Incomplete
	}
	if git != nil {
		p.BuildDefinition.ResolvedDependencies = append(p.BuildDefinition.ResolvedDependencies, *git)
	}
	for _, f := range r.Read {
		p.BuildDefinition.ResolvedDependencies = append(p.BuildDefinition.ResolvedDependencies, attest.FileDescriptor(rel(f.Path), f.Digest))
	}
	for _, f := range r.Written {
		p.RunDetails.Byproducts = append(p.RunDetails.Byproducts, attest.FileDescriptor(rel(f.Path), f.Digest))
	}
	return p
}

// withoutSecrets takes out of a command line what looks like a key or a token:
// a statement is for everybody.
func withoutSecrets(ctx context.Context, command []string) ([]string, error) {
	known, err := secret.Parse(rules.Secrets())
	if err != nil {
		return nil, err
	}
	out := slices.Clone(command)
	for i, arg := range out {
		text := []byte(withoutUser(arg))
		if name, _, ok := strings.Cut(arg, "="); ok && secretFlag(name) {
			out[i] = name + "=[removed]"
			continue
		}
		if i > 0 && secretFlag(out[i-1]) {
			out[i] = "[removed]"
			continue
		}
		hits, err := known.Find(ctx, "arguments.txt", text, 0, len(text))
		if err != nil {
			return nil, err
		}
		for _, h := range slices.Backward(hits) {
			text = slices.Concat(text[:h.Start], []byte("[removed]"), text[h.End:])
		}
		out[i] = string(text)
	}
	return out, nil
}

// secretFlag knows flags whose value is a secret by their name.
func secretFlag(name string) bool {
	if !strings.HasPrefix(name, "-") {
		return false
	}
	name = strings.ToLower(strings.TrimLeft(name, "-"))
	return slices.ContainsFunc([]string{"token", "password", "passwd", "secret", "api-key", "api_key", "apikey", "access-key", "credential"}, func(w string) bool { return strings.Contains(name, w) })
}

func randomID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// gitState names the commit of a work tree, and whether there are changes on top
// of it; nil where there is no git.
func gitState(ctx context.Context, dir string) *attest.Descriptor {
	git := func(args ...string) (string, bool) {
		c := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...) //nolint:gosec // fixed arguments
		out, err := c.Output()
		return strings.TrimSpace(string(out)), err == nil
	}
	commit, ok := git("rev-parse", "HEAD")
	if !ok {
		return nil
	}
	changes, _ := git("status", "--porcelain", "--untracked-files=no")
	d := &attest.Descriptor{Name: "source", Digest: map[string]string{"gitCommit": commit}, Annotations: map[string]any{"changed": changes != ""}}
	if remote, ok := git("config", "--get", "remote.origin.url"); ok {
		d.URI = "git+" + withoutUser(remote)
	}
	return d
}

// withoutUser takes a name and a password out of an address.
func withoutUser(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return address
	}
	u.User = nil
	return u.String()
}

// containerID names the container that this process runs in, as far as Linux
// tells; "" if in none.
func containerID() string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(b) {
		for _, mark := range []string{"/containers/", "/docker/containers/", "/overlay-containers/"} {
			if _, rest, ok := strings.Cut(string(line), mark); ok {
				if id, _, ok := strings.Cut(rest, "/"); ok && len(id) == 64 {
					return id
				}
			}
		}
	}
	return ""
}
