package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access/limit"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/monitor"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
)

type exchangesInput struct {
	Route     string    `query:"route" maxLength:"200"`
	Principal string    `query:"principal" maxLength:"200"`
	Request   string    `query:"request" maxLength:"100" doc:"beginning of an id"`
	Blocked   bool      `query:"blocked" doc:"only what was refused, or denied or changed by a guard"`
	Kind      string    `query:"kind" enum:"passed,redacted,denied,refused" doc:"only what went so"`
	From      time.Time `query:"from"`
	Until     time.Time `query:"until"`
	After     string    `query:"after" maxLength:"50" doc:"cursor: next of the part before"`
	Limit     int       `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

func (s *service) listExchanges(ctx context.Context, in *exchangesInput) (*body[list[monitor.Exchange]], error) {
	q := monitor.Query{
		Route: in.Route, Principal: in.Principal, Request: in.Request, Blocked: in.Blocked, Kind: monitor.Kind(in.Kind), From: in.From, Until: in.Until, Limit: in.Limit,
	}
	if in.After != "" {
		if _, err := fmt.Sscanf(in.After, "%d.%d", &q.Before.Entry, &q.Before.Line); err != nil {
			return nil, s.fail(&warden.Error{Code: warden.CodeInvalid, Message: "after is no cursor", Hint: "give what next of the part before says"})
		}
	}
	return reading(ctx, s, func() (list[monitor.Exchange], error) {
		xs, next, err := s.Traffic.Exchanges(ctx, q)
		out := list[monitor.Exchange]{Items: filledList(xs)}
		if next != (monitor.Cursor{}) {
			out.Next = fmt.Sprintf("%d.%d", next.Entry, next.Line)
		}
		return out, err
	})
}

// reading answers those who may read the platform.
func reading[T any](ctx context.Context, s *service, do func() (T, error)) (*body[T], error) {
	if err := s.may(ctx, policy.Read); err != nil {
		return nil, s.fail(err)
	}
	if s.Traffic == nil {
		return nil, s.fail(&warden.Error{Code: warden.CodeUnavailable, Message: "this server keeps no traffic"})
	}
	v, err := do()
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(v), nil
}

func filledList[T any](xs []T) []T {
	if xs == nil {
		return []T{}
	}
	return xs
}

type exchangeInput struct {
	ID    string `path:"id" maxLength:"100"`
	Proof bool   `query:"proof" doc:"with what proves the records"`
}

type exchangeBody struct {
	Records []monitor.Record `json:"records" doc:"the newest first"`
	Entries []uint64         `json:"entries" doc:"of the audit log, that prove them"`
	Running bool             `json:"running" doc:"no end is known"`
	Proof   *monitor.Receipt `json:"proof,omitempty"`
	Pending bool             `json:"pending" doc:"it cannot be proven yet: no checkpoint covers it; one is signed every second"`
}

func (s *service) getExchange(ctx context.Context, in *exchangeInput) (*body[exchangeBody], error) {
	return reading(ctx, s, func() (out exchangeBody, err error) {
		ps, err := s.Traffic.Prove(ctx, in.ID)
		if err != nil {
			return out, err
		}
		for _, p := range ps {
			r, err := p.Read()
			if err != nil {
				return out, err
			}
			out.Records, out.Entries = append(out.Records, r), append(out.Entries, p.Entry)
		}
		out.Running = out.Records[0].Step == monitor.Admitted
		if !in.Proof {
			return out, nil
		}
		err = s.Registry.View(ctx, func(r registry.Reader) error {
			receipt, err := monitor.Prove(ctx, r, in.ID, ps)
			out.Proof = &receipt
			return err
		})
		if errors.Is(err, audit.ErrUnsealed) {
			out.Proof, out.Pending, err = nil, true, nil
		}
		return out, err
	})
}

type useInput struct {
	By    string    `query:"by" enum:"route,key,principal,team,model,provider" default:"route"`
	Step  string    `query:"step" enum:"hour,day,all" default:"all"`
	From  time.Time `query:"from" doc:"default: 24 hours before until"`
	Until time.Time `query:"until" doc:"default: now"`
}

// A UseBody is what somebody, or something, used.
type UseBody struct {
	From     time.Time `json:"from" doc:"beginning of the hour, day or whole time"`
	Name     string    `json:"name"`
	Requests int64     `json:"requests" doc:"that were let through"`
	Refused  int64     `json:"refused"`
	Denied   int64     `json:"denied" doc:"by guards"`
	Errors   int64     `json:"errors" doc:"of upstreams"`
	Input    int64     `json:"input_tokens"`
	Output   int64     `json:"output_tokens"`
	Rows     int64     `json:"rows"`
	Cost     int64     `json:"cost" doc:"millionths of the currency"`
	Took     int64     `json:"took_ms" doc:"of all exchanges together"`
}

// named returns whose a sum is; "" if it counts for nobody.
func named(by string, u monitor.Use) string {
	digest := strings.HasPrefix(u.Model, "sha256:")
	switch by {
	case "key":
		return u.Key
	case "principal":
		return u.Principal
	case "team":
		return cmp.Or(u.Team, "-")
	case "model":
		if digest {
			return u.Model
		}
		return ""
	case "provider":
		if digest {
			return ""
		}
		return u.Model
	default:
		return u.Route
	}
}

const maxUse = 5000 // rows of one answer

func (s *service) getUse(ctx context.Context, in *useInput) (*body[list[UseBody]], error) {
	return reading(ctx, s, func() (out list[UseBody], err error) {
		until := cmp.Or(in.Until, s.Now().UTC())
		from := cmp.Or(in.From, until.Add(-24*time.Hour))
		us, err := s.Traffic.Used(ctx, from, until)
		if err != nil {
			return out, err
		}
		type place struct {
			at   time.Time
			name string
		}
		at := map[place]int{}
		out.Items = []UseBody{}
		for _, u := range us {
			p := place{from.UTC().Truncate(time.Hour), named(in.By, u)}
			switch in.Step {
			case "hour":
				p.at = u.Hour
			case "day":
				p.at = u.Hour.Truncate(24 * time.Hour)
			}
			if p.name == "" {
				continue
			}
			i, ok := at[p]
			if !ok {
				i = len(out.Items)
				at[p] = i
				out.Items = append(out.Items, UseBody{From: p.at, Name: p.name})
			}
			b := &out.Items[i]
			b.Requests, b.Refused, b.Denied, b.Errors = b.Requests+u.Requests, b.Refused+u.Refused, b.Denied+u.Denied, b.Errors+u.Errors
			b.Input, b.Output, b.Rows, b.Cost, b.Took = b.Input+u.Input, b.Output+u.Output, b.Rows+u.Rows, b.Cost+u.Cost, b.Took+u.Took
		}
		slices.SortStableFunc(out.Items, func(a, b UseBody) int {
			return cmp.Or(a.From.Compare(b.From), cmp.Compare(b.Cost, a.Cost), cmp.Compare(b.Requests+b.Refused, a.Requests+a.Refused), cmp.Compare(a.Name, b.Name))
		})
		if len(out.Items) > maxUse {
			return out, &warden.Error{Code: warden.CodeInvalid, Message: fmt.Sprintf("%d rows, at most %d", len(out.Items), maxUse), Hint: "ask for a shorter time, or for step=day or step=all"}
		}
		return out, nil
	})
}

// A LimitBody is what one caller used of one limit.
type LimitBody struct {
	Rule    string `json:"rule" doc:"as people write it"`
	Per     string `json:"per" enum:"identity,group,key,route,all"`
	Subject string `json:"subject" doc:"whose use is counted"`
	Route   string `json:"route" doc:"empty: every route"`
	Unit    string `json:"unit" enum:"requests,tokens,rows,money,streams"`
	Used    int64  `json:"used" doc:"money in millionths"`
	Limit   int64  `json:"limit"`
	Window  string `json:"window" doc:"1m0s, day, month; empty: at once"`
	Soft    bool   `json:"soft"`
}

const maxAccounts = 500

func (s *service) listLimits(ctx context.Context, _ *struct{}) (*body[list[LimitBody]], error) {
	return reading(ctx, s, func() (out list[LimitBody], err error) {
		out.Items = []LimitBody{}
		if s.Accounts == nil {
			return out, nil
		}
		for _, a := range s.Accounts(maxAccounts) {
			out.Items = append(out.Items, limitOf(a))
		}
		return out, nil
	})
}

func limitOf(a limit.Account) LimitBody {
	r := a.Rule
	b := LimitBody{
		Rule: r.Text(), Per: string(r.Per), Subject: a.Subject, Route: r.Route, Unit: string(r.Unit), Used: max(0, a.Used), Limit: cmp.Or(r.Burst, r.Amount), Window: r.Calendar, Soft: r.Soft,
	}
	if r.Window > 0 {
		b.Window = r.Window.String()
	}
	return b
}

type trafficBody struct {
	Minutes []monitor.Minute   `json:"minutes" doc:"the last hour, oldest first"`
	All     monitor.Minute     `json:"all" doc:"the whole hour"`
	Since   time.Time          `json:"since" doc:"what is counted begins here"`
	Running int                `json:"running" doc:"exchanges in this process now"`
	Blocked []monitor.Exchange `json:"blocked" doc:"the newest that were refused, denied or changed"`
}

const blocksShown = 8

func (s *service) getTraffic(ctx context.Context, _ *struct{}) (*body[trafficBody], error) {
	return reading(ctx, s, func() (out trafficBody, err error) {
		w, err := s.Traffic.Window(ctx)
		if err != nil {
			return out, err
		}
		out.Minutes, out.All, out.Since = w.Minutes, w.All, w.Since
		if s.Running != nil {
			out.Running = s.Running()
		}
		out.Blocked = []monitor.Exchange{}
		if w.All.Refused+w.All.Denied+w.All.Redacted > 0 {
			if out.Blocked, _, err = s.Traffic.Exchanges(ctx, monitor.Query{From: s.Now().Add(-monitor.WindowLength), Blocked: true, Limit: blocksShown}); err != nil {
				return out, err
			}
			out.Blocked = filledList(out.Blocked)
		}
		return out, nil
	})
}
