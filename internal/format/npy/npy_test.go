package npy_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/npy"
)

func open(b []byte) (*npy.Header, error) {
	return npy.Open(bytes.NewReader(b), int64(len(b)), bound.Default())
}

func TestOpen(t *testing.T) {
	for _, tt := range []struct {
		descr, shape string
		bytes        int64
		objects      bool
	}{
		{"'<f4'", "(3, 2)", 24, false},
		{"'<U5'", "()", 20, false},
		{"'|O'", "(3,)", -1, true},
		{"'<M8[ns]'", "(2L,)", 16, false},
		{"[('a', '<i4'), ('b', [('c', '|S3')], (2,))]", "(2,)", 20, false},
		{"[('a', '<i4'), ('b', '|O')]", "(2,)", -1, true},
		{"('<f8', (2, 2))", "(1,)", 32, false},
	} {
		h, err := open(formattest.Npy(formattest.NpyHeader(tt.descr, tt.shape), nil))
		if err != nil || h.Bytes != tt.bytes || h.Objects != tt.objects {
			t.Errorf("%s %s: %+v, %v", tt.descr, tt.shape, h, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	head := formattest.NpyHeader
	for _, header := range []string{
		"", "{}", "{'descr': f(), 'fortran_order': False, 'shape': ()}", head("'<f4'", "(-1,)"), head("'<f8'", "(9223372036854775807, 9)"),
		head("'zz'", "()"), head("'<f4'", "()") + "; import x", head(strings.Repeat("(", 200), "()"), head("'<f4'", "("+strings.Repeat("1,", 6000)+")"),
		"{'descr': '<f4', 'descr': '|O', 'fortran_order': False, 'shape': ()}",
	} {
		if _, err := open(formattest.Npy(header, nil)); err == nil {
			t.Errorf("took the header %.60q", header)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(formattest.Npy(formattest.NpyHeader("'<f4'", "(3,)"), []byte("123456789012")))
	f.Add(formattest.Npy(formattest.NpyHeader("[('a', '|O'), ('b', '<i2', (2, 3))]", "()"), nil))
	f.Add([]byte(npy.Magic + "\x02\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := open(b)
		if err == nil && (h.Data > int64(len(b)) || h.Bytes < -1) {
			t.Errorf("%+v", h)
		}
	})
}
