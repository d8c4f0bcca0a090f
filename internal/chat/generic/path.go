package generic

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/chat/wire"
)

// ErrPath is wrapped by errors of paths that are not of the subset of RFC 9535
// that is read here: names, indexes and wildcards.
var ErrPath = errors.New("not a path of names, indexes and [*]")

// A step is one selector of a path.
type step struct {
	name  string
	index int
	kind  byte // 'n' name, 'i' index, '*' wildcard
}

// A path is a parsed JSONPath.
type path struct {
	text  string
	steps []step
}

const maxSteps = 32

// parsePath reads a path: "$.inputs[0]['text'][*]".
func parsePath(text string) (path, error) {
	p := path{text: text}
	bad := func() (path, error) { return path{}, fmt.Errorf("%w: %q", ErrPath, text) }
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return bad()
	}
	for rest != "" {
		var s step
		switch {
		case strings.HasPrefix(rest, ".*"):
			s.kind, rest = '*', rest[2:]
		case strings.HasPrefix(rest, "[*]"):
			s.kind, rest = '*', rest[3:]
		case rest[0] == '.':
			n := 1
			for n < len(rest) && (rest[n] == '_' || rest[n] >= 0x80 || 'a' <= rest[n] && rest[n] <= 'z' || 'A' <= rest[n] && rest[n] <= 'Z' || n > 1 && '0' <= rest[n] && rest[n] <= '9') {
				n++
			}
			if n == 1 {
				return bad()
			}
			s.kind, s.name, rest = 'n', rest[1:n], rest[n:]
		case strings.HasPrefix(rest, "['") || strings.HasPrefix(rest, `["`):
			end := strings.Index(rest[2:], rest[1:2]+"]")
			if end < 0 || strings.ContainsAny(rest[2:2+end], `\'"`) {
				return bad()
			}
			s.kind, s.name, rest = 'n', rest[2:2+end], rest[end+4:]
		case rest[0] == '[':
			inside, after, ok := strings.Cut(rest[1:], "]")
			n, err := strconv.Atoi(inside)
			if !ok || err != nil || strconv.Itoa(n) != inside {
				return bad()
			}
			s.kind, s.index, rest = 'i', n, after
		default:
			return bad()
		}
		if p.steps = append(p.steps, s); len(p.steps) > maxSteps {
			return bad()
		}
	}
	return p, nil
}

// find returns the values at the path, in the order of the body.
func (p path) find(root wire.Value) []wire.Value {
	now := []wire.Value{root}
	for _, s := range p.steps {
		var next []wire.Value
		for _, v := range now {
			next = s.take(v, next)
		}
		now = next
	}
	return now
}

// take appends what the step selects of v.
func (s step) take(v wire.Value, to []wire.Value) []wire.Value {
	switch s.kind {
	case 'n':
		if m := v.Get(s.name); m.Kind() != wire.Missing {
			to = append(to, m)
		}
	case 'i':
		at := s.index
		if at < 0 {
			at += v.Len()
		}
		i := 0
		for x := range v.Items() {
			if i == at {
				return append(to, x)
			}
			i++
		}
	default:
		for x := range v.Items() {
			to = append(to, x)
		}
		for _, x := range v.Members() {
			to = append(to, x)
		}
	}
	return to
}

// wild reports whether the path has a wildcard: the numbers it finds belong
// together.
func (p path) wild() bool {
	return slices.ContainsFunc(p.steps, func(s step) bool { return s.kind == '*' })
}
