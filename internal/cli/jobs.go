package cli

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden/internal/registry"
)

type job struct {
	Kind      string    `json:"kind"`
	Artifact  string    `json:"artifact"`
	Model     string    `json:"model"`
	State     string    `json:"state"`
	Class     string    `json:"class"`
	Why       string    `json:"why"`
	Attempts  int       `json:"attempts"`
	FilesDone int       `json:"files_done"`
	Files     int       `json:"files"`
	BytesDone int64     `json:"bytes_done"`
	Bytes     int64     `json:"bytes"`
	Problem   string    `json:"problem"`
	Wanted    time.Time `json:"wanted"`
	Started   time.Time `json:"started"`
	Changed   time.Time `json:"changed"`
}

// percent returns how much is done.
func (j job) percent() string {
	if j.Bytes == 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%", j.BytesDone*100/j.Bytes)
}

const jobsPath = "/api/v1/jobs"

func newJobs(a *app) *cobra.Command {
	return group("jobs", "Scans that wait, run or ended", newJobsList(a), newJobsShow(a),
		newJobsChange(a, "retry", "Scan again what failed, was cancelled or is done", false), newJobsChange(a, "cancel", "Take back a scan that waits or runs", true))
}

func newJobsList(a *app) *cobra.Command {
	var (
		format, state string
		limit         int
	)
	c := formatFlag(&cobra.Command{
		Use: "list", Short: "List scans, the last changed first", Args: args(cobra.NoArgs),
		Long: "States: waiting, running, done (kept for a week), failed (given up after all attempts), cancelled.",
		RunE: func(c *cobra.Command, _ []string) error {
			if state != "" && !slices.Contains(registry.JobStates(), registry.JobState(state)) {
				return usage("--state %q: want waiting, running, done, failed or cancelled", state)
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			js, err := all[job](c.Context(), cl, jobsPath, url.Values{"state": keep(state), "limit": {"500"}}, limit)
			if err != nil {
				return err
			}
			if format == "json" {
				if js == nil {
					js = []job{}
				}
				return printJSON(a.Stdout, js)
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "STATE\tDONE\tFILES\tATTEMPTS\tWHY\tCHANGED\tMODEL\tARTIFACT\tPROBLEM")
			for _, j := range js {
				fmt.Fprintf(t, "%s\t%s\t%d/%d\t%d\t%s\t%s\t%s\t%s\t%s\n", j.State, j.percent(), j.FilesDone, j.Files, j.Attempts, j.Why, since(j.Changed), cmp.Or(j.Model, "-"), j.Artifact, dash(j.Problem))
			}
			return t.Flush()
		},
	}, &format)
	c.Flags().StringVar(&state, "state", "", "only those in this state")
	c.Flags().IntVar(&limit, "limit", 50, "at most so many; 0 for all")
	return c
}

func newJobsShow(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{
		Use: "show REF", Short: "The last scan of an artifact that was wanted", Args: args(cobra.ExactArgs(1)),
		Long: "REF is a digest, namespace/model (its newest version) or namespace/model@number.",
		RunE: func(c *cobra.Command, x []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			v, err := cl.find(c.Context(), x[0])
			if err != nil {
				return err
			}
			var j job
			if err := cl.call(c.Context(), http.MethodGet, jobsPath+"/"+v.Artifact.Digest, nil, &j); err != nil {
				return err
			}
			return a.printJob(j, format)
		},
	}, &format)
}

func (a *app) printJob(j job, format string) error {
	if format == "json" {
		return printJSON(a.Stdout, j)
	}
	fmt.Fprintf(a.Stdout, "scan %s  %s\n%s\n%s of %d bytes, %d of %s, attempt %d, wanted %s because of %s\n",
		j.State, cmp.Or(j.Model, "-"), j.Artifact, j.percent(), j.Bytes, j.FilesDone, files(j.Files), j.Attempts, since(j.Wanted), j.Why)
	if j.Problem != "" {
		fmt.Fprintln(a.Stdout, j.Problem)
	}
	return nil
}

func newJobsChange(a *app, verb, short string, reasoned bool) *cobra.Command {
	var format, reason string
	c := formatFlag(&cobra.Command{
		Use: verb + " REF", Short: short, Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error {
			if reasoned && strings.TrimSpace(reason) == "" {
				return usage("--reason is missing: say in a sentence why")
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			v, err := cl.find(c.Context(), x[0])
			if err != nil {
				return err
			}
			var in any
			if reasoned {
				in = map[string]string{"reason": reason}
			}
			var j job
			if err := cl.call(c.Context(), http.MethodPost, jobsPath+"/"+v.Artifact.Digest+"/"+verb, in, &j); err != nil {
				return err
			}
			return a.printJob(j, format)
		},
	}, &format)
	if reasoned {
		c.Long = "A scan that runs stops at its next read, after a second at most. An artifact that was never scanned stays\n" +
			"pending: it is handed out to nobody until warden jobs retry, or another push, has it scanned."
		c.Flags().StringVar(&reason, "reason", "", "why; shown to those who wait for it")
	}
	return c
}
