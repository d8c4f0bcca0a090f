// Package syntax is the one tree that every reader of source code makes.
//
// Its kinds are those of Python's grammar, which name what most languages
// have; the readers of other languages lower theirs to them: an object literal
// is a [Dict], new C(x) is a [Call] with the flag [New], a function expression
// is a [Lambda] with a [Block], a?.b is an [Attr], a ?? b is a [Bool], x += 1 an
// [AugAssign], a switch is a [Match]. So names are resolved, values followed
// and rules matched by one engine, whatever the language.
//
// Nodes are plain and read only. A [File] holds the statements of one file and
// tells the line of a node.
package syntax

import (
	"sort"
	"strings"
)

// A File is the tree of one file. The zero File is empty.
type File struct {
	Body   []*Node // statements
	Source string  // what the offsets of nodes count in

	lines []int32 // where lines begin
}

// Line returns the line that holds a byte, the first line being 1. The first
// call reads the source: it must not run beside another one.
func (m *File) Line(offset int32) int {
	if m.lines == nil {
		m.lines = []int32{0}
		for i := 0; i < len(m.Source); i++ {
			if c := m.Source[i]; c == '\n' || c == '\r' && !strings.HasPrefix(m.Source[i+1:], "\n") {
				m.lines = append(m.lines, int32(i+1))
			}
		}
	}
	return sort.Search(len(m.lines), func(i int) bool { return m.lines[i] > offset })
}

// Text returns the source of a node.
func (m *File) Text(n *Node) string {
	if n == nil || n.Start < 0 || n.End < n.Start || int(n.End) > len(m.Source) {
		return ""
	}
	return m.Source[n.Start:n.End]
}
