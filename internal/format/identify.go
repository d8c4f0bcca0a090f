package format

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/expand"
	"github.com/modelwarden/warden/internal/format/npy"
	"github.com/modelwarden/warden/internal/format/pickle"
	"github.com/modelwarden/warden/internal/format/tarfile"
	"github.com/modelwarden/warden/internal/format/zipfile"
)

// edge is how much of the beginning and of the end identifies a file.
const edge = 64 << 10

// A window is the beginning and the end of a file.
type window struct{ head, tail []byte }

func (w window) has(magic string) bool { return bytes.HasPrefix(w.head, []byte(magic)) }

func (f *File) open(ctx context.Context) error {
	w, err := f.look()
	if err != nil {
		return err
	}
	switch {
	case f.Size == 0:
		f.Kind = "empty"
	case f.storage:
		f.openStorage(ctx, w)
	default:
		f.identify(ctx, w)
	}
	if err := ctx.Err(); err != nil {
		f.unread("read/file", fmt.Errorf("stopped: %w", err))
	}
	return nil
}

func (f *File) look() (w window, err error) {
	w.head = make([]byte, min(edge, f.Size))
	n, err := f.R.ReadAt(w.head, 0)
	if n < len(w.head) {
		if n == 0 {
			return w, fmt.Errorf("%s: read the first bytes: %w", f.Path, err)
		}
		f.unread("read/file", fmt.Errorf("%d of the first %d bytes: %w", n, len(w.head), err))
		w.head = w.head[:n]
	}
	if f.Size <= edge {
		w.tail = w.head
		return w, nil
	}
	w.tail = make([]byte, min(edge+22, f.Size))
	if n, err := f.R.ReadAt(w.tail, f.Size-int64(len(w.tail))); n < len(w.tail) {
		f.unread("read/file", fmt.Errorf("%d of the last %d bytes: %w", n, len(w.tail), err))
		w.tail = w.tail[:n]
	}
	return w, nil
}

// identify tries every format. A file is each of them that some loader would
// take it for; only what no reader knows ends as a kind or as not read.
func (f *File) identify(ctx context.Context, w window) {
	for _, try := range []func(*File, context.Context, window) bool{
		(*File).tryZip, (*File).tryTar, (*File).trySeven, (*File).tryWrapper, (*File).tryNpy, (*File).tryHDF5,
		(*File).tryGGUF, (*File).trySafetensors, (*File).tryPickle, (*File).tryONNX,
		(*File).tryTFLite, (*File).tryTensorFlow, (*File).tryRData, (*File).tryUBJSON, (*File).tryCatBoost, (*File).tryLightGBM,
		(*File).tryExecuTorch, (*File).tryCoreML, (*File).tryPaddle, (*File).tryCNTK, (*File).tryMXNet, (*File).tryMsgPack,
		(*File).tryLlamafile, (*File).tryXGBoost, (*File).tryOCDBT, (*File).tryTorch7, (*File).tryOpaque,
	} {
		try(f, ctx, w)
	}
	if name, ok := recognise(w); ok && !f.Is(name) {
		f.claim(name)
		text := name + " is recognised but not read yet"
		if name == "rar" {
			text = "RAR archives are not read yet: unpack it in a safe place and scan what comes out"
		}
		f.unread("read/"+name, notYetError(text))
	}
	if f.Zip != nil && f.Zip.Prefixed && len(f.Also) > 0 && f.Format != llamafile { // what it begins with is outermost
		f.Format, f.Also[0] = f.Also[0], f.Format
	}
	program := f.tryExecutable(w)
	switch {
	case f.Format == "" && f.rawArray():
		f.Kind = "tensor"
	case f.Format == "" && !program && !f.tryText(ctx, w) && !f.tryMedia(w) && !f.tryMessage(ctx):
		f.unread("read/file", notYetError(fmt.Sprintf("content of no known format, beginning with % x", w.head[:min(8, len(w.head))])))
	case f.Zip != nil && f.Zip.Prefixed && len(f.Also) == 0 && !program && !f.textBefore(w):
		f.unread("read/zip", notYetError("the bytes before the archive are of no known format"))
	}
}

// rawArray reports whether f is the file beside an old joblib pickle that holds
// the bytes of one array: joblib copies them and interprets nothing.
func (f *File) rawArray() bool {
	return (f.In == expand.Zlib || f.In == expand.ZFile) && f.ext() == ".npy" && strings.Contains(f.Name, "_0")
}

// textBefore reports whether plain text, such as a script that unpacks it, comes
// before an archive.
func (f *File) textBefore(w window) bool {
	first := int64(len(w.head))
	for _, e := range f.Zip.Entries {
		first = min(first, e.Header)
	}
	return first >= 0 && first < int64(len(w.head)) && plain(w.head[:first])
}

// openStorage looks at the head of raw tensor bytes: a loader copies them and
// never interprets them, but a pickle in their place deserves a look.
func (f *File) openStorage(ctx context.Context, w window) {
	if len(w.head) > 2 && w.head[0] == 0x80 && w.head[1] <= 5 && pickle.Sniff(ctx, f.R, f.Size, f.limits()) {
		f.tryPickle(ctx, w)
		return
	}
	f.Kind = "tensor"
}

