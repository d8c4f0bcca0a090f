package scan_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/scan"
)

// A file that would run a command when it is loaded is found without loading it.
func ExampleFile() {
	model := "cposix\nsystem\n(S'id'\ntR."
	rep := scan.File(context.Background(), "model.pkl", strings.NewReader(model), int64(len(model)), scan.Options{})
	fmt.Println(rep.Verdict, rep.Artifact.Format, rep.Complete())
	for _, f := range rep.Findings {
		fmt.Println(f.Rule, f.Severity, f.At.Path, f.Evidence)
	}
	if rep.Verdict >= warden.Unsafe {
		fmt.Println("do not load it")
	}
	// Output:
	// malicious pickle true
	// WDN-MF-001 critical model.pkl posix.system('id')
	// do not load it
}
