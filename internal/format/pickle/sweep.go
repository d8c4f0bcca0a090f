package pickle

import (
	"bytes"
	"context"
	"fmt"

	"github.com/modelwarden/warden/detect"
)

const (
	sweepChunk   = 64 << 10
	sweepOverlap = 512 // longest pattern that may lie across two chunks
	sweepHits    = 1000
)

// sweep reads what follows an error or a limit without a machine and finds the
// names that a loader would look up there: the text of GLOBAL and INST, pairs
// of strings before STACK_GLOBAL. Places where a stream starts anew are run.
func sweep(ctx context.Context, j job, s *Stream) ([]*Stream, error) {
	r, size := j.r, j.size
	found := &Stream{Path: s.Path, Start: s.End, End: size, Via: s.Via, Stopped: true}
	a := &arena{}
	a.reset()
	var restarts []int64
	buf := make([]byte, min(sweepChunk, max(size-s.End, 0)))
	for pos := s.End; pos < size; {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("sweep of the tail stopped at byte %d: %w", pos, context.Cause(ctx))
		}
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-pos)], pos)
		if n == 0 {
			return nil, readError{fmt.Errorf("sweep of the tail at byte %d: %w", pos, err)}
		}
		if j.depth > 0 && !j.work.spend(int64(n)/byteCost) {
			return nil, j.work.err()
		}
		last := pos+int64(n) >= size
		limit := n
		if !last && n > sweepOverlap {
			limit = n - sweepOverlap
		}
		for i := 0; i < limit; {
			g, used, at := sweepName(buf[i:n])
			if at < 0 || i+at >= limit {
				break
			}
			i += at
			if used == 0 { // a place where a stream starts
				if len(restarts) < sweepRestarts {
					restarts = append(restarts, pos+int64(i))
				}
				i++
				continue
			}
			if len(found.Effects) < sweepHits {
				start := pos + int64(i)
				id := a.addGlobal(g.module, g.path, start, start+int64(used))
				found.Effects = append(found.Effects, Effect{Kind: Import, Swept: true, Start: start, End: start + int64(used), Value: Value{a, id}})
			}
			i += used
		}
		pos += int64(limit)
	}
	var out []*Stream
	if len(found.Effects) > 0 {
		out = append(out, found)
	}
	j.depth++
	if len(restarts) > 0 && j.depth > j.lim.Streams {
		return out, fmt.Errorf("more than %d streams inside one another: %w", j.lim.Streams, detect.ErrLimit)
	}
	for _, at := range restarts {
		m := newMachine(j, at, viewMemory)
		m.run(ctx)
		if fatal(m.s.Err) {
			return out, m.s.Err
		}
		if len(m.s.Effects) > 0 {
			m.s.Path, m.s.Via = fmt.Sprintf("%s!@%d", s.Path, at), s.Via
			out = append(out, m.s)
		}
	}
	return out, nil
}

// sweepName finds the first name in b. used is 0 for a PROTO opcode; at is -1
// if there is nothing.
func sweepName(b []byte) (g global, used, at int) {
	for i := range b {
		switch c := b[i]; c {
		case opGlobal, opInst:
			if g, n := twoLines(b[i+1:]); n > 0 {
				return g, n + 1, i
			}
		case opProto:
			if i+2 < len(b) && b[i+1] >= 2 && b[i+1] <= highestProtocol && known[b[i+2]] {
				return global{}, 0, i
			}
		case opShortBinUnicode, opShortBinString, opBinUnicode, opBinString:
			if g, n := twoStrings(b[i:]); n > 0 {
				return g, n, i
			}
		}
	}
	return global{}, 0, -1
}

func twoLines(b []byte) (global, int) {
	i := bytes.IndexByte(b[:min(len(b), 200)], '\n')
	if i <= 0 || !identifiers(string(b[:i])) {
		return global{}, 0
	}
	rest := b[i+1:]
	j := bytes.IndexByte(rest[:min(len(rest), 200)], '\n')
	if j <= 0 || !identifiers(string(rest[:j])) {
		return global{}, 0
	}
	return global{string(b[:i]), string(rest[:j])}, i + j + 2
}

// twoStrings reads two string literals with at most a memo opcode after each,
// and STACK_GLOBAL.
func twoStrings(b []byte) (global, int) {
	module, n := oneString(b)
	if n == 0 {
		return global{}, 0
	}
	path, k := oneString(b[n:])
	if k == 0 || n+k >= len(b) || b[n+k] != opStackGlobal || !identifiers(module) || !identifiers(path) {
		return global{}, 0
	}
	return global{module, path}, n + k + 1
}

func oneString(b []byte) (string, int) {
	width := 4
	if len(b) > 0 && (b[0] == opShortBinUnicode || b[0] == opShortBinString) {
		width = 1
	}
	if len(b) < 1+width || !bytes.ContainsRune([]byte{opShortBinString, opBinUnicode, opBinString}, rune(b[0])) && b[0] != opShortBinUnicode {
		return "", 0
	}
	n := 0
	for i := width; i > 0; i-- {
		n = n<<8 | int(b[i])
	}
	at := 1 + width
	if n == 0 || n > 200 || at+n > len(b) {
		return "", 0
	}
	text := string(b[at : at+n])
	at += n
	for range 8 { // memo opcodes and neutral pairs
		switch rest := b[at:]; {
		case len(rest) > 0 && rest[0] == opMemoize:
			at++
		case len(rest) > 1 && rest[0] == opBinPut:
			at += 2
		case len(rest) > 4 && rest[0] == opLongBinPut:
			at += 5
		case len(rest) > 1 && (rest[1] == opPop && (rest[0] == opNone || rest[0] == opDup || rest[0] == opEmptyTuple) || rest[0] == opMark && rest[1] == opPopMark):
			at += 2
		}
	}
	return text, at
}
