package format_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/formattest"
)

type entry = formattest.ZipEntry

// number is the pickle of 42.
const number = "\x80\x02K\x2a."

// tree opens b and everything in it and writes one line for each part.
func tree(ctx context.Context, name string, r io.ReaderAt, size int64, lim format.Limits) (lines []string) {
	var show func(f *format.File)
	show = func(f *format.File) {
		what := strings.Join(append([]string{f.Format}, f.Also...), "+")
		if f.Kind != "" {
			what += "(" + f.Kind + ")"
		}
		line := f.Path + " " + what
		for _, s := range f.Unread {
			line += " " + string(s.State)
		}
		lines = append(lines, line)
		for m, err := range f.Members(ctx) {
			if err != nil {
				lines = append(lines, fmt.Sprintf("%s error %s", f.Path, detect.StateOf(err)))
				continue
			}
			show(m)
		}
	}
	f, err := format.Open(ctx, name, r, size, lim)
	if err != nil {
		return []string{"error"}
	}
	show(f)
	return lines
}

func TestOpen(t *testing.T) {
	torch := formattest.Zip(
		entry{Name: "m/data.pkl", Data: []byte(number), Stream: true},
		entry{Name: "m/data/0", Data: []byte("\x00\x01\x02\x03"), Stream: true},
		entry{Name: "m/version", Data: []byte("3\n"), Stream: true},
	)
	array := formattest.Npy(formattest.NpyHeader("'<f4'", "(1,)"), []byte("\x00\x00\x00\x00"))
	objects := formattest.Npy(formattest.NpyHeader("'|O'", "(1,)"), []byte(number))
	tensors := formattest.Safetensors(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, []byte("abcd"))
	for _, tt := range []struct {
		name  string
		bytes []byte
		want  []string
	}{
		{"empty", nil, []string{"empty (empty)"}},
		{"text.md", []byte("Some words.\n"), []string{"text.md (text)"}},
		{"a.pkl", []byte(number), []string{"a.pkl pickle"}},
		{"a.bin", []byte("\x00\x01\x02\x03\xff\xfe"), []string{"a.bin  skipped"}},
		{"a.7z", []byte("7z\xbc\xaf\x27\x1c\x00\x04"), []string{"a.7z 7z failed"}},
		{"a.7z", formattest.SevenZip("\x00", "", nil, formattest.SevenEntry{Name: "x/a.pkl", Data: []byte(number)}, formattest.SevenEntry{Name: "b.txt", Data: []byte("words")}), []string{"a.7z 7z", "a.7z!/x/a.pkl pickle", "a.7z!/b.txt (text)"}},
		{"a.7z", formattest.SevenZip("\x06\xf1\x07\x01", "", nil, formattest.SevenEntry{Name: "a", Data: []byte("secret")}), []string{"a.7z 7z", "a.7z error failed"}},
		{"a.7z", formattest.SevenZip("\x03\x03\x01\x03", "", nil, formattest.SevenEntry{Name: "a", Data: []byte("code")}), []string{"a.7z 7z", "a.7z error skipped"}},
		{"m.pt", torch, []string{"m.pt torch-zip", "m.pt!/m/data.pkl pickle", "m.pt!/m/data/0 (tensor)", "m.pt!/m/version (text)"}},
		{"m.pt.gz", formattest.Gzip(torch), []string{"m.pt.gz gzip", "m.pt.gz!/m.pt torch-zip", "m.pt.gz!/m.pt!/m/data.pkl pickle", "m.pt.gz!/m.pt!/m/data/0 (tensor)", "m.pt.gz!/m.pt!/m/version (text)"}},
		{"a.npy", array, []string{"a.npy npy"}},
		{"a.npy", append(bytes.Clone(array), objects...), []string{"a.npy npy", "a.npy!@132 npy", "a.npy!@132!@128 pickle"}},
		{"o.npy", objects, []string{"o.npy npy", "o.npy!@128 pickle"}},
		{"a.npz", formattest.Zip(entry{Name: "a.npy", Data: array}, entry{Name: "o.npy", Data: objects, Deflate: true}), []string{"a.npz npz", "a.npz!/a.npy npy", "a.npz!/o.npy npy", "a.npz!/o.npy!@128 pickle"}},
		{"t.safetensors", tensors, []string{"t.safetensors safetensors"}},
		{"t.safetensors", append(bytes.Clone(tensors), formattest.Zip(entry{Name: "x", Data: []byte(number)})...), []string{"t.safetensors safetensors+zip", "t.safetensors!/x pickle"}},
		{"a.tar", formattest.Tar(formattest.TarEntry{Name: "x/a.pkl", Data: []byte(number)}, formattest.TarEntry{Name: "l", Type: '2', Link: "a"}), []string{"a.tar tar", "a.tar!/x/a.pkl pickle"}},
		{"e.zip", formattest.Zip(entry{Name: "a", Data: []byte("0123456789abcdefghijkl"), Flags: 1, DirSize: 10}), []string{"e.zip zip", "e.zip error failed"}},
		{"config.json", []byte(`{"auto_map": {"AutoModel": "m.M"}}`), []string{"config.json hf-config(text) skipped"}},
		{"config.json", []byte(`{"model_type": "x"}`), []string{"config.json (text)"}},
		{"t.jinja", []byte("{{ x }}"), []string{"t.jinja jinja(text)"}},
		{"t.jinja", []byte("{{ x"), []string{"t.jinja jinja(text) failed"}},
		{"m.mar", formattest.Zip(entry{Name: "MAR-INF/MANIFEST.json", Data: []byte("{}")}), []string{"m.mar torchserve-mar", "m.mar!/MAR-INF/MANIFEST.json (text)"}},
	} {
		got := tree(t.Context(), tt.name, bytes.NewReader(tt.bytes), int64(len(tt.bytes)), format.DefaultLimits())
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

// TestDepth nests archives beyond the limit and unpacks them no further.
func TestDepth(t *testing.T) {
	b := []byte(number)
	for range 12 {
		b = formattest.Gzip(b)
	}
	got := tree(t.Context(), "a", bytes.NewReader(b), int64(len(b)), format.DefaultLimits())
	if want := format.DefaultLimits().Depth + 2; len(got) != want || !strings.HasSuffix(got[len(got)-1], "error skipped") {
		t.Errorf("%d lines, want %d and an error at the end: %q", len(got), want, got)
	}
}

// TestMembersLimit counts members over all depths.
func TestMembersLimit(t *testing.T) {
	lim := format.DefaultLimits()
	lim.TotalMembers = 5
	b := formattest.Zip(entry{Name: "a", Data: formattest.Zip(entry{Name: "1"}, entry{Name: "2"}, entry{Name: "3"})}, entry{Name: "b", Data: formattest.Zip(entry{Name: "4"}, entry{Name: "5"})})
	got := strings.Join(tree(t.Context(), "m", bytes.NewReader(b), int64(len(b)), lim), "\n")
	if !strings.Contains(got, "error skipped") {
		t.Errorf("seven members within a limit of five:\n%s", got)
	}
}

// counted is a torch archive with a storage of zeros that is never in memory.
type counted struct {
	head, tail []byte
	size       int64
	read       int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.read += int64(len(p))
	clear(p)
	if off < int64(len(c.head)) {
		copy(p, c.head[off:])
	}
	at := c.size - int64(len(c.tail))
	if off+int64(len(p)) > at {
		if off >= at {
			copy(p, c.tail[off-at:])
		} else {
			copy(p[at-off:], c.tail)
		}
	}
	if off+int64(len(p)) > c.size {
		return int(max(0, c.size-off)), io.EOF
	}
	return len(p), nil
}

// TestWeightsAreNotRead opens an array of 3 GB and counts what is read.
func TestWeightsAreNotRead(t *testing.T) {
	const size = 3 << 30
	head := formattest.Npy(formattest.NpyHeader("'<f4'", "(805306368,)"), nil)
	npy := &counted{head: head, size: int64(len(head)) + size}
	if got := tree(t.Context(), "a.npy", npy, npy.size, format.DefaultLimits()); len(got) != 1 || strings.Contains(got[0], "skipped") || npy.read > 1<<20 {
		t.Errorf("%q, %d bytes read", got, npy.read)
	}
	header := fmt.Sprintf(`{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, size, size)
	st := &counted{head: formattest.Safetensors(header, nil)}
	st.size = int64(len(st.head)) + size
	if got := tree(t.Context(), "a.safetensors", st, st.size, format.DefaultLimits()); len(got) != 1 || strings.Contains(got[0], "skipped") || st.read > 1<<20 {
		t.Errorf("%q, %d bytes read", got, st.read)
	}
}

// TestBigTorchIsNotRead opens a torch archive with a storage of 3 GB.
func TestBigTorchIsNotRead(t *testing.T) {
	const size = 3 << 30
	b := formattest.Zip(entry{Name: "m/data/0", Data: []byte("zzzz")}, entry{Name: "m/data.pkl", Data: []byte(number)})
	const data = 30 + len("m/data/0")
	head, tail := bytes.Clone(b[:data]), bytes.Clone(b[data+4:])
	put := func(b []byte, at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
	put(head, 18, size)
	put(head, 22, size)
	dir := bytes.Index(tail, []byte("PK\x01\x02"))
	put(tail, dir+20, size)
	put(tail, dir+24, size)
	second := dir + 1 + bytes.Index(tail[dir+1:], []byte("PK\x01\x02"))
	put(tail, second+42, uint32(data+size))
	end := bytes.Index(tail, []byte("PK\x05\x06"))
	put(tail, end+16, uint32(data+size+dir))
	r := &counted{head: head, tail: tail, size: int64(data+size) + int64(len(tail))}
	got := tree(t.Context(), "m.pt", r, r.size, format.DefaultLimits())
	want := []string{"m.pt torch-zip", "m.pt!/m/data/0 (tensor)", "m.pt!/m/data.pkl pickle"}
	if d := cmp.Diff(want, got); d != "" || r.read > 2<<20 {
		t.Errorf("%s%d bytes read", d, r.read)
	}
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errors.New("disk") }

func TestUnreadable(t *testing.T) {
	if _, err := format.Open(t.Context(), "a", broken{}, 10, format.DefaultLimits()); err == nil {
		t.Error("a file that cannot be read opens without an error")
	}
}

func FuzzOpen(f *testing.F) {
	for _, b := range [][]byte{
		[]byte(number), []byte("{\"chat_template\": \"{{ x }}\"}"), []byte("text"), []byte("\x7fELF"),
		formattest.Zip(entry{Name: "m/data.pkl", Data: []byte(number), Deflate: true}, entry{Name: "m/data/0", Data: []byte("xxxx"), Stream: true}),
		formattest.Gzip([]byte(number)), formattest.Zlib([]byte(number)),
		formattest.Tar(formattest.TarEntry{Name: "pickle", Data: []byte(number)}),
		formattest.Npy(formattest.NpyHeader("'|O'", "(1,)"), []byte(number)),
		formattest.Safetensors(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, []byte("a")),
		(&formattest.GGUF{}).Pair("tokenizer.chat_template", "{{ x }}").Bytes(nil),
		formattest.ONNX([][]byte{formattest.ONNXNode("", "Relu")}, nil),
		formattest.HDF5{Attrs: [][2]string{{"model_config", "{}"}}}.Bytes(),
		formattest.KerasZip(`{"class_name": "Sequential", "config": {}}`),
		formattest.TFLite("Custom"), formattest.SavedModel(formattest.TFGraph([][]byte{formattest.TFNode("p", "PyFunc", nil)}, nil)),
		formattest.SevenZip("\x00", "", nil, formattest.SevenEntry{Name: "a.pkl", Data: []byte(number)}),
		[]byte(`{"auto_map": {"AutoModel": "m.M"}, "_target_": "a.b"}`),
		(&formattest.Torch7{}).Object("nn.Linear").Table(1).Text("f").Function(formattest.LuaJIT("os", "execute")).Bytes(),
		(&formattest.Torch7{ASCII: true}).Object("nn.Linear").Table(1).Text("weight").Tensor(1, 2).Bytes(),
		[]byte("ftrt\x00\x01libcustom.so\x00"), []byte("RKNN\x00\x00\x00\x00http://a"), formattest.XGBinary("binf", "reg:linear", [2]string{"a", "b"}),
		[]byte("\x0c\xdb\x3a\x2a\x18\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), []byte("A\n2\n1\n1\n13\n1\n7\n"),
		[]byte(`{"zarr_format": 2, "filters": [{"id": "pickle"}], "dtype": "|O"}`), []byte(`{"schemaVersion": 2, "layers": [{"urls": ["http://a"]}], "weight_map": {"a": "../b"}}`),
		formattest.ZipWith(formattest.ZipTricks{Prefix: formattest.ELF()}, entry{Name: "m.gguf", Data: (&formattest.GGUF{}).Bytes(nil)}, entry{Name: ".args", Data: []byte("-m\nm.gguf\n")}),
		formattest.Tar(formattest.TarEntry{Name: "oci-layout", Data: []byte("{}")}, formattest.TarEntry{Name: "index.json", Data: []byte("{}")}, formattest.TarEntry{Name: ".wh.a"}),
	} {
		f.Add(b)
	}
	lim := format.DefaultLimits()
	lim.Expand, lim.Hold, lim.Header, lim.Members, lim.TotalMembers, lim.Ops = 1<<22, 1<<20, 1<<20, 100, 300, 10_000
	f.Fuzz(func(t *testing.T, b []byte) {
		one := tree(t.Context(), "f.bin", bytes.NewReader(b), int64(len(b)), lim)
		two := tree(t.Context(), "f.bin", bytes.NewReader(b), int64(len(b)), lim)
		if d := cmp.Diff(one, two); d != "" {
			t.Error("same bytes, other result", d)
		}
	})
}

// TestTextThatLoadersActOn is not read, or what it names is left to the checks.
func TestTextThatLoadersActOn(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		clean      bool
	}{
		{"broken.pkl", "(dp0\nS'a\n", false},
		{"setup.sh", "echo hello\n", false},
		{"model_config.yaml", "model:\n  _target_: os.system\n", false},
		{"conf.yml", "x: !!python/object/apply:os.system [id]\n", false},
		{"README.md", "(dp0\nS'a\n", true},
		{"plain.yaml", "a: 1\n", true},
	} {
		f, err := format.Open(t.Context(), tt.name, strings.NewReader(tt.text), int64(len(tt.text)), format.DefaultLimits())
		if err != nil || (len(f.Unread)+len(f.References) == 0) != tt.clean {
			t.Errorf("%s: unread %v, %v; want clean %v", tt.name, f.Unread, err, tt.clean)
		}
	}
}
