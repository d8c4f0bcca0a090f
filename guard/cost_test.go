package guard_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/chat"
)

// Links that do not end overlap: each reaches over all that follow. Their texts
// are not copied one by one, which would cost gigabytes for a short answer.
func TestOverlapsAreCheap(t *testing.T) {
	g, err := guard.New(guard.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, begin := range []string{"![a](", "[a](http://", "http://"} {
		text := []byte(strings.Repeat(begin, 100_000/len(begin)))
		s, err := g.Stream(nil, guard.Result{})
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		lane := chat.Lane{Kind: chat.Text}
		if _, err := s.Write(lane, text); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Close(lane); err != nil {
			t.Fatal(err)
		}
		s.Finish()
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 100<<20 {
			t.Errorf("%d bytes of %q took %d MiB", len(text), begin, n>>20)
		}
	}
}
