package server

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/blob"
	"github.com/modelwarden/warden/internal/blob/dirblob"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/store"
)

// A backup is a folder. It is made under another name and gets its own when all
// of it is on disk, so one that was interrupted has no manifest and another name.
const (
	backupFormat   = "warden.backup/v1"
	backupManifest = "manifest.json"
	backupRecords  = "records.jsonl" // all rows of the database
	backupBlobs    = "blobs.txt"     // digest and size of every blob, one a line
	backupNote     = "checkpoint"    // newest signed checkpoint of the audit log
	backupBytes    = "blobs"         // the blobs, if they were asked for
	maxManifest    = 1 << 20
)

// A Backup says what a backup holds. It is its manifest.
type Backup struct {
	Format   string            `json:"format"`
	Made     time.Time         `json:"made"`
	Schema   int64             `json:"schema"` // of the database
	Rows     int64             `json:"rows"`
	Entries  uint64            `json:"entries"` // of the audit log
	Sealed   uint64            `json:"sealed"`  // of them covered by the checkpoint
	Blobs    int               `json:"blobs"`
	Bytes    int64             `json:"bytes"` // of all blobs
	Copied   bool              `json:"copied"`
	Verifier string            `json:"verifier"` // public key of checkpoints
	Files    map[string]string `json:"files"`    // digest of each file but this and blobs
}

// BackupOptions say what is saved beside the records.
type BackupOptions struct {
	Blobs bool   // copy the bytes of all blobs
	Keys  string // write the platform's keys to this file; "": they are not saved
}

// SaveBackup writes the state of a platform to a new folder. The platform may be
// running. Keys are in no backup, unless a file for them is named.
func SaveBackup(ctx context.Context, cfg Config, opts Options, dir string, what BackupOptions) (b Backup, err error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Server{cfg: cfg, opts: opts}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.inspect(ctx); err != nil {
		return b, err
	}
	err = intoNew(dir, func(partial string) error {
		if b, err = s.save(ctx, partial, what.Blobs); err != nil {
			return err
		}
		if what.Keys == "" {
			return nil
		}
		return s.keys.export(cfg.keysDir(), what.Keys)
	})
	if err != nil {
		return b, fmt.Errorf("backup: %w", err)
	}
	return b, nil
}

// vacant refuses a folder in which something is.
func vacant(dir string) error {
	es, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(es) > 0:
		return &warden.Error{Code: warden.CodeConflict, Message: fmt.Sprintf("folder %s is not empty", dir), Hint: "name a new folder"}
	}
	return nil
}

// inspect opens the keys, records and blobs of a platform that may be running.
func (s *Server) inspect(ctx context.Context) (err error) {
	if s.keys, err = loadKeys(s.cfg.keysDir(), true); err != nil {
		return err
	}
	if s.cfg.shared() {
		dsn, err := s.dsn()
		if err != nil {
			return err
		}
		s.store, err = store.InspectPostgres(ctx, dsn)
		if err != nil {
			return err
		}
	} else if s.store, err = store.Inspect(ctx, s.cfg.path("warden.db")); err != nil {
		return err
	}
	if s.cfg.Storage.Blobs == "" {
		// Opening the folder as the server does would sweep what is being written.
		s.blobs = dirblob.View(s.cfg.path("blobs"))
		return nil
	}
	return s.openBlobs(ctx)
}

func (s *Server) save(ctx context.Context, dir string, copied bool) (b Backup, err error) {
	b = Backup{Format: backupFormat, Made: s.opts.Now().UTC(), Copied: copied, Verifier: s.keys.verifierKey, Files: map[string]string{}}
	if b.Schema, err = s.store.Schema(ctx); err != nil {
		return b, err
	}
	var note []byte
	err = b.file(dir, backupRecords, func(w io.Writer) error {
		b.Rows, err = s.store.Dump(ctx, w, func(r registry.Reader) error {
			head, err := r.AuditHead(ctx)
			if err != nil {
				return err
			}
			c, _, err := audit.Latest(ctx, r)
			b.Entries, b.Sealed, note = head.Entries, c.Size, c.Note
			return err
		})
		return err
	})
	if err == nil {
		err = b.file(dir, backupNote, func(w io.Writer) error { _, err := w.Write(note); return err })
	}
	if err == nil {
		// After the records: a blob that they name is there, as blobs come first.
		err = b.file(dir, backupBlobs, func(w io.Writer) error { return s.saveBlobs(ctx, w, dir, &b) })
	}
	if err != nil {
		return b, err
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return b, err
	}
	if err := writeFile(filepath.Join(dir, backupManifest), append(text, '\n')); err != nil {
		return b, err
	}
	return b, syncFolder(dir)
}

