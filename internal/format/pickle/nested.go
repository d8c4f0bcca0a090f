package pickle

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/modelwarden/warden/detect"
)

const (
	tryBytes = 6   // the shortest literal worth trying as a stream
	tryMost  = 512 // literals of one stream that are tried as streams
)

func (m *machine) tooDeep() error {
	return fmt.Errorf("more than %d streams inside one another: %w", m.job.lim.Streams, detect.ErrLimit)
}

// source returns the bytes of a Str or Bytes: the literal in the file itself,
// however long, or what was computed.
func (m *machine) source(id uint32) (r io.ReaderAt, size int64) {
	n := m.a.nodes[id]
	text := m.a.text(id)
	full, cut := m.a.long[id]
	if !cut {
		return strings.NewReader(text), int64(len(text))
	}
	end := n.start + int64(n.size)
	return io.NewSectionReader(m.cur.r, end-full, full), full
}

// content returns the bytes of a Str or Bytes if there are at most lim.String.
func (m *machine) content(id uint32) (string, bool) {
	if k := m.a.nodes[id].kind; k != Str && k != Bytes {
		return "", false
	}
	r, size := m.source(id)
	if m.a.nodes[id].flags&flagCut == 0 {
		return m.a.text(id), true
	}
	if size > m.job.lim.String {
		return "", false
	}
	b := make([]byte, size)
	if n, _ := r.ReadAt(b, 0); int64(n) < size {
		return "", false
	}
	return string(b), true
}

// payload returns the value of bytes or of a BytesIO of bytes.
func (m *machine) payload(id uint32) (uint32, bool) {
	n := m.a.nodes[id]
	if n.kind == Bytes || n.kind == Str {
		return id, true
	}
	if n.kind != Call {
		return 0, false
	}
	if g, ok := m.a.global(n.a); ok && (g.path == "BytesIO" || g.path == "memoryview" || g.path == "bytearray" || g.path == "bytes") {
		if args := m.a.items(n.b); len(args) > 0 && m.a.nodes[args[0]].kind == Bytes {
			return args[0], true
		}
	}
	return 0, false
}

// load runs bytes that reach a loader as streams of their own.
func (m *machine) load(ctx context.Context, id, arg uint32) {
	if m.trial {
		return
	}
	data, ok := m.payload(arg)
	if !ok {
		return
	}
	if m.job.depth >= m.job.lim.Streams {
		m.statuses = append(m.statuses, status(m.tooDeep()))
		return
	}
	r, size := m.source(data)
	var streams []*Stream
	if sniff(ctx, m.inside(r, size)) {
		var sts []detect.Status
		streams, sts = open(ctx, m.inside(r, size))
		m.adopt(streams, Loaded, m.a.nodes[data].start)
		m.statuses = append(m.statuses, sts...)
	}
	e := m.effect(Nested, id)
	e.Inner = streams
}

// data tries literals that no loader takes as streams: a later step of the
// program may load them.
func (m *machine) data(ctx context.Context) {
	if m.job.depth >= m.job.lim.Streams {
		return
	}
	taken := map[uint32]bool{}
	for _, e := range m.s.Effects {
		if e.Kind == Nested {
			for _, it := range m.a.items(m.a.nodes[e.Value.id].b) {
				if d, ok := m.payload(it); ok {
					taken[d] = true
				}
			}
		}
	}
	tried := 0
	for id := uint32(valFree); int(id) < len(m.a.nodes) && tried < tryMost; id++ {
		if id&0xfff == 0 && ctx.Err() != nil {
			return
		}
		n := m.a.nodes[id]
		if n.kind != Str && n.kind != Bytes || taken[id] {
			continue
		}
		text := m.a.texts[n.num]
		if marshalled(text) {
			m.code(id, id)
			continue
		}
		if !promising(text) {
			continue
		}
		tried++
		if !m.job.work.spend(runCost) {
			m.statuses = append(m.statuses, status(m.job.work.err()))
			return
		}
		m.try(ctx, id, text)
	}
}

// promising is a quick test that lets few honest texts through.
func promising(s string) bool {
	if len(s) < tryBytes {
		return false
	}
	switch s[0] {
	case opProto:
		return s[1] <= highestProtocol && known[s[2]]
	case opGlobal, opMark, 'i':
		return strings.Count(s[:min(len(s), headBytes)], "\n") >= 2
	case 'g': // base64 of PROTO
		return s[1] == 'A' || s[1] == 'a'
	case '8':
		return s[1] == '0' && s[2] == '0'
	case '\\':
		return strings.HasPrefix(s, `\x80`)
	}
	return false
}

func (m *machine) try(ctx context.Context, id uint32, text string) {
	r, size := m.source(id)
	switch text[0] {
	case 'g':
		b, err := base64.StdEncoding.DecodeString(whole(strings.TrimSpace(m.orText(id, text)), 4))
		if err != nil {
			return
		}
		r, size = bytes.NewReader(b), int64(len(b))
	case '8':
		b, err := hex.DecodeString(whole(strings.TrimSpace(m.orText(id, text)), 2))
		if err != nil {
			return
		}
		r, size = bytes.NewReader(b), int64(len(b))
	case '\\':
		s := unescape(text, true)
		r, size = strings.NewReader(s), int64(len(s))
	}
	j := m.inside(r, size)
	j.data = true
	if !sniff(ctx, j) {
		return
	}
	streams, _ := open(ctx, j)
	for _, s := range streams {
		if len(s.Effects) > 0 || len(s.inner) > 0 {
			m.adopt([]*Stream{s}, Data, m.a.nodes[id].start)
		}
	}
}

// orText returns the content of a literal, or as much of it as is kept.
func (m *machine) orText(id uint32, text string) string {
	if s, ok := m.content(id); ok {
		return s
	}
	return text
}

// whole cuts s to a multiple of n bytes.
func whole(s string, n int) string { return s[:len(s)-len(s)%n] }

// marshalled reports whether s looks like a code object of CPython 3: the type
// with its reference flag, then small counts of arguments.
func marshalled(s string) bool {
	const header = 16
	if len(s) < 2*header || s[0] != 'c'|0x80 && s[0] != 'c' {
		return false
	}
	for i := 1; i < header; i += 4 {
		if s[i+1] != 0 && i < 12 || s[i+2] != 0 || s[i+3] != 0 && i < 12 {
			return false
		}
	}
	return true
}

const codeNames = 64

// code records a code object, or bytes that hold one, with the names it uses.
// The bytes are searched for marshal's short texts, not parsed.
func (m *machine) code(id, data uint32) {
	s, _ := m.content(data)
	e := m.effect(Code, id)
	e.Start = m.a.nodes[data].start
	e.End = e.Start + int64(m.a.nodes[data].size)
	for i := 0; i+1 < len(s) && len(e.Names) < codeNames; i++ {
		switch s[i] &^ 0x80 {
		case 'z', 'Z': // short ASCII, interned
			n := int(s[i+1])
			if n >= 2 && i+2+n <= len(s) && printable(s[i+2:i+2+n]) {
				e.Names = append(e.Names, s[i+2:i+2+n])
				i += 1 + n
			}
		}
	}
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 && s[i] != '\n' && s[i] != '\t' || s[i] > 0x7e {
			return false
		}
	}
	return true
}
