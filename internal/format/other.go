package format

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"

	"github.com/modelwarden/warden/internal/format/program"
)

// A mark recognises a format whose reader does not exist yet.
type mark struct {
	name  string
	at    int
	magic string
}

// marks are formats that are recognised and not read: they are never clean.
var marks = []mark{
	{"rar", 0, "Rar!\x1a\x07"},
	{"rdata", 0, "RDX2\n"},
	{"rdata", 0, "RDX3\n"},
	{"rdata", 0, "RDA2\n"},
	{"rdata", 0, "RDA3\n"},
	{"rds", 0, "X\n\x00\x00\x00"},
	{"rds", 0, "A\n2\n"},
	{"rds", 0, "A\n3\n"},
	{"catboost", 0, "CBM1"},
	{"cntk", 0, "B\x00C\x00N\x00"},
	{"mxnet", 0, "\x12\x01\x00\x00\x00\x00\x00\x00"},
	{"xgboost", 0, "{L\x00\x00"},
	{"lightgbm", 0, "tree\nversion="},
	{"ggml", 0, "lmgg"},
	{"ggml", 0, "fmgg"},
	{"ggml", 0, "tjgg"},
	{"ggml", 0, "algg"},
	{"parquet", 0, "PAR1"},
	{"sqlite", 0, "SQLite format 3\x00"},
	{"java-serialized", 0, "\xac\xed\x00\x05"},
	{"bytecode", 2, "\x0d\x0a\x00\x00"},
}

// recognise names the format of content that no reader of this package reads.
func recognise(w window) (string, bool) {
	for _, m := range marks {
		if len(w.head) >= m.at+len(m.magic) && string(w.head[m.at:m.at+len(m.magic)]) == m.magic {
			return m.name, true
		}
	}
	return "", false
}

// apeMagic begins programs that several systems start: as a shell script, as a
// program for Windows, as one for Unix.
const apeMagic = "MZqFpD"

// tryExecutable reports whether f is a native program.
func (f *File) tryExecutable(w window) bool {
	if f.Is(llamafile) || !w.has(apeMagic) && !executable(w.head) {
		return f.Is(llamafile)
	}
	f.Kind = "executable"
	return true
}

// executable reports whether a native program begins: the signature and enough
// of the header to rule out chance.
func executable(h []byte) bool {
	if kind := program.At(h); kind != "" && kind != program.Script {
		return true
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(h[at:]) }
	has := func(magic string) bool { return bytes.HasPrefix(h, []byte(magic)) }
	switch {
	case len(h) >= 52 && has("\x7fELF") && (h[4] == 1 || h[4] == 2) && (h[5] == 1 || h[5] == 2) && h[6] == 1,
		len(h) >= 64 && has("MZ") && int64(u32(60)) <= int64(len(h))-4 && string(h[u32(60):u32(60)+4]) == "PE\x00\x00",
		len(h) >= 32 && (u32(0) == 0xfeedface || u32(0) == 0xfeedfacf) && u32(12) >= 1 && u32(12) <= 12,
		len(h) >= 32 && (has("\xfe\xed\xfa\xce") || has("\xfe\xed\xfa\xcf")),
		len(h) >= 28 && has("\xca\xfe\xba\xbe\x00\x00\x00") && h[7] > 0 && h[7] < 20,
		has("\x00asm\x01\x00\x00\x00"):
		return true
	}
	return false
}

// plain reports whether b is UTF-8 text without control characters.
func plain(b []byte) bool { return printable(b) && utf8.Valid(b) }

// printable reports whether b has no control characters that text never has.
func printable(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	for i, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f' && c != '\x1b' && c != '\v' && c != '\b' || c == 0x7f {
			return i > 0 && i == len(b)-1 && c == 0x1a // the end mark of old text files
		}
	}
	return true
}

// tryMedia reports whether f is plainly an image or a sound: the signature, the
// declared size or the end mark must all be there.
func (f *File) tryMedia(w window) bool {
	end := func(s string) bool { return bytes.HasSuffix(w.tail, []byte(s)) }
	size32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(w.head[at:])) }
	switch h := w.head; {
	case len(h) >= 57 && w.has("\x89PNG\r\n\x1a\n") && string(h[12:16]) == "IHDR" && end("IEND\xae\x42\x60\x82"),
		len(h) >= 20 && w.has("\xff\xd8\xff") && end("\xff\xd9"),
		len(h) >= 20 && (w.has("GIF87a") || w.has("GIF89a")) && end("\x3b"),
		len(h) >= 54 && w.has("BM") && size32(2) == f.Size,
		len(h) >= 16 && w.has("RIFF") && size32(4)+8 == f.Size && string(h[8:12]) == "WEBP":
		f.Kind = "image"
	case len(h) >= 44 && w.has("RIFF") && size32(4)+8 == f.Size && string(h[8:12]) == "WAVE",
		len(h) >= 42 && w.has("fLaC\x00\x00\x00\x22"),
		len(h) >= 58 && w.has("OggS\x00\x02"):
		f.Kind = "audio"
	default:
		return false
	}
	return true
}
