package guard_test

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/chat"
)

// prose is text as models write it, with nothing in it.
const prose = `The committee met on Tuesday to discuss the plan for the new library. Several members asked
whether the building would have enough light in winter, and the architect answered that the windows face south.
Nobody knew what the heating would cost. In the end it was agreed to ask for a second opinion, and to keep the
old reading room open until the work is done. "We have waited long enough," said the oldest of them, and went home.

`

func benchmark(b *testing.B, text string, piece int, x *chat.Exchange) {
	data := []byte(strings.Repeat(text, 1+(1<<18)/len(text)))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		s, err := guard.NewStream(guard.StreamConfig{}, x)
		if err != nil {
			b.Fatal(err)
		}
		for p := data; len(p) > 0; {
			n := min(piece, len(p))
			if _, err := s.Write(textLane, p[:n]); err != nil {
				b.Fatal(err)
			}
			p = p[n:]
		}
		if _, err := s.Close(textLane); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStreamProse(b *testing.B)  { benchmark(b, prose, 4096, &chat.Exchange{}) }
func BenchmarkStreamTokens(b *testing.B) { benchmark(b, prose, 5, &chat.Exchange{}) }

func BenchmarkStreamOperator(b *testing.B) {
	_, x := propertyConfig()
	benchmark(b, prose, 4096, x)
}

func BenchmarkStreamKeys(b *testing.B)   { benchmark(b, "key=key=key=", 4096, &chat.Exchange{}) }
func BenchmarkStreamTags(b *testing.B)   { benchmark(b, `<a x="`, 4096, &chat.Exchange{}) }
func BenchmarkStreamDigits(b *testing.B) { benchmark(b, "1 22 333-4444 ", 4096, &chat.Exchange{}) }
func BenchmarkStreamImages(b *testing.B) { benchmark(b, "![[", 4096, &chat.Exchange{}) }

func BenchmarkNewStream(b *testing.B) {
	_, x := propertyConfig()
	x.Messages[0].Parts[0].Text = []byte(strings.Repeat(prose, 10))
	b.ReportAllocs()
	for b.Loop() {
		s, err := guard.NewStream(guard.StreamConfig{}, x)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Write(textLane, []byte("Hello. ")); err != nil {
			b.Fatal(err)
		}
	}
}
