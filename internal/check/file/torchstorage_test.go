package file

import (
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/formattest"
	pt "github.com/modelwarden/warden/internal/format/pickle/pickletest"
)

func TestTorchStorages(t *testing.T) {
	archive := func(class string, elements int32, stored string) *format.File {
		id := pt.Tuple(pt.Str("storage"), named("torch:"+class), pt.Str("0"), pt.Str("cpu"), pt.Int(elements)) + "Q"
		b := formattest.Zip(
			formattest.ZipEntry{Name: "m/data.pkl", Data: []byte(p4(id))}, formattest.ZipEntry{Name: "m/data/0", Data: []byte(stored)}, formattest.ZipEntry{Name: "m/version", Data: []byte("3")},
		)
		return member(t, "m.pt", b, format.DefaultLimits(), "data.pkl")
	}
	const four = "0123456789abcdef" // 16 bytes
	detecttest.Accept(t, torchStorages, []fileCase{
		{Name: "floats", Subject: archive("FloatStorage", 4, four)},
		{Name: "bytes", Subject: archive("ByteStorage", 16, four)},
		{Name: "fewer", Subject: archive("FloatStorage", 2, four)},
		{Name: "unknown_type", Subject: archive("MineStorage", 1<<30, four)},
		{Name: "one_more", Subject: archive("FloatStorage", 5, four), Want: []warden.RuleID{ruleStorage}},
		{Name: "wider_type", Subject: archive("ComplexDoubleStorage", 2, four), Want: []warden.RuleID{ruleStorage}},
		{Name: "very_many", Subject: archive("DoubleStorage", 1<<31-1, four), Want: []warden.RuleID{ruleStorage}},
	})
}
