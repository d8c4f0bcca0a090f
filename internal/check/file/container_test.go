package file

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/formattest"
)

type fileCase = detecttest.Case[*format.File]

// open opens b and fails the test if it cannot be read.
func open(t *testing.T, name string, b []byte) *format.File {
	t.Helper()
	f, err := format.Open(t.Context(), name, bytes.NewReader(b), int64(len(b)), format.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// member opens the only member of b whose name ends with suffix. It stays valid
// because the fixtures are held in memory.
func member(t *testing.T, name string, b []byte, lim format.Limits, suffix string) *format.File {
	t.Helper()
	f, err := format.Open(t.Context(), name, bytes.NewReader(b), int64(len(b)), lim)
	if err != nil {
		t.Fatal(err)
	}
	for m, err := range f.Members(t.Context()) {
		if err == nil && strings.HasSuffix(m.Path, suffix) {
			return m
		}
	}
	t.Fatalf("%s has no member %s", name, suffix)
	return nil
}

func TestContainers(t *testing.T) {
	text := []byte("some words\n")
	one := formattest.ZipEntry{Name: "a.txt", Data: text}
	small := format.DefaultLimits()
	small.RatioFrom, small.Ratio = 1<<10, 10
	noise := bytes.Repeat([]byte{0}, 1<<17)
	zip := func(e ...formattest.ZipEntry) *format.File { return open(t, "m.zip", formattest.Zip(e...)) }
	tricky := func(tr formattest.ZipTricks, e ...formattest.ZipEntry) *format.File {
		return open(t, "m.zip", formattest.ZipWith(tr, e...))
	}
	tar := func(e ...formattest.TarEntry) *format.File { return open(t, "m.tar", formattest.Tar(e...)) }
	ids := func(id ...warden.RuleID) []warden.RuleID { return id }
	detecttest.Accept(t, containers, []fileCase{
		{Name: "honest_zip", Subject: zip(one, formattest.ZipEntry{Name: "b/", Data: nil}, formattest.ZipEntry{Name: "b/c.txt", Data: text, Deflate: true})},
		{Name: "honest_stream_zip", Subject: zip(formattest.ZipEntry{Name: "m/data.pkl", Data: text, Stream: true}, formattest.ZipEntry{Name: "m/version", Data: []byte("3\n"), Stream: true})},
		{Name: "honest_prefixed_zip", Subject: tricky(formattest.ZipTricks{Prefix: []byte("#!/bin/false\n")}, one)},
		{Name: "honest_tar", Subject: tar(formattest.TarEntry{Name: "a.txt", Data: text, PAX: "mtime=1.5\n"})},
		{Name: "names_differ", Subject: zip(formattest.ZipEntry{Name: "data.pkl", Local: "datap.kl", Data: text}), Want: ids("WDN-MF-090")},
		{Name: "body_only", Subject: zip(one, formattest.ZipEntry{Name: "h.pkl", Data: text, Hidden: true}), Want: ids("WDN-MF-090")},
		{Name: "duplicate", Subject: zip(one, formattest.ZipEntry{Name: "a.txt", Data: []byte("other\n")}), Want: ids("WDN-MF-090")},
		{Name: "twin", Subject: zip(one, formattest.ZipEntry{Name: "./a.txt", Data: []byte("other\n")}), Want: ids("WDN-MF-090")},
		{Name: "nul_in_name", Subject: zip(formattest.ZipEntry{Name: "a\x00.txt", Data: text}), Want: ids("WDN-MF-090")},
		{Name: "wrong_size", Subject: zip(formattest.ZipEntry{Name: "a.txt", Data: text, DirSize: 4}), Want: ids("WDN-MF-090")},
		{Name: "wrong_count", Subject: tricky(formattest.ZipTricks{Count: 1}, one), Want: ids("WDN-MF-090")},
		{Name: "zip_in_comment", Subject: tricky(formattest.ZipTricks{Comment: formattest.Zip(one)}, one), Want: ids("WDN-MF-090", "WDN-MF-090")},
		{Name: "zip_traversal", Subject: zip(formattest.ZipEntry{Name: "../../x", Data: text}, formattest.ZipEntry{Name: `C:\x`, Data: text}, formattest.ZipEntry{Name: "a/../b", Data: text}), Want: ids("WDN-MF-091", "WDN-MF-091")},
		{Name: "zip_link", Subject: zip(formattest.ZipEntry{Name: "l", Data: []byte("/etc/x"), Link: true}), Want: ids("WDN-MF-092")},
		{Name: "zip_flags", Subject: zip(formattest.ZipEntry{Name: "data.pkl", Data: text, Flags: 0x41}), Want: ids("WDN-MF-093")},
		{Name: "zip_tail", Subject: tricky(formattest.ZipTricks{Tail: []byte("more")}, one), Want: ids("WDN-MF-095")},
		{Name: "zip_check", Subject: member(t, "m.zip", formattest.Zip(formattest.ZipEntry{Name: "a.txt", Data: text, BadCRC: true}), small, "a.txt"), Want: ids("WDN-MF-096")},
		{Name: "zip_check_deflated", Subject: member(t, "m.zip", formattest.Zip(formattest.ZipEntry{Name: "a.txt", Data: text, Deflate: true, BadCRC: true}), small, "a.txt"), Want: ids("WDN-MF-096")},
		{Name: "gzip_bomb", Subject: member(t, "m.gz", formattest.Gzip(noise), small, "m"), Want: ids("WDN-MF-094")},
		{Name: "gzip_modest", Subject: member(t, "m.gz", formattest.Gzip(noise[:1000]), small, "m")},
		{Name: "honest_7z", Subject: open(t, "m.7z", formattest.SevenZip("\x00", "", nil, formattest.SevenEntry{Name: "a/b.txt", Data: text}))},
		{Name: "7z_traversal", Subject: open(t, "m.7z", formattest.SevenZip("\x00", "", nil, formattest.SevenEntry{Name: "../x", Data: text}, formattest.SevenEntry{Name: "l", Data: []byte("/x"), Link: true})), Want: ids("WDN-MF-091", "WDN-MF-092")},
		{Name: "7z_tail", Subject: open(t, "m.7z", append(formattest.SevenZip("\x00", "", nil, formattest.SevenEntry{Name: "a", Data: text}), text...)), Want: ids("WDN-MF-095")},
		{Name: "tar_traversal", Subject: tar(formattest.TarEntry{Name: "/etc/x", Data: text}), Want: ids("WDN-MF-091")},
		{Name: "tar_link_out", Subject: tar(formattest.TarEntry{Name: "a", Type: '2', Link: "../x"}), Want: ids("WDN-MF-092")},
		{Name: "tar_through_link", Subject: tar(formattest.TarEntry{Name: "a", Type: '2', Link: "/etc"}, formattest.TarEntry{Name: "a/x", Data: text}), Want: ids("WDN-MF-092")},
		{Name: "tar_device", Subject: tar(formattest.TarEntry{Name: "a", Type: '3'}), Want: ids("WDN-MF-092")},
		{Name: "tar_two_sizes", Subject: tar(formattest.TarEntry{Name: "a", Data: text, PAX: "size=5\n"}), Want: ids("WDN-MF-090")},
	})
}

// TestContainersEndsWithContext opens an archive with many members.
func TestContainersEndsWithContext(t *testing.T) {
	entries := make([]formattest.ZipEntry, 20_000)
	for i := range entries {
		entries[i] = formattest.ZipEntry{Name: "../x", Data: []byte("a")}
	}
	f := open(t, "m.zip", formattest.Zip(entries...))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := format.Open(ctx, "m.zip", f.R, f.Size, format.DefaultLimits()); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// examineWith runs one detector over f.
func examineWith(t *testing.T, f *format.File, d *detect.Detector[*format.File]) detect.Result {
	t.Helper()
	return detect.Run(t.Context(), warden.Ref{}, f, detect.DefaultLimits(), d)
}
