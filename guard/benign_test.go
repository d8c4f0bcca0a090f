package guard_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/chat"
)

// TestBenign counts what fires on texts that nobody has to change, and holds the
// share of texts that would be.
func TestBenign(t *testing.T) {
	for _, source := range []string{"ultrachat_benign", "gpteacher_benign", "selfinstruct_benign", "oss_docs"} {
		f, err := os.Open(filepath.Join("..", "..", "shared", "data", "guard", "train", source+".jsonl.gz"))
		if err != nil {
			t.Skipf("the benign texts are not here: %v", err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		rows, touched := 0, 0
		counts, first := map[warden.RuleID]int{}, map[warden.RuleID]string{}
		lines := bufio.NewScanner(z)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() && rows < 3000 {
			var row struct{ Text string }
			if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
				t.Fatal(err)
			}
			rows++
			out, res := examine(t, guard.StreamConfig{PhoneRegions: []string{"US"}}, &chat.Exchange{}, textLane, row.Text)
			if out != row.Text {
				touched++
			}
			for _, f := range res.Findings {
				if counts[f.Rule]++; counts[f.Rule] <= 4 {
					s := f.At.Span
					first[f.Rule] += fmt.Sprintf(" %q", row.Text[max(0, s.Start-10):min(int64(len(row.Text)), s.End+5, s.Start+70)])
				}
			}
		}
		t.Logf("%s: %d of %d texts are changed", source, touched, rows)
		for _, id := range slices.Sorted(maps.Keys(counts)) {
			t.Logf("  %s %d:%.300s", id, counts[id], first[id])
		}
		if source != "oss_docs" && touched*100 > rows*3 {
			t.Errorf("%s: %d of %d texts are changed", source, touched, rows)
		}
	}
}
