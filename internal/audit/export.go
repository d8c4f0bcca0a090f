package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Files of an export, beside the tiles, which have the paths of tlog-tiles.
const (
	exportEntries    = "entries.jsonl"
	exportNote       = "checkpoint"
	exportKey        = "key"
	exportWitnessed  = "cosigned.jsonl"
	maxExportLine    = 64 << 20
	maxExportSmall   = 1 << 20
	maxExportCosigns = 10_000
)

// An exported entry: the leaf as it was hashed, and the details with the salt
// that they are committed to under, unless they were erased.
type exportLine struct {
	Seq     uint64 `json:"seq"`
	Leaf    string `json:"leaf"`
	Salt    []byte `json:"salt,omitempty"`
	Payload string `json:"payload,omitempty"`
}

type cosignedLine struct {
	Size uint64 `json:"size"`
	Note string `json:"note"`
}

// An Exported says what [Export] wrote.
type Exported struct {
	Entries  uint64
	Cosigned int
}

// Export writes the log, as far as its newest checkpoint reaches, to a folder
// that is empty: entries as JSON lines, tiles in the layout of tlog-tiles, the
// checkpoint, the public key, and cosigned checkpoints. [OpenExport] and other
// tools verify it without the platform.
func Export(ctx context.Context, r Reader, key string, cosigned []Checkpoint, dir string) (x Exported, err error) {
	c, ok, err := Latest(ctx, r)
	if err != nil {
		return x, fmt.Errorf("export audit log: %w", err)
	}
	if !ok || c.Size == 0 {
		return x, fmt.Errorf("export audit log: %w", ErrUnsealed)
	}
	w := &exporter{dir: dir, r: r}
	x = Exported{c.Size, len(cosigned)}
	err = w.entries(ctx, c.Size)
	if err == nil {
		err = w.tiles(ctx, c.Size)
	}
	if err == nil {
		err = w.file(exportKey, []byte(strings.TrimSpace(key)+"\n"))
	}
	if err == nil {
		var lines bytes.Buffer
		for _, c := range cosigned {
			b, err := json.Marshal(cosignedLine{c.Size, string(c.Note)})
			if err != nil {
				return x, err
			}
			lines.Write(append(b, '\n'))
		}
		err = w.file(exportWitnessed, lines.Bytes())
	}
	if err == nil {
		err = w.file(exportNote, c.Note) // the last: without it the export is not whole
	}
	if err != nil {
		return x, fmt.Errorf("export audit log: %w", err)
	}
	return x, nil
}

type exporter struct {
	dir string
	r   Reader
}

