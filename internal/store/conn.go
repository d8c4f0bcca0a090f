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
	engine   engine
	opening  string    // what begins a transaction
	c        *sql.Conn // nil until first use and after a failure
	stmts    map[string]*sql.Stmt
	shielded bool      // a statement that has begun is not cancelled: it would end the whole transaction, which others share
	until    time.Time // when the engine counts as gone; set by begin if shielded
}

// shield returns the context to run a statement with. A shielded one ends only
// when a server has not answered for long.
func (c *conn) shield(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if !c.shielded {
		return ctx, func() {}, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	ctx = context.WithoutCancel(ctx)
	if c.engine.patience == 0 {
		return ctx, func() {}, nil
	}
	ctx, cancel := context.WithDeadline(ctx, c.until)
	return ctx, cancel, nil
}

// begin starts a transaction. A connection that a restarted server has dropped
// is replaced by a new one: nothing was sent on it yet.
func (c *conn) begin(ctx context.Context) error {
	if c.engine.patience > 0 && c.shielded {
		c.until = time.Now().Add(c.engine.patience)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, c.until)
		defer cancel()
	}
	for again := c.c != nil; ; again = false {
		if c.c == nil {
			fresh, err := c.db.Conn(ctx)
			if err != nil {
				return fmt.Errorf("connect to database: %w", explain(err))
			}
			c.c, c.stmts = fresh, map[string]*sql.Stmt{}
		}
		_, err := c.c.ExecContext(ctx, c.opening)
		if err == nil {
			return nil
		}
		err = errors.Join(explain(err), c.close())
		if !again || !c.engine.remote || ctx.Err() != nil {
			return err
		}
	}
}

// end runs COMMIT or ROLLBACK, also when ctx has ended. If that fails, the
// connection is closed, which rolls back.
func (c *conn) end(ctx context.Context, text string) error {
	if c.c == nil { // closed by a failure before
		if text == "ROLLBACK" {
			return nil
		}
		return errors.New("the connection to the database was lost; nothing was changed")
	}
	ctx = context.WithoutCancel(ctx)
	if c.engine.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.engine.patience)
		defer cancel()
	}
	var err error
	if c.engine.whole != nil && text == "COMMIT" {
		err = c.engine.whole(c.c)
	}
	if err == nil {
		_, err = c.c.ExecContext(ctx, text)
	}
	if err != nil {
		return errors.Join(explain(err), c.close())
	}
	return nil
}

// control runs a statement about savepoints.
func (c *conn) control(ctx context.Context, text string) error {
	ctx, cancel, err := c.shield(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	_, err = c.c.ExecContext(ctx, text)
	return explain(err)
}

func (c *conn) close() error {
	if c.c == nil {
		return nil
	}
	var errs []error
	for _, st := range c.stmts {
		if err := st.Close(); !c.engine.remote { // a lost connection took its statements with it
			errs = append(errs, err)
		}
	}
	// A connection that may be in a transaction must not go back to the pool:
	// Raw with ErrBadConn closes it.
	if err := c.c.Raw(func(any) error { return driver.ErrBadConn }); !errors.Is(err, driver.ErrBadConn) && !c.engine.remote {
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
	ctx, cancel, err := c.shield(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	st, err := c.prepare(ctx, text)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, c.engine.fit(args)...)
	if err != nil {
		return 0, explain(err)
	}
	return res.RowsAffected()
}

// A row reads the columns of one row into pointers.
type row func(into ...any) error

// list returns all rows of a query.
func list[T any](ctx context.Context, c *conn, read func(row) (T, error), text string, args ...any) (out []T, err error) {
	ctx, cancel, err := c.shield(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	st, err := c.prepare(ctx, text)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, c.engine.fit(args)...)
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
		return explainPostgres(err)
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
