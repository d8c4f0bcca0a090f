package format

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"path"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/expand"
	"github.com/modelwarden/warden/internal/format/npy"
	"github.com/modelwarden/warden/internal/format/tarfile"
	"github.com/modelwarden/warden/internal/format/zipfile"
)

// Members opens the members of a container, one after another. It yields either
// a File, valid until the next step of the loop, or the reason why a member
// cannot be opened; the loop goes on after an error with the next member. What
// is wrong inside a member is in its own Unread.
func (f *File) Members(ctx context.Context) iter.Seq2[*File, error] {
	return func(yield func(*File, error) bool) {
		v := &visit{f: f, yield: yield}
		if f.Zip == nil && f.Tar == nil && f.Seven == nil && f.wrapper == "" && f.object == 0 && f.rest == 0 {
			return
		}
		if f.depth >= f.limits().Depth {
			yield(nil, fmt.Errorf("members nested more than %d deep were not opened: %w", f.limits().Depth, detect.ErrLimit))
			return
		}
		v.zip(ctx)
		v.tar(ctx)
		v.seven(ctx)
		v.wrapped(ctx)
		v.at(ctx, f.object)
		v.at(ctx, f.rest)
	}
}

// visit is one loop over the members of a file.
type visit struct {
	f     *File
	yield func(*File, error) bool
	done  bool
}

func (v *visit) fail(err error) { v.done = v.done || !v.yield(nil, err) }

// next counts one more member and reports whether to open it.
func (v *visit) next(ctx context.Context) bool {
	if v.done {
		return false
	}
	err := ctx.Err()
	if err == nil {
		err = v.f.budget.Member()
	}
	if err != nil {
		v.fail(fmt.Errorf("members were left out: %w", err))
		v.done = true
	}
	return err == nil
}

// member opens m and yields it. The unread error, if any, says why r is not all
// of the member.
func (v *visit) member(ctx context.Context, m *File, unread error) {
	m.budget, m.depth, m.In = v.f.budget, v.f.depth+1, v.f.Format
	if err := m.open(ctx); err != nil {
		v.fail(err)
		return
	}
	if unread != nil {
		m.unread("read/member", unread)
	}
	v.done = v.done || !v.yield(m, nil)
}

// hold is how much of a member stays in memory: less for each level, so that all
// levels together stay below twice the limit.
func (v *visit) hold() int64 { return v.f.limits().Hold >> v.f.depth }

// path names a member. Names are hostile text.
func (v *visit) path(name string) string {
	return v.f.Path + "!/" + detect.Printable(name, 1024)
}

func (v *visit) zip(ctx context.Context) {
	if v.f.Zip == nil {
		return
	}
	for _, e := range v.f.Zip.Entries {
		if e.Dir() || e.Data < 0 {
			continue
		}
		if !v.next(ctx) {
			return
		}
		v.entry(ctx, e)
	}
}

// storagesOf returns the sizes of the storages that belong to the pickle of a
// torch archive, by key; nil for any other member.
func (f *File) storagesOf(name string) map[string]int64 {
	folder, ok := strings.CutSuffix(name, "data.pkl")
	if !ok || f.Zip == nil || folder != "" && !strings.HasSuffix(folder, "/") {
		return nil
	}
	sizes := map[string]int64{}
	for _, e := range f.Zip.Entries {
		if key, ok := strings.CutPrefix(e.Name, folder+"data/"); ok && e.Size >= 0 && !e.Dir() {
			sizes[key] = max(sizes[key], e.Size) // of several, the largest: nothing is said of what one loader reads whole
		}
	}
	return sizes
}

// entry opens one zip member as the most lenient loader would: whatever its
// flags, check and declared size say.
func (v *visit) entry(ctx context.Context, e zipfile.Entry) {
	m := &File{Path: v.path(e.Name), Name: path.Base(e.Name), Storages: v.f.storagesOf(e.Name)}
	raw := io.NewSectionReader(v.f.R, e.Data, e.Packed)
	m.storage = v.f.tensors() && storageName(e.Name)
	if e.Link() {
		m.Kind = "link"
	}
	if e.Method == zipfile.Stored {
		if v.locked(ctx, e, raw) {
			v.fail(fmt.Errorf("%s: %w: its contents were not read", m.Path, ErrEncrypted))
			return
		}
		m.R, m.Size = raw, e.Packed
		m.BadCheck = !m.storage && v.wrongCheck(ctx, e, raw, e.Packed)
		v.member(ctx, m, nil)
		return
	}
	open := func() (io.Reader, error) { return unpack(ctx, e.Method, raw) }
	if v.headOnly(ctx, m, e, open) {
		return
	}
	r, err := open()
	if err != nil {
		v.fail(fmt.Errorf("%s: %w", m.Path, err))
		return
	}
	held, err := expand.Hold(ctx, r, e.Packed, v.hold(), v.f.budget)
	defer held.Close() //nolint:staticcheck // Hold returns what it could hold, beside an error too
	if held.Size == 0 && err != nil && e.Flags&(zipfile.FlagEncrypted|zipfile.FlagStrong) != 0 {
		v.fail(fmt.Errorf("%s: %w: its contents were not read", m.Path, ErrEncrypted))
		return
	}
	m.R, m.Size = held, held.Size
	m.BadCheck = err == nil && v.wrongCheck(ctx, e, held, held.Size)
	v.member(ctx, m, err)
}

// wrongCheck reports whether the declared checksum of a member is wrong, which
// makes Python refuse what torch loads. Members too large to be held are left
// to the loader.
func (v *visit) wrongCheck(ctx context.Context, e zipfile.Entry, r io.ReaderAt, size int64) bool {
	if e.View == zipfile.Physical && e.CRC == 0 || size > v.f.limits().Hold || e.Flags&zipfile.FlagEncrypted != 0 {
		return false
	}
	sum := crc32.NewIEEE()
	_, err := io.Copy(sum, expand.Watch(ctx, io.NewSectionReader(r, 0, size)))
	return err == nil && sum.Sum32() != e.CRC
}

