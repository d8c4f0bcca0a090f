package pickle

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxDigits   = 64       // of a number that is kept as such
	inlineBytes = 64 << 10 // literals up to this are kept whole
	nameBytes   = 1 << 20  // of a line that names something; longer ones name nothing that exists
	headBytes   = 4 << 10  // of longer ones this much; the rest is read again when needed
)

func parseInt(s string) (int64, bool) {
	s = strings.TrimSpace(strings.ReplaceAll(s, "_", ""))
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

func (m *machine) pushInt(n int64) {
	if n >= 0 && n < 256 {
		m.push(valByte0 + uint32(n))
		return
	}
	m.push(m.a.add(node{kind: Int, num: n, start: m.opStart, size: uint32(m.cur.pos - m.opStart)}))
}

// pushDigits pushes a number that does not fit 64 bits, as text.
func (m *machine) pushDigits(text string) {
	id := m.a.addText(Int, text, m.opStart, m.cur.pos)
	n := &m.a.nodes[id]
	n.b, n.num = uint32(n.num)+1, 0
	m.push(id)
}

// widthOf returns how many bytes follow the number opcodes of fixed width.
func widthOf(op byte) int {
	switch op {
	case opBinInt1, opLong1:
		return 1
	case opBinInt2:
		return 2
	default:
		return 4
	}
}

func (m *machine) opNumber(ctx context.Context, op byte) error {
	switch op {
	case opBinInt1, opBinInt2:
		v, err := m.cur.little(ctx, widthOf(op))
		if err == nil {
			m.pushInt(int64(v))
		}
		return err
	case opBinInt:
		v, err := m.cur.little(ctx, 4)
		if err == nil {
			m.pushInt(int64(int32(uint32(v))))
		}
		return err
	case opBinFloat:
		b, err := m.cur.fixed(ctx, 8)
		if err != nil {
			return err
		}
		var v uint64
		for _, x := range b {
			v = v<<8 | uint64(x)
		}
		m.push(m.a.add(node{kind: Float, num: int64(v), b: 1, start: m.opStart, size: 9}))
		return nil
	case opLong1, opLong4:
		return m.binaryLong(ctx, op)
	}
	text, n, err := m.cur.line(ctx, lineRule{keep: maxDigits, only: inNumber})
	if err != nil {
		return err
	}
	return m.textNumber(op, text, n)
}

// inNumber reports whether int or float of Python accept b somewhere: digits,
// signs, letters (of infinity, nan, exponents and bases) and white space.
func inNumber(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b|0x20 && b|0x20 <= 'z' || b == '.' || b == '_' || b == '+' || b == '-' || b == ' ' || '\t' <= b && b <= '\r'
}

func (m *machine) textNumber(op byte, text string, n int64) error {
	switch {
	case op == opInt && text == "00":
		m.push(valFalse)
	case op == opInt && text == "01":
		m.push(valTrue)
	case op == opFloat:
		if _, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err != nil && !strings.Contains(err.Error(), "range") {
			return fmt.Errorf("number %q: %w", text, errOperand)
		}
		m.push(m.a.addText(Float, strings.TrimSpace(text), m.opStart, m.cur.pos))
	default:
		digits := strings.TrimSpace(text)
		if op == opLong {
			digits = strings.TrimSuffix(digits, "L")
		}
		v, err := strconv.ParseInt(digits, 0, 64) // base 0: 0x6f is a number too
		if err == nil {
			m.pushInt(v)
			return nil
		}
		if !errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("number %q: %w", text, errOperand)
		}
		if n > maxDigits {
			digits += "…"
		}
		m.pushDigits(digits)
	}
	return nil
}

func (m *machine) binaryLong(ctx context.Context, op byte) error {
	n, err := m.cur.little(ctx, widthOf(op))
	if err != nil {
		return err
	}
	if op == opLong4 && n > math.MaxInt32 {
		return fmt.Errorf("number of negative length: %w", errOperand)
	}
	b, err := m.cur.counted(ctx, n, maxDigits, false)
	if err != nil {
		return err
	}
	if n > 8 {
		var hex strings.Builder
		hex.WriteString("0x")
		if n > maxDigits {
			hex.WriteString("…")
		}
		for i := len(b) - 1; i >= 0; i-- {
			fmt.Fprintf(&hex, "%02x", b[i])
		}
		m.pushDigits(hex.String())
		return nil
	}
	var v uint64
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	if n > 0 && n < 8 && b[n-1]&0x80 != 0 {
		v |= ^uint64(0) << (8 * n)
	}
	m.pushInt(int64(v))
	return nil
}

// textOps says for each string opcode how many bytes hold its length (0: one
// line), and whether it makes bytes.
var textOps = map[byte]struct {
	width int
	bytes bool
}{
	opBinString: {4, false}, opShortBinString: {1, false},
	opBinUnicode: {4, false}, opShortBinUnicode: {1, false}, opBinUnicode8: {8, false},
	opBinBytes: {4, true}, opShortBinBytes: {1, true}, opBinBytes8: {8, true}, opByteArray8: {8, true},
}

