// Package placeholder puts placeholders in place of values, and values back in
// place of placeholders. A placeholder is of one exchange: it names the kind of
// the value and holds a nonce, so that text which only looks like one is not
// taken for one, and equal values have equal placeholders, so that a model can
// still tell them apart.
package placeholder

import (
	"fmt"
	"maps"
	"strings"

	"github.com/modelwarden/warden/internal/text/stream"
)

// Group is the group of placeholders in a stream, and Kind their kind.
const (
	Group = 9
	Kind  = "placeholder"
)

// A Map is the placeholders of one exchange. It belongs to one goroutine.
type Map struct {
	nonce   string
	byValue map[string]string
	values  map[string]string
	count   map[string]int
}

// New returns a map with a nonce, which the caller draws for each exchange: a few
// small letters and digits.
func New(nonce string) *Map {
	return &Map{nonce: nonce, byValue: map[string]string{}, values: map[string]string{}, count: map[string]int{}}
}

// Put returns the placeholder of a value: "[EMAIL_1_k3f9]".
func (m *Map) Put(kind, value string) string {
	key := kind + "\x00" + value
	if p, ok := m.byValue[key]; ok {
		return p
	}
	name := strings.ToUpper(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, kind))
	m.count[name]++
	p := fmt.Sprintf("[%s_%d_%s]", name, m.count[name], m.nonce)
	m.byValue[key], m.values[p] = p, value
	return p
}

// Values returns the values of the placeholders that were put. The caller may
// keep it.
func (m *Map) Values() map[string]string {
	return maps.Clone(m.values)
}

// Escape changes what in a text looks like a placeholder of this map, so that
// nobody can ask for the value of another.
func (m *Map) Escape(s string) string {
	return strings.ReplaceAll(s, "_"+m.nonce+"]", "_"+m.nonce+" ]")
}

// maxName is the longest placeholder, in bytes.
const maxName = 64

// In returns a recogniser, called at "[", of the placeholders that have values.
func In(values map[string]string) stream.Recogniser {
	return stream.Recogniser{Cap: maxName, Run: func(w stream.Window) ([]stream.Match, stream.State) {
		i := w.At + 1
		for i < len(w.B) && i-w.At < maxName && (w.B[i] >= 'A' && w.B[i] <= 'Z' || w.B[i] >= 'a' && w.B[i] <= 'z' || w.B[i] >= '0' && w.B[i] <= '9' || w.B[i] == '_' || w.B[i] == '-') {
			i++
		}
		if i == len(w.B) && !w.Ended() {
			return nil, stream.More
		}
		if i >= len(w.B) || w.B[i] != ']' {
			return nil, stream.No
		}
		v, ok := values[string(w.B[w.At:i+1])]
		if !ok {
			return nil, stream.No
		}
		return []stream.Match{{Start: int64(w.At), End: int64(i) + 1, Kind: Kind, Group: Group, Text: v}}, stream.Yes
	}}
}