func (w *exporter) file(name string, data []byte) error {
	path := filepath.Join(w.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func (w *exporter) entries(ctx context.Context, size uint64) (err error) {
	f, err := os.OpenFile(filepath.Join(w.dir, exportEntries), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	defer func() { err = errors.Join(err, out.Flush(), f.Sync(), f.Close()) }()
	enc := json.NewEncoder(out)
	for at := uint64(0); at < size; {
		es, err := w.r.AuditEntries(ctx, at, int(min(pageEntries, size-at)))
		if err != nil {
			return err
		}
		if len(es) == 0 {
			return fmt.Errorf("%w: entry %d is missing", ErrTampered, at)
		}
		for _, e := range es {
			if e.Seq != at {
				return fmt.Errorf("%w: entry %d is missing", ErrTampered, at)
			}
			if err := enc.Encode(exportLine{e.Seq, string(e.Leaf), e.Salt, string(e.Payload)}); err != nil {
				return err
			}
			at++
		}
	}
	return nil
}

// tiles writes all full tiles and the partial ones at the right edge.
func (w *exporter) tiles(ctx context.Context, size uint64) error {
	for level, width := 0, size; width > 0; level, width = level+1, width/tileWidth {
		for n := uint64(0); n*tileWidth < width; n++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			t := tlog.Tile{H: tileHeight, L: level, N: int64(n), W: int(min(tileWidth, width-n*tileWidth))}
			b, err := tlog.ReadTileData(t, reader(ctx, w.r))
			if err == nil {
				err = w.file(tilePath(t), b)
			}
			if err != nil {
				return err
			}
			if level > 0 {
				continue
			}
			if b, err = Bundle(ctx, w.r, n, t.W); err == nil {
				err = w.file("tile/entries/"+strings.TrimPrefix(tilePath(t), "tile/0/"), b)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// An Exporting reads a folder that [Export] wrote. It implements [Reader] for
// [Verify], which reads in order; it is used by one goroutine. Close it.
type Exporting struct {
	dir      string
	size     uint64
	note     []byte
	key      string
	cosigned []Checkpoint

	f     *os.File
	lines *bufio.Scanner
	next  uint64               // entry that lines gives next
	tile  map[tlog.Tile][]byte // the last tiles that were read
}

// OpenExport opens an export. It trusts nothing in it yet: [Verify] does.
func OpenExport(dir string) (*Exporting, error) {
	x := &Exporting{dir: dir, tile: map[tlog.Tile][]byte{}}
	note, err := x.small(exportNote)
	if err != nil {
		return nil, fmt.Errorf("open export: %w", err)
	}
	key, err := x.small(exportKey)
	if err != nil {
		return nil, fmt.Errorf("open export: %w", err)
	}
	x.note, x.key = note, strings.TrimSpace(string(key))
	lines := strings.SplitN(string(note), "\n", 3)
	if len(lines) < 3 {
		return nil, fmt.Errorf("open export: %w: checkpoint has %d lines", ErrTampered, len(lines))
	}
	if _, err := fmt.Sscan(lines[1], &x.size); err != nil || x.size > 1<<50 {
		return nil, fmt.Errorf("open export: %w: checkpoint size %.40q", ErrTampered, lines[1])
	}
	cosigned, err := x.small(exportWitnessed)
	if err != nil {
		return nil, fmt.Errorf("open export: %w", err)
	}
	for line := range bytes.Lines(cosigned) {
		var c cosignedLine
		if err := json.Unmarshal(line, &c); err != nil || len(x.cosigned) == maxExportCosigns {
			return nil, fmt.Errorf("open export: %w: %s", ErrTampered, exportWitnessed)
		}
		x.cosigned = append(x.cosigned, Checkpoint{c.Size, []byte(c.Note)})
	}
	return x, nil
}

func (x *Exporting) small(name string) ([]byte, error) {
	path := filepath.Join(x.dir, name)
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxExportSmall*16 {
		return nil, fmt.Errorf("%s: %d bytes, at most %d", name, st.Size(), maxExportSmall*16)
	}
	return os.ReadFile(path)
}

// Key returns the public key that the export holds, which proves nothing by
// itself.
func (x *Exporting) Key() string { return x.key }

// Cosigned returns the checkpoints that witnesses signed.
func (x *Exporting) Cosigned() []Checkpoint { return x.cosigned }

// Close closes the files.
func (x *Exporting) Close() error {
	if x.f == nil {
		return nil
	}
	f := x.f
	x.f, x.lines = nil, nil
	return f.Close()
}

// AuditHead implements [Reader].
func (x *Exporting) AuditHead(context.Context) (Head, error) {
	return Head{x.size, tlog.StoredHashCount(int64(x.size))}, nil
}

// AuditCheckpoints implements [Reader].
func (x *Exporting) AuditCheckpoints(_ context.Context, from uint64, _ int) ([]Checkpoint, error) {
	if x.size < from {
		return nil, nil
	}
	return []Checkpoint{{x.size, x.note}}, nil
}

// AuditEntries implements [Reader].
func (x *Exporting) AuditEntries(ctx context.Context, from uint64, limit int) ([]Entry, error) {
	if x.lines == nil || from < x.next {
		if err := x.Close(); err != nil {
			return nil, err
		}
		f, err := os.Open(filepath.Join(x.dir, exportEntries))
		if err != nil {
			return nil, err
		}
		x.f, x.lines, x.next = f, bufio.NewScanner(f), 0
		x.lines.Buffer(make([]byte, 0, 1<<16), maxExportLine)
	}
	var out []Entry
	for len(out) < limit && x.lines.Scan() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		x.next++
		if x.next <= from {
			continue
		}
		var l exportLine
		if err := json.Unmarshal(x.lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("%w: line %d of %s: %w", ErrTampered, x.next, exportEntries, err)
		}
		e := Entry{Seq: l.Seq, Leaf: []byte(l.Leaf), Salt: l.Salt}
		if l.Payload != "" {
			e.Payload = []byte(l.Payload)
		}
		out = append(out, e)
	}
	return out, x.lines.Err()
}

// AuditHashes implements [Reader] from the tiles.
func (x *Exporting) AuditHashes(_ context.Context, indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		t := tlog.TileForIndex(tileHeight, index)
		// As wide as the tree of this size has it.
		width := int64(x.size) >> uint(t.L*tileHeight)
		t.W = int(min(tileWidth, width-t.N*tileWidth))
		if t.W < 1 {
			return nil, fmt.Errorf("%w: hash %d", ErrMissing, index)
		}
		b, err := x.tileData(t)
		if err != nil {
			return nil, err
		}
		if out[i], err = tlog.HashFromTile(t, b, index); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTampered, err)
		}
	}
	return out, nil
}

// tilesKept is how many tiles are remembered: those of each level at the edge.
const tilesKept = 16

func (x *Exporting) tileData(t tlog.Tile) ([]byte, error) {
	if b, ok := x.tile[t]; ok {
		return b, nil
	}
	f, err := os.Open(filepath.Join(x.dir, filepath.FromSlash(tilePath(t))))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTampered, err)
	}
	b := make([]byte, t.W*tlog.HashSize)
	_, err = io.ReadFull(f, b)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%w: tile %s: %w", ErrTampered, tilePath(t), err)
	}
	if len(x.tile) >= tilesKept {
		clear(x.tile)
	}
	x.tile[t] = b
	return b, nil
}
