// Package e2e tests the real program as its users run it: the binary, its HTTP
// interfaces, its console in a browser. The tests have the build tag e2e and
// run with make e2e.
package e2e
