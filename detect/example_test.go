package detect_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
)

// A detector is a value: what it looks for, and a function that looks.
func Example() {
	shouting := &detect.Detector[string]{
		Name: "text/shouting", Doc: "text in capital letters",
		Rules: []warden.Rule{{
			ID: "X-001", Title: "Text is shouted", Severity: warden.Low, Advice: "Calm down.", Frameworks: []string{"owasp-llm@2025:LLM09"},
		}},
		Run: func(_ context.Context, p *detect.Pass[string]) error {
			for i, word := range strings.Fields(p.Subject) {
				if word == strings.ToUpper(word) {
					p.Report("X-001", warden.Location{Span: warden.One(warden.Turns, int64(i))}, "%q is shouted", word)
				}
			}
			return nil
		},
	}
	ref := warden.Ref{Kind: warden.KindExchange, ID: "1"}
	res := detect.Run(context.Background(), ref, "load THIS model", detect.DefaultLimits(), shouting)
	fmt.Println(res.Complete(), len(res.Findings), res.Findings[0].Message)
	// Output: true 1 "THIS" is shouted
}
