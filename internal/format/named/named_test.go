package named_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/named"
)

func TestListIsBounded(t *testing.T) {
	lim := bound.Default()
	lim.Members = 2
	l := named.NewList(lim)
	for range 2 {
		l.Add(named.Item{Key: "a"})
	}
	if l.Err() != nil || len(l.Items) != 2 {
		t.Fatal(l.Err(), l.Items)
	}
	if l.Add(named.Item{}); !errors.Is(l.Err(), detect.ErrLimit) || len(l.Items) != 2 {
		t.Error(l.Err(), l.Items)
	}
	l = named.NewList(bound.Default())
	for range 65 {
		l.Add(named.Item{Value: strings.Repeat("x", 1<<20)})
	}
	if !errors.Is(l.Err(), detect.ErrLimit) {
		t.Error("a list without end")
	}
}

// FuzzList keeps names until the list is full: what is kept is what came first.
func FuzzList(f *testing.F) {
	f.Add("a b c", 2)
	f.Fuzz(func(t *testing.T, names string, most int) {
		lim := bound.Default()
		lim.Members = most
		l := named.NewList(lim)
		all := strings.Fields(names)
		for _, n := range all {
			l.Add(named.Item{Key: n})
		}
		if kept := max(0, min(most, len(all))); len(l.Items) != kept || (l.Err() != nil) != (kept < len(all)) {
			t.Errorf("%d of %d kept, at most %d, error %v", len(l.Items), len(all), most, l.Err())
		}
	})
}
