package tensorflow

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// OpenText walks a graph in the text format of protobuf, which the loaders of
// TensorFlow take too. Of a text that is no message it lists the operators, and
// does not follow the constants that reach them. It reports false if the text
// names no operator.
//
// Source: the protocol buffers documentation, "Text Format Language".
func OpenText(ctx context.Context, src []byte, lim bound.Limits) (*Model, bool, error) {
	m, ok, err := messageText(ctx, src, lim)
	if ok && m != nil {
		return m, true, err
	}
	m, ok, err2 := openWords(ctx, src)
	return m, ok, errors.Join(err, err2)
}

// openWords lists the operators of a text.
func openWords(ctx context.Context, src []byte) (*Model, bool, error) {
	m := &Model{Ops: map[string]Use{}, Functions: map[string]bool{}}
	s := &textScanner{src: src}
	for steps := 0; ; steps++ {
		if steps&4095 == 0 && ctx.Err() != nil {
			return m, m.Nodes > 0, ctx.Err()
		}
		word, ok := s.next()
		if !ok {
			return m, m.Nodes > 0, nil
		}
		if word != "op" && word != "name" {
			continue
		}
		start := s.i
		text, ok := s.strings()
		switch {
		case !ok:
		case word == "op":
			m.Nodes++
			u, known := m.Ops[text]
			if !known && len(m.Ops) >= maxOps {
				return m, true, fmt.Errorf("more than %d different operators: %w", maxOps, detect.ErrLimit)
			}
			if !known {
				u.Start, u.End = int64(start), int64(s.i)
			}
			u.Count++
			m.Ops[text] = u
			if EffectOf(text) != None && len(m.Calls) < maxNames {
				m.Calls = append(m.Calls, Call{Op: text, Start: int64(start), End: int64(s.i)})
			}
		case word == "name" && len(m.Functions) < maxNames: // any name may be that of a function
			m.Functions[text] = true
		}
	}
}

type textScanner struct {
	src []byte
	i   int
}

// blank passes white space and comments.
func (s *textScanner) blank() {
	for ; s.i < len(s.src); s.i++ {
		switch c := s.src[s.i]; {
		case c == '#':
			for s.i < len(s.src)-1 && s.src[s.i] != '\n' {
				s.i++
			}
		case c != ' ' && c != '\t' && c != '\r' && c != '\n' && c != '\f' && c != '\v':
			return
		}
	}
}

// next returns the next name, and passes everything else.
func (s *textScanner) next() (string, bool) {
	for {
		s.blank()
		if s.i >= len(s.src) {
			return "", false
		}
		c := s.src[s.i]
		switch start := s.i; {
		case c == '"' || c == '\'':
			s.quoted(short)
		case c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z':
			for s.i < len(s.src) && (s.src[s.i] == '_' || s.src[s.i]|0x20 >= 'a' && s.src[s.i]|0x20 <= 'z' || s.src[s.i] >= '0' && s.src[s.i] <= '9') {
				s.i++
			}
			return string(s.src[start:s.i]), true
		default:
			s.i++
		}
	}
}

// strings returns the texts behind a name, which are one text if several follow.
func (s *textScanner) strings() (string, bool) {
	s.blank()
	if s.i < len(s.src) && s.src[s.i] == ':' {
		s.i++
	}
	var out strings.Builder
	found := false
	for {
		s.blank()
		if s.i >= len(s.src) || s.src[s.i] != '"' && s.src[s.i] != '\'' {
			return out.String(), found
		}
		text := s.quoted(short)
		if found = true; out.Len() < short {
			out.WriteString(text[:min(len(text), short)])
		}
	}
}

// quoted passes a quoted text and returns what the head of it stands for. One that is not
// closed ends with its line.
func (s *textScanner) quoted(most int) string {
	quote := s.src[s.i]
	s.i++
	start := s.i
	for s.i < len(s.src) && s.src[s.i] != quote && s.src[s.i] != '\n' {
		if s.src[s.i] == '\\' {
			s.i++
		}
		s.i++
	}
	end := min(s.i, len(s.src))
	s.i = min(end+1, len(s.src))
	raw := string(s.src[start:end])
	if !strings.Contains(raw, `\`) {
		return raw[:min(len(raw), most)]
	}
	var out []byte
	for rest := raw[:min(len(raw), most)]; rest != ""; {
		if len(rest) > 1 && rest[0] == '\\' && rest[1] >= '0' && rest[1] <= '7' { // one to three digits
			n := 2
			for n < min(4, len(rest)) && rest[n] >= '0' && rest[n] <= '7' {
				n++
			}
			v, _ := strconv.ParseUint(rest[1:n], 8, 16) // digits only
			out, rest = append(out, byte(v)), rest[n:]
			continue
		}
		if len(rest) > 2 && rest[0] == '\\' && rest[1]|0x20 == 'x' { // one or two digits
			n := 2
			for n < min(4, len(rest)) && strings.IndexByte("0123456789abcdefABCDEF", rest[n]) >= 0 {
				n++
			}
			v, _ := strconv.ParseUint(rest[2:n], 16, 16) // digits only
			out, rest = append(out, byte(v)), rest[n:]
			continue
		}
		r, wide, tail, err := strconv.UnquoteChar(rest, 0)
		if err != nil { // no escape of Go: the character itself
			out, rest = append(out, rest[0]), rest[1:]
			continue
		}
		if wide {
			out = append(out, string(r)...)
		} else {
			out = append(out, byte(r))
		}
		rest = tail
	}
	return string(out)
}
