//go:build !race

package detecttest

// slow is how much slower this build is than the one users run.
const slow = 1
