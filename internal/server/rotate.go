package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/registry"
)

// retiredFile lists the keys that were changed for others: their public halves.
const retiredFile = "retired.json"

// A retired pair of keys is trusted for what it signed before another took its
// place.
type retired struct {
	Statements string    `json:"statements"`  // PEM of the public key
	Verifier   string    `json:"checkpoints"` // public key, as package note writes it
	Until      time.Time `json:"until"`       // statements received later do not count
	Size       uint64    `json:"size"`        // nor do checkpoints of more entries
}

// readRetired reads the list; none is there before the first change.
func readRetired(dir string) ([]retired, error) {
	text, err := readKey(dir, retiredFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []retired
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", retiredFile, err)
	}
	return list, nil
}

// verifierOf returns the verifier of the log: the present key and those before.
func verifierOf(now note.Verifier, list []retired) (note.Verifier, error) {
	if len(list) == 0 {
		return now, nil
	}
	r := audit.Rotated{Verifier: now}
	for _, x := range list {
		v, err := audit.NewVerifier(x.Verifier)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", retiredFile, err)
		}
		r.Retired = append(r.Retired, audit.Retired{Verifier: v, Size: x.Size})
	}
	return r, nil
}

// trust returns the entries of the server's own keys, the present one first.
func (k *keys) trust() (attest.TrustStore, error) {
	out := attest.TrustStore{attest.Server(k.statements.Public())}
	for _, x := range k.retired {
		pub, err := attest.ParsePublicPEM([]byte(x.Statements))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", retiredFile, err)
		}
		t := attest.Server(pub)
		t.NotAfter = x.Until
		out = append(out, t)
	}
	return out, nil
}

// A Rotation says what [RotateKeys] did.
type Rotation struct {
	Before, After string // ids of the statement keys
	Checkpoint    string // the last that the key before signed, with the new one
}

// RotateKeys gives a platform that does not run new keys for statements and
// checkpoints. The keys before stay trusted for what they signed; their private
// halves are removed. The last checkpoint of the old key names the new one, so
// that those who watch the log can follow.
func RotateKeys(ctx context.Context, cfg Config, opts Options) (out Rotation, err error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Server{cfg: cfg, opts: opts}
	defer func() { err = errors.Join(err, s.Close()) }()
	dir := cfg.keysDir()
	if _, err := os.Stat(filepath.Join(dir, "statements.pem")); err != nil {
		return out, fmt.Errorf("keys: %w", err)
	}
	if s.lock, err = lock(cfg.path("lock")); err != nil {
		return out, err
	}
	if err := s.openRecords(ctx); err != nil {
		return out, err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), ".keys-new-*")
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(fresh)) }()
	if err := makeKeys(fresh); err != nil {
		return out, err
	}
	pepper, err := readKey(dir, "pepper") // access keys are hashed with it: it stays
	if err == nil {
		err = writeFile(filepath.Join(fresh, "pepper"), pepper)
	}
	if err != nil {
		return out, err
	}
	next := &keys{}
	if err := next.read(fresh); err != nil {
		return out, err
	}
	out.Before, out.After = s.keys.statements.ID(), next.statements.ID()
	size, err := s.handOver(ctx, next, &out)
	if err != nil {
		return out, err
	}
	list, err := json.MarshalIndent(append(s.keys.retired, retired{string(s.keys.publicPEM), s.keys.verifierKey, opts.Now().UTC(), size}), "", "  ")
	if err == nil {
		err = writeFile(filepath.Join(fresh, retiredFile), append(list, '\n'))
	}
	if err != nil {
		return out, err
	}
	return out, swap(dir, fresh)
}

// handOver writes the change into the log and seals it with both keys.
func (s *Server) handOver(ctx context.Context, next *keys, out *Rotation) (size uint64, err error) {
	log, err := audit.New(audit.Config{Origin: audit.Origin(logName), Signer: next.checkpoints, Cosigners: []note.Signer{s.keys.checkpoints}, Now: s.opts.Now})
	if err != nil {
		return 0, err
	}
	err = s.store.Update(ctx, func(tx registry.Tx) error {
		event := warden.Event{Actor: Platform(), Action: "keys.rotate", Object: warden.Ref{Kind: warden.KindPrincipal, ID: "server"}}
		if _, err := log.Append(ctx, tx, event, map[string]any{"before": out.Before, "after": out.After, "checkpoints": next.verifierKey}); err != nil {
			return err
		}
		c, err := log.Seal(ctx, tx)
		size, out.Checkpoint = c.Size, c.String()
		return err
	})
	return size, err
}

// swap puts a folder in the place of another, which it removes.
func swap(dir, fresh string) error {
	old := strings.TrimSuffix(dir, string(filepath.Separator)) + ".before"
	if err := os.Rename(dir, old); err != nil {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return errors.Join(err, os.Rename(old, dir))
	}
	return os.RemoveAll(old)
}
