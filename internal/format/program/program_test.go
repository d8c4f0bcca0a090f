package program_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/program"
)

func TestAt(t *testing.T) {
	cuda := formattest.ELF()
	binary.LittleEndian.PutUint16(cuda[18:], 190)
	for _, tt := range []struct {
		name string
		b    []byte
		want string
	}{
		{"elf", formattest.ELF(), program.ELF},
		{"pe", formattest.PE(), program.PE},
		{"macho", formattest.MachO(), program.MachO},
		{"wasm", []byte("\x00asm\x01\x00\x00\x00\x01"), program.Wasm},
		{"script", []byte("#!/bin/sh\necho a few words of a script, and some more\n"), program.Script},
		{"cuda", cuda, ""},
		{"magic", append([]byte("\x7fELF"), make([]byte, 100)...), ""},
		{"two_bytes", append([]byte("MZ"), make([]byte, 200)...), ""},
		{"java", append([]byte("\xca\xfe\xba\xbe\x00\x00\x00\x34"), make([]byte, 100)...), ""},
		{"short_script", []byte("#!/bin/sh\n"), ""},
		{"cut", formattest.ELF()[:40], ""},
		{"empty", nil, ""},
	} {
		if got := program.At(tt.b); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestFind(t *testing.T) {
	b := bytes.Join([][]byte{make([]byte, 1000), formattest.PE(), make([]byte, 500), formattest.ELF(), []byte("MZ"), make([]byte, 5000)}, nil)
	elf := 1500 + len(formattest.PE())
	want := []program.Hit{{Kind: program.PE, At: 1000}, {Kind: program.ELF, At: elf}}
	if d := cmp.Diff(want, program.Find(b, 0, len(b))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want[1:], program.Find(b, 1001, elf+1)); d != "" {
		t.Error(d)
	}
}

// TestBroken has the signature of a program whose header is gone. Code for
// graphics processors has a whole one.
func TestBroken(t *testing.T) {
	b := append(formattest.ELF()[:16:16], make([]byte, 100)...)
	if got := program.Find(b, 0, len(b)); len(got) != 1 || !got[0].Broken {
		t.Errorf("%+v", got)
	}
	cuda := formattest.ELF()
	binary.LittleEndian.PutUint16(cuda[18:], 190)
	if got := program.Find(cuda, 0, len(cuda)); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func FuzzFind(f *testing.F) {
	f.Add(append(make([]byte, 10), formattest.ELF()...), 0, 200)
	f.Add(formattest.PE(), 0, 1)
	f.Add(formattest.MachO(), -1, 5)
	f.Fuzz(func(t *testing.T, b []byte, lo, hi int) {
		for _, h := range program.Find(b, lo, hi) {
			if h.At < lo || h.At >= hi || program.At(b[h.At:]) == "" && !h.Broken {
				t.Errorf("%+v between %d and %d", h, lo, hi)
			}
		}
	})
}

func BenchmarkFind(b *testing.B) {
	data := bytes.Repeat([]byte("\x00\x81\x3f\xbfM1#\xca\xfe"), 1<<17)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		program.Find(data, 0, len(data))
	}
}