func (m *machine) opText(ctx context.Context, op byte) error {
	if op == opString || op == opUnicode {
		return m.textLine(ctx, op)
	}
	t := textOps[op]
	n, err := m.cur.little(ctx, t.width)
	if err != nil {
		return err
	}
	if n > math.MaxInt64 || op == opBinString && n > math.MaxInt32 {
		return fmt.Errorf("string of negative length: %w", errOperand)
	}
	keep := int64(n)
	if keep > inlineBytes {
		keep = headBytes
	}
	text, err := m.cur.counted(ctx, n, min(keep, m.job.lim.String), t.bytes)
	if err != nil {
		return err
	}
	kind := Str
	if t.bytes {
		kind = Bytes
	}
	if unicodeOp := op == opBinUnicode || op == opShortBinUnicode || op == opBinUnicode8; unicodeOp && int64(len(text)) == int64(n) && !validUTF8(text) {
		return fmt.Errorf("string that is not UTF-8: %w", errOperand)
	}
	id := m.a.addText(kind, text, m.opStart, m.cur.pos)
	if int64(len(text)) < int64(n) {
		m.cut(id, int64(n))
	}
	m.push(id)
	return nil
}

// validUTF8 reports whether s is UTF-8 or the surrogates that Python passes.
func validUTF8(s string) bool {
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			if len(s) < 3 || s[0] != 0xed || s[1]&0xe0 != 0xa0 || s[2]&0xc0 != 0x80 {
				return false
			}
			n = 3
		}
		s = s[n:]
	}
	return true
}

func (m *machine) cut(id uint32, full int64) {
	if m.a.long == nil {
		m.a.long = map[uint32]int64{}
	}
	m.a.long[id] = full
	m.a.used += 2 * entryBytes
	m.a.nodes[id].flags |= flagCut
}

func (m *machine) textLine(ctx context.Context, op byte) error {
	text, n, err := m.cur.line(ctx, lineRule{keep: int(m.job.lim.String)})
	if err != nil {
		return err
	}
	cut := n > int64(len(text))
	if op == opUnicode {
		if !cut && badEscape(text, false) {
			return fmt.Errorf("text with a broken escape: %w", errOperand)
		}
		text = unescape(text, false)
	} else {
		text = strings.TrimRight(text, " \t\r\f\v")
		if cut {
			text += text[:min(1, len(text))]
		}
		if len(text) < 2 || text[0] != text[len(text)-1] || text[0] != '"' && text[0] != '\'' {
			return fmt.Errorf("string without quotes: %w", errOperand)
		}
		if badEscape(text, true) {
			return fmt.Errorf("string with a broken escape: %w", errOperand)
		}
		text = unescape(text[1:len(text)-1], true)
	}
	id := m.a.addText(Str, text, m.opStart, m.cur.pos)
	if cut {
		m.cut(id, n)
	}
	m.push(id)
	return nil
}

// badEscape reports whether s has a hexadecimal escape that is cut short, which
// Python refuses: \x in quoted strings, \u and \U in raw-unicode-escape text.
func badEscape(s string, quoted bool) bool {
	for i := 0; i+1 < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		i++
		var digits int
		switch {
		case quoted && s[i] == 'x':
			digits = 2
		case !quoted && s[i] == 'u':
			digits = 4
		case !quoted && s[i] == 'U':
			digits = 8
		default:
			continue
		}
		if i+digits >= len(s) {
			return true
		}
		if v, err := strconv.ParseUint(s[i+1:i+1+digits], 16, 32); err != nil || v > utf8.MaxRune {
			return true
		}
	}
	return false
}

// unescape undoes the escapes of Python's string literals, or only \u and \U
// as the raw-unicode-escape codec does.
func unescape(s string, all bool) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch c := s[i]; {
		case c == 'u' && !all:
			i += hexRune(&b, s[i+1:], 4)
		case c == 'U' && !all:
			i += hexRune(&b, s[i+1:], 8)
		case !all:
			b.WriteString(s[i-1 : i+1])
		case c == 'x' && i+2 < len(s):
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
			}
		case c >= '0' && c <= '7':
			j := i
			for j < len(s) && j < i+3 && s[j] >= '0' && s[j] <= '7' {
				j++
			}
			v, _ := strconv.ParseUint(s[i:j], 8, 16)
			b.WriteByte(byte(v))
			i = j - 1
		default:
			if k := strings.IndexByte(`\'"abfnrtv`, c); k >= 0 {
				b.WriteByte("\\'\"\a\b\f\n\r\t\v"[k])
			} else {
				b.WriteByte('\\')
				b.WriteByte(c)
			}
		}
	}
	return b.String()
}

// hexRune writes the rune of n hex digits at the start of s and returns how
// many bytes it used.
func hexRune(b *strings.Builder, s string, n int) int {
	if len(s) >= n {
		if v, err := strconv.ParseUint(s[:n], 16, 32); err == nil && v <= utf8.MaxRune {
			b.WriteRune(rune(v))
			return n
		}
	}
	return 0
}
