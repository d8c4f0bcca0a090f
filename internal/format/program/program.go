// Package program finds native programs and scripts in bytes: by their signature
// and by a header that makes sense, since a signature alone is in any large file
// of numbers by chance.
//
// Sources: the ELF specification 1.2; the PE format of Microsoft; loader.h of
// XNU; the WebAssembly core specification 1.0.
package program

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// The kinds of program.
const (
	ELF    = "ELF"
	PE     = "PE"
	MachO  = "Mach-O"
	Wasm   = "WebAssembly"
	Script = "script"
)

// A Hit is the beginning of a program.
type Hit struct {
	Kind   string
	At     int
	Broken bool // the signature of ELF in all its bytes, and no header behind it
}

// Reach is how many bytes from its beginning tell a program.
const Reach = 4096

// marks are the signatures and what checks the header behind each.
var marks = []struct {
	kind, magic string
	check       func(b []byte) bool
}{
	{ELF, "\x7fELF", elf},
	{PE, "MZ", pe},
	{MachO, "\xcf\xfa\xed\xfe", func(b []byte) bool { return macho(b, binary.LittleEndian, 32) }},
	{MachO, "\xce\xfa\xed\xfe", func(b []byte) bool { return macho(b, binary.LittleEndian, 28) }},
	{MachO, "\xfe\xed\xfa\xcf", func(b []byte) bool { return macho(b, binary.BigEndian, 32) }},
	{MachO, "\xfe\xed\xfa\xce", func(b []byte) bool { return macho(b, binary.BigEndian, 28) }},
	{MachO, "\xca\xfe\xba\xbe", fat},
	{Wasm, "\x00asm", wasm},
	{Script, "#!/", script},
}

// At returns the kind of the program that b begins with, or "".
func At(b []byte) string {
	for _, m := range marks {
		if bytes.HasPrefix(b, []byte(m.magic)) && m.check(b) {
			return m.kind
		}
	}
	return ""
}

// Find returns the programs in b that begin at lo or later and before hi, in
// order. One that begins less than [Reach] before the end of b may be missed.
func Find(b []byte, lo, hi int) (hits []Hit) {
	lo, hi = max(0, lo), min(hi, len(b))
	for _, m := range marks {
		for at := lo; at < hi; at++ {
			i := bytes.Index(b[at:], []byte(m.magic))
			if i < 0 || at+i >= hi {
				break
			}
			if at += i; m.check(b[at:]) {
				hits = append(hits, Hit{Kind: m.kind, At: at})
			} else if m.kind == ELF && ident(b[at:]) {
				hits = append(hits, Hit{Kind: ELF, At: at, Broken: true})
			}
		}
	}
	slices.SortFunc(hits, func(a, b Hit) int { return a.At - b.At })
	return hits
}

// elfMachines are the processors of computers that open models. Code for
// graphics processors, which compiled engines hold, is none of them.
var elfMachines = []uint16{2, 3, 8, 18, 20, 21, 22, 40, 43, 50, 62, 183, 243, 258}

// ident reports whether b begins with the sixteen bytes that begin every ELF file,
// of one for computers as far as they tell.
func ident(b []byte) bool {
	return len(b) >= 20 && b[4] >= 1 && b[4] <= 2 && b[5] >= 1 && b[5] <= 2 && b[6] == 1 && b[7] <= 18 &&
		string(b[9:16]) == "\x00\x00\x00\x00\x00\x00\x00" && string(b[18:20]) == "\x00\x00"
}

func elf(b []byte) bool {
	if len(b) < 52 || b[4] < 1 || b[4] > 2 || b[5] < 1 || b[5] > 2 || b[6] != 1 || b[7] > 18 {
		return false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b[5] == 2 {
		order = binary.BigEndian
	}
	head, at := uint16(52), 40
	if b[4] == 2 {
		head, at = 64, 52
	}
	if len(b) < at+2 {
		return false
	}
	kind := order.Uint16(b[16:])
	return kind >= 1 && kind <= 4 && slices.Contains(elfMachines, order.Uint16(b[18:])) && order.Uint32(b[20:]) == 1 && order.Uint16(b[at:]) == head
}

func pe(b []byte) bool {
	if len(b) < 64 {
		return false
	}
	at := int64(binary.LittleEndian.Uint32(b[60:]))
	if at < 64 || at > Reach-64 || at+26 > int64(len(b)) || string(b[at:at+4]) != "PE\x00\x00" {
		return false
	}
	machine, sections, magic := binary.LittleEndian.Uint16(b[at+4:]), binary.LittleEndian.Uint16(b[at+6:]), binary.LittleEndian.Uint16(b[at+24:])
	known := []uint16{0x14c, 0x1c0, 0x1c4, 0x200, 0x8664, 0xaa64, 0x5064}
	return slices.Contains(known, machine) && sections > 0 && sections <= 96 && (magic == 0x10b || magic == 0x20b)
}

// macho checks a header of so many bytes and its first load command.
func macho(b []byte, order binary.ByteOrder, head int) bool {
	if len(b) < head+8 {
		return false
	}
	processor, kind, n, size := order.Uint32(b[4:])&0xffffff, order.Uint32(b[12:]), order.Uint32(b[16:]), order.Uint32(b[20:])
	first := order.Uint32(b[head+4:])
	return slices.Contains([]uint32{7, 12, 14, 18}, processor) && kind >= 1 && kind <= 12 && n >= 1 && n <= 4096 &&
		size >= 8 && size < 1<<20 && first >= 8 && first <= size && first%4 == 0
}

// fat checks the table of a file for several processors. Java classes begin with
// the same bytes.
func fat(b []byte) bool {
	if len(b) < 28 {
		return false
	}
	n, processor, align := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])&0xffffff, binary.BigEndian.Uint32(b[24:])
	return n >= 1 && n < 20 && slices.Contains([]uint32{7, 12, 18}, processor) && align <= 20
}

func wasm(b []byte) bool {
	return len(b) >= 9 && string(b[4:8]) == "\x01\x00\x00\x00" && b[8] <= 12
}

// script checks for an interpreter and a body of text.
func script(b []byte) bool {
	const body = 32
	end := bytes.IndexByte(b[:min(len(b), 128)], '\n')
	if end < 0 || len(b) < end+body || !slices.ContainsFunc([]string{"/bin/", "/usr/bin/", "/usr/local/bin/"}, func(dir string) bool {
		return bytes.HasPrefix(b[2:], []byte(dir))
	}) {
		return false
	}
	for _, c := range b[:end+body] {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' || c >= 0x7f {
			return false
		}
	}
	return true
}
