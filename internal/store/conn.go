package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

// A conn is one connection with the statements prepared on it. It is used by
// one goroutine at a time: whoever took it from its channel.
type conn struct {
	db       *sql.DB
	c        *sql.Conn // nil until first use and after a failure
	stmts    map[string]*sql.Stmt
	shielded bool // a statement that has begun is not cancelled: SQLite would roll back the whole transaction, which others share
}

// shield returns the context to run a statement with.
func (c *conn) shield(ctx context.Context) (context.Context, error) {
	if !c.shielded {
		return ctx, nil
	}
	return context.WithoutCancel(ctx), ctx.Err()
}

func (c *conn) begin(ctx context.Context, text string) error {
	if c.c == nil {
		fresh, err := c.db.Conn(ctx)
		if err != nil {
			return fmt.Errorf("connect to database: %w", err)
		}
		c.c, c.stmts = fresh, map[string]*sql.Stmt{}
	}
	if _, err := c.c.ExecContext(ctx, text); err != nil {
		return errors.Join(explain(err), c.close())
	}
	return nil
}

// end runs COMMIT or ROLLBACK, also when ctx has ended. If that fails, the
// connection is closed, which rolls back.
func (c *conn) end(ctx context.Context, text string) error {
	if _, err := c.c.ExecContext(context.WithoutCancel(ctx), text); err != nil {
		return errors.Join(explain(err), c.close())
	}
	return nil
}

func (c *conn) close() error {
	if c.c == nil {
		return nil
	}
	var errs []error
	for _, st := range c.stmts {
		errs = append(errs, st.Close())
	}
	// A connection that may be in a transaction must not go back to the pool:
	// Raw with ErrBadConn closes it.
	if err := c.c.Raw(func(any) error { return driver.ErrBadConn }); !errors.Is(err, driver.ErrBadConn) {
		errs = append(errs, err)
	}
	if err := c.c.Close(); !errors.Is(err, sql.ErrConnDone) && !errors.Is(err, driver.ErrBadConn) {
		errs = append(errs, err)
	}
	c.c, c.stmts = nil, nil
	return errors.Join(errs...)
}

func (c *conn) prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	if st, ok := c.stmts[text]; ok {
		return st, nil
	}
	st, err := c.c.PrepareContext(ctx, text)
	if err != nil {
		return nil, explain(err)
	}
	c.stmts[text] = st
	return st, nil
}

// exec runs a statement and returns how many rows it changed.
func (c *conn) exec(ctx context.Context, text string, args ...any) (int64, error) {
	ctx, err := c.shield(ctx)
	if err != nil {
		return 0, err
	}
	st, err := c.prepare(ctx, text)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, explain(err)
	}
	return res.RowsAffected()
}

// A row reads the columns of one row into pointers.
type row func(into ...any) error

// list returns all rows of a query.
func list[T any](ctx context.Context, c *conn, read func(row) (T, error), text string, args ...any) (out []T, err error) {
	if ctx, err = c.shield(ctx); err != nil {
		return nil, err
	}
	st, err := c.prepare(ctx, text)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, explain(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := read(rows.Scan)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, explain(rows.Err())
}

// one returns the only row of a query, or an error wrapping
// [registry.ErrNotFound].
func one[T any](ctx context.Context, c *conn, read func(row) (T, error), text string, args ...any) (T, error) {
	all, err := list(ctx, c, read, text, args...)
	if err == nil && len(all) == 0 {
		err = registry.ErrNotFound
	}
	if err != nil {
		var zero T
		return zero, err
	}
	return all[0], nil
}

// page cuts the one row too many that was asked for, and returns the cursor of
// the last row that stays if there is more.
func page[T any](rows []T, size int, cursor func(T) string) ([]T, string) {
	if len(rows) <= size {
		return rows, ""
	}
	rows = rows[:size]
	return rows, cursor(rows[size-1])
}

func scalar[T any](r row) (v T, err error) {
	err = r(&v)
	return v, err
}

// explain adds what an operator can do to errors of the engine.
func explain(err error) error {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return err
	}
	say := func(message, hint string) error {
		return &warden.Error{Code: warden.CodeUnavailable, Message: message, Hint: hint, Err: err}
	}
	switch se.Code() & 0xff { // without the extended code
	case sqlite3.SQLITE_FULL:
		return say("the database cannot grow: no space left", "free space on the volume of the data folder; nothing was changed")
	case sqlite3.SQLITE_BUSY:
		return say("the database is locked by another program", "stop the other program, or repeat")
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return say("the database file is damaged", "restore a backup; keep the file for examination")
	default:
		return fmt.Errorf("database: %w", err)
	}
}

// stamp and moment keep times as nanoseconds, 0 for the zero time.
func stamp(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// A digest reads a digest column.
type digest struct {
	d *warden.Digest
}

// Scan implements [sql.Scanner].
func (x digest) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok || len(b) != len(x.d) {
		return fmt.Errorf("digest column holds %d bytes of %T", len(b), v)
	}
	copy(x.d[:], b)
	return nil
}

// An instant reads a time column.
type instant struct {
	t *time.Time
}

// Scan implements [sql.Scanner].
func (x instant) Scan(v any) error {
	ns, ok := v.(int64)
	if !ok {
		return fmt.Errorf("time column holds %T", v)
	}
	*x.t = moment(ns)
	return nil
}

// flag is how booleans are kept.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
