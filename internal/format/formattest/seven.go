package formattest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"unicode/utf16"
)

// A SevenEntry is one member of an archive made by [SevenZip].
type SevenEntry struct {
	Name string
	Data []byte
	Link bool
}

// SevenZip writes an archive with all members in one folder. The method is a
// method id and its properties, for instance "\x00" to store; pack compresses
// the joined members, and nil stores them.
func SevenZip(method, props string, pack func([]byte) []byte, entries ...SevenEntry) []byte {
	var data []byte
	for _, e := range entries {
		data = append(data, e.Data...)
	}
	packed := data
	if pack != nil {
		packed = pack(data)
	}
	var d bytes.Buffer
	d.WriteString("\x01\x04\x06")
	sevenNumbers(&d, 0, 1)
	d.WriteByte(9)
	sevenNumbers(&d, len(packed))
	d.WriteString("\x00\x07\x0b\x01\x00\x01")
	flags := byte(len(method))
	if props != "" {
		flags |= 0x20
	}
	d.WriteByte(flags)
	d.WriteString(method)
	if props != "" {
		sevenNumbers(&d, len(props))
		d.WriteString(props)
	}
	d.WriteByte(12)
	sevenNumbers(&d, len(data))
	d.WriteString("\x00\x08\x0d")
	sevenNumbers(&d, len(entries))
	if len(entries) > 1 {
		d.WriteByte(9)
		for _, e := range entries[:len(entries)-1] {
			sevenNumbers(&d, len(e.Data))
		}
	}
	d.WriteString("\x00\x00\x05")
	sevenNumbers(&d, len(entries))
	names := []byte{0}
	attrs := []byte{1, 0}
	for _, e := range entries {
		for _, u := range append(utf16.Encode([]rune(e.Name)), 0) {
			names = binary.LittleEndian.AppendUint16(names, u)
		}
		attr := uint32(0)
		if e.Link {
			attr = 0xa1ff8000
		}
		attrs = binary.LittleEndian.AppendUint32(attrs, attr)
	}
	d.WriteByte(0x11)
	sevenNumbers(&d, len(names))
	d.Write(names)
	d.WriteByte(0x15)
	sevenNumbers(&d, len(attrs))
	d.Write(attrs)
	d.WriteString("\x00\x00")

	next := binary.LittleEndian.AppendUint64(nil, uint64(len(packed)))
	next = binary.LittleEndian.AppendUint64(next, uint64(d.Len()))
	next = binary.LittleEndian.AppendUint32(next, crc32.ChecksumIEEE(d.Bytes()))
	out := append([]byte("7z\xbc\xaf\x27\x1c\x00\x04"), binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(next))...)
	return append(append(append(out, next...), packed...), d.Bytes()...)
}

// sevenNumbers writes each number in three bytes.
func sevenNumbers(d *bytes.Buffer, ns ...int) {
	for _, n := range ns {
		d.Write([]byte{0xc0 | byte(n>>16), byte(n), byte(n >> 8)})
	}
}
