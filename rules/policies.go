package rules

import (
	_ "embed" // policies are data
	"strings"
)

//go:embed policies/standard.cedar
var standardPolicies []byte

//go:embed policies/strict.cedar
var strictPolicies []byte

//go:embed policies/tiers.cedar
var tierPolicies []byte

//go:embed policies/warden.cedarschema
var policySchema []byte

// StandardPolicies returns the Cedar text of the standard policy set.
func StandardPolicies() []byte { return standardPolicies }

// StrictPolicies returns the Cedar text of the policies that the strict set has
// on top of the standard one.
func StrictPolicies() []byte { return strictPolicies }

// TierPolicies returns the Cedar text of the policies that ask for the evidence
// of a model's risk tier, on top of the standard set.
func TierPolicies() []byte { return tierPolicies }

// ObservePolicies returns the Cedar text of the set observe: the standard and
// the strict policies, of which those about what was found and what a promotion
// needs report and do not deny (@observe). Quarantines, approvals and what
// people and programs may do hold as in the standard set.
func ObservePolicies() []byte {
	text := string(standardPolicies) + "\n" + string(strictPolicies)
	for _, id := range []string{
		"no-dangerous", "no-unexamined", "no-stale", "promote-clean", "prod-signed", "prod-approved", "prod-four-eyes",
		"strict-approved", "strict-provenance", "strict-current-signature", "strict-no-code", "strict-providers",
	} {
		name := `@id("` + id + `")`
		text = strings.Replace(text, name, name+"\n@observe(\"reports, does not deny\")", 1)
	}
	return []byte(text + `
// What the policies above would have denied is admitted.
@id("observe-admits")
permit (principal, action in [Action::"admit", Action::"serve"], resource);
`)
}

// PolicySchema returns the Cedar schema that every policy is validated against.
func PolicySchema() []byte { return policySchema }
