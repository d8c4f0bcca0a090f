// Package torchscript finds the operators that TorchScript source calls. The
// source is the restricted Python that torch.jit writes into an archive; it is
// split into words, never parsed as Python.
//
// Source: the TorchScript language reference and torch/csrc/jit/frontend/lexer.h
// of PyTorch 2.6.
package torchscript

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/modelwarden/warden/detect"
)

// ErrSource says that a text breaks off inside a string.
var ErrSource = errors.New("not TorchScript")

// An Op is a call of an operator, or a word that TorchScript does not have.
type Op struct {
	Name       string // "aten::save", "image::read_file", "import os"
	Line       string // the source line, cut
	Start, End int64
}

// words that end a scan of TorchScript as what it claims to be: no exporter
// writes them, and whoever imports the file as Python runs them.
var words = map[string]bool{"exec": true, "eval": true, "__import__": true, "compile": true, "globals": true, "__builtins__": true, "lambda": true}

// effects are the functions of torch, without a namespace in the source, that
// reach files; all others compute.
var effects = map[string]bool{"save": true, "load": true, "from_file": true}

// Scan returns the calls of operators that have a namespace, and those of torch
// that reach files. An error wraps [ErrSource] or [detect.ErrLimit].
func Scan(ctx context.Context, src []byte) (ops []Op, err error) {
	s := &scanner{src: src}
	for s.i < len(src) {
		if s.steps++; s.steps&4095 == 0 && ctx.Err() != nil {
			return s.ops, ctx.Err()
		}
		switch c := src[s.i]; {
		case c == '#':
			s.skipLine()
		case c == '"' || c == '\'':
			if !s.text(c) {
				return s.ops, fmt.Errorf("string at byte %d has no end: %w", s.i, ErrSource)
			}
		case letter(c):
			s.word()
		default:
			s.i++
		}
	}
	if s.full {
		return s.ops, fmt.Errorf("more than %d calls of operators: %w", maxOps, detect.ErrLimit)
	}
	return s.ops, nil
}

type scanner struct {
	src   []byte
	i     int
	steps int
	ops   []Op
	full  bool
}

func letter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80 }

func (s *scanner) skipLine() {
	n := bytes.IndexByte(s.src[s.i:], '\n')
	if n < 0 {
		n = len(s.src) - s.i
	}
	s.i += n
}

// text passes a string in one or three quotes.
func (s *scanner) text(quote byte) bool {
	end := []byte{quote}
	if triple := bytes.Repeat(end, 3); bytes.HasPrefix(s.src[s.i:], triple) {
		end = triple
	}
	for i := s.i + len(end); i < len(s.src); i++ {
		switch {
		case s.src[i] == '\\':
			i++
		case bytes.HasPrefix(s.src[i:], end):
			s.i = i + len(end)
			return true
		case s.src[i] == '\n' && len(end) == 1:
			return false
		}
	}
	return false
}

// dotted returns the dotted name at i and where it ends. Blanks around a dot
// belong to it, as in Python.
func (s *scanner) dotted(i int) (parts []string, end int) {
	for {
		start := i
		for i < len(s.src) && (letter(s.src[i]) || s.src[i] >= '0' && s.src[i] <= '9') {
			i++
		}
		if i == start {
			return parts, end
		}
		if len(parts) < 8 {
			parts = append(parts, string(s.src[start:i]))
		}
		end = i
		for i < len(s.src) && (s.src[i] == ' ' || s.src[i] == '\t') {
			i++
		}
		if i >= len(s.src) || s.src[i] != '.' {
			return parts, end
		}
		for i++; i < len(s.src) && (s.src[i] == ' ' || s.src[i] == '\t'); {
			i++
		}
	}
}

func (s *scanner) word() {
	start := s.i
	parts, end := s.dotted(start)
	s.i = end
	switch {
	case parts[0] == "import" || parts[0] == "from":
		if names, _ := s.dotted(s.skipBlanks(end)); len(names) > 0 && names[0] != "__torch__" && names[0] != "torch" && s.lineBegins(start) {
			s.add("import "+strings.Join(names, "."), start, end)
		}
	case len(parts) >= 3 && parts[0] == "ops":
		s.add(parts[1]+"::"+parts[2], start, end)
	case len(parts) >= 4 && parts[0] == "torch" && parts[1] == "ops":
		s.add(parts[2]+"::"+parts[3], start, end)
	case len(parts) >= 4 && parts[0] == "__torch__" && parts[1] == "torch" && parts[2] == "classes":
		s.add(parts[3]+"::"+parts[min(4, len(parts)-1)], start, end)
	case len(parts) == 2 && parts[0] == "torch" && effects[parts[1]]:
		s.add("aten::"+parts[1], start, end)
	case len(parts) == 1 && words[parts[0]] && s.called(end):
		s.add(parts[0], start, end)
	}
}

func (s *scanner) skipBlanks(i int) int {
	for i < len(s.src) && (s.src[i] == ' ' || s.src[i] == '\t') {
		i++
	}
	return i
}

func (s *scanner) called(end int) bool {
	i := s.skipBlanks(end)
	return i < len(s.src) && s.src[i] == '('
}

// lineBegins reports whether only blanks stand before a place in its line.
func (s *scanner) lineBegins(at int) bool {
	for at--; at >= 0 && s.src[at] != '\n' && s.src[at] != ';'; at-- {
		if s.src[at] != ' ' && s.src[at] != '\t' && s.src[at] != '\r' {
			return false
		}
	}
	return true
}

// maxOps bounds the calls that are kept of one file; see [Scan].
const maxOps = 100_000

func (s *scanner) add(name string, start, end int) {
	if len(s.ops) >= maxOps {
		s.full = true
		return
	}
	from := bytes.LastIndexByte(s.src[:start], '\n') + 1
	from = max(from, start-100)
	to := len(s.src)
	if n := bytes.IndexByte(s.src[end:], '\n'); n >= 0 {
		to = end + n
	}
	to = min(to, end+100)
	s.ops = append(s.ops, Op{name, strings.TrimSpace(string(s.src[from:to])), int64(start), int64(end)})
}
