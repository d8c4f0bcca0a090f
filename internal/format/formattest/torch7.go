package formattest

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// Torch7 writes objects of Lua Torch, in its binary form or, with ASCII, in its
// other one.
type Torch7 struct {
	ASCII bool
	b     []byte
	index int
}

// Int writes numbers of type int.
func (t *Torch7) Int(ns ...int) *Torch7 {
	for _, n := range ns {
		if t.ASCII {
			t.b = fmt.Appendf(t.b, "%d\n", n)
		} else {
			t.b = binary.LittleEndian.AppendUint32(t.b, uint32(n))
		}
	}
	return t
}

// Longs writes numbers of type long in a row.
func (t *Torch7) Longs(ns ...int) *Torch7 {
	for _, n := range ns {
		if t.ASCII {
			t.b = fmt.Appendf(t.b, "%d ", n)
		} else {
			t.b = binary.LittleEndian.AppendUint64(t.b, uint64(n))
		}
	}
	if t.ASCII && len(ns) > 0 {
		t.b[len(t.b)-1] = '\n'
	}
	return t
}

// Chars writes a length and a text.
func (t *Torch7) Chars(s string) *Torch7 {
	t.Int(len(s))
	t.b = append(t.b, s...)
	if t.ASCII && s != "" {
		t.b = append(t.b, '\n')
	}
	return t
}

// Number writes an object that is a number.
func (t *Torch7) Number(v float64) *Torch7 {
	t.Int(1)
	if t.ASCII {
		t.b = fmt.Appendf(t.b, "%g\n", v)
	} else {
		t.b = binary.LittleEndian.AppendUint64(t.b, math.Float64bits(v))
	}
	return t
}

// Text writes an object that is a text.
func (t *Torch7) Text(s string) *Torch7 { return t.Int(2).Chars(s) }

// Table begins a table of n pairs.
func (t *Torch7) Table(n int) *Torch7 { t.index++; return t.Int(3, t.index, n) }

// Object begins an object of a class.
func (t *Torch7) Object(class string) *Torch7 {
	t.index++
	return t.Int(4, t.index).Chars("V 1").Chars(class)
}

// Function writes a function without values of its own.
func (t *Torch7) Function(code string) *Torch7 {
	t.index++
	t.Int(8, t.index).Chars(code)
	return t.Table(0)
}

// Tensor writes a tensor of numbers.
func (t *Torch7) Tensor(values ...float32) *Torch7 {
	t.Object("torch.FloatTensor").Int(1).Longs(len(values)).Longs(1).Longs(1)
	t.Object("torch.FloatStorage").Longs(len(values))
	if t.ASCII {
		t.b = append(t.b, strings.Trim(fmt.Sprint(values), "[]")+"\n"...)
		return t
	}
	for _, v := range values {
		t.b = binary.LittleEndian.AppendUint32(t.b, math.Float32bits(v))
	}
	return t
}

// Bytes returns the file.
func (t *Torch7) Bytes() []byte { return t.b }

// LuaJIT is the beginning of bytecode that names the texts.
func LuaJIT(names ...string) string {
	b := []byte("\x1bLJ\x01\x02")
	for _, n := range names {
		b = append(append(b, byte(len(n)+5)), n...)
	}
	return string(append(b, 0))
}
