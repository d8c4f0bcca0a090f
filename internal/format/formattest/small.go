package formattest

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"fmt"
)

// A TarEntry is one member of an archive made by [Tar].
type TarEntry struct {
	Name string
	Data []byte
	Type byte   // '0' if zero
	Link string // target of a link
	PAX  string // records before the member, as "path=x\n" lines without lengths
}

// Tar writes a ustar archive. Long names are the caller's affair: use PAX.
func Tar(entries ...TarEntry) []byte {
	var out bytes.Buffer
	for _, e := range entries {
		if e.PAX != "" {
			var rec bytes.Buffer
			for line := range bytes.Lines([]byte(e.PAX)) {
				n := len(line) + 2 // the length counts its own digits
				for len(fmt.Sprint(n))+1+len(line) != n {
					n++
				}
				fmt.Fprintf(&rec, "%d %s", n, line)
			}
			tarBlock(&out, TarEntry{Name: "pax", Type: 'x', Data: rec.Bytes()})
		}
		tarBlock(&out, e)
	}
	out.Write(make([]byte, 1024))
	return out.Bytes()
}

func tarBlock(out *bytes.Buffer, e TarEntry) {
	if e.Type == 0 {
		e.Type = '0'
	}
	h := make([]byte, 512)
	copy(h, e.Name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x0000000000000\x00", len(e.Data)))
	h[156] = e.Type
	copy(h[157:], e.Link)
	copy(h[257:], "ustar\x0000")
	copy(h[148:], "        ")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	out.Write(h)
	out.Write(e.Data)
	out.Write(make([]byte, (512-len(e.Data)%512)%512))
}

// Gzip compresses b.
func Gzip(b []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write(b) // a Buffer takes everything
	_ = w.Close()
	return buf.Bytes()
}

// Zlib compresses b.
func Zlib(b []byte) []byte {
	var buf bytes.Buffer
	w := zlib.NewWriter(&buf)
	_, _ = w.Write(b) // a Buffer takes everything
	_ = w.Close()
	return buf.Bytes()
}

// Npy writes an array file with the header as given, padded as numpy does.
func Npy(header string, data []byte) []byte {
	pad := (64 - (10+len(header)+1)%64) % 64
	header += string(bytes.Repeat([]byte(" "), pad)) + "\n"
	var out bytes.Buffer
	out.WriteString("\x93NUMPY\x01\x00")
	put(&out, uint16(len(header)), []byte(header), data)
	return out.Bytes()
}

// NpyHeader returns the header of an honest array.
func NpyHeader(descr, shape string) string {
	return fmt.Sprintf("{'descr': %s, 'fortran_order': False, 'shape': %s, }", descr, shape)
}

// Safetensors writes a file with the JSON header as given.
func Safetensors(header string, data []byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), data...)
}
