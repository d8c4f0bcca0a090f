package warden_test

import (
	"fmt"

	"github.com/modelwarden/warden"
)

// A digest names bytes; everything the platform knows hangs on it.
func Example() {
	d := warden.Sum([]byte("weights"))
	again, err := warden.ParseDigest(d.String())
	fmt.Println(again == d, err)

	manifest, err := warden.Canonical(map[string]any{"schema": "example/v1", "files": []string{"b", "a"}, "size": 10.0})
	fmt.Println(string(manifest), err)

	fmt.Println(warden.High.Verdict(), warden.Unsafe > warden.Inconclusive)
	// Output:
	// true <nil>
	// {"files":["b","a"],"schema":"example/v1","size":10} <nil>
	// unsafe true
}
