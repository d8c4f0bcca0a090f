package monitor

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/modelwarden/warden"
)

// Batch returns the records that an entry of the audit log proves; none, if they
// were deleted or it proves none.
func (s *Service) Batch(ctx context.Context, entry uint64) ([]Record, error) {
	bs, err := s.cfg.Store.Batches(ctx, time.Time{}, s.cfg.Now().Add(24*time.Hour), entry+1, 1)
	if err != nil || len(bs) == 0 || bs[0].Entry != entry {
		return nil, err
	}
	lines, err := s.unpack(bs[0])
	if err != nil {
		return nil, err
	}
	out := make([]Record, 0, len(lines))
	for _, line := range lines {
		r, err := bs[0].record(line)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Traffic is what some records say of one route.
type Traffic struct {
	Route    string `json:"route"`
	Requests int64  `json:"requests" doc:"that ended after they were let through"`
	Refused  int64  `json:"refused"`
	Denied   int64  `json:"denied" doc:"by guards"`
	Redacted int64  `json:"redacted" doc:"by guards"`
	Tokens   int64  `json:"tokens"`
	Cost     int64  `json:"cost" doc:"millionths of the currency"`
}

// Sum adds up records by route.
func Sum(records []Record) []Traffic {
	var out []Traffic
	for _, r := range records {
		if r.Step == Admitted {
			continue
		}
		i := slices.IndexFunc(out, func(t Traffic) bool { return t.Route == r.Route })
		if i < 0 {
			i = len(out)
			out = append(out, Traffic{Route: r.Route})
		}
		t := &out[i]
		t.Tokens, t.Cost = t.Tokens+r.Input+r.Output, t.Cost+r.Cost
		if r.Step == Refused {
			t.Refused++
		} else {
			t.Requests++
		}
		switch r.Guard {
		case warden.Deny:
			t.Denied++
		case warden.Redact:
			t.Redacted++
		default:
		}
	}
	slices.SortFunc(out, func(a, b Traffic) int { return cmp.Compare(a.Route, b.Route) })
	return out
}
