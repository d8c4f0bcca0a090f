package guard_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/chat"
)

type labelled struct {
	Text  string
	Spans []struct {
		Type  string `json:"entity_type"`
		Start int    `json:"start_position"`
		End   int    `json:"end_position"`
	}
}

// presidio reads the labelled sentences. Their places count characters.
func presidio(t testing.TB) []labelled {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "shared", "data", "guard", "pii", "pii_presidio_synth.jsonl.gz"))
	if err != nil {
		t.Skipf("the labelled sentences are not here: %v", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var rows []labelled
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l labelled
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		chars := []rune(l.Text)
		for i := range l.Spans {
			s := &l.Spans[i]
			s.Start, s.End = len(string(chars[:s.Start])), len(string(chars[:s.End]))
		}
		rows = append(rows, l)
	}
	return rows
}

// TestPresidio measures recall and precision of personal data, and holds them.
func TestPresidio(t *testing.T) {
	kinds := map[warden.RuleID]string{
		"WDN-EX-501": "EMAIL_ADDRESS", "WDN-EX-502": "CREDIT_CARD", "WDN-EX-503": "IBAN_CODE", "WDN-EX-504": "US_SSN",
		"WDN-EX-506": "PHONE_NUMBER", "WDN-EX-507": "IP_ADDRESS",
	}
	wantRecall := map[string]float64{"EMAIL_ADDRESS": 0.99, "CREDIT_CARD": 0.99, "IBAN_CODE": 0.99, "US_SSN": 0.90, "PHONE_NUMBER": 0.75, "IP_ADDRESS": 0.99}
	type count struct{ there, found, right, wrong int }
	counts := map[string]*count{}
	for _, k := range kinds {
		counts[k] = &count{}
	}
	for _, row := range presidio(t) {
		_, res := examine(t, guard.StreamConfig{PhoneRegions: []string{"US"}}, &chat.Exchange{}, textLane, row.Text)
		hit := map[int]bool{}
		for _, f := range res.Findings {
			k := kinds[f.Rule]
			if k == "" {
				t.Logf("other: %s in %q", f.Rule, row.Text[f.At.Span.Start:f.At.Span.End])
				continue
			}
			ok := false
			for i, s := range row.Spans {
				if s.Type == k && int64(s.Start) < f.At.Span.End && f.At.Span.Start < int64(s.End) {
					ok, hit[i] = true, true
				}
			}
			if ok {
				counts[k].right++
			} else {
				counts[k].wrong++
				t.Logf("wrong %s: %q in %q", k, row.Text[f.At.Span.Start:f.At.Span.End], strings.TrimSpace(row.Text))
			}
		}
		for i, s := range row.Spans {
			if c := counts[s.Type]; c != nil {
				c.there++
				if hit[i] {
					c.found++
				} else {
					t.Logf("missed %s: %q", s.Type, row.Text[max(0, s.Start-20):min(len(row.Text), s.End+10)])
				}
			}
		}
	}
	for k, c := range counts {
		recall, precision := float64(c.found)/float64(c.there), float64(c.right)/float64(max(1, c.right+c.wrong))
		t.Logf("%-14s recall %.3f (%d of %d), precision %.3f (%d wrong)", k, recall, c.found, c.there, precision, c.wrong)
		if recall < wantRecall[k] || precision < 0.97 {
			t.Errorf("%s: recall %.3f, precision %.3f", k, recall, precision)
		}
	}
}
