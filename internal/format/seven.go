package format

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/expand"
	"github.com/modelwarden/warden/internal/format/sevenzip"
)

func (f *File) trySeven(ctx context.Context, w window) bool {
	if !w.has(sevenzip.Magic) {
		return false
	}
	f.claim("7z")
	a, err := sevenzip.Open(ctx, f.R, f.Size, f.budget)
	f.Seven = a
	if err != nil {
		f.unread("read/7z", lockedSeven(err))
	}
	return true
}

// lockedSeven makes encryption the same error for every container.
func lockedSeven(err error) error {
	if errors.Is(err, sevenzip.ErrEncrypted) {
		return fmt.Errorf("%w: its contents were not read (%s)", ErrEncrypted, err.Error())
	}
	return err
}

// seven opens the members of a 7z archive, folder by folder: a folder is one
// stream, and what follows in it can be had only through what comes before.
func (v *visit) seven(ctx context.Context) {
	if v.f.Seven == nil {
		return
	}
	entries := v.f.Seven.Entries
	for i := 0; i < len(entries) && !v.done; {
		if entries[i].Folder < 0 {
			i++
			continue
		}
		end := i
		for end < len(entries) && (entries[end].Folder < 0 || entries[end].Folder == entries[i].Folder) {
			end++
		}
		v.sevenFolder(ctx, v.f.Seven.Folders[entries[i].Folder], entries[i:end])
		i = end
	}
}

func (v *visit) sevenFolder(ctx context.Context, folder sevenzip.Folder, entries []sevenzip.Entry) {
	r, err := folder.Open(v.f.R)
	if err != nil {
		v.fail(fmt.Errorf("%s: %w", v.path(entries[0].Name), lockedSeven(err)))
		return
	}
	held, err := expand.Hold(ctx, io.LimitReader(expand.Watch(ctx, r), folder.Size), folder.Bytes, v.hold(), v.f.budget)
	defer held.Close() //nolint:staticcheck // Hold returns what it could hold, beside an error too
	for _, e := range entries {
		if e.Folder < 0 {
			continue
		}
		if !v.next(ctx) {
			return
		}
		m := &File{Path: v.path(e.Name), Name: path.Base(e.Name)}
		if e.Link {
			m.Kind = "link"
		}
		there := min(max(0, held.Size-e.Offset), e.Size)
		m.R, m.Size = io.NewSectionReader(held, e.Offset, there), there
		var unread error
		if there < e.Size {
			if unread = err; unread == nil {
				unread = io.ErrUnexpectedEOF
			}
			unread = fmt.Errorf("%d of %d bytes: %w", there, e.Size, unread)
		}
		v.member(ctx, m, unread)
	}
	if err != nil && !errors.Is(err, detect.ErrLimit) {
		v.fail(fmt.Errorf("%s: 7z: %w", v.f.Path, err))
	}
}
