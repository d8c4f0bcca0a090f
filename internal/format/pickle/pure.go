package pickle

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"compress/zlib"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// foldBytes is the most that one computed text may hold.
const foldBytes = 1 << 20

func (m *machine) newText(k Kind, s string) (uint32, bool) {
	if len(s) > foldBytes {
		return 0, false
	}
	return m.a.addText(k, s, m.opStart, m.cur.pos), true
}

// foldPure computes pure functions of constants.
func (m *machine) foldPure(module, path string, av []uint32) (uint32, bool) {
	text := func(i int) (string, bool) {
		if i < len(av) {
			return m.content(av[i])
		}
		return "", false
	}
	first, isText := text(0)
	switch module {
	case "builtins":
		return m.foldBuiltin(path, av, first, isText)
	case "operator", "_operator":
		return m.foldOperator(path, av)
	case "base64", "binascii", "zlib", "gzip", "bz2":
		if isText {
			if out, ok := decode(module+"."+path, first); ok {
				return m.newText(Bytes, out)
			}
		}
	case "codecs", "_codecs":
		codec, ok := text(1)
		if !ok && path == "latin_1_encode" {
			codec = "latin1"
		}
		if isText && (path == "decode" || path == "encode" || path == "latin_1_encode") {
			return m.foldCodec(path != "decode", first, codec)
		}
	case "string":
		if path == "capwords" && isText {
			return m.newText(Str, first)
		}
	case "io", "_io":
		if path == "BytesIO.getvalue" || path == "StringIO.getvalue" {
			return m.payload(firstOf(av))
		}
	case "urllib.parse":
		if (path == "unquote" || path == "unquote_plus") && isText {
			if s, err := strconv.Unquote(`"` + strings.ReplaceAll(strings.ReplaceAll(first, `"`, ""), "%", `\x`) + `"`); err == nil {
				return m.newText(Str, s)
			}
		}
	}
	return 0, false
}

func firstOf(av []uint32) uint32 {
	if len(av) == 0 {
		return noValue
	}
	return av[0]
}

func (m *machine) foldBuiltin(path string, av []uint32, first string, isText bool) (uint32, bool) {
	if owner, method, ok := strings.Cut(path, "."); ok && len(av) > 0 {
		switch owner {
		case "str", "bytes", "bytearray":
			if method == "fromhex" && isText {
				b, err := hex.DecodeString(strings.ReplaceAll(first, " ", ""))
				if err != nil {
					return 0, false
				}
				return m.newText(Bytes, string(b))
			}
			return m.textMethod(av[0], method, av[1:])
		}
		return 0, false
	}
	switch path {
	case "bytes", "bytearray":
		if len(av) == 0 {
			return m.newText(Bytes, "")
		}
		if isText {
			return m.newText(Bytes, first)
		}
		return m.fromInts(av[0])
	case "str":
		if isText {
			return m.newText(Str, first)
		}
	case "chr":
		if len(av) == 1 {
			if n := m.a.nodes[av[0]]; n.kind == Int && n.b == 0 && n.num >= 0 && n.num <= utf8.MaxRune {
				return m.newText(Str, string(rune(n.num)))
			}
		}
	case "ord":
		if r, n := utf8.DecodeRuneInString(first); isText && n > 0 && n == len(first) {
			return m.a.add(node{kind: Int, num: int64(r), start: m.opStart, size: 1}), true
		}
	case "reversed":
		if isText {
			return m.newText(m.a.nodes[av[0]].kind, reverse(first))
		}
	case "list", "tuple":
		if len(av) == 1 {
			if items := m.a.items(av[0]); items != nil {
				kind := List
				if path == "tuple" {
					kind = Tuple
				}
				return m.a.addList(kind, slices.Clone(items), m.opStart, m.cur.pos), true
			}
		}
	case "dict", "set", "frozenset":
		if len(av) == 0 {
			return m.a.addList(map[string]Kind{"dict": Dict, "set": Set, "frozenset": FrozenSet}[path], nil, m.opStart, m.cur.pos), true
		}
		if n := m.a.nodes[av[0]]; path != "dict" && n.kind >= List && n.kind <= FrozenSet {
			return m.a.addList(map[string]Kind{"set": Set, "frozenset": FrozenSet}[path], slices.Clone(m.a.items(av[0])), m.opStart, m.cur.pos), true
		}
	}
	return 0, false
}

