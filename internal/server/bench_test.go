package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

// BenchmarkReads asks the API, over HTTP, of a platform with 100,000 artifacts
// in the embedded database, for what pages and pulls ask.
func BenchmarkReads(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	cfg := testConfig(b.TempDir())
	s, err := Open(ctx, cfg, testOptions())
	if err != nil {
		b.Fatal(err)
	}
	const artifacts, models = 100_000, 1_000
	var digests []string
	for i := 0; i < artifacts; {
		err := s.store.Update(ctx, func(tx registry.Tx) error {
			for range 1000 {
				file := warden.Sum(fmt.Append(nil, "file", i))
				m := registry.Manifest{Files: []registry.File{{Path: "model.safetensors", Digest: file, Size: 1 << 20}}}
				text, err := m.Encode()
				if err != nil {
					return err
				}
				d := warden.Sum(text)
				epoch, err := tx.BumpEpoch(ctx)
				if err != nil {
					return err
				}
				a := registry.Artifact{Digest: d, Files: 1, Size: 1 << 20, Created: time.Now(), Decided: registry.Admitted, Verdict: "clean", Complete: true, Scanned: time.Now(), Epoch: epoch}
				if err := tx.PutArtifact(ctx, a, m, text); err != nil {
					return err
				}
				if _, err := tx.PutVersion(ctx, registry.Version{Model: registry.Name(fmt.Sprintf("team/model-%d", i%models)), Digest: d, PushedBy: "user:a", Created: time.Now()}); err != nil {
					return err
				}
				if i%1000 == 0 {
					digests = append(digests, d.String())
				}
				i++
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}()
	var l Local
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if l, err = ReadLocal(cfg.path(LocalFile)); err == nil && l.Key != "" {
			break
		}
	}
	b.Run("totals", func(b *testing.B) { // what the first request after a change counts
		for b.Loop() {
			err := s.registry.View(ctx, func(r registry.Reader) error {
				_, err := r.Totals(ctx)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, path := range map[string]func(i int) string{
		"artifact": func(i int) string { return "/api/v1/artifacts/" + digests[i%len(digests)] },
		"find":     func(i int) string { return fmt.Sprintf("/api/v1/find?ref=team/model-%d@%d", i%models, 1+i%90) },
		"versions": func(i int) string { return fmt.Sprintf("/api/v1/models/team/model-%d/versions?limit=50", i%models) },
		"models":   func(int) string { return "/api/v1/models?limit=50" },
		"posture":  func(int) string { return "/api/v1/posture" },
		"audit":    func(int) string { return "/api/v1/audit?limit=50" },
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.API+path(i), nil)
				if err != nil {
					b.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+l.Key)
				begun := time.Now()
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				took = append(took, time.Since(begun))
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Fatalf("%s = %d, %v", path(i), resp.StatusCode, err)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
