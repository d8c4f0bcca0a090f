package warden

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrCanonical is wrapped by [Canonical] for values without a canonical form.
var ErrCanonical = errors.New("no canonical JSON form")

// Canonical returns the one JSON text of v that is hashed and signed: RFC 8785
// (JSON Canonicalization Scheme). Names are sorted by UTF-16 code units,
// numbers written as ECMAScript does, strings escaped as little as possible.
// Equal values give equal bytes. Integers beyond ±2^53 are refused, because
// readers that use float64 would change them.
func Canonical(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCanonical, err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCanonical, err)
	}
	return appendCanonical(nil, tree)
}

func appendCanonical(b []byte, v any) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case json.Number:
		return appendNumber(b, v)
	case string:
		return appendString(b, v)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendCanonical(b, e); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case map[string]any:
		return appendObject(b, v)
	default:
		return nil, fmt.Errorf("%w: %T", ErrCanonical, v)
	}
}

func appendObject(b []byte, m map[string]any) ([]byte, error) {
	type name struct {
		text  string
		units []uint16
	}
	names := make([]name, 0, len(m))
	for k := range m {
		names = append(names, name{k, utf16.Encode([]rune(k))})
	}
	slices.SortFunc(names, func(x, y name) int { return slices.Compare(x.units, y.units) })
	b = append(b, '{')
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendString(b, n.text); err != nil {
			return nil, err
		}
		b = append(b, ':')
		if b, err = appendCanonical(b, m[n.text]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// appendNumber writes n as ECMAScript's Number.prototype.toString does.
func appendNumber(b []byte, n json.Number) ([]byte, error) {
	const maxSafe = 1 << 53
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		if i > maxSafe || i < -maxSafe {
			return nil, fmt.Errorf("%w: integer %s is beyond 2^53", ErrCanonical, n)
		}
		return strconv.AppendInt(b, i, 10), nil
	}
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, fmt.Errorf("%w: number %s", ErrCanonical, n)
	}
	switch abs := math.Abs(f); {
	case abs == 0:
		return append(b, '0'), nil
	case abs >= maxSafe && abs < 1e21 && f == math.Trunc(f) && !bytes.ContainsAny([]byte(n), ".eE"):
		return nil, fmt.Errorf("%w: integer %s is beyond 2^53", ErrCanonical, n)
	case abs >= 1e-6 && abs < 1e21:
		return strconv.AppendFloat(b, f, 'f', -1, 64), nil
	}
	text := strconv.FormatFloat(f, 'e', -1, 64) // "1e-07", ECMAScript writes "1e-7"
	mantissa, exp, _ := bytes.Cut([]byte(text), []byte("e"))
	b = append(append(b, mantissa...), 'e', exp[0])
	return append(b, bytes.TrimLeft(exp[1:], "0")...), nil
}

func appendString(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("%w: invalid UTF-8", ErrCanonical)
	}
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < 0x20:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"'), nil
}