// file writes one file of a backup, flushes it and notes its digest.
func (b *Backup) file(dir, name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the operator names the folder
	if err != nil {
		return err
	}
	h := sha256.New()
	if err := errors.Join(write(io.MultiWriter(f, h)), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b.Files[name] = warden.Digest(h.Sum(nil)).String()
	return nil
}

func (s *Server) saveBlobs(ctx context.Context, w io.Writer, dir string, b *Backup) error {
	var to *dirblob.Store
	if b.Copied {
		var err error
		if to, err = dirblob.Open(dirblob.Config{Dir: filepath.Join(dir, backupBytes), Now: s.opts.Now}); err != nil {
			return err
		}
	}
	out := bufio.NewWriter(w)
	for after := (warden.Digest{}); ; {
		infos, err := s.blobs.List(ctx, after, 1000)
		if err != nil {
			return err
		}
		for _, info := range infos {
			if to != nil {
				if err := copyBlob(ctx, to, s.blobs, info.Digest); err != nil {
					return err
				}
			}
			fmt.Fprintf(out, "%s %d\n", info.Digest, info.Size)
			b.Blobs, b.Bytes, after = b.Blobs+1, b.Bytes+info.Size, info.Digest
		}
		if len(infos) == 0 {
			return out.Flush()
		}
	}
}

// copyBlob copies one blob, and checks its digest on the way.
func copyBlob(ctx context.Context, to, from blob.Store, d warden.Digest) (err error) {
	in, err := from.Open(ctx, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	_, err = to.Put(ctx, io.NewSectionReader(in, 0, in.Size()), d, math.MaxInt64)
	return err
}

func syncFolder(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the operator names the folder
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// RestoreOptions say what a restore is compared with.
type RestoreOptions struct {
	Keys        string             // file of keys that SaveBackup wrote; "": the platform's folder has them
	Checkpoints []audit.Checkpoint // kept outside
	Accept      bool               // accept a log that is older than they are
	Actor       warden.Principal
}

// RestoreBackup makes a backup the state of a new platform, whose database is
// empty and whose server does not run. The audit log is verified before anything
// is kept. It returns how many blobs of the list are not in the blob store.
func RestoreBackup(ctx context.Context, cfg Config, opts Options, dir string, how RestoreOptions) (b Backup, missing int, err error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if b, err = readBackup(dir); err != nil {
		return b, 0, err
	}
	s := &Server{cfg: cfg, opts: opts}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return b, 0, fmt.Errorf("data folder: %w", err)
	}
	if s.lock, err = lock(cfg.path("lock")); err != nil {
		return b, 0, err
	}
	if how.Keys != "" {
		if err := importKeys(how.Keys, cfg.keysDir()); err != nil {
			return b, 0, err
		}
	}
	if s.keys, err = loadKeys(cfg.keysDir(), true); err != nil {
		return b, 0, fmt.Errorf("restore: %w", err)
	}
	if cfg.shared() {
		s.store, err = s.openShared(ctx)
	} else {
		s.store, err = store.Open(ctx, cfg.path("warden.db"))
	}
	if err != nil {
		return b, 0, err
	}
	if have, err := s.store.Schema(ctx); err != nil || have != b.Schema {
		return b, 0, errors.Join(err, &warden.Error{
			Code: warden.CodeInvalid, Message: fmt.Sprintf("the backup has schema %d, this program %d", b.Schema, have),
			Hint: "restore with the version of warden that made it, then start the newer one",
		})
	}
	if err := s.restoreRecords(ctx, dir, b, how); err != nil {
		return b, 0, fmt.Errorf("restore: %w", err)
	}
	if err := s.openBlobs(ctx); err != nil {
		return b, 0, err
	}
	missing, err = s.restoreBlobs(ctx, dir, b)
	return b, missing, err
}

// readBackup reads the manifest and compares every file with it.
func readBackup(dir string) (b Backup, err error) {
	bad := func(err error) (Backup, error) {
		return b, &warden.Error{
			Code: warden.CodeInvalid, Message: fmt.Sprintf("%s is not a whole backup: %v", dir, err),
			Hint: "use a folder that warden backup finished", Err: err,
		}
	}
	f, err := os.Open(filepath.Join(dir, backupManifest))
	if err != nil {
		return bad(err)
	}
	dec := json.NewDecoder(io.LimitReader(f, maxManifest))
	dec.DisallowUnknownFields()
	if err := errors.Join(dec.Decode(&b), f.Close()); err != nil {
		return bad(err)
	}
	if b.Format != backupFormat {
		return bad(fmt.Errorf("its format is %.40q, want %q", b.Format, backupFormat))
	}
	for _, name := range []string{backupRecords, backupNote, backupBlobs} {
		h := sha256.New()
		if err := hashFile(h, filepath.Join(dir, name)); err != nil {
			return bad(err)
		}
		if got := warden.Digest(h.Sum(nil)).String(); got != b.Files[name] {
			return bad(fmt.Errorf("%s was changed", name))
		}
	}
	return b, nil
}

func hashFile(h hash.Hash, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(h, f)
	return errors.Join(err, f.Close())
}

func (s *Server) restoreRecords(ctx context.Context, dir string, b Backup, how RestoreOptions) (err error) {
	f, err := os.Open(filepath.Join(dir, backupRecords))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	log, err := audit.New(audit.Config{Origin: audit.Origin(logName), Signer: s.keys.checkpoints, Now: s.opts.Now})
	if err != nil {
		return err
	}
	return s.store.Load(ctx, f, func(tx registry.Tx) error {
		newer, err := s.verifyRestored(ctx, tx, b, how)
		if err != nil {
			return err
		}
		if err := s.forget(ctx, tx); err != nil {
			return err
		}
		_, err = log.Append(ctx, tx, warden.Event{
			Actor: how.Actor, Action: "audit.restore", Object: warden.Ref{Kind: warden.KindPrincipal, ID: how.Actor.ID},
		}, map[string]any{"made": b.Made.Format(time.RFC3339), "entries": b.Entries, "rollback_accepted": newer > b.Entries, "known_before": newer})
		return err
	})
}

// forget counts one change of state, so that nobody goes on with what was
// remembered of another history.
func (s *Server) forget(ctx context.Context, tx registry.Tx) error {
	_, err := tx.BumpEpoch(ctx)
	return err
}

// verifyRestored verifies the log that was loaded, and returns the size of the
// greatest outside checkpoint.
func (s *Server) verifyRestored(ctx context.Context, tx registry.Tx, b Backup, how RestoreOptions) (newest uint64, err error) {
	head, err := tx.AuditHead(ctx)
	if err != nil {
		return 0, err
	}
	var outside []audit.Checkpoint
	for _, c := range how.Checkpoints {
		t, err := audit.OpenCheckpoint(c.Note, s.keys.verifier)
		if err != nil {
			return 0, fmt.Errorf("outside checkpoint: %w", err)
		}
		newest = max(newest, t.Size)
		if t.Size <= head.Entries {
			outside = append(outside, audit.Checkpoint{Size: t.Size, Note: c.Note})
		}
	}
	if _, err := audit.Verify(ctx, tx, s.keys.verifier, outside...); err != nil {
		return 0, &warden.Error{Code: warden.CodeDenied, Message: err.Error(), Hint: "use another backup, and find out who changed this one; nothing was restored", Err: err}
	}
	if head.Entries != b.Entries {
		return 0, fmt.Errorf("the log has %d entries, the manifest says %d", head.Entries, b.Entries)
	}
	if newest > head.Entries && !how.Accept {
		return 0, &warden.Error{
			Code: warden.CodeDenied, Message: fmt.Sprintf("the backup's log has %d entries, a checkpoint kept outside covers %d: it would be rolled back", head.Entries, newest),
			Hint: "use a newer backup; --accept-rollback restores it all the same and says so in the log; nothing was restored",
		}
	}
	return newest, nil
}

func (s *Server) restoreBlobs(ctx context.Context, dir string, b Backup) (missing int, err error) {
	var from *dirblob.Store
	if b.Copied {
		from = dirblob.View(filepath.Join(dir, backupBytes))
	}
	f, err := os.Open(filepath.Join(dir, backupBlobs))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in := bufio.NewScanner(f)
	for in.Scan() {
		name, size, _ := strings.Cut(in.Text(), " ")
		d, err := warden.ParseDigest(name)
		if err != nil {
			return missing, err
		}
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil {
			return missing, err
		}
		if info, err := s.blobs.Stat(ctx, d); err == nil && info.Size == n {
			continue
		}
		if from == nil {
			missing++
			continue
		}
		if err := copyBlob(ctx, s.blobs, from, d); err != nil {
			return missing, fmt.Errorf("restore blob: %w", err)
		}
	}
	return missing, in.Err()
}

// keyNames are the files of a folder of keys.
func keyNames() []string {
	return []string{"statements.pem", "checkpoints.key", "checkpoints.pub", "pepper"}
}

// export writes the keys to a file that only its owner may read.
func (*keys) export(dir, name string) error {
	out := map[string][]byte{}
	for _, n := range keyNames() {
		b, err := readKey(dir, n)
		if err != nil {
			return err
		}
		out[n] = b
	}
	if b, err := readKey(dir, retiredFile); err == nil {
		out[retiredFile] = b
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return &warden.Error{Code: warden.CodeConflict, Message: fmt.Sprintf("file of keys %s is there already", name), Hint: "name a new file"}
	}
	return writeFile(name, append(text, '\n'))
}

// importKeys makes a folder of keys from a file that export wrote. Keys that
// are there already must be the same.
func importKeys(name, dir string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	in := map[string][]byte{}
	dec := json.NewDecoder(io.LimitReader(f, maxManifest))
	if err := errors.Join(dec.Decode(&in), f.Close()); err != nil {
		return fmt.Errorf("keys: %s: %w", name, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	names := keyNames()
	if len(in[retiredFile]) > 0 {
		names = append(names, retiredFile)
	}
	for _, n := range names {
		if len(in[n]) == 0 {
			return fmt.Errorf("keys: %s holds no %s", name, n)
		}
		have, err := readKey(dir, n)
		switch {
		case err == nil && !slices.Equal(have, in[n]):
			return &warden.Error{Code: warden.CodeConflict, Message: fmt.Sprintf("%s holds another %s", dir, n), Hint: "restore into a new data folder"}
		case err == nil:
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("keys: %w", err)
		default:
			if err := writeFile(filepath.Join(dir, n), in[n]); err != nil {
				return fmt.Errorf("keys: %w", err)
			}
		}
	}
	return nil
}
