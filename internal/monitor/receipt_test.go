package monitor_test

import (
	"encoding/json"
	"testing"

	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/monitor"
)

// FuzzReceipt: a receipt from outside never verifies by accident, and never
// ends the program.
func FuzzReceipt(f *testing.F) {
	_, key, err := audit.GenerateKey("example")
	if err != nil {
		f.Fatal(err)
	}
	v, err := audit.NewVerifier(key)
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{
		`{"request":"R","records":[]}`,
		`{"request":"R","records":[{"entry":1,"index":0,"count":1,"root":"","path":[],"record":"{}","salt":"AA==","details":"{}","audit":{"index":1,"leaf":"{}","checkpoint":"x","hashes":[]}}]}`,
		`{"request":"R","records":[{"entry":1,"index":-1,"count":9223372036854775807,"root":"00","path":["zz"],"record":"x"}]}`,
		`{"request":"R","records":[{"index":3,"count":-4,"root":"0000000000000000000000000000000000000000000000000000000000000000","path":["0000000000000000000000000000000000000000000000000000000000000000"],"record":"x"}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var r monitor.Receipt
		if json.Unmarshal(text, &r) != nil {
			return
		}
		if rs, err := r.Verify(v); err == nil {
			t.Errorf("a receipt that nobody signed proves %+v", rs)
		}
	})
}
