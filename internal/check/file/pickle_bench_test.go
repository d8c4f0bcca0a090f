package file

import (
	"testing"

	pt "github.com/modelwarden/warden/internal/format/pickle/pickletest"
)

// BenchmarkPickleSmall opens and judges one small pickle.
func BenchmarkPickleSmall(b *testing.B) {
	in := []byte(p4(pt.DictOf(pt.Str("a"), pt.Int(1), pt.Str("b"), call("collections:OrderedDict"))))
	for b.Loop() {
		judgeBytes(b.Context(), "m.pkl", in)
	}
}

// BenchmarkCallables reads the table, which happens once per process.
func BenchmarkCallables(b *testing.B) {
	for b.Loop() {
		parseCallables()
	}
}
