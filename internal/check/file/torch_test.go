package file

import (
	"fmt"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/formattest"
)

func TestTorchArchives(t *testing.T) {
	type entry = formattest.ZipEntry
	constants := entry{Name: "m/constants.pkl", Data: []byte("\x80\x02).")}
	script := func(code string) *format.File {
		b := formattest.Zip(constants, entry{Name: "m/code/__torch__.py", Data: []byte(code)})
		return member(t, "m.pt", b, format.DefaultLimits(), "__torch__.py")
	}
	export := func(target string) *format.File {
		graph := fmt.Sprintf(`{"graph_module": {"graph": {"nodes": [{"target": %q}]}}}`, target)
		b := formattest.Zip(entry{Name: "m/archive_format", Data: []byte("pt2")}, entry{Name: "m/models/model.json", Data: []byte(graph)})
		return member(t, "m.pt2", b, format.DefaultLimits(), "model.json")
	}
	mar := func(handler string) *format.File {
		manifest := fmt.Sprintf(`{"model": {"handler": %q, "serializedFile": "m.pt"}}`, handler)
		return member(t, "m.mar", formattest.Zip(entry{Name: "MAR-INF/MANIFEST.json", Data: []byte(manifest)}), format.DefaultLimits(), "MANIFEST.json")
	}
	archive := func(names ...string) *format.File {
		entries := []entry{{Name: "m/archive_format", Data: []byte("pt2")}}
		for _, n := range names {
			entries = append(entries, entry{Name: n, Data: []byte("x")})
		}
		return open(t, "m.pt2", formattest.Zip(entries...))
	}
	ids := func(id ...warden.RuleID) []warden.RuleID { return id }
	detecttest.Accept(t, torchArchives, []fileCase{
		{Name: "honest_script", Subject: script("def forward(self, x: Tensor) -> Tensor:\n  # torch.save\n  return torch.relu(ops.quantized.add(x, 'ops.mine.x'))\n")},
		{Name: "honest_large", Subject: script(strings.Repeat("x = ops.aten.relu(x)\n", 90_000))},
		{Name: "honest_export", Subject: export("torch.ops.aten.add.Tensor")},
		{Name: "honest_handler", Subject: mar("image_classifier")},
		{Name: "honest_archive", Subject: archive("m/data/weights/weight_0", "m/data/aotinductor/notes.txt")},
		{Name: "save", Subject: script("torch.save(x, '/tmp/x')\n"), Want: ids("WDN-MF-034")},
		{Name: "read_file", Subject: script("y = ops.image.read_file('/etc/passwd')\n"), Want: ids("WDN-MF-034")},
		{Name: "rpc", Subject: script("y = ops.rpc.rpc_async('w', 'f')\n"), Want: ids("WDN-MF-034")},
		{Name: "foreign", Subject: script("y = ops.mine.op(x)\n"), Want: ids("WDN-MF-034")},
		{Name: "import", Subject: script("import os\n"), Want: ids("WDN-MF-034")},
		{Name: "export_foreign", Subject: export("torch.ops.mine.op.default"), Want: ids("WDN-MF-034")},
		{Name: "library", Subject: archive("m/data/aotinductor/model.so"), Want: ids("WDN-MF-035")},
		{Name: "handler_outside", Subject: mar("../../x.py"), Want: ids("WDN-MF-036")},
	})
}
