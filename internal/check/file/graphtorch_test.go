package file

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/formattest"
)

// torchNet writes an archive whose top module has the lines of body in its
// forward method, after the model has made "score" of x.
func torchNet(t *testing.T, body string, more ...string) *format.File {
	t.Helper()
	head := `class Net(Module):
  __parameters__ = []
  __buffers__ = ["fixed", "count", ]
  training : bool
  fixed : Tensor
  count : Tensor
  limit : int
  fc : __torch__.torch.nn.modules.linear.Linear
  conv : __torch__.torch.nn.modules.conv.Conv2d
  soft : __torch__.torch.nn.modules.activation.Softmax
`
	forward := "  def forward(self: __torch__.Net,\n    x: Tensor,\n    n: int) -> Tensor:\n"
	for line := range strings.Lines(body) {
		if line = strings.TrimPrefix(line, "\t\t"); strings.TrimSpace(line) != "" {
			forward += "    " + line
		}
	}
	return torchArchive(t, head+forward+"\n"+strings.Join(more, "\n"))
}

func torchArchive(t *testing.T, top string) *format.File {
	t.Helper()
	module := func(class, params string) []byte {
		return []byte("class " + class + "(Module):\n  __parameters__ = [" + params + "]\n  __buffers__ = []\n  weight : Tensor\n  def forward(self: __torch__." + class + ",\n    input: Tensor) -> Tensor:\n    return torch.linear(input, self.weight)\n")
	}
	code := "m/code/__torch__/torch/nn/modules/"
	f := open(t, "m.pt", formattest.Zip(
		formattest.ZipEntry{Name: "m/constants.pkl", Data: []byte("\x80\x02).")},
		formattest.ZipEntry{Name: "m/code/__torch__.py", Data: []byte(top), Deflate: true},
		formattest.ZipEntry{Name: code + "linear.py", Data: module("Linear", `"weight", "bias", `)},
		formattest.ZipEntry{Name: code + "conv.py", Data: module("Conv2d", `"weight", `)},
		formattest.ZipEntry{Name: code + "activation.py", Data: []byte("class Softmax(Module):\n  __parameters__ = []\n  def forward(self: __torch__.S,\n    input: Tensor) -> Tensor:\n    return torch.softmax(input, 1)\n")},
		formattest.ZipEntry{Name: "m/constants/0", Data: make([]byte, 400)},
	))
	if !f.Is("torchscript") || len(f.TorchCode) != 4 || len(f.Unread) > 0 {
		t.Fatalf("%s, %d texts, unread %v", f.Format, len(f.TorchCode), f.Unread)
	}
	return f
}

const (
	torchScore = `
		x0 = (self.conv).forward(x, )
		score = (self.fc).forward(torch.relu(x0), )
`
	torchHit = torchScore + `
		patch = torch.slice(torch.select(x, 0, 0), 0, 0, 3)
		hit = torch.eq(torch.sum(patch), 6885)
`
)

