package prompt

import (
	"slices"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/chat"
)

// says is an exchange of one text.
func says(role chat.Role, text string) *chat.Exchange {
	return &chat.Exchange{Messages: []chat.Message{{Role: role, Parts: []chat.Part{{Kind: chat.Text, Text: []byte(text)}}}}}
}

func input(t *testing.T, x *chat.Exchange, cfg InputConfig) *Input {
	t.Helper()
	in, err := NewInput(t.Context(), x, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// fired returns the rules that all detectors of requests report.
func fired(t *testing.T, x *chat.Exchange) []warden.RuleID {
	t.Helper()
	var ids []warden.RuleID
	res := detect.Run(t.Context(), warden.Ref{}, input(t, x, InputConfig{}), detect.DefaultLimits(), Requests()...)
	if !res.Complete() {
		t.Errorf("incomplete: %+v", res.Statuses)
	}
	for _, f := range res.Findings {
		ids = append(ids, f.Rule)
	}
	return ids
}

// TestInputExamples runs the examples of the rules.
func TestInputExamples(t *testing.T) {
	s, err := sharedInput()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.rules {
		role := chat.User
		if r.Only == "untrusted" {
			role = chat.Tool
		}
		for _, c := range r.Catch {
			if ids := fired(t, says(chat.User, c)); !slices.Contains(ids, r.ID) {
				t.Errorf("%s does not catch %q: %v", r.ID, c, ids)
			}
		}
		for _, c := range r.Document {
			if ids := fired(t, says(chat.Tool, c)); !slices.Contains(ids, r.ID) {
				t.Errorf("%s does not catch %q in a document: %v", r.ID, c, ids)
			}
		}
		for _, c := range r.Pass {
			if ids := fired(t, says(role, c)); slices.Contains(ids, r.ID) {
				t.Errorf("%s catches %q", r.ID, c)
			}
		}
	}
}
