package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/inventory/hub"
	"github.com/modelwarden/warden/internal/source/sight"
)

// hubFile is where an imported snapshot lies in the data folder.
const hubFile = "hub.jsonl"

func newInventoryHub(a *app) *cobra.Command {
	var output string
	load := &cobra.Command{
		Use:   "import FILE",
		Short: "Read a snapshot of a hub's metadata and keep what scores need",
		Long: "Import reads JSON lines with one model each, as the Hub's API describes models, checks them and keeps\n" +
			"what scores are made from. Nothing is fetched: the file comes from wherever you have access.\n\n" +
			"  warden inventory hub import models.jsonl\n  warden inventory --hub models.jsonl ./app",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error {
			s, err := readSnapshot(c.Context(), x[0])
			if err != nil {
				return err
			}
			name := output
			if name == "" {
				name = filepath.Join(a.dataDir(), hubFile)
				if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
					return &exit{exitIncomplete, err}
				}
			}
			if err := writeSnapshot(name, s); err != nil {
				return &exit{exitIncomplete, err}
			}
			_, err = fmt.Fprintf(a.Stdout, "%s of %s written to %s (hint: warden inventory --hub %s DIR)\n", modelCount(s.Len()), s.Taken.Format(time.DateOnly), name, name)
			return err
		},
	}
	load.Flags().StringVar(&output, "output", "", "write the snapshot to this file (default: "+hubFile+" in the data folder)")
	return group("hub", "Snapshots of a hub's metadata, for scores of models", load)
}

func modelCount(n int) string {
	if n == 1 {
		return "1 model"
	}
	return fmt.Sprintf("%d models", n)
}

func readSnapshot(ctx context.Context, name string) (*hub.Snapshot, error) {
	f, err := os.Open(filepath.Clean(name))
	if err != nil {
		return nil, &exit{exitUsage, err}
	}
	defer f.Close() //nolint:errcheck // only read
	s, err := hub.Read(ctx, f)
	if err != nil {
		return nil, &exit{exitUsage, fmt.Errorf("%s: %w", name, err)}
	}
	return s, nil
}

// writeSnapshot writes beside the name and renames, so that a reader never sees
// half a file.
func writeSnapshot(name string, s *hub.Snapshot) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".hub-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err := s.Write(f); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// scoreModels fills the scores of models from a snapshot. Models that it lacks
// have none.
func scoreModels(ctx context.Context, d *inventory.Document, snapshot string) error {
	s, err := readSnapshot(ctx, snapshot)
	if err != nil {
		return err
	}
	for i := range d.Assets {
		a := &d.Assets[i]
		if a.Kind != sight.Model || a.Provider != "huggingface" || a.Name == "" {
			continue
		}
		m := s.Model(a.Name)
		if m == nil {
			continue
		}
		got, _ := s.Score(m, hub.Use{Pinned: a.Pinned, Verdict: a.Verdict})
		a.Scores = inventory.Scores{Popularity: got.Popularity, Activity: got.Activity, Operational: got.Operational, Security: got.Security, Known: got.Known}
	}
	return nil
}
