package guard_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/chat"
)

var (
	textLane = chat.Lane{Kind: chat.Text}
	toolLane = chat.Lane{Kind: chat.ToolCall}
)

// examine sends text through a new stream in pieces that end at the cuts.
func examine(t testing.TB, cfg guard.StreamConfig, x *chat.Exchange, lane chat.Lane, text string, cuts ...int) (string, guard.StreamResult) {
	t.Helper()
	s, err := guard.NewStream(cfg, x)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	at := int64(0)
	take := func(segs []guard.Segment, err error) {
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range segs {
			if g.Start != at || g.End < g.Start {
				t.Fatalf("segment %+v after %d", g, at)
			}
			at = g.End
			if g.Changed {
				out.Write(g.Text)
			} else {
				out.WriteString(text[g.Start:g.End])
			}
		}
	}
	from := 0
	for _, c := range cuts {
		if c > from && c < len(text) {
			take(s.Write(lane, []byte(text[from:c])))
			from = c
		}
	}
	take(s.Write(lane, []byte(text[from:])))
	take(s.Close(lane))
	if at != int64(len(text)) && !s.Denied() {
		t.Fatalf("%d of %d bytes are decided", at, len(text))
	}
	return out.String(), s.Finish()
}

// every returns the cuts of a text into single bytes.
func every(text string) []int {
	cuts := make([]int, len(text))
	for i := range cuts {
		cuts[i] = i
	}
	return cuts
}

func rulesOf(res guard.StreamResult) []warden.RuleID {
	var ids []warden.RuleID
	for _, f := range res.Findings {
		ids = append(ids, f.Rule)
	}
	return ids
}

func TestStream(t *testing.T) {
	for _, tt := range []struct {
		name string
		lane chat.Lane
		text string
		want string
		ids  []warden.RuleID
	}{
		{"prose", textLane, "Nothing to see here, é𝄞.\n", "Nothing to see here, é𝄞.\n", nil},
		{"mail", textLane, "Write to karin.lund@skane-mail.se, please", "Write to [EMAIL], please", []warden.RuleID{"WDN-EX-501"}},
		{"hidden", textLane, "karin\u200b.lund@ska\u00adne-mail.se", "[EMAIL]", []warden.RuleID{"WDN-EX-501"}},
		{"tool", toolLane, `{"to":"karin.lund\u0040skane-mail.se","n":[1,2]}`, `{"to":"[EMAIL]","n":[1,2]}`, []warden.RuleID{"WDN-EX-501"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, cuts := range [][]int{nil, every(tt.text)} {
				got, res := examine(t, guard.StreamConfig{}, &chat.Exchange{}, tt.lane, tt.text, cuts...)
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Error(d)
				}
				if d := cmp.Diff(tt.ids, rulesOf(res)); d != "" || !res.Complete {
					t.Error(d, res.Reasons)
				}
			}
		})
	}
}
