package store

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pressly/goose/v3"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

// A dump is JSON lines: for each table one line with its name and columns, then
// one line for each row; the last line counts all rows. Numbers are JSON numbers,
// texts are strings, bytes are {"b": base64}, a text that is not UTF-8 is
// {"t": base64}. It is the same for both engines, so a dump of one can be loaded
// into the other.
type dumpLine struct {
	Table   string   `json:"table,omitempty"`
	Columns []string `json:"columns,omitempty"`
	Row     []any    `json:"row,omitempty"`
	Rows    *int64   `json:"rows,omitempty"` // the last line
}

type dumpBytes struct {
	Bytes []byte `json:"b,omitempty"`
	Text  []byte `json:"t,omitempty"`
	Empty bool   `json:"e,omitempty"` // no bytes, which is not NULL
}

// maxDumpLine bounds one row: the longest hold manifests and reports.
const maxDumpLine = 256 << 20

// Inspect opens the database in the file at path for a dump. It makes no file
// and changes no schema: one of another version than this program's is an error.
func Inspect(ctx context.Context, path string) (*Store, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return openLite(ctx, path, true)
}

// InspectPostgres is [Inspect] for the database that dsn names.
func InspectPostgres(ctx context.Context, dsn string) (*Store, error) {
	return openPostgres(ctx, dsn, true)
}

// Schema returns the version of the schema.
func (s *Store) Schema(ctx context.Context) (v int64, err error) {
	err = s.view(ctx, func(v0 *view) error {
		v, err = one(ctx, v0.conn, scalar[int64], `SELECT max(version_id) FROM goose_db_version`)
		return err
	})
	return v, err
}

// tables returns the columns that are kept of each table that is dumped.
func (s *Store) tables(ctx context.Context, c *conn) (names []string, columns map[string][]string, err error) {
	text := `SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_xinfo(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND c.hidden = 0 ORDER BY m.name, c.name`
	if s.engine.dialect == goose.DialectPostgres {
		text = `SELECT table_name::text, column_name::text FROM information_schema.columns
			WHERE table_schema = current_schema() AND is_generated = 'NEVER' ORDER BY table_name::text COLLATE "C", column_name::text COLLATE "C"`
	}
	pairs, err := list(ctx, c, func(r row) (p [2]string, err error) {
		err = r(&p[0], &p[1])
		return p, err
	}, text)
	columns = map[string][]string{}
	for _, p := range pairs {
		if p[0] == "goose_db_version" || p[0] == "audit_head" {
			continue // of the engine, not of the platform
		}
		if columns[p[0]] == nil {
			names = append(names, p[0])
		}
		columns[p[0]] = append(columns[p[0]], p[1])
	}
	return names, columns, err
}

// quoted joins names of columns, which come from the schema.
func quoted(names []string) string { return `"` + strings.Join(names, `", "`) + `"` }

// Dump writes one state of the whole database to w, and returns how many rows.
// Also is called with the same state: what it reads fits the dump.
func (s *Store) Dump(ctx context.Context, w io.Writer, also func(registry.Reader) error) (rows int64, err error) {
	out := bufio.NewWriterSize(w, 1<<20)
	enc := json.NewEncoder(out)
	err = s.view(ctx, func(v *view) error {
		names, columns, err := s.tables(ctx, v.conn)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := enc.Encode(dumpLine{Table: name, Columns: columns[name]}); err != nil {
				return err
			}
			n, err := v.dumpTable(ctx, enc, name, columns[name])
			if err != nil {
				return fmt.Errorf("table %s: %w", name, err)
			}
			rows += n
		}
		return also(v)
	})
	if err == nil {
		err = errors.Join(enc.Encode(dumpLine{Rows: &rows}), out.Flush())
	}
	if err != nil {
		return 0, fmt.Errorf("dump database: %w", err)
	}
	return rows, nil
}

func (v *view) dumpTable(ctx context.Context, enc *json.Encoder, name string, columns []string) (n int64, err error) {
	rows, err := v.c.QueryContext(ctx, `SELECT `+quoted(columns)+` FROM `+quoted([]string{name})) //nolint:gosec // names are those of the schema
	if err != nil {
		return 0, explain(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return n, err
		}
		line := dumpLine{Row: make([]any, len(values))}
		for i, x := range values {
			switch x := x.(type) {
			case nil, int64:
				line.Row[i] = x
			case string:
				line.Row[i] = x
				if !utf8.ValidString(x) {
					line.Row[i] = dumpBytes{Text: []byte(x)}
				}
			case []byte:
				line.Row[i] = dumpBytes{Bytes: x, Empty: len(x) == 0}
			default:
				return n, fmt.Errorf("column %s holds %T", columns[i], x)
			}
		}
		if err := enc.Encode(line); err != nil {
			return n, err
		}
		n++
	}
	return n, explain(rows.Err())
}

