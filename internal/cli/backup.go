package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/server"
)

func newBackup(a *app) *cobra.Command {
	var (
		config string
		what   server.BackupOptions
	)
	c := &cobra.Command{
		Use: "backup DIR", Short: "Save one state of the platform to a new folder", Args: args(cobra.ExactArgs(1)),
		Long: "Backup writes all records with the audit log and its checkpoint, and the list of all blobs, to a folder\n" +
			"that must not exist yet. The platform may be running. The folder gets its name when all of it is on disk.\n" +
			"The keys of the platform are in no backup: --keys saves them to a file apart, which you keep elsewhere.\n" +
			"A backup of the embedded database can be restored into PostgreSQL, and the other way round.\n\n" +
			"  warden backup /backups/monday --blobs --keys /safe/warden.keys",
		RunE: func(c *cobra.Command, x []string) error {
			cfg, err := a.config(config)
			if err != nil {
				return err
			}
			b, err := server.SaveBackup(c.Context(), cfg, server.Options{Getenv: a.Getenv}, x[0], what)
			if err != nil {
				return err
			}
			bytes := "only listed"
			if b.Copied {
				bytes = "copied"
			}
			fmt.Fprintf(a.Stdout, "saved %d rows, %d audit entries (%d sealed); %d blobs, %d bytes, %s\n", b.Rows, b.Entries, b.Sealed, b.Blobs, b.Bytes, bytes)
			if what.Keys == "" {
				fmt.Fprintln(a.Stderr, "the keys of the platform are not in it, and it cannot be restored without them: save them with --keys FILE, and keep them elsewhere")
			}
			return nil
		},
	}
	c.Flags().StringVar(&config, "config", "", "configuration file (YAML)")
	c.Flags().BoolVar(&what.Blobs, "blobs", false, "copy the bytes of all blobs too")
	c.Flags().StringVar(&what.Keys, "keys", "", "save the keys of the platform to this new file; it is a secret")
	return c
}

func newRestore(a *app) *cobra.Command {
	var (
		config  string
		outside []string
		how     server.RestoreOptions
	)
	c := &cobra.Command{
		Use: "restore DIR", Short: "Make a backup the state of a new platform", Args: args(cobra.ExactArgs(1)),
		Long: "Restore loads a backup into a data folder without a database, or into an empty PostgreSQL database.\n" +
			"It first verifies the whole audit log, and refuses one that was changed, or that is older than a checkpoint\n" +
			"that you kept outside (--checkpoint FILE, repeatable), unless --accept-rollback says so: the first new\n" +
			"entry of the log then says it too.\n\n" +
			"  warden restore /backups/monday --data new --keys /safe/warden.keys --checkpoint newest.txt",
		RunE: func(c *cobra.Command, x []string) error {
			cfg, err := a.config(config)
			if err != nil {
				return err
			}
			for _, name := range outside {
				b, err := os.ReadFile(name)
				if err != nil {
					return usage("--checkpoint: %w", err)
				}
				how.Checkpoints = append(how.Checkpoints, audit.Checkpoint{Note: b})
			}
			how.Actor = warden.Principal{ID: "user:local"}
			b, missing, err := server.RestoreBackup(c.Context(), cfg, server.Options{Getenv: a.Getenv}, x[0], how)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "restored %d rows of %s; the audit log of %d entries verifies\n", b.Rows, since(b.Made), b.Entries)
			if missing > 0 {
				fmt.Fprintf(a.Stderr, "%d of %d blobs are not in the blob store: their files cannot be pulled until they are\n", missing, b.Blobs)
			}
			if len(outside) == 0 {
				fmt.Fprintln(a.Stderr, "no checkpoint kept outside was given: nobody can tell whether this is the newest state")
			}
			return nil
		},
	}
	c.Flags().StringVar(&config, "config", "", "configuration file (YAML)")
	c.Flags().StringVar(&how.Keys, "keys", "", "file of keys that warden backup --keys saved")
	c.Flags().StringArrayVar(&outside, "checkpoint", nil, "file with a checkpoint kept outside; repeatable")
	c.Flags().BoolVar(&how.Accept, "accept-rollback", false, "restore although a checkpoint kept outside is newer")
	return c
}
