package scan_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/scan"
)

// wrappers put a file into each container and through each compressor.
func wrappers(t *testing.T) map[string]func([]byte) []byte {
	through := func(open func(io.Writer) (io.WriteCloser, error)) func([]byte) []byte {
		return func(b []byte) []byte {
			var out bytes.Buffer
			w, err := open(&out)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(b); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}
	}
	zipped := func(name string, deflate bool) func([]byte) []byte {
		return func(b []byte) []byte {
			return formattest.Zip(formattest.ZipEntry{Name: name, Data: b, Deflate: deflate})
		}
	}
	return map[string]func([]byte) []byte{
		"plain":     func(b []byte) []byte { return b },
		"zip":       zipped("m.pkl", false),
		"deflated":  zipped("a/b/notes.txt", true),
		"torch_zip": zipped("archive/data.pkl", false),
		"npz":       zipped("weights.npy", true),
		"prefixed":  func(b []byte) []byte { return append([]byte("#!/bin/sh\n"), zipped("m.pkl", false)(b)...) },
		"gzip":      through(func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }),
		"zlib":      through(func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil }),
		"xz":        through(func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }),
		"zstd":      through(func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }),
		"lz4":       through(func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil }),
		"tar": func(b []byte) []byte {
			var out bytes.Buffer
			w := tar.NewWriter(&out)
			if err := w.WriteHeader(&tar.Header{Name: "m.bin", Size: int64(len(b)), Mode: 0o600}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(b); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		},
	}
}

// TestContainersHideNothing: a hostile stream stays malicious in every container
// inside every other one, whatever the names say, and with bytes behind it; an
// honest one stays clean.
func TestContainersHideNothing(t *testing.T) {
	const hostile = "\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R."
	const honest = "\x80\x04}\x8c\x06weight](K\x01K\x02es."
	all := wrappers(t)
	verdict := func(b []byte) (warden.Verdict, string) {
		r := scan.File(t.Context(), "model.bin", bytes.NewReader(b), int64(len(b)), scan.Options{})
		return r.Verdict, fmt.Sprint(r.Statuses)
	}
	for inner, in := range all {
		for outer, out := range all {
			if v, why := verdict(out(in([]byte(hostile)))); v != warden.Malicious {
				t.Errorf("hostile in %s in %s: %v, want malicious (%s)", inner, outer, v, why)
			}
			// A pickle by a wrong name, or bytes before an archive, are findings themselves.
			odd := map[string]bool{"prefixed": true, "deflated": true, "npz": true}
			if (outer == "plain" || inner == "plain") && !odd[inner] && !odd[outer] {
				if v, why := verdict(out(in([]byte(honest)))); v > warden.Clean {
					t.Errorf("honest in %s in %s: %v, want clean (%s)", inner, outer, v, why)
				}
			}
		}
		if v, why := verdict(append(in([]byte(hostile)), make([]byte, 100)...)); v != warden.Malicious {
			t.Errorf("hostile in %s with zeros behind: %v (%s)", inner, v, why)
		}
	}
}
