package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden/internal/server"
)

func newKeyRotate(a *app) *cobra.Command {
	var (
		config  string
		stopped bool
	)
	c := &cobra.Command{
		Use: "rotate", Short: "Give a platform that does not run new keys for statements and checkpoints", Args: args(cobra.NoArgs),
		Long: "Rotate makes new keys for what the platform signs. Those before stay trusted for what they signed, and\n" +
			"for nothing later; their private halves are removed. The checkpoint that is printed is signed by both:\n" +
			"give it to those who keep checkpoints, and the new key with it. Save the new keys: warden backup --keys.\n\n" +
			"  warden key rotate --data .data",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.config(config)
			if err != nil {
				return err
			}
			if (cfg.Storage.Database != "" || cfg.Keys != "") && !stopped {
				return usage("several processes may use these keys (hint: stop them all, then say so with --stopped)")
			}
			r, err := server.RotateKeys(c.Context(), cfg, server.Options{Getenv: a.Getenv})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "before  %s\nnow     %s\n\n%s", r.Before, r.After, r.Checkpoint)
			return err
		},
	}
	c.Flags().StringVar(&config, "config", "", "configuration file (YAML)")
	c.Flags().BoolVar(&stopped, "stopped", false, "every process of the platform is stopped")
	return c
}
