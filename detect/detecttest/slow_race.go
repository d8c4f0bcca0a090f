//go:build race

package detecttest

// slow is how much slower this build is than the one users run: the race
// detector costs 5 to 15 times.
const slow = 5
