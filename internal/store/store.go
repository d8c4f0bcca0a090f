// Package store keeps the records of the platform and its audit log in one SQL
// database, and is the only place with SQL text. It implements the Store
// interfaces of the record rooms. SQLite is the embedded engine, PostgreSQL the
// one that several processes share; both run the same texts, and only
// migrations differ.
//
// One connection writes, several read, each on its own snapshot. Updates that
// arrive together share one commit, so one flush to disk serves many. When
// Update returns nil, what it did is on disk.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver named "sqlite"

	"github.com/modelwarden/warden/internal/registry"
)

//go:embed migrations
var migrations embed.FS

// ErrClosed is wrapped by errors of a Store that was closed.
var ErrClosed = errors.New("store is closed")

const (
	readers       = 4 // connections that read
	busyMillis    = 5000
	cacheKibibyte = 32 << 10 // page cache of a connection
)

// A Store is an open database. It may be used concurrently.
type Store struct {
	db     *sql.DB
	free   chan *conn    // readers that nobody uses
	writer chan *conn    // holds the one connection that writes, or nothing
	closed chan struct{} // closed by Close
	engine engine

	started bool // connections are in their channels; set by Open

	mu      sync.Mutex // guards the fields below
	ended   bool       // Close was called
	pending []*op      // updates that wait for the writer
}

// Open opens the database in the file at path, or makes it, and brings its
// schema up to date. The folder must exist. It starts nothing; call Close.
func Open(ctx context.Context, path string) (*Store, error) { return openLite(ctx, path, false) }

func openLite(ctx context.Context, path string, frozen bool) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	if err := private(abs); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: url.Values{
		"_pragma": {
			fmt.Sprintf("busy_timeout(%d)", busyMillis), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)",
			"trusted_schema(OFF)", "cell_size_check(ON)", fmt.Sprintf("cache_size(-%d)", cacheKibibyte),
		},
	}.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return begin(ctx, db, path, engine{dialect: goose.DialectSQLite3, folder: "sqlite", read: "BEGIN", write: "BEGIN IMMEDIATE", readers: readers, frozen: frozen})
}

// An engine is what differs between databases; the SQL texts do not.
type engine struct {
	dialect     goose.Dialect
	folder      string // of migrations
	options     []goose.ProviderOption
	read, write string // what begins a transaction
	readers     int    // connections that read
	frozen      bool   // the schema must be the right one already
	remote      bool   // it runs elsewhere: a connection may be lost without harm to it
	patience    time.Duration
	arg         func(any) any         // what a value is sent as; nil: as it is
	again       func(error) bool      // whether the transaction conflicted and may run again; nil: never
	whole       func(*sql.Conn) error // why a transaction must not be committed; nil: always may
}

// fit returns the values of a statement as the engine takes them.
func (e engine) fit(args []any) []any {
	if e.arg == nil {
		return args
	}
	out := make([]any, len(args))
	for i, a := range args {
		out[i] = e.arg(a)
	}
	return out
}

// begin brings the schema of an open database up to date; name is for errors.
func begin(ctx context.Context, db *sql.DB, name string, e engine) (*Store, error) {
	s := &Store{db: db, engine: e, free: make(chan *conn, e.readers), writer: make(chan *conn, 1), closed: make(chan struct{})}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", name, err), s.Close())
	}
	return s, nil
}

// private makes the file, so that it is readable by its owner only whatever the
// umask; SQLite gives the same mode to the files beside it.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (s *Store) start(ctx context.Context) error {
	e := s.engine
	dir, err := fs.Sub(migrations, "migrations/"+e.folder)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(e.dialect, s.db, dir, append(e.options, goose.WithDisableGlobalRegistry(true), goose.WithAllowOutofOrder(false))...)
	if err != nil {
		return err
	}
	if have, err := p.GetDBVersion(ctx); err != nil {
		return err
	} else if known := p.ListSources(); have > known[len(known)-1].Version {
		return fmt.Errorf("its schema %d is newer than this program knows (%d): use the newer program", have, known[len(known)-1].Version)
	} else if e.frozen && have < known[len(known)-1].Version {
		return fmt.Errorf("its schema %d is older than that of this program (%d): use the program that serves it", have, known[len(known)-1].Version)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring schema up to date: %w", err)
	}
	s.writer <- &conn{db: s.db, engine: e, opening: e.write, shielded: true}
	for range e.readers {
		s.free <- &conn{db: s.db, engine: e, opening: e.read}
	}
	s.started = true
	return nil
}

// Close waits for running updates and views and closes the database. After it,
// every use is an error wrapping [ErrClosed].
func (s *Store) Close() error {
	s.mu.Lock()
	again := s.ended
	s.ended = true
	s.mu.Unlock()
	if again {
		return nil
	}
	close(s.closed)
	var errs []error
	if s.started {
		errs = append(errs, (<-s.writer).close())
		for range s.engine.readers {
			errs = append(errs, (<-s.free).close())
		}
	}
	return errors.Join(append(errs, s.db.Close())...)
}

// View implements [registry.Store].
func (s *Store) View(ctx context.Context, fn func(registry.Reader) error) error {
	return s.view(ctx, func(v *view) error { return fn(v) })
}

// view runs fn on one snapshot; the rooms' views are made of it.
func (s *Store) view(ctx context.Context, fn func(*view) error) (err error) {
	var c *conn
	select {
	case <-s.closed:
		return ErrClosed
	default:
	}
	select {
	case c = <-s.free:
	case <-s.closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.free <- c }()
	if err := c.begin(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.end(ctx, "ROLLBACK")) }()
	return fn(&view{c})
}

// A view reads one snapshot of the database.
type view struct {
	*conn
}

// A tx also writes.
type tx struct {
	view
}