// headOnly opens a compressed member whose head shows that the rest is numbers:
// a storage of a torch archive or a numeric array. It reports false where the
// whole member must be read.
func (v *visit) headOnly(ctx context.Context, m *File, e zipfile.Entry, open func() (io.Reader, error)) bool {
	if e.Size <= edge || v.f.limits().Full {
		return false
	}
	r, err := open()
	if err != nil {
		return false
	}
	held, _ := expand.Hold(ctx, io.LimitReader(r, edge), e.Packed, edge, v.f.budget) // an error shows again when the whole is read
	defer held.Close()
	if held.Size < edge {
		return false
	}
	if !m.storage {
		h, err := npy.Open(held, held.Size, v.f.limits())
		if err != nil || h.Objects || h.Data+h.Bytes != e.Size {
			return false
		}
		m.Npy, m.Format = h, "npy"
	}
	m.R, m.Size = held, held.Size
	m.storage = true
	v.member(ctx, m, nil)
	return true
}

// unpack returns the decompressed bytes of a zip member.
func unpack(ctx context.Context, method uint16, raw io.Reader) (io.Reader, error) {
	raw = expand.Watch(ctx, raw)
	switch method {
	case zipfile.Deflated:
		return expand.Deflate(raw), nil
	case zipfile.Bzip2:
		return expand.NewReader(expand.Bzip2, raw)
	case zipfile.Zstd:
		return expand.NewReader(expand.Zstd, raw)
	case zipfile.XZ:
		return expand.NewReader(expand.XZ, raw)
	case zipfile.LZMA:
		return expand.ZipLZMA(raw)
	case zipfile.AES:
		return nil, fmt.Errorf("%w: its contents were not read", ErrEncrypted)
	default:
		return nil, notYetError(fmt.Sprintf("compression method %d is not read", method))
	}
}

// locked reports whether a stored member is really encrypted. The flag alone
// proves nothing, since torch ignores it; ZipCrypto adds a header of 12 bytes,
// and plain bytes match the check.
func (v *visit) locked(ctx context.Context, e zipfile.Entry, raw *io.SectionReader) bool {
	if e.Flags&(zipfile.FlagEncrypted|zipfile.FlagStrong) == 0 {
		return false
	}
	if e.Packed == e.Size+12 {
		return true
	}
	if e.Flags&zipfile.FlagStrong == 0 {
		return false
	}
	sum := crc32.NewIEEE()
	_, err := io.Copy(sum, expand.Watch(ctx, io.NewSectionReader(raw, 0, e.Packed)))
	return err == nil && sum.Sum32() != e.CRC
}

// tensors reports whether f keeps raw storages beside its pickle.
func (f *File) tensors() bool {
	return f.Is("torch-zip") || f.Is("torchscript") || f.Is("torch-export") || f.Is("torch-package")
}

// storageName reports whether name is "…/data/17" or one of its likes, as the
// torch writers name raw storages.
func storageName(name string) bool {
	dir, base := path.Split(name)
	dir = path.Base(strings.TrimSuffix(dir, "/"))
	if strings.HasSuffix(base, ".storage") {
		return dir == ".data"
	}
	if dir != "data" && dir != "constants" && dir != "tensors" && dir != "weights" || base == "" {
		return false
	}
	return strings.Trim(strings.TrimPrefix(base, "weight_"), "0123456789") == ""
}

func (v *visit) tar(ctx context.Context) {
	if v.f.Tar == nil {
		return
	}
	for _, e := range v.f.Tar.Entries {
		if e.Type != tarfile.Regular {
			continue
		}
		if !v.next(ctx) {
			return
		}
		m := &File{
			Path: v.path(e.Name), Name: path.Base(e.Name),
			R: io.NewSectionReader(v.f.R, e.Data, e.Size), Size: e.Size,
		}
		var err error
		if e.Sparse {
			err = notYetError("sparse member: its pieces were read, not the file they make")
		}
		v.member(ctx, m, err)
	}
}

// wrapped opens what a compressed file holds.
func (v *visit) wrapped(ctx context.Context) {
	f := v.f
	if f.wrapper == "" || !v.next(ctx) {
		return
	}
	r, err := expand.NewReader(f.wrapper, expand.Watch(ctx, io.NewSectionReader(f.R, 0, f.Size)))
	if err != nil {
		v.fail(fmt.Errorf("%s: %s: %w", f.Path, f.wrapper, err))
		return
	}
	held, err := expand.Hold(ctx, r, f.Size, v.hold(), f.budget)
	defer held.Close() //nolint:staticcheck // Hold returns what it could hold, beside an error too
	name := strings.TrimSuffix(f.Name, path.Ext(f.Name))
	if ext := f.ext(); name == "" || ext == ".joblib" || ext == ".pkl" || ext == ".bin" {
		name = f.Name // the extension names the content, not the compressor
	}
	if err != nil && !errors.Is(err, detect.ErrLimit) {
		err = fmt.Errorf("%s: %w", f.wrapper, err)
	}
	v.member(ctx, &File{Path: v.path(name), Name: name, R: held, Size: held.Size}, err)
}

// at opens the bytes from off to the end.
func (v *visit) at(ctx context.Context, off int64) {
	if off == 0 || !v.next(ctx) {
		return
	}
	size := v.f.Size - off
	v.member(ctx, &File{
		Path: fmt.Sprintf("%s!@%d", v.f.Path, off), Name: v.f.Name,
		R: io.NewSectionReader(v.f.R, off, size), Size: size,
	}, nil)
}
