package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/blob"
	"github.com/modelwarden/warden/internal/blob/cloudblob"
	"github.com/modelwarden/warden/internal/blob/dirblob"
	"github.com/modelwarden/warden/internal/queue/natsqueue"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/store"
)

// A StorageConfig names where records and bytes are kept.
type StorageConfig struct {
	Database string `yaml:"database"` // "": a file in the data folder; else postgres://user@host/database, or file:PATH or env:NAME that hold this with a password
	Blobs    string `yaml:"blobs"`    // "": a folder in the data folder; else s3://bucket?region=…&endpoint=…
}

// A QueueConfig names the engine of work and events.
type QueueConfig struct {
	NATS        string `yaml:"nats"`        // "": in this process; else nats://a:4222,nats://b:4222
	Credentials string `yaml:"credentials"` // of the cluster: "file:PATH" of a NATS credentials file; "": none
	Replicas    int    `yaml:"replicas"`    // copies of each job in the cluster
}

// shared reports whether other processes use the same database.
func (c Config) shared() bool { return c.Storage.Database != "" }

func (c Config) checkStorage() error {
	if db := c.Storage.Database; db != "" && !strings.HasPrefix(db, "file:") && !strings.HasPrefix(db, "env:") {
		u, err := url.Parse(db)
		switch {
		case err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql":
			return configError("storage.database", errors.New("is not postgres://user@host/database, file:PATH or env:NAME"))
		case hasPassword(u):
			return configError("storage.database", errors.New("holds a password: secrets are references, so put the whole address into file:PATH or env:NAME"))
		}
	}
	if b := c.Storage.Blobs; b != "" {
		u, err := url.Parse(b)
		if err != nil || u.Scheme != "s3" || u.Host == "" || u.User != nil {
			return configError("storage.blobs", fmt.Errorf("%q is not s3://bucket?region=…&endpoint=…", b))
		}
	}
	for server := range strings.SplitSeq(c.Queue.NATS, ",") {
		if c.Queue.NATS == "" {
			break
		}
		u, err := url.Parse(server)
		if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Host == "" || u.User != nil {
			return configError("queue.nats", errors.New("want nats://host:4222 or tls://host:4222, with commas between them and without a password"))
		}
	}
	if q := c.Queue.Credentials; q != "" && !strings.HasPrefix(q, "file:") {
		return configError("queue.credentials", errors.New("is not file:PATH"))
	}
	if c.Queue.Replicas < 1 || c.Queue.Replicas > 5 {
		return configError("queue.replicas", fmt.Errorf("%d, want 1 to 5", c.Queue.Replicas))
	}
	return nil
}

func hasPassword(u *url.URL) bool {
	if u.User != nil {
		if _, ok := u.User.Password(); ok {
			return true
		}
	}
	return u.Query().Has("password") || u.Query().Has("sslpassword")
}

// openRecords reads the keys and opens the database. Keys are made only if the
// database was not in use before; one that cannot be looked at was.
func (s *Server) openRecords(ctx context.Context) (err error) {
	dir, name, used := s.cfg.keysDir(), s.cfg.path("warden.db"), false
	if s.cfg.shared() {
		if s.store, err = s.openShared(ctx); err != nil {
			return err
		}
		err = s.store.View(ctx, func(r registry.Reader) error {
			head, err := r.AuditHead(ctx)
			used = head.Entries > 0
			return err
		})
		if err != nil {
			return err
		}
	} else {
		_, err := os.Stat(name)
		used = !errors.Is(err, fs.ErrNotExist)
	}
	if s.keys, err = loadKeys(dir, used); err != nil {
		return err
	}
	if s.store != nil {
		return s.sameKeys(ctx, dir)
	}
	s.store, err = store.Open(ctx, name)
	return err
}

// sameKeys refuses keys other than those that signed the newest checkpoint: two
// processes on one log must sign alike.
func (s *Server) sameKeys(ctx context.Context, dir string) error {
	return s.store.View(ctx, func(r registry.Reader) error {
		c, ok, err := audit.Latest(ctx, r)
		if err != nil || !ok {
			return err
		}
		if _, err := audit.OpenCheckpoint(c.Note, s.keys.verifier); err != nil {
			return &warden.Error{
				Code: warden.CodeInvalid, Message: "the keys in " + dir + " are not those that signed the audit log of this database", Err: err,
				Hint: "give every process the same folder of keys (keys: DIR)",
			}
		}
		return nil
	})
}

func (s *Server) openShared(ctx context.Context) (*store.Store, error) {
	dsn, err := s.dsn()
	if err != nil {
		return nil, err
	}
	return store.OpenPostgres(ctx, dsn)
}

// dsn returns the address of the database, which may hold a password.
func (s *Server) dsn() (string, error) {
	dsn := s.cfg.Storage.Database
	if strings.HasPrefix(dsn, "file:") || strings.HasPrefix(dsn, "env:") {
		x, err := secret(dsn, s.opts.Getenv)
		if err != nil {
			return "", configError("storage.database", err)
		}
		dsn = x.Reveal()
	}
	return dsn, nil
}

// keysDir returns the folder of the platform's own keys.
func (c Config) keysDir() string { return cmp.Or(c.Keys, c.path("keys")) }

// blobStore is what the platform needs of a place for bytes.
type blobStore interface {
	blob.Store
	blob.Uploads
}

// openBlobs opens the place for bytes. sweep removes uploads nobody touches;
// end, if not nil, is for Close.
func (s *Server) openBlobs(ctx context.Context) (err error) {
	if s.cfg.Storage.Blobs == "" {
		dir, err := dirblob.Open(dirblob.Config{Dir: s.cfg.path("blobs"), Now: s.opts.Now})
		if err != nil {
			return err
		}
		s.blobs, s.sweep = dir, func(context.Context) error { return dir.SweepUploads() }
		return nil
	}
	bucket, err := cloudblob.Open(ctx, cloudblob.Config{URL: s.cfg.Storage.Blobs, Now: s.opts.Now})
	if err != nil {
		return err
	}
	s.blobs, s.sweep, s.bucket = bucket, bucket.SweepUploads, bucket
	return nil
}

func (s *Server) openQueue(ctx context.Context) (*natsqueue.Queue, error) {
	q := s.cfg.Queue
	return natsqueue.Open(ctx, natsqueue.Config{
		Dir: s.cfg.path("nats"), Hold: holdFor, URL: q.NATS, Credentials: strings.TrimPrefix(q.Credentials, "file:"), Replicas: q.Replicas,
	})
}
