package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/modelwarden/warden"
)

// How long a PostgreSQL server may be silent, and how many connections read.
const (
	pgConnect  = 5 * time.Second
	pgPatience = 30 * time.Second
	pgReaders  = 8
)

// pgWrite begins an update. Locking the table takes no snapshot, so what is
// read after it is what the update before it left, in whichever process that
// ran: appends to the audit log are one after another, and serialisable
// transactions seldom conflict.
const pgWrite = `BEGIN ISOLATION LEVEL SERIALIZABLE; LOCK TABLE audit_head IN EXCLUSIVE MODE`

// OpenPostgres opens the PostgreSQL database that dsn names (a URL or a list of
// key=value) and brings its schema up to date. Several processes may do so at
// once and share the database. Errors do not quote a password.
func OpenPostgres(ctx context.Context, dsn string) (*Store, error) {
	return openPostgres(ctx, dsn, false)
}

func openPostgres(ctx context.Context, dsn string, frozen bool) (*Store, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("open database: its address is malformed (hint: postgres://user@host/database)") // never quote it
	}
	name := fmt.Sprintf("%s on %s", cfg.Database, cfg.Host)
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = pgConnect
	}
	for key, value := range map[string]string{
		"application_name":                    "warden",
		"synchronous_commit":                  "on",
		"lock_timeout":                        "20s", // below pgPatience, so that the reason is told
		"idle_in_transaction_session_timeout": "60s", // a process that hangs must not hold up the others
	} {
		if _, ok := cfg.RuntimeParams[key]; !ok {
			cfg.RuntimeParams[key] = value
		}
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", name, err)
	}
	db := stdlib.OpenDB(*cfg)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", name, explain(err)), db.Close())
	}
	return begin(ctx, db, name, engine{
		dialect: goose.DialectPostgres, folder: "postgres", options: []goose.ProviderOption{goose.WithSessionLocker(locker)},
		read: `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`, write: pgWrite, readers: pgReaders, frozen: frozen, remote: true, patience: pgPatience,
		arg: pgArg, again: pgAgain, whole: pgWhole,
	})
}

// pgArg sends booleans as the numbers that they are kept as. PostgreSQL has no
// text with a zero byte or that is not UTF-8: such bytes, which only hostile
// names and evidence have, are kept as U+FFFD.
func pgArg(v any) any {
	switch x := v.(type) {
	case bool:
		return flag(x)
	case string:
		return strings.ReplaceAll(strings.ToValidUTF8(x, "\uFFFD"), "\x00", "\uFFFD")
	default:
		return v
	}
}

// Codes of errors, from appendix A of PostgreSQL's manual.
const (
	pgSerialization = "40001"
	pgDeadlock      = "40P01"
	pgLockTimeout   = "55P03"
	pgDiskFull      = "53100"
	pgIdleTooLong   = "25P03"
)

func pgAgain(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && (pe.Code == pgSerialization || pe.Code == pgDeadlock)
}

// errAborted is why a transaction with a failed statement is not committed: the
// server would answer COMMIT with a rollback and no error.
var errAborted = errors.New("a statement of the transaction failed; nothing was changed")

func pgWhole(c *sql.Conn) error {
	return c.Raw(func(raw any) error {
		pc, ok := raw.(*stdlib.Conn)
		if !ok || pc.Conn().PgConn().TxStatus() != 'T' {
			return errAborted
		}
		return nil
	})
}

// explainPostgres is the part of explain about PostgreSQL.
func explainPostgres(err error) error {
	if err == nil {
		return nil
	}
	say := func(message, hint string) error {
		return &warden.Error{Code: warden.CodeUnavailable, Message: message, Hint: hint, Err: err}
	}
	const gone, goneHint = "the database cannot be reached", "check that PostgreSQL runs and that storage.database names it; the platform goes on as soon as it answers"
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case pe.Code == pgDiskFull:
			return say("the database cannot grow: no space left", "free space on the volume of PostgreSQL; nothing was changed")
		case pe.Code == pgLockTimeout:
			return say("the database is locked by another program", "stop the other program, or repeat")
		case pe.Code == pgIdleTooLong:
			return say("the transaction took too long and was ended by the database; nothing was changed", "repeat")
		case strings.HasPrefix(pe.Code, "08"), strings.HasPrefix(pe.Code, "53"), strings.HasPrefix(pe.Code, "57P"):
			return say(gone+": "+pe.Message, goneHint)
		case strings.HasPrefix(pe.Code, "28"), pe.Code == "3D000":
			return say("the database refuses this program: "+pe.Message, "check user, password and name of the database in storage.database")
		case strings.HasPrefix(pe.Code, "XX"):
			return say("the database is damaged: "+pe.Message, "restore a backup; keep the files for examination")
		default:
			return fmt.Errorf("database: %w", err)
		}
	}
	var (
		ce *pgconn.ConnectError
		ne net.Error
	)
	if errors.As(err, &ce) || errors.As(err, &ne) || errors.Is(err, driver.ErrBadConn) || pgconn.Timeout(err) {
		return say(gone, goneHint)
	}
	return err
}
