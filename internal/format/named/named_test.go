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