// fromInts is bytes([104, 105]).
func (m *machine) fromInts(id uint32) (uint32, bool) {
	items := m.a.items(id)
	b := make([]byte, 0, len(items))
	for _, it := range items {
		n := m.a.nodes[it]
		if n.kind != Int || n.b != 0 || n.num < 0 || n.num > 255 {
			return 0, false
		}
		b = append(b, byte(n.num))
	}
	if len(items) == 0 {
		return 0, false
	}
	return m.newText(Bytes, string(b))
}

func reverse(s string) string {
	r := []rune(s)
	slices.Reverse(r)
	return string(r)
}

func (m *machine) foldOperator(path string, av []uint32) (uint32, bool) {
	if len(av) != 2 {
		return 0, false
	}
	switch strings.Trim(path, "_") {
	case "add", "concat", "iadd", "iconcat":
		x, okX := m.content(av[0])
		y, okY := m.content(av[1])
		if okX && okY {
			return m.newText(m.a.nodes[av[0]].kind, x+y)
		}
		if k := m.a.nodes[av[0]].kind; k == m.a.nodes[av[1]].kind && (k == List || k == Tuple) {
			return m.a.addList(k, concat(m.a.items(av[0]), m.a.items(av[1])), m.opStart, m.cur.pos), true
		}
	case "mod", "imod":
		if x, ok := m.content(av[0]); ok {
			args := []uint32{av[1]}
			if m.a.nodes[av[1]].kind == Tuple {
				args = m.a.items(av[1])
			}
			return m.format(m.a.nodes[av[0]].kind, x, "%", args)
		}
	}
	return 0, false
}

// foldMethod computes a method of a constant, as in ”.join(…).
func (m *machine) foldMethod(attr node, name string, av []uint32) (uint32, bool) {
	switch m.a.nodes[attr.a].kind {
	case Str, Bytes:
		return m.textMethod(attr.a, name, av)
	case Dict, List, Tuple:
		if len(av) > 0 && (name == "get" || name == "__getitem__" || name == "pop" || name == "setdefault") {
			return m.item(attr.a, av[0]), true
		}
	case Call:
		if name == "getvalue" || name == "read" {
			return m.payload(attr.a)
		}
	}
	return 0, false
}

func (m *machine) textMethod(self uint32, name string, av []uint32) (uint32, bool) {
	s, ok := m.content(self)
	if !ok {
		return 0, false
	}
	kind := m.a.nodes[self].kind
	text := func(i int) string {
		if i < len(av) {
			t, _ := m.content(av[i])
			return t
		}
		return ""
	}
	switch name {
	case "join":
		if len(av) != 1 {
			return 0, false
		}
		return m.join(kind, s, av[0])
	case "format":
		return m.format(kind, s, "{", av)
	case "__mod__":
		return m.format(kind, s, "%", av)
	case "__add__":
		return m.newText(kind, s+text(0))
	case "replace":
		if len(av) >= 2 && int64(len(s))*int64(len(text(1))+1) <= foldBytes {
			return m.newText(kind, strings.ReplaceAll(s, text(0), text(1)))
		}
	case "lower", "casefold":
		return m.newText(kind, strings.ToLower(s))
	case "upper":
		return m.newText(kind, strings.ToUpper(s))
	case "strip", "lstrip", "rstrip":
		if len(av) == 0 {
			return m.newText(kind, strings.TrimSpace(s))
		}
		return m.newText(kind, strings.Trim(s, text(0)))
	case "encode":
		return m.newText(Bytes, s)
	case "decode":
		return m.newText(Str, s)
	case "hex":
		return m.newText(Str, hex.EncodeToString([]byte(s)))
	case "split":
		var items []uint32
		parts := strings.Fields(s)
		if len(av) > 0 {
			parts = strings.SplitN(s, text(0), keptItems)
		}
		for _, p := range parts[:min(len(parts), keptItems)] {
			items = append(items, m.a.addText(kind, p, m.opStart, m.cur.pos))
		}
		return m.a.addList(List, items, m.opStart, m.cur.pos), true
	case "__getitem__":
		if n := m.a.nodes[firstOf(av)]; n.kind == Int && n.b == 0 && n.num >= 0 && n.num < int64(len(s)) {
			return m.newText(kind, s[n.num:n.num+1])
		}
	}
	return 0, false
}

