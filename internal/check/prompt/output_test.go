package prompt

import (
	"slices"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/text/stream"
)

// matches returns the rules that fire on a whole text.
func matches(t *testing.T, o *OutputScanner, text string, tool bool) []warden.RuleID {
	t.Helper()
	var ids []warden.RuleID
	var v stream.View
	o.Text(tool).Add(v.Add(nil, []byte(text), true), true, func(m stream.Match) {
		if m.More {
			return
		}
		r, _, ok := o.Rule(m, tool)
		if !ok {
			t.Errorf("no rule for %q", m.Kind)
		}
		ids = append(ids, r.ID)
	})
	return ids
}

// TestOutputExamples runs the examples of the rules.
func TestOutputExamples(t *testing.T) {
	o, err := NewOutput(exampleConfig(), exampleExchange())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range o.rules {
		for _, c := range r.Catch {
			if ids := matches(t, o, c, false); !slices.Contains(ids, r.ID) {
				t.Errorf("%s does not catch %q: %v", r.ID, c, ids)
			}
		}
		for _, c := range r.Tool {
			if ids := matches(t, o, c, true); !slices.Contains(ids, r.ID) {
				t.Errorf("%s does not catch %q: %v", r.ID, c, ids)
			}
		}
		for _, c := range r.Pass {
			if ids := matches(t, o, c, false); slices.Contains(ids, r.ID) {
				t.Errorf("%s catches %q", r.ID, c)
			}
		}
	}
}

func exampleConfig() OutputConfig { return OutputConfig{Words: 8, Canary: "qz7canary4Tx"} }

func exampleExchange() *chat.Exchange {
	return &chat.Exchange{Messages: []chat.Message{
		{Role: chat.System, Parts: []chat.Part{{Kind: chat.Text, Text: []byte("You are the assistant of the northern branch and never speak about prices of the competition.")}}},
		{Role: chat.User, Parts: []chat.Part{{Kind: chat.Text, Text: []byte("My customer number is 7718-9920-11 and my plan is to leave on Monday.")}}},
	}}
}
