package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/modelwarden/warden/internal/audit"
)

// ExportAudit writes the audit log of a platform, which may be running, to a new
// folder. The folder gets its name when all of it is on disk.
func ExportAudit(ctx context.Context, cfg Config, opts Options, dir string) (x audit.Exported, err error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Server{cfg: cfg, opts: opts}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.inspect(ctx); err != nil {
		return x, err
	}
	if err := s.watched(); err != nil {
		return x, err
	}
	cosigned, _, err := s.witnesses.Cosigned(ctx)
	if err != nil {
		return x, err
	}
	err = intoNew(dir, func(partial string) error {
		return s.store.ViewAudit(ctx, func(r audit.Reader) error {
			x, err = audit.Export(ctx, r, s.keys.verifierKey, cosigned, partial)
			return err
		})
	})
	return x, err
}

// watched makes the services of the audit log that a running server has.
func (s *Server) watched() (err error) {
	if s.log, err = audit.New(audit.Config{Origin: audit.Origin(logName), Signer: s.keys.checkpoints, Now: s.opts.Now}); err != nil {
		return err
	}
	s.witnesses, err = audit.NewWitnesses(audit.WitnessConfig{Store: s.store, Log: s.log, Verifier: s.keys.verifier, Now: s.opts.Now, Required: s.cfg.Audit.WitnessesRequired})
	return err
}

// intoNew fills a folder under another name and gives it its own at the end.
func intoNew(dir string, fill func(partial string) error) (err error) {
	if err := vacant(dir); err != nil {
		return err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	partial, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+".partial-")
	if err != nil {
		return err
	}
	if err = fill(partial); err == nil {
		// An empty folder of that name gives way; anything else makes Rename fail.
		_ = os.Remove(dir)                                             //nolint:gosec // the operator names the folder
		err = errors.Join(os.Rename(partial, dir), syncFolder(parent)) //nolint:gosec // as above
	}
	if err != nil {
		err = errors.Join(err, os.RemoveAll(partial)) //nolint:gosec // made just now
	}
	return err
}