func (f *File) tryZip(ctx context.Context, w window) bool {
	if !zipfile.Sniff(w.head, w.tail) {
		return false
	}
	a, sts := zipfile.Open(ctx, f.R, f.Size, f.limits())
	if len(a.Entries) == 0 && !w.has("PK\x03\x04") && !w.has("PK\x05\x06") {
		return false // an end record in passing, which names nothing
	}
	f.Zip = a
	f.take(sts)
	f.claim(zipKind(a))
	if f.Is("torchscript") {
		f.torchCode(ctx)
	}
	return true
}

// zipKind tells the format of an archive by its members.
func zipKind(a *zipfile.Archive) string {
	has := map[string]bool{}
	npys, files := 0, 0
	for _, e := range a.Entries {
		name := path.Clean("/" + strings.ReplaceAll(e.Name, `\`, "/"))
		base := path.Base(name)
		if has[base] = true; e.Dir() {
			continue
		}
		files++
		if strings.HasSuffix(base, ".npy") {
			npys++
		}
		has["root"+name] = true
		has["code"] = has["code"] || strings.Contains(name, "/code/") && strings.HasSuffix(name, ".py")
		has[".data"] = has[".data"] || strings.Contains(name, "/.data/extern_modules")
	}
	switch {
	case has["root/MAR-INF/MANIFEST.json"]:
		return "torchserve-mar"
	case has["serialized_exported_program.json"], has["archive_format"]:
		return "torch-export"
	case has[".data"]:
		return "torch-package"
	case has["constants.pkl"], has["code"] && has["data.pkl"]:
		return "torchscript"
	case has["data.pkl"]:
		return "torch-zip"
	case has["root/config.json"] && has["root/metadata.json"]:
		return "keras-zip"
	case has["root/schema.json"]:
		return "skops"
	case npys > 0 && npys == files:
		return "npz"
	default:
		return "zip"
	}
}

func (f *File) tryTar(ctx context.Context, w window) bool {
	if !tarfile.Sniff(w.head) {
		return false
	}
	a, sts := tarfile.Open(ctx, f.R, f.Size, f.limits())
	f.Tar = a
	f.take(sts)
	has := map[string]bool{}
	for _, e := range a.Entries {
		has[path.Base(e.Name)] = true
		has[whiteout] = has[whiteout] || strings.HasPrefix(path.Base(e.Name), whiteout)
	}
	switch {
	case has["oci-layout"] && has["index.json"], has["manifest.json"] && has["repositories"]:
		f.claim(ociImage)
	case has["storages"] && has["tensors"] && has["pickle"]:
		f.claim("torch-tar")
	case has["model_config.yaml"]:
		f.claim("nemo")
	case has[whiteout]:
		f.claim("oci-layer")
	default:
		f.claim("tar")
	}
	return true
}

// whiteout begins the name of a member of an image's layer that removes a file of
// the layers below.
const whiteout = ".wh."

func (f *File) tryWrapper(_ context.Context, w window) bool {
	f.wrapper = expand.Sniff(w.head)
	if f.wrapper == "" {
		return false
	}
	f.claim(f.wrapper)
	return true
}

func (f *File) tryNpy(_ context.Context, w window) bool {
	if !w.has(npy.Magic) {
		return false
	}
	f.claim("npy")
	h, err := npy.Open(f.R, f.Size, f.limits())
	f.Npy = h
	if err != nil {
		f.unread("read/npy", err)
	}
	switch {
	case h == nil || err != nil && h.Data >= f.Size:
	case err != nil || h.Objects:
		f.object = h.Data
	case h.Bytes > f.Size-h.Data:
		f.unread("read/npy", fmt.Errorf("array of %d bytes, %d remain", h.Bytes, f.Size-h.Data))
	case h.Data+h.Bytes < f.Size:
		f.rest = h.Data + h.Bytes
	}
	return true
}

// tryPickle runs the pickle machine over what it believes to be a pickle. A few
// signatures read as the beginning of one and fail at once in every unpickler.
func (f *File) tryPickle(ctx context.Context, w window) bool {
	if slices.ContainsFunc([]string{"PK\x03\x04", "PK\x05\x06", npy.Magic, "\x89PNG\r\n", "\x89HDF\r\n"}, w.has) {
		return false
	}
	if !pickle.Sniff(ctx, f.R, f.Size, f.limits()) {
		return false
	}
	streams, sts := pickle.Open(ctx, f.R, f.Size, f.limits())
	f.Pickles = streams
	f.take(sts)
	head := w.head[:min(len(w.head), 4096)]
	switch {
	case bytes.Contains(head[:min(len(head), 64)], []byte("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")), w.has("L119547037146038801333356L\n"):
		f.claim("torch-legacy")
	case bytes.Contains(head, []byte("NumpyArrayWrapper")), bytes.Contains(head, []byte("NDArrayWrapper")):
		f.claim("joblib")
	default:
		f.claim("pickle")
	}
	return true
}

// errShort says that a reader could not be given the bytes it was promised.
var errShort = errors.New("short read")

// content reads all of f, at most max bytes.
func (f *File) content(maxBytes int64) ([]byte, error) {
	if f.Size > maxBytes {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", f.Size, maxBytes, detect.ErrLimit)
	}
	b := make([]byte, f.Size)
	if n, err := f.R.ReadAt(b, 0); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = errShort
		}
		return nil, fmt.Errorf("read at %d: %w", n, err)
	}
	return b, nil
}
