package registry_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/registry/registrytest"
)

// slow counts how often totals are counted.
type slow struct {
	registry.Store
	counts atomic.Int64
}

type slowReader struct {
	registry.Reader
	s *slow
}

func (s *slow) View(ctx context.Context, fn func(registry.Reader) error) error {
	return s.Store.View(ctx, func(r registry.Reader) error { return fn(slowReader{r, s}) })
}

func (r slowReader) Totals(ctx context.Context) (registry.Totals, error) {
	r.s.counts.Add(1)
	return r.Reader.Totals(ctx)
}

func TestTotals(t *testing.T) {
	store := &slow{Store: registrytest.NewMemory()}
	f := registrytest.New(t, store)
	for i := 1; i <= 3; i++ {
		f.Push(t, fmt.Sprintf("team/model-%d", i), fmt.Sprint(i))
		before := store.counts.Load()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, _, err := f.Service.Totals(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		n, entries, err := f.Service.Totals(t.Context())
		if err != nil || n.Models != i || entries == 0 {
			t.Fatalf("Totals = %+v, %d, %v, want %d models", n, entries, err, i)
		}
		if made := store.counts.Load() - before; made != 1 {
			t.Errorf("counted %d times after one change, want once", made)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.Service.Totals(ctx); err == nil {
		t.Error("an ended request was answered")
	}
}
