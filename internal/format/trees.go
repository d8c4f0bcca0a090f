package format

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/flatbuf"
	"github.com/modelwarden/warden/internal/format/msgpack"
	"github.com/modelwarden/warden/internal/format/rdata"
	"github.com/modelwarden/warden/internal/format/ubjson"
	"github.com/modelwarden/warden/internal/format/xmltext"
)

func (f *File) tryRData(ctx context.Context, w window) bool {
	start := rdata.Sniff(w.head)
	if start < 0 {
		return false
	}
	name := "rds"
	if start > 0 {
		name = "rdata"
	}
	f.claim(name)
	t, err := rdata.Open(ctx, f.R, int64(start), f.Size, f.limits())
	f.RData = t
	if err != nil {
		f.unread("read/"+name, err)
	}
	return true
}

func (f *File) tryUBJSON(ctx context.Context, w window) bool {
	if !ubjson.Sniff(w.head) {
		return false
	}
	d, err := ubjson.Open(ctx, f.R, f.Size, f.limits())
	if err != nil && !d.Keys["learner"] {
		return false
	}
	name := "ubjson"
	if d.Keys["learner"] {
		name = "xgboost"
	}
	f.claim(name)
	if err != nil {
		f.unread("read/"+name, err)
	} else if d.Size < f.Size {
		f.unread("read/"+name, fmt.Errorf("%d bytes follow the document", f.Size-d.Size))
	}
	for _, t := range d.Texts {
		f.text(t.Key, t.Value, t.At)
	}
	return true
}

// text keeps a descriptive text. Numbers written as text are not worth keeping.
func (f *File) text(key, value string, at int64) {
	const least = 8
	if len(value) < least {
		return
	}
	if len(f.Texts) == f.limits().Members {
		f.unread("read/text", fmt.Errorf("more than %d texts: %w", f.limits().Members, detect.ErrLimit))
	}
	if len(f.Texts) <= f.limits().Members {
		f.Texts = append(f.Texts, Text{key, value[:min(len(value), 64<<10)], at})
	}
}

// tryMsgPack takes a map that fills the whole file, since the format has no
// signature; by its name a damaged one is taken too.
func (f *File) tryMsgPack(ctx context.Context, w window) bool {
	if f.Format != "" || !msgpack.Sniff(w.head) {
		return false
	}
	named := f.ext() == ".msgpack"
	d, err := msgpack.Open(ctx, f.R, f.Size, f.limits())
	whole := err == nil && d.Size == f.Size
	if !whole && !named {
		return false
	}
	f.claim("msgpack")
	f.MsgPack = d
	switch {
	case err != nil:
		f.unread("read/msgpack", err)
	case !whole:
		f.unread("read/msgpack", fmt.Errorf("%d bytes follow the document", f.Size-d.Size))
	}
	return true
}

// tryCatBoost reads the table of a CatBoost model: its version and its
// descriptive texts. Trees are passed over.
func (f *File) tryCatBoost(ctx context.Context, w window) bool {
	const mark = "CBM1"
	if !w.has(mark) || len(w.head) < 16 {
		return false
	}
	f.claim("catboost")
	size := int64(binary.LittleEndian.Uint32(w.head[4:]))
	if size > f.Size-8 {
		f.unread("read/catboost", fmt.Errorf("table of %d bytes, %d remain", size, f.Size-8))
		return true
	}
	d := flatbuf.NewReader(io.NewSectionReader(f.R, 8, size), size)
	root := d.Root()
	if v := root.Text(0, 64); d.Err() == nil && v != "FlabuffersModel_v1" {
		f.unread("read/catboost", notYetError(fmt.Sprintf("version %q of the format is not read", v)))
	}
	info := root.Vector(2, 4)
	for i := range min(info.Len, int64(f.limits().Members)) {
		pair := info.Table(i)
		if d.Err() != nil || ctx.Err() != nil {
			break
		}
		f.text(pair.Text(0, 256), pair.Text(1, 8<<10), 8+pair.At)
	}
	if err := errors.Join(d.Err(), ctx.Err()); err != nil {
		f.unread("read/catboost", err)
	}
	return true
}

// tryLightGBM takes a text that begins as LightGBM writes its models. It is text
// to its end, or not read.
func (f *File) tryLightGBM(_ context.Context, w window) bool {
	if !w.has("tree\nversion=") {
		return false
	}
	f.claim("lightgbm")
	f.Kind = "text"
	b, err := f.content(f.limits().Text)
	if err == nil && !plain(b) {
		err = errors.New("a model in text form holds bytes that are no text")
	}
	if err != nil {
		f.unread("read/lightgbm", err)
	}
	return true
}

// xml reads the outline of a model that is XML. Other XML is text like any.
func (f *File) xml(ctx context.Context, b []byte) {
	var name string
	switch {
	case len(b) == 0 || b[0] != '<':
		return
	case bytes.Contains(b, []byte("PMML")):
		name = "pmml"
	case bytes.Contains(b, []byte("<net")) || bytes.Contains(b, []byte(":net")):
		name = "openvino"
	default:
		return
	}
	doc, err := xmltext.Open(ctx, b, f.limits())
	if doc.Root != "PMML" && doc.Root != "net" && f.ext() != ".pmml" {
		return
	}
	f.claim(name)
	f.XML = doc
	if err != nil {
		f.unread("read/"+name, err)
	}
}
