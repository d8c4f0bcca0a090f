package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/blob/blobtest"
	"github.com/modelwarden/warden/internal/blob/dirblob"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/store"
)

// The environment of the process that is killed.
const (
	killDir   = "WARDEN_TEST_KILL_DIR"   // data folder; set in the child only
	killKey   = "WARDEN_TEST_KILL_KEY"   // checkpoint key
	killTimes = "WARDEN_TEST_KILL_TIMES" // how often to kill; default 10
)

// platform opens a registry on a data folder, as a server does.
func platform(ctx context.Context, dir, key string) (*registry.Service, *store.Store, *dirblob.Store, error) {
	signer, err := audit.NewSigner(key)
	if err != nil {
		return nil, nil, nil, err
	}
	log, err := audit.New(audit.Config{Origin: signer.Name(), Signer: signer, Now: time.Now})
	if err != nil {
		return nil, nil, nil, err
	}
	blobs, err := dirblob.Open(dirblob.Config{Dir: filepath.Join(dir, "blobs"), Now: time.Now})
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := store.Open(ctx, filepath.Join(dir, "warden.db"))
	if err != nil {
		return nil, nil, nil, err
	}
	svc, err := registry.New(registry.Config{Store: s, Log: log, Blobs: blobs, Now: time.Now})
	return svc, s, blobs, err
}

// TestKillChild is not a test: it is the process that TestKill kills. It prints
// a line for each push that it was told is done.
func TestKillChild(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		t.Skip("runs in the child of TestKill only")
	}
	svc, _, blobs, err := platform(t.Context(), dir, os.Getenv(killKey))
	if err != nil {
		t.Fatal(err)
	}
	var (
		out sync.Mutex
		wg  sync.WaitGroup
	)
	for worker := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				text := strings.Repeat(fmt.Sprintf("%d %d %d ", os.Getpid(), worker, i), 2000)
				info, err := blobs.Put(t.Context(), strings.NewReader(text), warden.Digest{}, 1<<20)
				if err != nil {
					panic(err)
				}
				v, err := svc.Push(t.Context(), registry.Push{
					Model: registry.Name(fmt.Sprintf("team/m%d", worker)), Actor: warden.Principal{ID: "child"},
					Manifest: registry.Manifest{Files: []registry.File{{Path: "w", Digest: info.Digest, Size: info.Size}}},
				})
				if err != nil {
					panic(err)
				}
				if i%5 == 0 {
					if _, err := svc.Seal(t.Context()); err != nil {
						panic(err)
					}
				}
				out.Lock()
				fmt.Printf("done %s\n", v.Digest)
				out.Unlock()
			}
		})
	}
	wg.Wait()
}

// However often the process is killed: what it said was done is there, the
// audit log is whole, and no artifact lacks its bytes.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	times := 10
	if text := os.Getenv(killTimes); text != "" {
		var err error
		if times, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	key, vkey, err := audit.GenerateKey(audit.Origin("kill.example"))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := audit.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	var (
		acknowledged []string
		outside      []audit.Checkpoint
	)
	for round := range times {
		acknowledged = append(acknowledged, runAndKill(t, dir, key)...)
		_, s, blobs, err := platform(t.Context(), dir, key)
		if err != nil {
			t.Fatalf("round %d: reopen: %v", round, err)
		}
		err = s.View(t.Context(), func(r registry.Reader) error {
			rep, err := audit.Verify(t.Context(), r, verifier, outside...)
			if err != nil {
				return err
			}
			if last, ok, err := audit.Latest(t.Context(), r); err != nil {
				return err
			} else if ok {
				outside = append(outside[max(0, len(outside)-3):], last)
			}
			pushes := 0
			for p := (registry.Page{Limit: 1000}); ; {
				es, next, err := r.Trail(t.Context(), registry.TrailFilter{Action: "registry.push"}, p)
				if err != nil {
					return err
				}
				if pushes += len(es); next == "" {
					break
				}
				p.After = next
			}
			n, err := r.Totals(t.Context())
			if err != nil {
				return err
			}
			if pushes != n.Versions || n.Artifacts != n.Versions || n.Wanted != n.Artifacts || n.Versions < len(acknowledged) || rep.Size != uint64(pushes) {
				t.Errorf("round %d: %d acknowledged, %d events of push, %+v, %v", round, len(acknowledged), pushes, n, rep)
			}
			return check(t, r, blobs, acknowledged)
		})
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	t.Logf("%d kills, %d acknowledged pushes, all there", times, len(acknowledged))
	if len(acknowledged) < times {
		t.Errorf("only %d pushes were acknowledged: the test tests nothing", len(acknowledged))
	}
}

// check finds every acknowledged artifact, and every file of every artifact.
func check(t *testing.T, r registry.Reader, blobs *dirblob.Store, acknowledged []string) error {
	for _, text := range acknowledged {
		d, err := warden.ParseDigest(text)
		if err != nil {
			return err
		}
		if _, err := r.Artifact(t.Context(), d); err != nil {
			return fmt.Errorf("acknowledged %s: %w", d, err)
		}
	}
	for p := (registry.Page{Limit: 1000}); ; {
		vs, next, err := r.Versions(t.Context(), registry.VersionFilter{}, p)
		if err != nil {
			return err
		}
		for _, v := range vs {
			b, err := r.Manifest(t.Context(), v.Digest)
			if err != nil {
				return err
			}
			m, err := registry.DecodeManifest(b)
			if err != nil {
				return err
			}
			for _, f := range m.Files {
				if got := blobtest.Read(t, blobs, f.Digest); warden.Sum(got) != f.Digest {
					return fmt.Errorf("%s: blob %s is half or changed", v.Ref(), f.Digest)
				}
			}
		}
		if p.After = next; next == "" {
			return nil
		}
	}
}

// runAndKill starts the child, lets it work for a moment, kills it, and returns
// what it said was done.
func runAndKill(t *testing.T, dir, key string) (done []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestKillChild$")
	cmd.Env = append(os.Environ(), killDir+"="+dir, killKey+"="+key)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		d, ok := strings.CutPrefix(lines.Text(), "done ")
		if !ok {
			continue
		}
		if len(done) == 0 { // it works; it has so long to live
			time.AfterFunc(time.Duration(rand.Int64N(int64(150*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		}
		done = append(done, d)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child was not killed")
	}
	return done
}
