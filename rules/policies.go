package rules

import _ "embed" // policies are data

//go:embed policies/standard.cedar
var standardPolicies []byte

//go:embed policies/strict.cedar
var strictPolicies []byte

//go:embed policies/warden.cedarschema
var policySchema []byte

// StandardPolicies returns the Cedar text of the standard policy set.
func StandardPolicies() []byte { return standardPolicies }

// StrictPolicies returns the Cedar text of the policies that the strict set has
// on top of the standard one.
func StrictPolicies() []byte { return strictPolicies }

// PolicySchema returns the Cedar schema that every policy is validated against.
func PolicySchema() []byte { return policySchema }