func (m *machine) join(kind Kind, sep string, list uint32) (uint32, bool) {
	items := m.a.items(list)
	total := 0
	parts := make([]string, 0, len(items))
	for _, it := range items {
		p, ok := m.content(it)
		total += len(p) + len(sep)
		if !ok || total > foldBytes {
			return 0, false
		}
		parts = append(parts, p)
	}
	return m.newText(kind, strings.Join(parts, sep))
}

// format fills the plain holes of a %-format or a {}-format with constants.
func (m *machine) format(kind Kind, s, mark string, av []uint32) (uint32, bool) {
	var b strings.Builder
	next := 0
	for {
		i := strings.Index(s, mark)
		if i < 0 || i+1 >= len(s) {
			b.WriteString(s)
			return m.newText(kind, b.String())
		}
		b.WriteString(s[:i])
		at, rest := next, s[i+2:]
		switch c := s[i+1]; {
		case c == mark[0]:
			b.WriteString(mark)
			s = rest
			continue
		case mark == "{" && c >= '0' && c <= '9' && strings.HasPrefix(rest, "}"):
			at, rest = int(c-'0'), rest[1:]
		case mark == "{" && c == '}', mark == "%" && (c == 's' || c == 'd' || c == 'c' || c == 'r'):
		default:
			return 0, false
		}
		if at >= len(av) || b.Len() > foldBytes {
			return 0, false
		}
		if t, ok := m.content(av[at]); ok {
			b.WriteString(t)
		} else if m.a.plain(av[at : at+1]) {
			b.WriteString(m.a.expr(av[at]))
		} else {
			return 0, false
		}
		s, next = rest, next+1
	}
}

func (m *machine) foldCodec(encode bool, s, codec string) (uint32, bool) {
	switch name := strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(codec)); name {
	case "rot13":
		return m.newText(Str, strings.Map(rot13, s))
	case "hex", "hexcodec", "base64", "base64codec", "zlib", "zlibcodec", "zip", "bz2", "bz2codec":
		if encode {
			return 0, false
		}
		fn := map[byte]string{'h': "binascii.unhexlify", 'b': "base64.b64decode", 'z': "zlib.decompress"}[name[0]]
		if strings.HasPrefix(name, "bz2") {
			fn = "bz2.decompress"
		}
		out, ok := decode(fn, s)
		if !ok {
			return 0, false
		}
		return m.newText(Bytes, out)
	case "", "utf8", "ascii", "latin1", "iso88591", "rawunicodeescape", "unicodeescape":
		if strings.HasSuffix(name, "escape") && !encode {
			s = unescape(s, name == "unicodeescape")
		}
		if !encode {
			return m.newText(Str, s)
		}
		if name == "latin1" || name == "iso88591" {
			s = latin1(s)
		}
		return m.newText(Bytes, s)
	}
	return 0, false
}

// latin1 encodes s, as _codecs.encode(s, 'latin1') does for bytes that were
// pickled below protocol 3. Text that does not fit stays as it is.
func latin1(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff {
			return s
		}
		b = append(b, byte(r))
	}
	return string(b)
}

func rot13(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z':
		return 'a' + (r-'a'+13)%26
	case r >= 'A' && r <= 'Z':
		return 'A' + (r-'A'+13)%26
	default:
		return r
	}
}

// decode undoes one encoding of the standard library within foldBytes.
func decode(fn, s string) (string, bool) {
	var r io.Reader
	var err error
	in := strings.NewReader(s)
	switch fn {
	case "base64.b64decode", "base64.standard_b64decode", "base64.decodebytes", "base64.urlsafe_b64decode", "base64.decodestring", "binascii.a2b_base64":
		s = strings.NewReplacer("\n", "", "\r", "", " ", "", "-", "+", "_", "/", "=", "").Replace(s)
		b, err := base64.RawStdEncoding.DecodeString(s)
		return string(b), err == nil
	case "base64.b32decode":
		b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(s, "="))
		return string(b), err == nil
	case "base64.b16decode", "binascii.unhexlify", "binascii.a2b_hex":
		b, err := hex.DecodeString(s)
		return string(b), err == nil
	case "zlib.decompress":
		r, err = zlib.NewReader(in)
	case "gzip.decompress":
		r, err = gzip.NewReader(in)
	case "bz2.decompress":
		r = bzip2.NewReader(in)
	default:
		return "", false
	}
	if err != nil {
		return "", false
	}
	var out bytes.Buffer
	if n, err := io.Copy(&out, io.LimitReader(r, foldBytes+1)); err != nil || n > foldBytes {
		return "", false
	}
	return out.String(), true
}
