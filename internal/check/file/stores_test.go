package file

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	ft "github.com/modelwarden/warden/internal/format/formattest"
)

func TestParts(t *testing.T) {
	file := func(name, text string) *format.File { return open(t, name, []byte(text)) }
	zarr := func(dtype, filters string) *format.File {
		return file(".zarray", `{"zarr_format": 2, "shape": [3], "chunks": [3], "dtype": "`+dtype+`", "compressor": {"id": "blosc", "cname": "lz4"}, "filters": `+filters+`, "order": "C", "fill_value": 0}`)
	}
	packed := func(externs string, more ...ft.ZipEntry) []byte {
		return ft.Zip(append(more, ft.ZipEntry{Name: "m/.data/extern_modules", Data: []byte(externs)}, ft.ZipEntry{Name: "m/.data/version", Data: []byte("6\n")})...)
	}
	source := ft.ZipEntry{Name: "m/net.py", Data: []byte("class Net: pass\n")}
	codec, shard, pack := []warden.RuleID{ruleCodec}, []warden.RuleID{ruleShard}, []warden.RuleID{rulePackage}
	detecttest.Accept(t, parts, []fileCase{
		{Name: "zarr", Subject: zarr("<f4", "null")},
		{Name: "zarr_texts", Subject: zarr("|O", `[{"id": "vlen-utf8"}]`)},
		{Name: "zarr3", Subject: file("zarr.json", `{"zarr_format": 3, "node_type": "array", "shape": [2], "data_type": "float32", "chunk_grid": {"name": "regular"}, "codecs": [{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "bytes"}, {"name": "zstd"}], "index_codecs": [{"name": "crc32c"}]}}]}`)},
		{Name: "pickle", Subject: zarr("|O", `[{"id": "pickle", "protocol": 5}]`), Want: codec},
		{Name: "pickle_of_numbers", Subject: zarr("<f4", `[{"id": "pickle"}]`), Want: codec},
		{Name: "pickle_inside", Subject: file("zarr.json", `{"zarr_format": 3, "data_type": "float32", "codecs": [{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "numcodecs.pickle"}]}}]}`), Want: codec},
		{Name: "all_in_one", Subject: file(".zmetadata", `{"metadata": {"a/.zarray": {"zarr_format": 2, "filters": [{"id": "pickle"}], "dtype": "<f4"}}}`), Want: codec},
		{Name: "unknown_codec", Subject: zarr("<f4", `[{"id": "mine"}]`), Want: codec},
		{Name: "objects", Subject: zarr("|O", "null"), Want: codec},
		{Name: "index", Subject: file("model.safetensors.index.json", `{"metadata": {"total_size": 1}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}`)},
		{Name: "index_outside", Subject: file("pytorch_model.bin.index.json", `{"weight_map": {"a": "../../etc/model.bin"}}`), Want: shard},
		{Name: "index_absolute", Subject: file("model.safetensors.index.json", `{"weight_map": {"a": "/srv/model.bin"}}`), Want: shard},
		{Name: "package", Subject: open(t, "m.pt", packed("torch\nnumpy\n"))},
		{Name: "package_with_source", Subject: open(t, "m.pt", packed("torch\n", source)), Want: pack},
		{Name: "package_externs", Subject: member(t, "m.pt", packed("torch\nsubprocess\n"), format.DefaultLimits(), "extern_modules"), Want: pack},
		{Name: "orbax", Subject: file("_METADATA", `{"tree_metadata": {"('a',)": {"value_metadata": {"value_type": "jax.Array"}}}, "use_zarr3": false}`)},
	})
}

// ocdbt is the manifest of a store, of which only frame and checksum matter here.
func ocdbt() []byte {
	b := append([]byte("\x0c\xdb\x3a\x2a\x18\x00\x00\x00\x00\x00\x00\x00"), "\x00\x00 values"[:8]...)
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	return append(b, byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))
}

