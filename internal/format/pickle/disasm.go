package pickle

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/modelwarden/warden/detect"
)

// An Instruction is one opcode as it is written, whatever a machine would make
// of it.
type Instruction struct {
	Start, End int64
	Name       string // as in pickletools: "BINUNICODE"
	Arg        string // its operand for people, cut; "" if it has none
}

// An operand says how the operand of an opcode is written (CPython,
// Lib/pickletools.py). Positive numbers are the bytes of an integer.
type operand int8

const (
	none     operand = 0
	line     operand = -1 // up to and with a newline
	lines    operand = -2 // two lines
	float    operand = -3 // 8 bytes, big-endian
	counted1 operand = -4 // that many bytes of a length, then so many bytes
	counted4 operand = -5
	counted8 operand = -6
)

type mnemonic struct {
	name string
	arg  operand
}

// mnemonics name the opcodes as pickletools does.
var mnemonics = map[byte]mnemonic{
	opMark: {"MARK", none}, opStop: {"STOP", none}, opPop: {"POP", none}, opPopMark: {"POP_MARK", none}, opDup: {"DUP", none},
	opFloat: {"FLOAT", line}, opInt: {"INT", line}, opBinInt: {"BININT", 4}, opBinInt1: {"BININT1", 1}, opLong: {"LONG", line},
	opBinInt2: {"BININT2", 2}, opNone: {"NONE", none}, opPersID: {"PERSID", line}, opBinPersID: {"BINPERSID", none},
	opReduce: {"REDUCE", none}, opString: {"STRING", line}, opBinString: {"BINSTRING", counted4}, opShortBinString: {"SHORT_BINSTRING", counted1},
	opUnicode: {"UNICODE", line}, opBinUnicode: {"BINUNICODE", counted4}, opAppend: {"APPEND", none}, opBuild: {"BUILD", none},
	opGlobal: {"GLOBAL", lines}, opDict: {"DICT", none}, opEmptyDict: {"EMPTY_DICT", none}, opAppends: {"APPENDS", none},
	opGet: {"GET", line}, opBinGet: {"BINGET", 1}, opInst: {"INST", lines}, opLongBinGet: {"LONG_BINGET", 4}, opList: {"LIST", none},
	opEmptyList: {"EMPTY_LIST", none}, opObj: {"OBJ", none}, opPut: {"PUT", line}, opBinPut: {"BINPUT", 1}, opLongBinPut: {"LONG_BINPUT", 4},
	opSetItem: {"SETITEM", none}, opTuple: {"TUPLE", none}, opEmptyTuple: {"EMPTY_TUPLE", none}, opSetItems: {"SETITEMS", none},
	opBinFloat: {"BINFLOAT", float}, opProto: {"PROTO", 1}, opNewObj: {"NEWOBJ", none}, opExt1: {"EXT1", 1}, opExt2: {"EXT2", 2}, opExt4: {"EXT4", 4},
	opTuple1: {"TUPLE1", none}, opTuple2: {"TUPLE2", none}, opTuple3: {"TUPLE3", none}, opNewTrue: {"NEWTRUE", none}, opNewFalse: {"NEWFALSE", none},
	opLong1: {"LONG1", counted1}, opLong4: {"LONG4", counted4}, opBinBytes: {"BINBYTES", counted4}, opShortBinBytes: {"SHORT_BINBYTES", counted1},
	opShortBinUnicode: {"SHORT_BINUNICODE", counted1}, opBinUnicode8: {"BINUNICODE8", counted8}, opBinBytes8: {"BINBYTES8", counted8},
	opEmptySet: {"EMPTY_SET", none}, opAddItems: {"ADDITEMS", none}, opFrozenSet: {"FROZENSET", none}, opNewObjEx: {"NEWOBJ_EX", none},
	opStackGlobal: {"STACK_GLOBAL", none}, opMemoize: {"MEMOIZE", none}, opFrame: {"FRAME", 8}, opByteArray8: {"BYTEARRAY8", counted8},
	opNextBuffer: {"NEXT_BUFFER", none}, opReadonlyBuffer: {"READONLY_BUFFER", none},
}

// shownBytes bounds the text of an operand.
const shownBytes = 96

// Disassemble lists at most limit instructions of the stream that begins at
// start, up to its STOP, as pickletools.dis would. The error says why it ended
// before: what was listed is right. It runs nothing.
func Disassemble(ctx context.Context, r io.ReaderAt, size, start int64, limit int) ([]Instruction, error) {
	c := newCursor(r, size, start)
	var out []Instruction
	for len(out) < limit {
		at := c.pos
		op, err := c.byte(ctx)
		if err != nil {
			return out, err
		}
		m, ok := mnemonics[op]
		if !ok {
			return out, fmt.Errorf("byte %d: %w: 0x%02x", at, errOpcode, op)
		}
		arg, err := c.operand(ctx, m.arg, op)
		if err != nil {
			return out, fmt.Errorf("byte %d: operand of %s: %w", at, m.name, err)
		}
		out = append(out, Instruction{Start: at, End: c.pos, Name: m.name, Arg: detect.Printable(arg, shownBytes)})
		if op == opStop {
			return out, nil
		}
	}
	return out, fmt.Errorf("more than %d instructions: %w", limit, detect.ErrLimit)
}

func (c *cursor) operand(ctx context.Context, kind operand, op byte) (string, error) {
	switch kind {
	case none:
		return "", nil
	case line:
		return c.until(ctx)
	case lines:
		module, err := c.until(ctx)
		if err != nil {
			return "", err
		}
		name, err := c.until(ctx)
		return module + " " + name, err
	case float:
		b, err := c.fixed(ctx, 8)
		if err != nil {
			return "", err
		}
		return strconv.FormatFloat(math.Float64frombits(binary.BigEndian.Uint64(b)), 'g', -1, 64), nil
	case counted1, counted4, counted8:
		width := map[operand]int{counted1: 1, counted4: 4, counted8: 8}[kind]
		n, err := c.little(ctx, width)
		if err != nil {
			return "", err
		}
		text, err := c.counted(ctx, n, shownBytes, false)
		if op == opLong1 || op == opLong4 || op == opBinBytes || op == opShortBinBytes || op == opBinBytes8 || op == opByteArray8 {
			return fmt.Sprintf("%x", text), err
		}
		return text, err
	default:
		n, err := c.little(ctx, int(kind))
		if op == opBinInt {
			return strconv.FormatInt(int64(int32(uint32(n))), 10), err
		}
		return strconv.FormatUint(n, 10), err
	}
}

// until reads a line of any length and keeps its beginning.
func (c *cursor) until(ctx context.Context) (string, error) {
	var kept bytes.Buffer
	for {
		b, err := c.byte(ctx)
		if err != nil {
			return kept.String(), err
		}
		if b == '\n' {
			return kept.String(), nil
		}
		if kept.Len() < shownBytes {
			kept.WriteByte(b)
		}
	}
}
