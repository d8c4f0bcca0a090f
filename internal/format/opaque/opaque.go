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
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
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
	longest  = 4096 // bytes of one text; a longer one is cut into such
	shortest = 5
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
	buf := make([]byte, min(step, size))
	var run []byte
	keep := func(end int64) error {
		text := string(run)
		at := end - int64(len(run))
		run = run[:0]
		if len(text) < shortest || !worth(text) {
			return nil
		}
		if len(b.Texts) >= min(maxTexts, lim.Members) {
			return fmt.Errorf("more than %d texts: %w", len(b.Texts), detect.ErrLimit)
		}
		b.Texts = append(b.Texts, Text{text, at})
		return nil
	}
	for at := int64(0); at < size; at += step {
		if err := ctx.Err(); err != nil {
			return b, fmt.Errorf("stopped at byte %d of %d: %w", at, size, err)
		}
		part := buf[:min(step, size-at)]
		if n, err := r.ReadAt(part, at); n < len(part) {
			return b, fmt.Errorf("read at %d: %w", at+int64(n), errors.Join(err, io.ErrUnexpectedEOF))
		}
		for i, c := range part {
			if c >= ' ' && c < 0x7f && len(run) < longest {
				run = append(run, c)
				continue
			}
			if len(run) > 0 {
				if err := keep(at + int64(i)); err != nil {
					return b, err
				}
			}
			if c >= ' ' && c < 0x7f {
				run = append(run, c)
			}
		}
	}
	return b, keep(size)
}

// worth reports whether a text names something.
func worth(text string) bool {
	small := strings.ToLower(text)
	for _, t := range telling {
		if strings.Contains(small, t) {
			return true
		}
	}
	return false
}
