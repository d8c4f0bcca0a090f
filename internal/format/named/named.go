// Package named holds what the readers of formats with few dangers find in a
// file: code, files and texts that it names. What is kept is bounded; reaching a
// bound is an error that wraps [detect.ErrLimit].
package named

import (
	"fmt"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// A Kind says what a loader does with what is named.
type Kind uint8

// The kinds.
const (
	Text    Kind = iota // nothing: it is there for people
	Python              // imports or calls it as Python
	Library             // loads it as native code
	Custom              // looks it up in the application or in a library of operators
	File                // opens it beside the model
	Reads               // the model reads files when it runs
	Writes              // the model writes files when it runs
	Network             // the model opens connections when it runs
)

// An Item is one thing that a file names.
type Item struct {
	Kind       Kind
	Key        string // what names it: an operator, a field
	Value      string
	Start, End int64
}

// A List is what one file names, in the order of the file.
type List struct {
	Items []Item

	max   int
	bytes int64
	err   error
}

// maxBytes bounds the bytes of keys and values of one file.
const maxBytes = 64 << 20

// NewList returns an empty list with the bounds of lim.
func NewList(lim bound.Limits) *List { return &List{max: lim.Members} }

// Add keeps an item while there is room.
func (l *List) Add(i Item) {
	l.bytes += int64(len(i.Key) + len(i.Value))
	if len(l.Items) >= l.max || l.bytes > maxBytes {
		if l.err == nil {
			l.err = fmt.Errorf("more than %d names: %w", l.max, detect.ErrLimit)
		}
		return
	}
	l.Items = append(l.Items, i)
}

// Err says that something was left out.
func (l *List) Err() error { return l.err }
