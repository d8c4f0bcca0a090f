// Package yamltext finds in YAML what makes a loader call code: tags that build
// Python objects, and keys that name a callable. It works on the tokens of the
// text and builds no tree, because a tree of hostile text costs more than the
// text is worth; no tag is resolved and no alias is expanded.
//
// Source: YAML 1.2, chapters 5 to 9; the constructors of PyYAML 6.
package yamltext

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/modelwarden/warden/detect"
)

// maxText bounds the text that is split into tokens.
const maxText = 1 << 20

// python is the namespace of the tags that build Python objects.
const python = "tag:yaml.org,2002:python/"

// escapedTag is a tag with escapes in it.
var escapedTag = regexp.MustCompile(`!\S*%`)

// An Item is one such tag or key.
type Item struct {
	Key        string // the key, or "tag"
	Value      string // the callable; of a tag what follows "python/"
	Known      bool   // the value is a plain text
	Start, End int64  // of its line
}

// May reports whether the text may hold something for [Scan]. Text that cannot
// be YAML at all is not worth a complaint if it has no such mark.
func May(b []byte, keys ...string) bool {
	for _, mark := range append([]string{"python", "%TAG", `\`}, keys...) {
		if bytes.Contains(b, []byte(mark)) {
			return true
		}
	}
	return escapedTag.Match(b)
}

// Scan returns the tags that build Python objects and the values of the keys.
// An error says that the text is not YAML, or wraps [detect.ErrLimit].
func Scan(ctx context.Context, b []byte, keys ...string) (items []Item, err error) {
	if len(b) > maxText {
		return nil, fmt.Errorf("YAML of %d bytes, at most %d are examined: %w", len(b), maxText, detect.ErrLimit)
	}
	defer func() { // the lexer is another's: what it cannot take is not YAML to us
		if v := recover(); v != nil {
			items, err = nil, fmt.Errorf("YAML: the lexer failed: %v", v)
		}
	}()
	s := &scanner{tokens: lexer.Tokenize(string(b)), handles: map[string]string{"!!": "tag:yaml.org,2002:"}, anchors: map[string]string{}, b: b}
	for _, k := range keys {
		s.keys = append(s.keys, []byte(k))
	}
	for s.i = 0; s.i < len(s.tokens); s.i++ {
		if s.i&4095 == 0 && ctx.Err() != nil {
			return s.items, ctx.Err()
		}
		if t := s.tokens[s.i]; t.Type == token.InvalidType {
			return s.items, fmt.Errorf("YAML: not a token in line %d", t.Position.Line)
		}
		s.token()
	}
	return s.items, nil
}

type scanner struct {
	b       []byte
	keys    [][]byte
	tokens  token.Tokens
	i       int
	handles map[string]string
	anchors map[string]string // anchor -> the text it marks
	items   []Item
	lines   []int64 // where lines begin; made when first needed
}

func (s *scanner) at(i int) *token.Token {
	if i < 0 || i >= len(s.tokens) {
		return &token.Token{}
	}
	return s.tokens[i]
}

func (s *scanner) token() {
	t := s.tokens[s.i]
	switch {
	case t.Type == token.DirectiveType && s.at(s.i+1).Value == "TAG":
		s.handles[s.at(s.i+2).Value] = s.at(s.i + 3).Value
	case t.Type == token.TagType:
		if name, ok := strings.CutPrefix(s.resolve(t.Value), python); ok {
			s.add("tag", name, true, t)
		}
	case t.Type == token.AnchorType:
		if text, ok := s.scalar(s.i + 2); ok {
			s.anchors[s.at(s.i+1).Value] = text
		}
	case t.Type == token.MappingValueType:
		key, ok := s.key()
		if !ok {
			return
		}
		value, known := s.scalar(s.i + 1)
		s.add(key, value, known && !strings.Contains(value, "${"), t)
	}
}

// key returns the text before a colon, if it is one of the wanted keys.
func (s *scanner) key() (string, bool) {
	t := s.at(s.i - 1)
	text := t.Value
	if s.at(s.i-2).Type == token.AliasType {
		text = s.anchors[t.Value]
	}
	for _, k := range s.keys {
		if text == string(k) {
			return text, true
		}
	}
	return "", false
}

// resolve returns the full name of a tag.
func (s *scanner) resolve(tag string) string {
	if verbatim, ok := strings.CutPrefix(tag, "!<"); ok {
		return decoded(strings.TrimSuffix(verbatim, ">"))
	}
	handle, name := "!", strings.TrimPrefix(tag, "!")
	if before, after, ok := strings.Cut(name, "!"); ok {
		handle, name = "!"+before+"!", after
	}
	prefix, ok := s.handles[handle]
	if !ok {
		prefix = handle
	}
	return decoded(prefix + name)
}

// decoded undoes the escapes of a tag, which PyYAML undoes too.
func decoded(tag string) string {
	if text, err := url.PathUnescape(tag); err == nil {
		return text
	}
	return tag
}

// scalar returns the text at token i, behind tags and anchors. A value that is
// no text is not known.
func (s *scanner) scalar(i int) (string, bool) {
	for range 8 {
		switch t := s.at(i); t.Type {
		case token.TagType, token.LiteralType, token.FoldedType:
			i++
		case token.AnchorType:
			i += 2
		case token.AliasType:
			text, ok := s.anchors[s.at(i+1).Value]
			return text, ok
		case token.StringType, token.SingleQuoteType, token.DoubleQuoteType:
			return strings.TrimSpace(t.Value), true
		default:
			return "", false
		}
	}
	return "", false
}

func (s *scanner) add(key, value string, known bool, t *token.Token) {
	if s.lines == nil {
		s.lines = []int64{0}
		for i, c := range s.b {
			if c == '\n' {
				s.lines = append(s.lines, int64(i)+1)
			}
		}
	}
	line := 0
	if t.Position != nil {
		line = min(max(t.Position.Line-1, 0), len(s.lines)-1)
	}
	end := int64(len(s.b))
	if line+1 < len(s.lines) {
		end = s.lines[line+1]
	}
	s.items = append(s.items, Item{key, value, known, s.lines[line], end})
}
