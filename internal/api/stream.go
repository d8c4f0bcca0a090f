package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/monitor"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
)

// A StreamEvent is one thing that happened, as the audit log and the records of
// traffic have it: what they do not have is never told, nor what anybody said.
type StreamEvent struct {
	ID       string            `json:"id" doc:"number of the audit entry; before it, of an exchange in it, number.line. A stream goes on behind it"`
	Kind     string            `json:"kind" enum:"traffic,guard,refusal,quarantine,release,decision,change,missed" doc:"traffic: a batch of exchanges, in sums. guard: an exchange in which a guard found something. refusal: a request that was refused without one. missed: entries that this stream leaves out, because its reader is too far behind"`
	At       time.Time         `json:"at"`
	Actor    string            `json:"actor,omitempty"`
	Action   string            `json:"action,omitempty"`
	Object   string            `json:"object,omitempty" doc:"kind:id"`
	Traffic  []monitor.Traffic `json:"traffic,omitempty" doc:"of a batch, by route"`
	Exchange *monitor.Record   `json:"exchange,omitempty" doc:"the last record of an exchange"`
	Missed   uint64            `json:"missed,omitempty" doc:"entries that were left out"`
}

// Bounds of streams of events.
const (
	streamsAtOnce = 64
	streamEntries = 256         // read at once
	streamBehind  = 10_000      // entries that a reader gets late; older ones are left out
	streamEvery   = time.Second // between two looks at the log
	maxEventID    = 1 << 53     // that clients can hold
	trafficAction = "gateway.traffic"
)

type streamInput struct {
	Kind   []string `query:"kind,explode" maxItems:"16" enum:"traffic,guard,refusal,quarantine,release,decision,change" doc:"only these, and missed; none: all"`
	Since  string   `query:"since" maxLength:"40" doc:"id of the last event that is known, 0 for the oldest; none: only what happens from now on"`
	Last   string   `header:"Last-Event-ID" maxLength:"40" doc:"the same, as programs send it that connect again"`
	Follow bool     `query:"follow" default:"true" doc:"go on with what happens; else the stream ends with the newest entry"`
}

// streamOp describes the stream: huma knows no schema of events.
func streamOp(h huma.API, op huma.Operation) huma.Operation {
	op.Description = "Each event has an id, its kind as its type, and a StreamEvent as data. A comment is sent every 10 seconds while nothing happens. " +
		"Whoever connects again with Last-Event-ID misses nothing but what an event of the kind missed counts. Needs the right to read the platform."
	op.Responses = map[string]*huma.Response{"200": {
		Description: "events",
		Content: map[string]*huma.MediaType{"text/event-stream": {
			Schema: h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[StreamEvent](), true, "StreamEvent"),
		}},
	}}
	return op
}

// place reads the id of an event: its entry, and the line of its exchange, or -1
// for the entry itself.
func eventPlace(id string) (entry uint64, line int, err error) {
	number, rest, ok := strings.Cut(id, ".")
	if entry, err = strconv.ParseUint(number, 10, 64); err == nil && entry > maxEventID {
		err = strconv.ErrRange
	}
	if line = -1; ok && err == nil {
		if line, err = strconv.Atoi(rest); err == nil && line < 0 {
			err = strconv.ErrRange
		}
	}
	if err != nil {
		err = &warden.Error{Code: warden.CodeInvalid, Message: fmt.Sprintf("%.40q is no id of an event", id), Hint: "give the id of an event that this server sent, or 0"}
	}
	return entry, line, err
}

// A feed is one reader of the stream.
type feed struct {
	s     *service
	w     http.ResponseWriter
	rc    *http.ResponseController
	kinds map[string]bool
	next  uint64 // entry that is read next
	line  int    // of it: those up to here are known; -1: none
}

func (s *service) streamEvents(ctx context.Context, in *streamInput) (*huma.StreamResponse, error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	f := &feed{s: s, kinds: map[string]bool{}, line: -1}
	for _, k := range in.Kind {
		f.kinds[k] = true
	}
	since := in.Last
	if since == "" {
		since = in.Since
	}
	head, err := f.head(ctx)
	switch {
	case err != nil:
		return nil, s.fail(err)
	case since == "":
		f.next = head
	case since == "0":
	default:
		entry, line, err := eventPlace(since)
		if err != nil {
			return nil, s.fail(err)
		}
		if f.next, f.line = entry, line; line < 0 {
			f.next++
		}
		if f.next > head { // another log, or one that was taken back
			return nil, s.fail(&warden.Error{Code: warden.CodeInvalid, Message: fmt.Sprintf("entry %d has not happened yet", entry), Hint: "begin without an id"})
		}
	}
	select {
	case s.streaming <- struct{}{}:
	default:
		return nil, s.fail(&warden.Error{Code: warden.CodeUnavailable, Message: fmt.Sprintf("%d streams of events are open", streamsAtOnce), Hint: "close one, or read with follow=false"})
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) { //nolint:contextcheck // it is that of the request, which huma hands over
		defer func() { <-s.streaming }()
		r, w := humago.Unwrap(hc)
		f.w, f.rc = w, http.NewResponseController(w)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Accel-Buffering", "no")
		fmt.Fprint(w, ": warden\n\n")
		f.run(r.Context(), r, in.Follow)
	}}, nil
}