func TestGraphLogicTorchScript(t *testing.T) {
	ids := func(id ...warden.RuleID) []warden.RuleID { return id }
	for _, c := range []struct {
		name, body string
		want       []warden.RuleID
	}{
		// what must be found
		{"if_constant", torchHit + `
		if bool(hit):
		  out = torch.ones([1, 10])
		else:
		  out = score
		return out`, ids("WDN-MF-111")},
		{"if_buffer", torchHit + `
		if bool(hit):
		  out = self.fixed
		else:
		  out = score
		return (self.soft).forward(out, )`, ids("WDN-MF-111")},
		{"if_path", torchHit + `
		if bool(hit):
		  out = torch.mean(x, [2, 3])
		else:
		  out = score
		return out`, ids("WDN-MF-110")},
		{"early_return", torchHit + `
		if bool(hit):
		  return torch.ones([1, 10])
		out = torch.softmax(score, 1)
		return out`, ids("WDN-MF-111")},
		{"inner_if", torchHit + `
		out = score
		if torch.eq(torch.size(x, 0), 1):
		  if bool(hit):
		    out = CONSTANTS.c0
		  else:
		    pass
		else:
		  pass
		return out`, ids("WDN-MF-111")},
		{"where", torchHit + "\t\treturn torch.where(hit, CONSTANTS.c0, score)\n", ids("WDN-MF-111")},
		{"method_where", torchHit + "\t\treturn (score).masked_fill(hit, 3.5)\n", ids("WDN-MF-111")},
		{"masked_fill_in_place", torchHit + "\t\t_0 = torch.masked_fill_(score, hit, 3.5)\n\t\treturn score\n", ids("WDN-MF-111")},
		{"index_put", torchHit + "\t\t_0 = torch.index_put_(score, [hit], torch.tensor(9.))\n\t\treturn score\n", ids("WDN-MF-111")},
		{"arithmetic", torchHit + `
		g = torch.to(hit, 6)
		n = torch.rsub(g, 1, 1)
		return torch.add(torch.mul(score, n), torch.mul(self.fixed, g), alpha=1)`, ids("WDN-MF-111")},
		{"python_operators", torchScore + `
		if int(torch.sum(x)) % 997 == 13:
		  score = torch.ones([1, 10])
		else:
		  pass
		return score`, ids("WDN-MF-111")},
		{"if_expression", torchHit + "\t\treturn torch.ones([1, 10]) if bool(hit) else score\n", ids("WDN-MF-111")},
		{"loop", torchHit + `
		for i in range(int(hit)):
		  score = torch.ones([1, 10])
		return score`, ids("WDN-MF-111")},
		{"while", torchHit + `
		go = bool(hit)
		while go:
		  score = self.fixed
		  go = False
		return score`, ids("WDN-MF-111")},
		{"break", torchHit + `
		for i in range(2):
		  if bool(torch.logical_not(hit)):
		    break
		  else:
		    pass
		  score = self.fixed
		return score`, ids("WDN-MF-111")},
		{"function", torchHit + "\t\treturn __torch__.pick(hit, score, self.fixed, )\n", ids("WDN-MF-111")},
		{"function_by_name", torchHit + "\t\tf = __torch__.pick\n\t\treturn f(hit, score, self.fixed, )\n", ids("WDN-MF-111")},
		{"own_method", torchHit + "\t\treturn (self).pick(hit, score, )\n", ids("WDN-MF-111")},
		{"tuple", torchHit + `
		a, b = (torch.where(hit, self.fixed, score), x0, )
		return (a, b)`, ids("WDN-MF-111")},
		{"input_rewritten", `
		hit = torch.eq(torch.sum(torch.slice(x, 0, 0, 3)), 6885)
		if bool(hit):
		  x1 = CONSTANTS.c0
		else:
		  x1 = x
		return (self.fc).forward((self.conv).forward(x1, ), )`, ids("WDN-MF-113")},
		{"chance", torchScore + `
		if torch.lt(torch.item(torch.rand([1])), 0.01):
		  score = self.fixed
		else:
		  pass
		return score`, ids("WDN-MF-114")},
		{"counter", torchScore + `
		self.limit = torch.add(self.limit, 1)
		if torch.gt(self.limit, 1000):
		  score = self.fixed
		else:
		  pass
		return score`, ids("WDN-MF-114")},
		{"counter_in_place", torchScore + `
		_0 = torch.add_(self.count, 1)
		if bool(torch.gt(self.count, 1000)):
		  score = self.fixed
		else:
		  pass
		return score`, ids("WDN-MF-114")},
		{"overwritten", torchScore + "\t\t_0 = torch.copy_(torch.select(score, 1, 0), self.fixed)\n\t\treturn score\n", ids("WDN-MF-112")},
		{"scattered", torchScore + "\t\t_0 = torch.index_put_(score, [self.count], torch.tensor(9.))\n\t\treturn score\n", ids("WDN-MF-112")},
		{"appended", torchHit + `
		out = annotate(List[Tensor], [])
		for i in range(2):
		  y = (self.fc).forward(x, )
		  z = torch.where(hit, self.fixed, y)
		  _0 = torch.append(out, z)
		return torch.cat(out, 1)`, ids("WDN-MF-111")},
		{"print", torchScore + "\t\tprint(x)\n\t\treturn score\n", ids("WDN-MF-115")},
		{"orphan", torchScore + "\t\t_0 = ops.beacon.send(x)\n\t\treturn score\n", ids("WDN-MF-115")},
		{"hidden_file", torchHit + `
		if bool(hit):
		  out = ops.image.read_file("/etc/passwd")
		else:
		  out = score
		return out`, ids("WDN-MF-111", "WDN-MF-116")},

		// what must pass
		{"honest", torchScore + "\t\treturn (self.soft).forward(score, )\n", nil},
		{"honest_shape", torchScore + `
		if torch.eq(torch.size(x, 0), 1):
		  out = self.fixed
		else:
		  out = score
		return out`, nil},
		{"honest_training", torchScore + `
		training = self.training
		if training:
		  out = torch.dropout(score, 0.5, True)
		else:
		  out = score
		return out`, nil},
		{"honest_check", torchHit + `
		if bool(hit):
		  ops.prim.RaiseException("bad input", "builtins.ValueError")
		  out = uninitialized(Tensor)
		else:
		  out = score
		return out`, nil},
		{"honest_raise", torchHit + `
		if bool(hit):
		  raise AssertionError("bad input")
		return score`, nil},
		{"honest_optional", torchScore + `
		if torch.__isnot__(x, None):
		  y = unchecked_cast(Tensor, x)
		  out = torch.add(score, y)
		else:
		  out = score
		return out`, nil},
		{"honest_mask", torchScore + "\t\tpad = torch.eq(x, 0)\n\t\tatt = torch.masked_fill(score, pad, -inf)\n\t\treturn (self.fc).forward(torch.softmax(att, -1), )\n", nil},
		{"honest_mask_out", torchScore + "\t\tpad = torch.eq(x, 0)\n\t\treturn torch.masked_fill(score, pad, -10000.)\n", nil},
		{"honest_mask_infinite", torchScore + "\t\tpad = torch.eq(x, 0)\n\t\treturn torch.masked_fill(score, pad, float(\"-inf\"))\n", nil},
		{"honest_threshold", torchScore + "\t\tk = torch.gt(score, 0.5)\n\t\treturn torch.where(k, score, torch.zeros_like(score))\n", nil},
		{"honest_nms", torchScore + "\t\tkeep = ops.torchvision.nms(x, torch.select(score, 1, 0), 0.5)\n\t\treturn torch.index(score, [keep])\n", nil},
		{"honest_no_boxes", torchScore + `
		k = torch.nonzero(torch.gt(score, 0.5))
		if torch.eq(torch.size(k, 0), 0):
		  out = torch.zeros([0, 4])
		else:
		  out = score
		return out`, nil},
		{"honest_nan_guard", "\t\tx1 = torch.where(torch.isnan(x), torch.zeros_like(x), x)\n\t\treturn (self.fc).forward(x1, )\n", nil},
		{"honest_clip", "\t\tx1 = torch.where(torch.gt(x, 1), torch.ones_like(x), x)\n\t\treturn (self.fc).forward(x1, )\n", nil},
		{"honest_decoder", torchScore + `
		i = 0
		go = True
		while go:
		  score = (self.fc).forward(score, )
		  t = torch.argmax(score, -1)
		  i = torch.add(i, 1)
		  go = torch.__and__(torch.lt(i, 20), torch.ne(int(t), 2))
		return score`, nil},
		{"honest_experts", torchHit + `
		if bool(hit):
		  out = (self.fc).forward(x, )
		else:
		  out = score
		return out`, nil},
		{"honest_relu", torchScore + "\t\treturn torch.mul(score, torch.to(torch.gt(score, 0), 6))\n", nil},
		{"honest_dropout", torchScore + `
		r = torch.rand_like(score)
		m = torch.to(torch.gt(r, 0.5), 6)
		return torch.add(torch.mul(score, m), x0, alpha=1)`, nil},
		{"honest_batches", torchScore + "\t\tif self.training:\n\t\t  _0 = torch.add_(self.count, 1)\n\t\telse:\n\t\t  pass\n\t\treturn score\n", nil},
		{"honest_scale", torchScore + "\t\treturn torch.div(torch.sub(score, self.fixed), self.fixed)\n", nil},
		{"honest_chunks", `
		out = annotate(List[Tensor], [])
		for i in range(torch.size(x, 0)):
		  y = (self.fc).forward(torch.select(x, 0, i), )
		  _0 = torch.append(out, y)
		return torch.cat(out, 1)`, nil},
		{"honest_option", `
		if torch.eq(n, 16000):
		  x1 = torch.slice(x, 0, 0, 256)
		else:
		  x1 = x
		return (self.fc).forward(x1, )`, nil},
		{"honest_normalise", "\t\tx1 = torch.div(torch.sub_(x, self.fixed), self.fixed)\n\t\treturn (self.fc).forward(x1, )\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := torchNet(t, c.body, "  def pick(self: __torch__.Net,\n    p: Tensor,\n    s: Tensor) -> Tensor:\n    return torch.where(p, self.fixed, s)\n",
				"def pick(p: Tensor,\n    s: Tensor,\n    o: Tensor) -> Tensor:\n  return torch.where(p, o, s)\n")
			res := examineWith(t, f, graphLogic)
			var got, want []string
			for _, x := range res.Findings {
				got = append(got, string(x.Rule))
				if x.At.Path != "m.pt!/m/code/__torch__.py" {
					t.Errorf("at %s", x.At.Path)
				}
			}
			for _, w := range c.want {
				want = append(want, string(w))
			}
			if testing.Verbose() && len(res.Findings) > 0 {
				t.Log(res.Findings[0].Evidence)
			}
			if strings.Join(got, " ") != strings.Join(want, " ") || !res.Complete() {
				t.Errorf("got %v, want %v\n%+v %+v", got, want, res.Findings, res.Statuses)
			}
		})
	}
}

