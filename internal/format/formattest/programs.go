package formattest

import "encoding/binary"

// ELF is the header of a 64-bit program for x86, with nothing behind it.
func ELF() []byte {
	b := make([]byte, 128)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 3)
	le.PutUint16(b[18:], 62)
	le.PutUint32(b[20:], 1)
	le.PutUint16(b[52:], 64)
	return b
}

// PE is the header of a 64-bit program for Windows, with nothing behind it.
func PE() []byte {
	b := make([]byte, 400)
	copy(b, "MZ")
	le := binary.LittleEndian
	le.PutUint32(b[60:], 128)
	copy(b[128:], "PE\x00\x00")
	le.PutUint16(b[132:], 0x8664)
	le.PutUint16(b[134:], 3)
	le.PutUint16(b[152:], 0x20b)
	return b
}

// MachO is the header of a 64-bit program for macOS, with nothing behind it.
func MachO() []byte {
	b := make([]byte, 200)
	le := binary.LittleEndian
	for i, v := range []uint32{0xfeedfacf, 0x0100000c, 0, 2, 1, 72, 0, 0, 0x19, 72} {
		le.PutUint32(b[4*i:], v)
	}
	return b
}
