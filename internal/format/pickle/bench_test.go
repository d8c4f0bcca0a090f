package pickle_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/pickle"
	pt "github.com/modelwarden/warden/internal/format/pickle/pickletest"
)

func benchOpen(b *testing.B, data []byte) {
	b.Helper()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, sts := pickle.Open(b.Context(), bytes.NewReader(data), int64(len(data)), bound.Default()); len(sts) > 0 {
			b.Fatal(sts)
		}
	}
}

// BenchmarkSmall is one of the thousand small pickles of the design.
func BenchmarkSmall(b *testing.B) {
	benchOpen(b, pt.Stream(pt.DictOf(pt.Str("a"), pt.Int(1), pt.Str("b"), pt.Call(pt.Named("collections", "OrderedDict")))))
}

// BenchmarkNeutralPairs is the padding that must not reach a budget.
func BenchmarkNeutralPairs(b *testing.B) {
	benchOpen(b, pt.Stream(strings.Repeat(pt.None+pt.Pop+pt.Mark+pt.PopMark+pt.Int(70000)+pt.Pop, 200_000)+pt.None))
}

// BenchmarkNumbers is a long list of numbers, as lists of tokens are.
func BenchmarkNumbers(b *testing.B) {
	benchOpen(b, pt.Stream(pt.List+strings.Repeat(pt.Mark+strings.Repeat(pt.Int(70000), 1000)+pt.Appends, 1000)))
}

// BenchmarkVocabulary is a dict of a hundred thousand words.
func BenchmarkVocabulary(b *testing.B) {
	var s strings.Builder
	s.WriteString(pt.Dict + pt.Memoize + pt.Mark)
	for i := range 100_000 {
		s.WriteString(pt.Str(fmt.Sprintf("word%d", i)) + pt.Memoize + pt.Int(int32(i)))
	}
	s.WriteString(pt.SetItems)
	benchOpen(b, pt.Stream(s.String()))
}
