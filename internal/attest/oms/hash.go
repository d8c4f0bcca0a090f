package oms

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/zeebo/blake3"
	"golang.org/x/crypto/blake2b"
	"golang.org/x/sync/errgroup"
)

type algorithm struct {
	size int // bytes of a digest
	make func() hash.Hash
}

// hashes are the hash types of the algorithm registry. The Python reference
// writes blake2b, but its verifier knows blake2 only.
var hashes = map[string]algorithm{
	"sha256":  {sha256.Size, sha256.New},
	"blake2b": {blake2b.Size, newBlake2b},
	"blake2":  {blake2b.Size, newBlake2b},
	"blake3":  {32, func() hash.Hash { return blake3.New() }},
}

func newBlake2b() hash.Hash {
	h, err := blake2b.New512(nil)
	if err != nil {
		panic(err) // only a key can be wrong, and there is none
	}
	return h
}

// HashTypes lists the hash types that can be asked for.
func HashTypes() []string { return []string{"sha256", "blake2b", "blake3"} }

// shardName splits path:start:end at the last two colons.
func shardName(name string) (path string, start, end int64, ok bool) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 {
		return "", 0, 0, false
	}
	j := strings.LastIndexByte(name[:i], ':')
	if j < 0 {
		return "", 0, 0, false
	}
	start, err := strconv.ParseInt(name[j+1:i], 10, 64)
	if err != nil || start < 0 || strconv.FormatInt(start, 10) != name[j+1:i] {
		return "", 0, 0, false
	}
	end, err = strconv.ParseInt(name[i+1:], 10, 64)
	if err != nil || end < 0 || strconv.FormatInt(end, 10) != name[i+1:] {
		return "", 0, 0, false
	}
	return name[:j], start, end, true
}

// A piece is one range of one file that is hashed on its own.
type piece struct {
	name       string // of the resource
	file       entry
	start, end int64
}

// pieces cuts files into resources: whole files, or shards, where files without
// bytes have none.
func pieces(files []entry, shard int64) []piece {
	var out []piece
	for _, f := range files {
		if shard == 0 {
			out = append(out, piece{f.name, f, 0, f.size})
			continue
		}
		for at := int64(0); at < f.size; at += shard {
			end := min(at+shard, f.size)
			out = append(out, piece{fmt.Sprintf("%s:%d:%d", f.name, at, end), f, at, end})
		}
	}
	return out
}

const readBytes = 1 << 20

// digest hashes all pieces, as many at once as there are processors, in
// constant memory. Progress, if any, is told of the bytes that were read.
func digest(ctx context.Context, m *model, ps []piece, alg algorithm, progress func(n int64)) ([]string, error) {
	out := make([]string, len(ps))
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range min(runtime.GOMAXPROCS(0), max(1, len(ps))) {
		g.Go(func() error {
			buf, h := make([]byte, readBytes), alg.make()
			for {
				i := int(next.Add(1)) - 1
				if i >= len(ps) {
					return nil
				}
				h.Reset()
				if err := m.hash(ctx, ps[i], h, buf, progress); err != nil {
					return err
				}
				out[i] = hex.EncodeToString(h.Sum(nil))
			}
		})
	}
	return out, g.Wait()
}

// hash reads one piece. A file that changes meanwhile is rejected.
func (m *model) hash(ctx context.Context, p piece, h hash.Hash, buf []byte, progress func(n int64)) error {
	f, err := m.open(p.file)
	if err != nil {
		return err
	}
	defer f.Close()
	for at := p.start; at < p.end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), p.end-at)], at)
		h.Write(buf[:n])
		at += int64(n)
		if progress != nil {
			progress(int64(n))
		}
		if err != nil && at < p.end {
			if err == io.EOF {
				return reject("%.200q became shorter while it was read", p.file.name)
			}
			return fmt.Errorf("read %s: %w", p.file.name, err)
		}
	}
	return p.file.unchanged(f)
}

// unchanged compares an open file with what was listed.
func (e entry) unchanged(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() != e.size || !st.ModTime().Equal(e.changed) {
		return reject("%.200q changed while it was read", e.name)
	}
	return nil
}
