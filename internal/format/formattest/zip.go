// Package formattest builds model files from text, honest and hostile, for the
// tests of readers and checks and for the demonstration data. Nothing here is
// live: a payload is what the caller passes in.
package formattest

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
)

// A ZipEntry is one member of an archive made by [Zip]. The zero values of the
// optional fields give an honest member.
type ZipEntry struct {
	Name string
	Data []byte

	Local    string // name in the local header, if another one
	Deflate  bool
	Flags    uint16 // in both headers
	BadCRC   bool
	Link     bool  // a symbolic link by its mode
	Hidden   bool  // in the body only, not in the directory
	Missing  bool  // in the directory only, not in the body
	Stream   bool  // sizes in a data descriptor, as the writer of torch does
	DirSize  int64 // size that the directory declares, if not the true one
	DirCount int   // how often the directory lists it, if not once
}

// ZipTricks change the archive as a whole.
type ZipTricks struct {
	Prefix  []byte // bytes before the first header; offsets count from behind it
	Comment []byte // of the end record
	Tail    []byte // bytes behind the end record
	Count   int    // added to the number of members that the end record declares
}

// Zip writes an archive of the entries.
func Zip(entries ...ZipEntry) []byte { return ZipWith(ZipTricks{}, entries...) }

// ZipWith writes an archive of the entries with tricks.
func ZipWith(t ZipTricks, entries ...ZipEntry) []byte {
	var body, dir bytes.Buffer
	count := 0
	for _, e := range entries {
		at := body.Len()
		method, packed := uint16(0), e.Data
		if e.Deflate {
			method, packed = 8, Deflate(e.Data)
		}
		sum := crc32.ChecksumIEEE(e.Data)
		if e.BadCRC {
			sum ^= 0xdeadbeef
		}
		local := e.Local
		if local == "" {
			local = e.Name
		}
		flags := e.Flags
		if e.Stream {
			flags |= 8
		}
		if !e.Missing {
			h := []any{uint32(0x04034b50), uint16(20), flags, method, uint32(0)}
			if e.Stream {
				h = append(h, uint32(0), uint32(0), uint32(0))
			} else {
				h = append(h, sum, uint32(len(packed)), uint32(len(e.Data)))
			}
			put(&body, append(h, uint16(len(local)), uint16(0), []byte(local), packed)...)
			if e.Stream {
				put(&body, uint32(0x08074b50), sum, uint32(len(packed)), uint32(len(e.Data)))
			}
		}
		if e.Hidden {
			continue
		}
		size, mode := uint32(len(e.Data)), uint32(0o100644)<<16
		if e.DirSize != 0 {
			size = uint32(e.DirSize)
		}
		if e.Link {
			mode = 0o120777 << 16
		}
		for range max(1, e.DirCount) {
			put(&dir, uint32(0x02014b50), uint16(0x031e), uint16(20), flags, method, uint32(0), sum, uint32(len(packed)), size,
				uint16(len(e.Name)), uint16(0), uint16(0), uint16(0), uint16(0), mode, uint32(at), []byte(e.Name))
			count++
		}
	}
	var out bytes.Buffer
	put(&out, t.Prefix, body.Bytes(), dir.Bytes(), uint32(0x06054b50), uint16(0), uint16(0), uint16(count+t.Count), uint16(count+t.Count),
		uint32(dir.Len()), uint32(body.Len()), uint16(len(t.Comment)), t.Comment, t.Tail)
	return out.Bytes()
}

// Deflate compresses b without a header.
func Deflate(b []byte) []byte {
	var buf bytes.Buffer
	w, _ := flate.NewWriter(&buf, flate.BestCompression) // the level is valid
	_, _ = w.Write(b)                                    // a Buffer takes everything
	_ = w.Close()
	return buf.Bytes()
}

// put writes the values in little-endian order.
func put(w *bytes.Buffer, values ...any) {
	for _, v := range values {
		_ = binary.Write(w, binary.LittleEndian, v) // fixed-size values into a Buffer
	}
}
