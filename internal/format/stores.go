package format

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/modelwarden/warden/internal/format/expand"
	"github.com/modelwarden/warden/internal/format/jsontext"
	"github.com/modelwarden/warden/internal/format/xgbinary"
)

// What names parts of a store.
const (
	KeyCodec  = "codec"          // zarr: decodes the chunks of an array
	KeyObject = "object"         // zarr: an array of objects, by its type
	KeyShard  = "weight_map"     // transformers: a file with a part of the weights
	KeyURL    = "urls"           // OCI: where a layer is fetched from
	KeyLayer  = "Layers"         // docker save: a member with a layer
	KeyExtern = "extern_modules" // torch.package: imported from the host
)

// ociImage is the format of an archive with the blobs of an image or of a model
// that is handed out as one.
const ociImage = "oci-image"

// ociDocument are keys of which a document of an image has one at least.
var ociDocument = []string{"manifests", "layers", "blobs", "fsLayers"}

// stores finds what the descriptions of array stores, of weights in several files
// and of images name.
func (f *File) stores(doc *jsontext.Doc) {
	root := doc.Root()
	refer := func(key string, v jsontext.Value, name string) {
		start, end := v.Span()
		f.refer(Reference{key, name, start, end})
	}
	switch {
	case root.Get("schemaVersion").Ok() && root.Kind() == jsontext.Object:
		for _, key := range ociDocument {
			if root.Get(key).Ok() {
				f.claim("oci-manifest")
			}
		}
	case root.Get("weight_map").Kind() == jsontext.Object:
		f.claim("weights-index")
	case root.Get("tree_metadata").Ok() && root.Get("use_zarr3").Ok(), root.Get("item_handlers").Ok() && root.Get("init_timestamp_nsecs").Ok():
		f.claim("orbax")
	}
	index, oci := f.Is("weights-index"), f.Is("oci-manifest")
	tarred := f.In == ociImage && f.Name == "manifest.json"
	root.Each(func(v jsontext.Value) bool {
		switch {
		case v.Kind() == jsontext.Object && v.Get("zarr_format").Ok():
			f.claim("zarr")
			f.zarr(v, refer)
		case index && v.Key() == KeyShard:
			for s := range v.All {
				refer(KeyShard, s, s.Text())
			}
		case oci && v.Key() == KeyURL && v.Kind() == jsontext.Array, tarred && v.Key() == KeyLayer:
			for s := range v.All {
				refer(v.Key(), s, s.Text())
			}
		}
		return true
	})
}

// zarr finds the codecs of an array: compressor and filters in version 2, codecs
// in version 3, where they can hold codecs of their own.
func (f *File) zarr(v jsontext.Value, refer func(string, jsontext.Value, string)) {
	for m := range v.All {
		switch key := m.Key(); key {
		case "compressor", "filters", "codecs", "storage_transformers", "chunk_grid", "chunk_key_encoding":
			m.Each(func(c jsontext.Value) bool {
				if k := c.Key(); c.Kind() == jsontext.String && (k == "id" || k == "name") && key != "chunk_grid" && key != "chunk_key_encoding" {
					refer(KeyCodec, c, c.Text())
				}
				return true
			})
		case "dtype", "data_type":
			m.Each(func(c jsontext.Value) bool {
				if s := c.Text(); c.Kind() == jsontext.String && (strings.Contains(s, "|O") || s == "O" || s == "object") {
					refer(KeyObject, c, s)
				}
				return true
			})
		}
	}
}

// extern keeps the modules that a package of torch imports from its host.
func (f *File) extern(b []byte) {
	at := int64(0)
	for line := range strings.Lines(string(b)) {
		if name := strings.TrimSpace(line); name != "" {
			f.refer(Reference{KeyExtern, name, at, at + int64(len(line))})
		}
		at += int64(len(line))
	}
}

// tryXGBoost takes the binary models of old versions of XGBoost.
func (f *File) tryXGBoost(ctx context.Context, w window) bool {
	if !xgbinary.Sniff(w.head) {
		return false
	}
	f.claim("xgboost")
	m, err := xgbinary.Open(ctx, f.R, f.Size, f.limits())
	for _, t := range m.Texts {
		f.text(t.Key, t.Value, t.At)
	}
	switch {
	case err != nil:
		f.unread("read/xgboost", err)
	case m.Size < f.Size:
		f.unread("read/xgboost", fmt.Errorf("%d bytes follow the model", f.Size-m.Size))
	}
	return true
}

// tryOCDBT takes the manifest of a store in which TensorStore, and so Orbax,
// keeps many keys. It points into data files and holds no values of its own; its
// checksum tells it from chance.
//
// Source: the storage format of the ocdbt driver of TensorStore.
func (f *File) tryOCDBT(ctx context.Context, w window) bool {
	const magic, least, most = "\x0c\xdb\x3a\x2a", 18, 64 << 20
	if !w.has(magic) || f.Size < least {
		return false
	}
	f.claim("ocdbt")
	if n := binary.LittleEndian.Uint64(w.head[4:]); n != uint64(f.Size) {
		f.unread("read/ocdbt", fmt.Errorf("manifest of %d bytes in a file of %d", n, f.Size))
		return true
	}
	if f.Size > most {
		f.unread("read/ocdbt", notYetError(fmt.Sprintf("manifest of more than %d bytes", most)))
		return true
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	_, err := io.Copy(sum, expand.Watch(ctx, io.NewSectionReader(f.R, 0, f.Size-4)))
	var end [4]byte
	if n, err2 := f.R.ReadAt(end[:], f.Size-4); n < len(end) {
		err = errors.Join(err, err2, errShort)
	}
	if err == nil && sum.Sum32() != binary.LittleEndian.Uint32(end[:]) {
		err = errors.New("the manifest has a wrong checksum")
	}
	if err != nil {
		f.unread("read/ocdbt", err)
	}
	return true
}
