//go:build race

package detecttest

// slow is how much slower a program may be than it is for its users.
const slow = 20
