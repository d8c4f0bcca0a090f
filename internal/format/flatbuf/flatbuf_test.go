package flatbuf_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/modelwarden/warden/internal/format/flatbuf"
	"github.com/modelwarden/warden/internal/format/formattest"
)

func TestTable(t *testing.T) {
	b := formattest.FlatBuffer("TEST", formattest.Flat{uint32(7), nil, "text", formattest.Flat{uint32(9)}, []formattest.Flat{{"a"}, {"b"}}})
	d := flatbuf.NewReader(bytes.NewReader(b), int64(len(b)))
	root := d.Root()
	list := root.Vector(4, 4)
	if root.Uint32(0, 0) != 7 || root.Uint32(1, 5) != 5 || root.Text(2, 2) != "te" || root.Table(3).Uint32(0, 0) != 9 || list.Len != 2 || list.Table(1).Text(0, 9) != "b" {
		t.Errorf("%+v", root)
	}
	if root.Table(1).Ok() || root.Uint32(99, 3) != 3 || list.Table(2).Ok() || root.Byte(50, -1) != -1 || d.Err() != nil {
		t.Errorf("absent fields: %v", d.Err())
	}
}

func TestLengthOutside(t *testing.T) {
	b := formattest.FlatBuffer("TEST", formattest.Flat{"text"})
	b[len(b)-9] = 200 // the length of the text
	d := flatbuf.NewReader(bytes.NewReader(b), int64(len(b)))
	if s := d.Root().Text(0, 100); s != "" || !errors.Is(d.Err(), flatbuf.ErrBuffer) {
		t.Errorf("%q, %v", s, d.Err())
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(formattest.FlatBuffer("TEST", formattest.Flat{uint32(7), nil, "text", formattest.Flat{uint32(9)}, []formattest.Flat{{"a"}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := flatbuf.NewReader(bytes.NewReader(b), int64(len(b)))
		table := d.Root()
		for i := range 8 {
			table.Byte(i, 0)
			if s := table.Text(i, 64); len(s) > 64 {
				t.Errorf("%d bytes of text", len(s))
			}
			v := table.Vector(i, 4)
			if start, end := v.Bytes(); start < 0 || end > int64(len(b)) {
				t.Errorf("list from %d to %d of %d", start, end, len(b))
			}
			v.Table(0)
			if next := table.Table(i); next.Ok() {
				table = next
			}
		}
	})
}