// Load fills an empty database from a dump. Check sees what was loaded and may
// add to it; if it returns an error, nothing was loaded. A database that is in
// use is refused.
func (s *Store) Load(ctx context.Context, r io.Reader, check func(registry.Tx) error) (err error) {
	e := s.engine
	e.patience = 0 // a large dump takes its time
	c := &conn{db: s.db, engine: e, opening: e.write}
	if err := c.begin(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	head, err := (&view{c}).AuditHead(ctx)
	if err == nil && head.Entries > 0 {
		err = &warden.Error{
			Code: warden.CodeConflict, Message: fmt.Sprintf("the database is in use: its audit log has %d entries", head.Entries),
			Hint: "restore into a new data folder or an empty database",
		}
	}
	if err == nil {
		err = s.fill(ctx, c, r)
	}
	if err == nil {
		err = check(&tx{view{c}})
	}
	if err != nil {
		return errors.Join(err, c.end(ctx, "ROLLBACK"))
	}
	return c.end(ctx, "COMMIT")
}

func (s *Store) fill(ctx context.Context, c *conn, r io.Reader) error {
	names, columns, err := s.tables(ctx, c)
	if err != nil {
		return err
	}
	for _, name := range names { // what migrations put there
		if _, err := c.c.ExecContext(ctx, `DELETE FROM `+quoted([]string{name})); err != nil { //nolint:gosec // names are those of the schema
			return explain(err)
		}
	}
	var (
		in     = bufio.NewScanner(r)
		insert *sql.Stmt
		width  int
		table  string
		rows   int64
		ended  bool
	)
	in.Buffer(make([]byte, 0, 1<<20), maxDumpLine)
	defer func() {
		if insert != nil {
			_ = insert.Close()
		}
	}()
	for in.Scan() {
		var line dumpLine
		dec := json.NewDecoder(bytes.NewReader(in.Bytes()))
		dec.UseNumber()
		dec.DisallowUnknownFields()
		if err := dec.Decode(&line); err != nil {
			return fmt.Errorf("dump: row %d: %w", rows, err)
		}
		switch {
		case ended:
			return errors.New("dump: goes on after its end")
		case line.Rows != nil:
			if ended = true; *line.Rows != rows {
				return fmt.Errorf("dump: has %d rows, its end says %d", rows, *line.Rows)
			}
		case line.Table != "":
			table, width = line.Table, len(line.Columns)
			if have := columns[table]; !slices.Equal(have, line.Columns) {
				return fmt.Errorf("dump: table %q has columns %v, here %v: restore with the version of warden that made it", table, line.Columns, have)
			}
			if insert != nil {
				if err := insert.Close(); err != nil {
					return err
				}
			}
			if insert, err = c.c.PrepareContext(ctx, insertInto(table, line.Columns)); err != nil {
				return explain(err)
			}
		case insert == nil || len(line.Row) != width:
			return fmt.Errorf("dump: a row of %d values does not fit table %q", len(line.Row), table)
		default:
			values, err := dumpValues(line.Row)
			if err != nil {
				return fmt.Errorf("dump: table %s: %w", table, err)
			}
			if _, err := insert.ExecContext(ctx, c.engine.fit(values)...); err != nil {
				return fmt.Errorf("dump: table %s: %w", table, explain(err))
			}
			rows++
		}
	}
	switch {
	case in.Err() != nil:
		return fmt.Errorf("dump: %w", in.Err())
	case !ended:
		return errors.New("dump: ends early")
	}
	return s.advance(ctx, c, columns)
}

func insertInto(table string, columns []string) string {
	places := make([]string, len(columns))
	for i := range places {
		places[i] = fmt.Sprintf("$%d", i+1)
	}
	return `INSERT INTO ` + quoted([]string{table}) + ` (` + quoted(columns) + `) VALUES (` + strings.Join(places, ", ") + `)`
}

// dumpValues turns what JSON gives back into what was dumped.
func dumpValues(row []any) ([]any, error) {
	out := make([]any, len(row))
	for i, x := range row {
		switch x := x.(type) {
		case nil, string:
			out[i] = x
		case json.Number:
			n, err := x.Int64()
			if err != nil {
				return nil, err
			}
			out[i] = n
		case map[string]any:
			b, err := json.Marshal(x)
			if err != nil {
				return nil, err
			}
			var v dumpBytes
			if err := json.Unmarshal(b, &v); err != nil {
				return nil, err
			}
			switch {
			case v.Text != nil:
				out[i] = string(v.Text)
			case v.Empty:
				out[i] = []byte{}
			default:
				out[i] = v.Bytes
			}
		default:
			return nil, fmt.Errorf("value %d is %T", i, x)
		}
	}
	return out, nil
}

// advance makes PostgreSQL give ids beyond those loaded; SQLite does so itself.
func (s *Store) advance(ctx context.Context, c *conn, columns map[string][]string) error {
	if s.engine.dialect != goose.DialectPostgres {
		return nil
	}
	for name, cs := range columns {
		if !slices.Contains(cs, "id") {
			continue
		}
		sequence, err := one(ctx, c, scalar[sql.NullString], `SELECT pg_get_serial_sequence(quote_ident($1), 'id')`, name)
		if err != nil {
			return err
		}
		if !sequence.Valid {
			continue // its ids are texts
		}
		if _, err := c.c.ExecContext(ctx, `SELECT setval($1::regclass, (SELECT coalesce(max(id), 0) + 1 FROM `+quoted([]string{name})+`), false)`, sequence.String); err != nil { //nolint:gosec // names are those of the schema
			return explain(err)
		}
	}
	return nil
}
