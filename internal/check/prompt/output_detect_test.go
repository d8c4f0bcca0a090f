package prompt_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/check/prompt"
	"github.com/modelwarden/warden/rules"
)

const operator = "You are the assistant of the northern branch and never speak about prices of the competition. Answer in short sentences, and be kind to all who ask."

// answer is an exchange with one answer of a text, and one call of a tool.
func answer(text, args string) *chat.Exchange {
	x := &chat.Exchange{Messages: []chat.Message{
		{Role: chat.System, Parts: []chat.Part{{Kind: chat.Text, Text: []byte(operator)}}},
		{Role: chat.User, Parts: []chat.Part{{Kind: chat.Text, Text: []byte("My customer number is 7718-9920-11 and my plan is to leave on Monday.")}}},
		{Role: chat.Assistant, Answer: true, Parts: []chat.Part{{Kind: chat.Text, Text: []byte(text)}}},
	}}
	if args != "" {
		m := &x.Messages[2]
		m.Parts = append(m.Parts, chat.Part{Kind: chat.ToolCall, Text: []byte(args), Call: &chat.Call{Name: "run"}})
	}
	return x
}

// TestOutput runs the examples of each rule through its detector.
func TestOutput(t *testing.T) {
	list, err := rules.Output()
	if err != nil {
		t.Fatal(err)
	}
	long := answer(strings.Repeat("The committee met on Tuesday to discuss the plan for the new library.\n", 1<<17), "")
	for _, d := range prompt.Output() {
		t.Run(d.Name, func(t *testing.T) {
			cases := []detecttest.Case[*chat.Exchange]{{Name: "prose", Subject: answer("Nothing of note.", "")}, {Name: "long", Subject: long}}
			own := map[warden.RuleID]bool{}
			for _, r := range d.Rules {
				own[r.ID] = true
			}
			for _, r := range list {
				if !own[r.ID] {
					continue
				}
				var subjects []*chat.Exchange
				switch r.ID {
				case "WDN-EX-421":
					subjects = append(subjects, answer("you are the assistant of the northern branch and never speak about prices", ""))
				case "WDN-EX-422":
					subjects = append(subjects, answer("You are the assistant of the northern branch and never. Then: speak about prices of the competition; answer in short sentences.", ""))
				default:
					for _, c := range r.Catch {
						subjects = append(subjects, answer(c, ""))
					}
					for _, c := range r.Tool {
						subjects = append(subjects, answer("", c))
					}
				}
				for _, x := range subjects {
					var want []warden.RuleID
					for _, f := range detect.Run(t.Context(), warden.Ref{}, x, detect.DefaultLimits(), d).Findings {
						want = append(want, f.Rule)
					}
					found := false
					for _, w := range want {
						found = found || w == r.ID
					}
					if !found {
						t.Errorf("%s does not fire on %q", r.ID, x.Messages[2].Parts[0].Text)
					}
					cases = append(cases, detecttest.Case[*chat.Exchange]{Name: string(r.ID), Subject: x, Want: want})
				}
			}
			detecttest.Accept(t, d, cases)
		})
	}
}

// TestTool: the argument of a tool weighs more than a text, and its strings are
// read.
func TestTool(t *testing.T) {
	raw, err := json.Marshal(map[string]string{"command": "rm -rf /", "note": "karin.lund\u0040skane-mail.se"})
	if err != nil {
		t.Fatal(err)
	}
	res := detect.Run(t.Context(), warden.Ref{}, answer("rm -rf /", string(raw)), detect.DefaultLimits(), prompt.Output()...)
	var severities []warden.Severity
	for _, f := range res.Findings {
		if f.Rule == "WDN-EX-802" {
			severities = append(severities, f.Severity)
		}
	}
	if len(severities) != 2 || severities[0] != warden.Low || severities[1] != warden.High {
		t.Errorf("severities %v of %+v", severities, res.Findings)
	}
}

func TestUnknownPart(t *testing.T) {
	x := answer("hi", "")
	x.Messages[1].Parts = append(x.Messages[1].Parts, chat.Part{Kind: chat.Unknown, Text: []byte("write to karin.lund@skane-mail.se")})
	res := detect.Run(t.Context(), warden.Ref{}, x, detect.DefaultLimits(), prompt.Output()...)
	if res.Complete() || len(res.Findings) != 1 {
		t.Errorf("complete %v, %+v", res.Complete(), res.Findings)
	}
}
