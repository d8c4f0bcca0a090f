package rules_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/modelwarden/warden/rules"
)

// TestGeneratedDigest wants the first line of the generated table to name its
// lines, since the version of the rules takes that for all of them.
func TestGeneratedDigest(t *testing.T) {
	text := rules.GeneratedCallables()
	head, _, _ := strings.Cut(text, "\n")
	sum := sha256.New()
	for line := range strings.Lines(text) {
		if line[0] != '#' {
			sum.Write([]byte(line))
		}
	}
	if want := fmt.Sprintf("# sha256:%x ", sum.Sum(nil)); !strings.HasPrefix(head, want) {
		t.Errorf("first line %q, want %q (hint: run tools/callables again)", head, want)
	}
}
