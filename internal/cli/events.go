package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/api"
)

// maxEvent bounds one line of the stream.
const maxEvent = 4 << 20

// eventsAgain is how long the command waits before it connects again.
const eventsAgain = 2 * time.Second

func newEvents(a *app) *cobra.Command {
	var (
		format, since string
		kinds         []string
		follow        bool
	)
	c := &cobra.Command{
		Use: "events", Short: "What happens on the platform, as it is recorded", Args: args(cobra.NoArgs),
		Long: "Events come from the audit log and the records of traffic: batches of exchanges, what guards found,\n" +
			"refusals, quarantines, decisions, changes. Nothing that was said is among them. Without --follow those\n" +
			"after --since are printed, else all; with it, those that come, and the connection is made again when it\n" +
			"breaks. JSON has one event a line.\n\n" +
			"  warden events --follow --kind guard --kind quarantine --format json",
		RunE: func(c *cobra.Command, _ []string) error {
			if format != "text" && format != "json" {
				return usage("--format %q: want text or json", format)
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			q := url.Values{"follow": {fmt.Sprint(follow)}}
			for _, k := range kinds {
				q.Add("kind", k)
			}
			if since == "" && !follow {
				since = "0"
			}
			for {
				if since != "" {
					q.Set("since", since)
				}
				err := a.events(c.Context(), cl, q, format, &since)
				var we *warden.Error
				if !follow || c.Context().Err() != nil || errors.As(err, &we) && we.Code != warden.CodeUnavailable {
					if c.Context().Err() != nil {
						return nil //nolint:nilerr // it was told to stop
					}
					return err
				}
				fmt.Fprintln(a.Stderr, "the stream ended; connecting again")
				select {
				case <-c.Context().Done():
					return nil
				case <-time.After(eventsAgain):
				}
			}
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text or json")
	c.Flags().StringVar(&since, "since", "", "id of the last event that is known; 0 for the oldest")
	c.Flags().StringArrayVar(&kinds, "kind", nil, "only these: traffic, guard, refusal, quarantine, release, decision, change (repeatable)")
	c.Flags().BoolVar(&follow, "follow", false, "go on with what happens")
	return c
}

// events prints one stream, and keeps the id of the last event.
func (a *app) events(ctx context.Context, cl *client, q url.Values, format string, last *string) error {
	resp, err := cl.do(ctx, http.MethodGet, "/api/v1/events/stream?"+q.Encode(), nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxEvent)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e api.StreamEvent
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fmt.Errorf("an event cannot be read: %w", err)
		}
		text := data
		if format == "text" {
			text = eventText(e)
		}
		if _, err := fmt.Fprintln(a.Stdout, text); err != nil {
			return err
		}
		*last = e.ID
	}
	return lines.Err()
}

// eventText is an event for people.
func eventText(e api.StreamEvent) string {
	f := []string{e.At.UTC().Format(time.RFC3339), e.ID, e.Kind}
	switch {
	case e.Missed > 0:
		f = append(f, fmt.Sprintf("%d entries were left out", e.Missed))
	case e.Exchange != nil:
		x := e.Exchange
		f = append(f, x.Request, x.Route, dash(x.Principal), dash(string(x.Guard)), dash(x.Code), dash(strings.Join(foundRules(x.Found), " ")))
	case e.Kind == "traffic":
		for _, t := range e.Traffic {
			f = append(f, fmt.Sprintf("%s: %d requests, %d refused, %d denied, %d redacted, %d tokens", t.Route, t.Requests, t.Refused, t.Denied, t.Redacted, t.Tokens))
		}
	default:
		f = append(f, dash(e.Actor), e.Action, e.Object)
	}
	return strings.Join(f, "  ")
}