// run sends what there is, and what comes. It ends with its reader, with the
// right of its reader, and with the server.
func (f *feed) run(ctx context.Context, r *http.Request, follow bool) {
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	look := time.NewTicker(streamEvery)
	defer look.Stop()
	for {
		more, err := f.send(ctx)
		if err == nil {
			err = f.rc.Flush()
		}
		if err != nil || !more && !follow {
			return
		}
		if more {
			continue
		}
		select {
		case <-look.C:
		case <-beat.C:
			id, err := f.s.identify(r)
			if err != nil || !f.s.reads(id.Principal) {
				return
			}
			fmt.Fprint(f.w, ": beat\n\n")
		case <-ctx.Done():
			return
		case <-f.s.Done:
			return
		}
	}
}

func (f *feed) head(ctx context.Context) (n uint64, err error) {
	err = f.s.Registry.View(ctx, func(r registry.Reader) error {
		h, err := r.AuditHead(ctx)
		n = h.Entries
		return err
	})
	return n, err
}

// send sends the next entries and reports whether there may be more.
func (f *feed) send(ctx context.Context) (more bool, err error) {
	var es []audit.Entry
	err = f.s.Registry.View(ctx, func(r registry.Reader) error {
		h, err := r.AuditHead(ctx)
		if err != nil {
			return err
		}
		if h.Entries > f.next+streamBehind {
			from := h.Entries - streamBehind
			f.event(StreamEvent{ID: strconv.FormatUint(from-1, 10), Kind: "missed", At: f.s.Now().UTC(), Missed: from - f.next})
			f.next, f.line = from, -1
		}
		es, err = r.AuditEntries(ctx, f.next, streamEntries)
		return err
	})
	if err != nil {
		return false, err
	}
	for _, e := range es {
		if err := f.entry(ctx, e); err != nil {
			return false, err
		}
		f.next, f.line = e.Seq+1, -1
	}
	return len(es) == streamEntries, nil
}

// entry sends the events of one audit entry.
func (f *feed) entry(ctx context.Context, e audit.Entry) error {
	ev, err := audit.ParseLeaf(e.Leaf)
	if err != nil {
		return fmt.Errorf("audit entry %d: %w", e.Seq, err)
	}
	out := StreamEvent{ID: strconv.FormatUint(e.Seq, 10), Kind: "change", At: ev.Time, Actor: ev.Actor.ID, Action: ev.Action, Object: ev.Object.String()}
	switch ev.Action {
	case trafficAction:
		out.Kind = "traffic"
		if f.s.Traffic == nil || !f.wants("traffic") && !f.wants("guard") && !f.wants("refusal") {
			break
		}
		records, err := f.s.Traffic.Batch(ctx, e.Seq)
		if err != nil {
			return err
		}
		for i := range records {
			f.exchange(e.Seq, i, &records[i])
		}
		out.Traffic = monitor.Sum(records)
	case "registry.quarantine":
		out.Kind = "quarantine"
	case "registry.release":
		out.Kind = "release"
	case "policy.decide", "access.deny":
		out.Kind = "decision"
	}
	f.event(out)
	return nil
}

// exchange sends what a record says, if somebody should hear of it.
func (f *feed) exchange(entry uint64, line int, r *monitor.Record) {
	var kind string
	switch {
	case r.Step == monitor.Admitted || line <= f.line:
		return
	case len(r.Found) > 0 || len(r.Partial) > 0:
		kind = "guard"
	case r.Step == monitor.Refused:
		kind = "refusal"
	default:
		return
	}
	f.event(StreamEvent{ID: fmt.Sprintf("%d.%d", entry, line), Kind: kind, At: r.At, Actor: r.Principal, Object: string(policy.KindRoute) + ":" + r.Route, Exchange: r})
}

func (f *feed) wants(kind string) bool {
	return len(f.kinds) == 0 || f.kinds[kind] || kind == "missed"
}

// event writes an event. Errors show when it is flushed.
func (f *feed) event(e StreamEvent) {
	if !f.wants(e.Kind) {
		return
	}
	data, err := json.Marshal(e)
	if err != nil {
		f.s.asError(errors.Join(errors.New("an event cannot be written"), err)) //nolint:errcheck // it is logged there
		return
	}
	fmt.Fprintf(f.w, "id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Kind, data)
}