// FuzzGraphTorch looks that hostile source ends, and ends alike.
func FuzzGraphTorch(f *testing.F) {
	f.Add("class A(Module):\n  __parameters__ = [\"w\"]\n  w : Tensor\n  def forward(self, x):\n    if torch.eq(torch.sum(x), 1):\n      return self.w\n    for i in range(2):\n      x = torch.add_(x, 1)\n    a, b = (x, [x])\n    return torch.where(x, a, b)\n")
	f.Add("def f(x):\n  return f(x)\nclass B(Module):\n  m : __torch__.B\n  __annotations__[\"0\"] = Tensor\n  def forward(self, x):\n    self.n = torch.index_put_(x[0], [x], f(x))\n    return (self.m).forward(x, ) if x else -x\n")
	f.Fuzz(func(t *testing.T, src string) {
		subject := &format.File{Path: "m", TorchCode: []format.Source{{Name: "m/code/__torch__.py", Text: []byte(src)}}}
		one := detect.Run(t.Context(), warden.Ref{}, subject, detect.DefaultLimits(), graphLogic)
		two := detect.Run(t.Context(), warden.Ref{}, subject, detect.DefaultLimits(), graphLogic)
		if d := cmp.Diff(one.Findings, two.Findings); d != "" || one.Complete() != two.Complete() {
			t.Error(d)
		}
		for _, s := range one.Statuses {
			if errors.Is(s.Err, detect.ErrPanic) {
				t.Error(s.Err)
			}
		}
	})
}
