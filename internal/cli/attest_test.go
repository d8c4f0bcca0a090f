package cli

import (
	"slices"
	"strings"
	"testing"
)

// What looks like a secret on a command line is not signed.
func TestWithoutSecrets(t *testing.T) {
	key := "AKIA" + "Z7QX3M5PLN2RTVW6"
	got, err := withoutSecrets(t.Context(), []string{"python", "train.py", "--epochs", "3", "--hf-token", "hf_abc", "--password=x y", "aws=" + key, "https://me:pw@example.com/d"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"python", "train.py", "--epochs", "3", "--hf-token", "[removed]", "--password=[removed]", "[removed]", "https://example.com/d"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if strings.Contains(strings.Join(got, " "), key) {
		t.Error("a key is left")
	}
}
