package format

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/expand"
	"github.com/modelwarden/warden/internal/format/zipfile"
)

// A Source is the text of a TorchScript module inside an archive.
type Source struct {
	Name string // of the member
	Text []byte
}

// maxCode bounds the bytes of all TorchScript source of one archive.
const maxCode = 32 << 20

// torchCode reads the source of an archive, which is one program: what a module
// does shows only beside those that it calls. What cannot be read here is no
// longer a member that can be read, and Members says so.
func (f *File) torchCode(ctx context.Context) {
	left := int64(maxCode)
	for _, e := range f.Zip.Entries {
		if e.Dir() || e.Data < 0 || !strings.HasSuffix(e.Name, ".py") || !strings.Contains("/"+e.Name, "/code/") || ctx.Err() != nil {
			continue
		}
		text, err := f.memberText(ctx, e, left)
		if err != nil {
			f.unread("read/torchscript", fmt.Errorf("%s: %w", detect.Printable(e.Name, 256), err))
			continue
		}
		left -= int64(len(text))
		f.TorchCode = append(f.TorchCode, Source{e.Name, text})
	}
}

// memberText returns the bytes of a member, at most most of them.
func (f *File) memberText(ctx context.Context, e zipfile.Entry, most int64) ([]byte, error) {
	raw := io.NewSectionReader(f.R, e.Data, e.Packed)
	var r io.ReaderAt = raw
	size := e.Packed
	if e.Method != zipfile.Stored {
		plain, err := unpack(ctx, e.Method, raw)
		if err != nil {
			return nil, err
		}
		held, err := expand.Hold(ctx, io.LimitReader(plain, most+1), e.Packed, most+1, f.budget)
		defer held.Close() //nolint:staticcheck // Hold returns what it could hold, beside an error too
		if err != nil {
			return nil, err
		}
		r, size = held, held.Size
	}
	if size > most {
		return nil, fmt.Errorf("more than %d bytes of source: %w", maxCode, detect.ErrLimit)
	}
	b := make([]byte, size)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("read at %d: %w", n, err)
	}
	return b, nil
}
