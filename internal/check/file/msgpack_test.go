package file

import (
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
)

func TestMsgPack(t *testing.T) {
	packed := func(value string) *format.File { return open(t, "m.msgpack", []byte("\x81\xa1w"+value)) }
	one := []warden.RuleID{"WDN-MF-078"}
	detecttest.Accept(t, msgpackValues, []fileCase{
		{Name: "honest_array", Subject: packed("\xc7\x10\x01\x93\x91\x01\xa7float32\xc4\x041234")},
		{Name: "honest_bfloat", Subject: packed("\xc7\x0f\x01\x93\x91\x01\xa8bfloat16\xc4\x0212")},
		{Name: "honest_values", Subject: packed("\x92\xcb12345678\xd6\xff1234")},
		{Name: "objects", Subject: packed("\xc7\x0b\x01\x93\x91\x01\xa6object\xc4\x00"), Want: one},
		{Name: "own_type", Subject: packed("\xd4\x2a1"), Want: one},
		{Name: "no_array", Subject: packed("\xd4\x011"), Want: one},
	})
	if f := packed("\xc6\xff\xff\xff\xff"); f.Format != "msgpack" || len(f.Unread) != 1 {
		t.Errorf("damaged file: %q %v", f.Format, f.Unread)
	}
}
