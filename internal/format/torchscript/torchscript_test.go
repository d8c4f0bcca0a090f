package torchscript_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/torchscript"
)

const honest = `class Net(Module):
  __parameters__ = ["weight", ]
  training : bool
  l1 : __torch__.torch.nn.modules.linear.Linear
  def forward(self: __torch__.Net, x: Tensor) -> Tensor:
    l1 = self.l1
    _0 = torch.add((l1).forward(x, ), 1)  # torch.save(x)
    _1 = "ops.image.write_file"
    return torch.relu(_0)
`

func TestScan(t *testing.T) {
	for name, tt := range map[string]struct {
		src  string
		want []string
	}{
		"honest":    {honest, nil},
		"save":      {"  torch . save(x, '/tmp/x')\n", []string{"aten::save"}},
		"namespace": {"a = ops.image.read_file('x')\nb = torch.ops.aten.relu(a)\n", []string{"image::read_file", "aten::relu"}},
		"class":     {"h : __torch__.torch.classes.mine.Thing\n", []string{"mine::Thing"}},
		"import":    {"import os\nimport __torch__.foo\nfrom subprocess import run\n", []string{"import os", "import subprocess"}},
		"exec":      {"exec ('x')\nself.eval\n", []string{"exec"}},
		"docstring": {"'''\nexec(1)\n'''\n", nil},
	} {
		ops, err := torchscript.Scan(t.Context(), []byte(tt.src))
		var got []string
		for _, op := range ops {
			got = append(got, op.Name)
		}
		if d := cmp.Diff(tt.want, got); d != "" || err != nil {
			t.Errorf("%s: %v %v", name, d, err)
		}
	}
	if _, err := torchscript.Scan(t.Context(), []byte("a = 'x\n")); !errors.Is(err, torchscript.ErrSource) {
		t.Errorf("open string: %v", err)
	}
	if _, err := torchscript.Scan(t.Context(), []byte(strings.Repeat("ops.a.b\n", 200_000))); !errors.Is(err, detect.ErrLimit) {
		t.Errorf("many calls: %v", err)
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte(honest))
	f.Add([]byte("ops.image.read_file(''' x ''')\nimport os; exec('a')"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ops, _ := torchscript.Scan(t.Context(), b) // damaged source keeps what was found
		for _, op := range ops {
			if op.Start < 0 || op.Start >= op.End || op.End > int64(len(b)) {
				t.Errorf("%+v in %d bytes", op, len(b))
			}
		}
	})
}
