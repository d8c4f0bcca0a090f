package npy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/detect"
)

type (
	dict  map[string]any
	list  []any
	tuple []any
)

// literal parses the subset of Python literals that a header may hold: dicts
// with text keys, tuples, lists, text, integers, True, False and None. The
// longest header has 10,000 characters, which bounds everything here.
type literal struct {
	s string
	i int
}

func (p *literal) space() {
	for p.i < len(p.s) && strings.IndexByte(" \t\n\r\f", p.s[p.i]) >= 0 {
		p.i++
	}
}

func (p *literal) peek() byte {
	p.space()
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *literal) word(w string) bool {
	if strings.HasPrefix(p.s[p.i:], w) {
		p.i += len(w)
		return true
	}
	return false
}

func (p *literal) value(depth int) (any, error) {
	if depth > 32 {
		return nil, fmt.Errorf("nested more than 32 deep: %w", detect.ErrLimit)
	}
	switch c := p.peek(); {
	case c == '{':
		return p.dict(depth)
	case c == '(':
		items, comma, err := p.items(')', depth)
		if err == nil && len(items) == 1 && !comma {
			return items[0], nil
		}
		return tuple(items), err
	case c == '[':
		items, _, err := p.items(']', depth)
		return list(items), err
	case c == '\'' || c == '"':
		return p.text()
	case c == 'u' || c == 'b':
		p.i++
		return p.text()
	case p.word("True"):
		return true, nil
	case p.word("False"):
		return false, nil
	case p.word("None"):
		return nil, nil
	case c >= '0' && c <= '9' || c == '-':
		start := p.i
		for p.i++; p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9'; p.i++ {
		}
		n, err := strconv.ParseInt(p.s[start:p.i], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("number at %d: %w", start, err)
		}
		if p.i < len(p.s) && p.s[p.i] == 'L' { // Python 2 wrote long integers so
			p.i++
		}
		return n, nil
	}
	return nil, fmt.Errorf("not a literal at %d", p.i)
}

func (p *literal) dict(depth int) (any, error) {
	p.i++
	d := dict{}
	for {
		if p.peek() == '}' {
			p.i++
			return d, nil
		}
		if c := p.peek(); c == 'u' || c == 'b' {
			p.i++
		}
		k, err := p.text()
		if err != nil {
			return nil, err
		}
		if p.peek() != ':' {
			return nil, fmt.Errorf("no colon at %d", p.i)
		}
		p.i++
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if _, ok := d[k]; ok {
			return nil, fmt.Errorf("key %q twice", k)
		}
		d[k] = v
		switch p.peek() {
		case ',':
			p.i++
		case '}':
		default:
			return nil, fmt.Errorf("no comma at %d", p.i)
		}
	}
}

func (p *literal) items(end byte, depth int) (items []any, comma bool, err error) {
	p.i++
	for {
		if p.peek() == end {
			p.i++
			return items, comma, nil
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, false, err
		}
		items = append(items, v)
		switch comma = p.peek() == ','; {
		case comma:
			p.i++
		case p.peek() != end:
			return nil, false, fmt.Errorf("no comma at %d", p.i)
		}
	}
}

func (p *literal) text() (string, error) {
	quote := p.peek()
	if quote != '\'' && quote != '"' {
		return "", fmt.Errorf("no text at %d", p.i)
	}
	end := strings.IndexByte(p.s[p.i+1:], quote)
	if end < 0 {
		return "", errors.New("text without end")
	}
	s := p.s[p.i+1 : p.i+1+end]
	if strings.IndexByte(s, '\\') >= 0 {
		return "", fmt.Errorf("escape in the text at %d is not read", p.i)
	}
	p.i += end + 2
	return s, nil
}
