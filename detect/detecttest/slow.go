//go:build !race

package detecttest

// slow is how much slower a program may be than it is for its users: tests run
// on busy machines.
const slow = 2
