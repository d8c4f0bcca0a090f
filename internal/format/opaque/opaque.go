// Package opaque looks at formats whose content only their own loader knows:
// engines of TensorRT and programs of RKNN. It tells them by their signatures
// and keeps the texts in them that name files, addresses, commands or plug-ins.
//
// Sources: the header that TensorRT 8 to 10 write; RKNN Toolkit 2.
package opaque

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/text"
)

// The formats.
const (
	TensorRT = "tensorrt"
	RKNN     = "rknn"
)

// A Text is a run of printable characters.
type Text struct {
	Value string
	At    int64
}

// A Blob is what is known of one file.
type Blob struct {
	Format string
	Start  int64 // of the engine, behind a description that some exporters put before it
	Texts  []Text
}

// Sniff returns the format and where its signature is. The name helps for
// engines of versions that have none.
func Sniff(head []byte, ext string) (format string, start int64, certain bool) {
	at := 0
	if n := len(head); n > 5 && head[4] == '{' { // a description of so many bytes comes first
		if k := binary.LittleEndian.Uint32(head); k < 1<<20 && int64(k)+8 <= int64(n) {
			at = 4 + int(k)
		}
	}
	rest := head[at:]
	switch {
	case len(rest) >= 4 && (string(rest[:4]) == "ptrt" || string(rest[:4]) == "ftrt"):
		return TensorRT, int64(at), true
	case bytes.HasPrefix(head, []byte("RKNN")):
		return RKNN, 0, true
	case ext == ".engine", ext == ".plan", ext == ".trt":
		return TensorRT, 0, false
	case ext == ".rknn":
		return RKNN, 0, false
	}
	return "", 0, false
}

const (
	step     = 256 << 10
	around   = 2048 // bytes of a text that are kept before and behind what tells
	maxTexts = 10_000
)

// telling are parts of texts that are worth keeping.
var telling = []string{
	".so", ".dll", ".dylib", "://", "plugin", "_trt", "/bin/", "curl ", "wget ", "powershell", "cmd.exe", "import ", "exec(", "eval(", "os.system", "subprocess", "system(",
}

// Open reads the file once and keeps its texts. The result is valid as far as it
// goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, format string, start int64, lim bound.Limits) (*Blob, error) {
	b := &Blob{Format: format, Start: start}
	words, err := text.NewWords(telling)
	if err != nil {
		return b, err
	}
	buf := make([]byte, min(2*around+step, size))
	end := int64(0) // of the last text
	for at := int64(0); at < size; at += step {
		if err := ctx.Err(); err != nil {
			return b, fmt.Errorf("stopped at byte %d of %d: %w", at, size, err)
		}
		from := max(0, at-around)
		part := buf[:min(size, at+step+around)-from]
		if n, err := r.ReadAt(part, from); n < len(part) {
			return b, fmt.Errorf("read at %d: %w", from+int64(n), errors.Join(err, io.ErrUnexpectedEOF))
		}
		full := false
		words.Each(part, func(_, first, last int) bool {
			place := from + int64(first)
			if place < at || place >= at+step || place < end {
				return true // of a part before, of the next one, or of the last text
			}
			if full = len(b.Texts) >= min(maxTexts, lim.Members); full {
				return false
			}
			for first > 0 && printable(part[first-1]) && place-(from+int64(first)) < around && from+int64(first) > end {
				first--
			}
			for last < len(part) && printable(part[last]) && from+int64(last)-place < around {
				last++
			}
			b.Texts = append(b.Texts, Text{string(part[first:last]), from + int64(first)})
			end = from + int64(last)
			return true
		})
		if full {
			return b, fmt.Errorf("more than %d texts: %w", len(b.Texts), detect.ErrLimit)
		}
	}
	return b, nil
}

func printable(c byte) bool { return c >= ' ' && c < 0x7f }
