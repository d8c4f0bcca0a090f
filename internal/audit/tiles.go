package audit

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Tiles are 256 hashes or entries wide (c2sp.org/tlog-tiles).
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// Resource returns the bytes served under a path of the tlog-tiles layout:
// "tile/<L>/<N>[.p/<W>]", "tile/entries/<N>[.p/<W>]", and for older tools
// "tile/<H>/<L>/<N>[.p/<W>]". The error wraps [ErrMissing] if the log does not
// have so much yet, or never has such a path.
func Resource(ctx context.Context, r Reader, path string) ([]byte, error) {
	if rest, ok := strings.CutPrefix(path, "tile/entries/"); ok {
		t, err := tlog.ParseTilePath("tile/8/0/" + rest)
		if err != nil {
			return nil, fmt.Errorf("audit tile %q: %w", path, ErrMissing)
		}
		return Bundle(ctx, r, uint64(t.N), t.W)
	}
	if t, err := tlog.ParseTilePath(path); err == nil && t.L >= 0 {
		return Tile(ctx, r, path)
	}
	if rest, ok := strings.CutPrefix(path, "tile/"); ok {
		return Tile(ctx, r, fmt.Sprintf("tile/%d/%s", tileHeight, rest))
	}
	return nil, fmt.Errorf("audit path %q: %w", path, ErrMissing)
}

// Bundle returns width entries of bundle n, each with its length before it as
// two bytes, big-endian.
func Bundle(ctx context.Context, r Reader, n uint64, width int) ([]byte, error) {
	if width < 1 || width > tileWidth || n > math.MaxInt64/tileWidth {
		return nil, fmt.Errorf("audit bundle %d of %d entries: %w", n, width, ErrMissing)
	}
	from := n * tileWidth
	es, err := r.AuditEntries(ctx, from, width)
	if err != nil {
		return nil, err
	}
	var out []byte
	for i, e := range es {
		if e.Seq != from+uint64(i) || len(e.Leaf) > math.MaxUint16 {
			return nil, fmt.Errorf("audit bundle %d: %w: entry %d", n, ErrTampered, from+uint64(i))
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(e.Leaf))), e.Leaf...)
	}
	if len(es) != width {
		return nil, fmt.Errorf("audit bundle %d of %d entries: %w", n, width, ErrMissing)
	}
	return out, nil
}

// tilePath returns the path of a tile in the layout of tlog-tiles.
func tilePath(t tlog.Tile) string {
	return "tile/" + strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/", t.H))
}
