package text_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/text"
)

type hit struct {
	Word       string
	Start, End int
}

func each(t *testing.T, words []string, s string) (hits []hit) {
	t.Helper()
	w, err := text.NewWords(words)
	if err != nil {
		t.Fatal(err)
	}
	w.Each([]byte(s), func(word, start, end int) bool {
		hits = append(hits, hit{words[word], start, end})
		return true
	})
	return hits
}

func TestWords(t *testing.T) {
	got := each(t, []string{"he", "she", "his", "hers", "HE_"}, "uSHers he_")
	want := []hit{{"she", 1, 4}, {"he", 2, 4}, {"hers", 2, 6}, {"he", 7, 9}, {"HE_", 7, 10}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := text.NewWords([]string{"a", ""}); err == nil {
		t.Error("an empty word is accepted")
	}
}

// FuzzWords compares with a search word by word.
func FuzzWords(f *testing.F) {
	f.Add("ab,b,bca", "xabcabca")
	f.Fuzz(func(t *testing.T, list, s string) {
		words := strings.Split(list, ",")
		w, err := text.NewWords(words)
		if err != nil || len(list) > 1000 || len(s) > 1000 {
			return
		}
		got, want := map[hit]int{}, map[hit]int{}
		w.Each([]byte(s), func(word, start, end int) bool {
			got[hit{words[word], start, end}]++
			return true
		})
		for _, x := range words {
			for i := 0; i+len(x) <= len(s); i++ {
				if bytes.Equal(folded(s[i:i+len(x)]), folded(x)) {
					want[hit{x, i, i + len(x)}]++
				}
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

// folded makes ASCII letters small.
func folded(s string) []byte {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

func BenchmarkWords(b *testing.B) {
	w, err := text.NewWords([]string{"akia", "hf_", "ghp_", "token", "key", "s.", "ey", "sk", "secret", "password"})
	if err != nil {
		b.Fatal(err)
	}
	data := bytes.Repeat([]byte("some weights \x00\x81\x3f\xbf and a few words; "), 1<<15)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		w.Each(data, func(int, int, int) bool { return true })
	}
}
