package store_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/registry/registrytest"
)

func event(i int) audit.Record {
	return audit.Record{
		Event:   warden.Event{Actor: warden.Principal{ID: "alice", Roles: []string{"ml-eng"}}, Action: "registry.retrieve", Object: registry.ArtifactRef(warden.Digest{1})},
		Payload: map[string]any{"request": i, "state": "admitted", "decision": "sha256:00"},
	}
}

// BenchmarkAppend appends events in batches of 256 to one commit, as a worker
// that drains a queue does.
func BenchmarkAppend(b *testing.B) {
	f := registrytest.New(b, open(b))
	batch := make([]audit.Record, 256)
	for i := range batch {
		batch[i] = event(i)
	}
	for b.Loop() {
		if _, err := f.Service.Record(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "appends/s")
}

// BenchmarkAppendShared has 64 callers who append one event each and wait for
// the disk: they share commits.
func BenchmarkAppendShared(b *testing.B) {
	f := registrytest.New(b, open(b))
	var (
		wg sync.WaitGroup
		n  atomic.Int64
	)
	for b.Loop() {
		for range 64 {
			wg.Go(func() {
				if _, err := f.Service.Record(b.Context(), event(int(n.Add(1)))); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "appends/s")
}

// BenchmarkAppendAlone is one caller: each event waits for its own flush.
func BenchmarkAppendAlone(b *testing.B) {
	f := registrytest.New(b, open(b))
	for b.Loop() {
		if _, err := f.Service.Record(b.Context(), event(0)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkState is the warm look-up of an enforcement point.
func BenchmarkState(b *testing.B) {
	f := registrytest.New(b, open(b))
	v := f.Push(b, "team/bert", "weights")
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if _, err := f.Service.State(b.Context(), v.Digest); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkVerify recomputes a log of 20,000 entries.
func BenchmarkVerify(b *testing.B) {
	f := registrytest.New(b, open(b))
	const entries = 20_000
	for i := 0; i < entries; i += 1000 {
		batch := make([]audit.Record, 1000)
		for j := range batch {
			batch[j] = event(i + j)
		}
		if _, err := f.Service.Record(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		f.Verify(b)
	}
	b.ReportMetric(float64(b.N*entries)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkBlast walks 100,000 artifacts with 300,000 edges, of which 1,000
// come from the one that is asked for.
func BenchmarkBlast(b *testing.B) {
	f := registrytest.New(b, open(b))
	root := f.Push(b, "team/base", "base")
	ref := func(i int) warden.Ref {
		if i == 0 {
			return root.Artifact.Ref()
		}
		return registry.ArtifactRef(warden.Sum(fmt.Append(nil, i)))
	}
	const artifacts, derived = 100_000, 1_000
	err := f.Store.Update(b.Context(), func(tx registry.Tx) error {
		put := func(from, to int, kind string) error {
			return tx.PutEdge(b.Context(), registry.Edge{From: ref(from), To: ref(to), Kind: kind, Tier: registry.Attested})
		}
		for i := 1; i < artifacts; i++ {
			low := 0 // ancestors of those derived are derived or the root; the rest are apart
			if i > derived {
				low = derived + 1
			}
			span := max(i-low, 1)
			for k, kind := range []string{"base", "tokenizer", "merged_from"} {
				if i == low {
					continue
				}
				if err := put(i, low+(i*7919+k*104729)%span, kind); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	reached := 0
	for b.Loop() {
		x, err := f.Service.Blast(b.Context(), root.Digest, registry.Declared, 50)
		if err != nil {
			b.Fatal(err)
		}
		reached = len(x.Derived)
	}
	b.ReportMetric(float64(reached), "reached")
}
