// Package pickletest assembles pickle streams from text, for tests. The parts
// are strings of opcodes, to be joined with +.
package pickletest

import (
	"encoding/binary"
	"strings"
)

// Opcodes without operands, by their names in CPython's Lib/pickle.py.
const (
	Stop        = "."
	Mark        = "("
	Pop         = "0"
	PopMark     = "1"
	Dup         = "2"
	None        = "N"
	Reduce      = "R"
	Build       = "b"
	NewObj      = "\x81"
	NewObjEx    = "\x92"
	Obj         = "o"
	List        = "]"
	Dict        = "}"
	EmptySet    = "\x8f"
	EmptyTuple  = ")"
	Append      = "a"
	Appends     = "e"
	AddItems    = "\x90"
	SetItem     = "s"
	SetItems    = "u"
	StackGlobal = "\x93"
	Memoize     = "\x94"
)

// Proto declares a protocol.
func Proto(n int) string { return "\x80" + string([]byte{byte(n)}) }

// Global is the GLOBAL opcode.
func Global(module, name string) string { return "c" + module + "\n" + name + "\n" }

// Named is two strings and STACK_GLOBAL.
func Named(module, name string) string { return Str(module) + Str(name) + StackGlobal }

// Str is the shortest Unicode opcode for s.
func Str(s string) string { return counted("\x8c", "X", s) }

// Bytes is the shortest bytes opcode for s.
func Bytes(s string) string { return counted("C", "B", s) }

func counted(short, long, s string) string {
	if len(s) < 256 {
		return short + string([]byte{byte(len(s))}) + s
	}
	return long + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// Int is BININT.
func Int(n int32) string { return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }

// Tuple makes a tuple of parts.
func Tuple(parts ...string) string { return Mark + strings.Join(parts, "") + "t" }

// ListOf makes a list of parts.
func ListOf(parts ...string) string { return List + Mark + strings.Join(parts, "") + Appends }

// DictOf makes a dict of alternating keys and values.
func DictOf(parts ...string) string { return Dict + Mark + strings.Join(parts, "") + SetItems }

// Call is f(*args).
func Call(f string, args ...string) string { return f + Tuple(args...) + Reduce }

// New is cls.__new__(cls, *args).
func New(cls string, args ...string) string { return cls + Tuple(args...) + NewObj }

// Put is BINPUT.
func Put(i byte) string { return "q" + string([]byte{i}) }

// Get is BINGET.
func Get(i byte) string { return "h" + string([]byte{i}) }

// Frame is a FRAME around body.
func Frame(body string) string {
	return "\x95" + string(binary.LittleEndian.AppendUint64(nil, uint64(len(body)))) + body
}

// Stream is a whole stream of protocol 4.
func Stream(body string) []byte { return []byte(Proto(4) + body + Stop) }
