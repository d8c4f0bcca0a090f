// Package rules is data: policies, schemas, tables and framework catalogues,
// embedded into the binary. It knows no engine.
package rules

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
)

// PackDate is the date of the rule pack, as a version.
const PackDate = "2026.11.22"

// Version names a rule pack: its date and the digest of all that decides a
// verdict, so that two reports with the same version are comparable.
func Version(all map[warden.RuleID]warden.Rule) string {
	list := make([]warden.Rule, 0, len(all))
	for _, r := range all {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b warden.Rule) int { return cmp.Compare(a.ID, b.ID) })
	text, err := warden.Canonical(list)
	if err != nil {
		text = []byte(err.Error()) // rules are text and numbers: they have a canonical form
	}
	head, _, _ := strings.Cut(GeneratedCallables(), "\n") // the digest of the table, which is long
	sum := warden.Sum(slices.Concat(text, []byte(Callables()), []byte(head), []byte(Secrets()), []byte(CollectorHosts())))
	return PackDate + "+sha256:" + hex.EncodeToString(sum[:4])
}
