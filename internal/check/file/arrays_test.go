package file

import (
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/formattest"
)

func TestDisguises(t *testing.T) {
	const number = "\x80\x02K\x2a." // the pickle of 42
	npy := func(descr, shape, data string) []byte {
		return formattest.Npy(formattest.NpyHeader(descr, shape), []byte(data))
	}
	elf := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 100)...)
	elf[16], elf[18] = 2, 62
	ids := func(id ...warden.RuleID) []warden.RuleID { return id }
	detecttest.Accept(t, disguises, []fileCase{
		{Name: "numbers", Subject: open(t, "a.npy", npy("'<f4'", "(2,)", "12345678"))},
		{Name: "structured", Subject: open(t, "a.npy", npy("[('a', '<f4'), ('b', '<i2', (2,))]", "(1,)", "12345678"))},
		{Name: "text", Subject: open(t, "a.json", []byte(`{"a": 1}`))},
		{Name: "text_in_old_encoding", Subject: open(t, "a.txt", []byte("Python \x1b$B$N3+H/\x1b(B 1990\n"))},
		{Name: "pickle_as_pickle", Subject: open(t, "a.pkl", []byte(number))},
		{Name: "objects", Subject: open(t, "a.npy", npy("'|O'", "(1,)", number)), Want: ids("WDN-MF-030")},
		{Name: "object_field", Subject: open(t, "a.npy", npy("[('a', '|O')]", "(1,)", number)), Want: ids("WDN-MF-030")},
		{Name: "no_literal", Subject: open(t, "a.npy", formattest.Npy("{'descr': f(), 'shape': (), 'fortran_order': False}", []byte(number))), Want: ids("WDN-MF-031")},
		{Name: "pickle_as_array", Subject: open(t, "a.npy", []byte(number)), Want: ids("WDN-MF-032")},
		{Name: "pickle_in_npz", Subject: member(t, "a.npz", formattest.Zip(formattest.ZipEntry{Name: "a.npy", Data: []byte(number)}), format.DefaultLimits(), "a.npy"), Want: ids("WDN-MF-032")},
		{Name: "pickle_as_safetensors", Subject: open(t, "a.safetensors", []byte(number)), Want: ids("WDN-MF-033")},
		{Name: "program", Subject: open(t, "a.bin", elf), Want: ids("WDN-MF-100")},
		{Name: "llamafile", Subject: open(t, "m.llamafile", formattest.ZipWith(formattest.ZipTricks{Prefix: formattest.ELF()}, formattest.ZipEntry{Name: "m.gguf", Data: new(formattest.GGUF).Bytes(nil)})), Want: []warden.RuleID{"WDN-MF-101"}},
	})
}
