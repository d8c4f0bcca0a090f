package translate

import (
	"strconv"

	"github.com/modelwarden/warden/internal/chat/wire"
)

// A writer builds one JSON text. Names and strings are escaped by it; raw parts
// come from bodies that were read strictly.
type writer struct {
	b    []byte
	more bool
}

func (w *writer) sep() {
	if w.more {
		w.b = append(w.b, ',')
	}
	w.more = true
}

func (w *writer) name(n string) *writer {
	w.sep()
	w.b = append(wire.AppendString(w.b, []byte(n)), ':')
	w.more = false
	return w
}

func (w *writer) open(c byte) *writer {
	w.sep()
	w.b, w.more = append(w.b, c), false
	return w
}

func (w *writer) close(c byte) *writer {
	w.b, w.more = append(w.b, c), true
	return w
}

func (w *writer) str(s string) *writer {
	w.sep()
	w.b = wire.AppendString(w.b, []byte(s))
	return w
}

func (w *writer) raw(s []byte) *writer {
	w.sep()
	w.b = append(w.b, s...)
	return w
}

func (w *writer) num(n int64) *writer {
	w.sep()
	w.b = strconv.AppendInt(w.b, n, 10)
	return w
}

func (w *writer) bool(v bool) *writer {
	w.sep()
	w.b = strconv.AppendBool(w.b, v)
	return w
}