// TestStores opens what has nothing to find in it.
func TestStores(t *testing.T) {
	for _, tt := range []struct {
		name, format string
		b            []byte
		unread       int
	}{
		{"manifest.ocdbt", "ocdbt", ocdbt(), 0},
		{"manifest.ocdbt", "ocdbt", append(ocdbt()[:23], 0), 1},
		{"manifest.ocdbt", "ocdbt", append(ocdbt(), 0), 1},
		{"m.model", "xgboost", ft.XGBinary("binf", "reg:squarederror"), 0},
		{"m.model", "xgboost", ft.XGBinary("", "binary:logistic", [2]string{"note", "some words"}), 0},
		{"m.model", "xgboost", append(ft.XGBinary("", "binary:logistic"), 0), 1},
		{"a.rar", "rar", []byte("Rar!\x1a\x07\x01\x00"), 1},
		{"index.json", "oci-manifest", []byte(`{"schemaVersion": 2, "manifests": []}`), 0},
		{"a.rds", "rds", []byte("A\n2\n1\n1\n13\n1\n7\n"), 0},
	} {
		f := open(t, tt.name, tt.b)
		if f.Format != tt.format || len(f.Unread) != tt.unread {
			t.Errorf("%s: %q, %v", tt.name, f.Format, f.Unread)
		}
	}
}

func TestImages(t *testing.T) {
	layer := ft.Gzip(ft.Tar(ft.TarEntry{Name: "model/.wh.old.pkl"}, ft.TarEntry{Name: "model/new.txt", Data: []byte("words\n")}))
	sum := sha256.Sum256(layer)
	image := func(digest string) []byte {
		return ft.Tar(ft.TarEntry{Name: "oci-layout", Data: []byte(`{"imageLayoutVersion": "1.0.0"}`)},
			ft.TarEntry{Name: "index.json", Data: []byte(`{"schemaVersion": 2, "manifests": []}`)},
			ft.TarEntry{Name: "blobs/sha256/" + digest, Data: layer})
	}
	right, wrong := hex.EncodeToString(sum[:]), strings.Repeat("ab", 32)
	lim := format.DefaultLimits()
	saved := ft.Tar(ft.TarEntry{Name: "manifest.json", Data: []byte(`[{"Config": "a.json", "Layers": ["../../layer.tar"]}]`)}, ft.TarEntry{Name: "repositories", Data: []byte("{}")})
	detecttest.Accept(t, images, []fileCase{
		{Name: "layout", Subject: open(t, "m.tar", image(right))},
		{Name: "blob", Subject: member(t, "m.tar", image(right), lim, right)},
		{Name: "other_blob", Subject: member(t, "m.tar", image(wrong), lim, wrong), Want: []warden.RuleID{ruleBlob}},
		{Name: "layer", Subject: member(t, "layer.tar.gz", layer, lim, "layer.tar"), Want: []warden.RuleID{ruleWhiteout}},
		{Name: "tar", Subject: open(t, "a.tar", ft.Tar(ft.TarEntry{Name: "a.txt", Data: []byte("words\n")}))},
		{Name: "manifest", Subject: open(t, "manifest.json", []byte(`{"schemaVersion": 2, "layers": [{"digest": "sha256:`+right+`", "size": 3}]}`))},
		{Name: "foreign_layer", Subject: open(t, "manifest.json", []byte(`{"schemaVersion": 2, "layers": [{"urls": ["https://example.org/layer"]}]}`)), Want: []warden.RuleID{ruleLayer}},
		{Name: "layer_outside", Subject: member(t, "saved.tar", saved, lim, "manifest.json"), Want: []warden.RuleID{ruleLayer}},
	})
	f := open(t, "m.tar", image(right))
	var found []warden.RuleID
	var walk func(f *format.File)
	walk = func(f *format.File) {
		if len(f.Unread) > 0 {
			t.Errorf("%s: %v", f.Path, f.Unread)
		}
		for _, x := range detect.Run(t.Context(), warden.Ref{}, f, detect.DefaultLimits(), All()...).Findings {
			found = append(found, x.Rule)
		}
		for m, err := range f.Members(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			walk(m)
		}
	}
	if walk(f); len(found) != 1 || found[0] != ruleWhiteout {
		t.Errorf("%v in the whole image", found)
	}
}
