package file

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
)

func TestManifests(t *testing.T) {
	named := func(name, s string) *format.File { return open(t, name, []byte(s)) }
	one := []warden.RuleID{ruleManifest}
	detecttest.Accept(t, manifests, []fileCase{
		{Name: "honest_requirements", Subject: named("requirements.txt", "# see https://example.com\ntorch>=2.0 # https://example.com\nnumpy==1.26 \\\n  --hash=sha256:00\n-r other.txt\n")},
		{Name: "honest_index", Subject: named("requirements.txt", "--extra-index-url https://download.pytorch.org/whl/cu121\ntorch\n")},
		{Name: "honest_conda", Subject: named("conda.yaml", "channels:\n- conda-forge\ndependencies:\n- python=3.11\n- pip:\n  - mlflow==2.9\n")},
		{Name: "honest_mlmodel", Subject: named("MLmodel", "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n")},
		{Name: "honest_paths", Subject: named("extra.pth", "./vendored\n../important\n")},
		{Name: "honest_large", Subject: named("requirements.txt", strings.Repeat("numpy>=1.0\n", 90_000))},
		{Name: "honest_words", Subject: named("notes.txt", "pip install git+https://example.com/x\n")},
		{Name: "git", Subject: named("requirements.txt", "thing @ git+https://example.com/x.git@main\n"), Want: one},
		{Name: "wheel", Subject: named("requirements-dev.txt", "https://example.com/x-1.0-py3-none-any.whl\n"), Want: one},
		{Name: "plain_http", Subject: named("requirements.txt", "--index-url http://203.0.113.9/simple\n"), Want: one},
		{Name: "index", Subject: named("requirements.txt", "--extra-index-url \\\n https://example.com/simple\n"), Want: one},
		{Name: "trusted", Subject: named("requirements.txt", "--trusted-host example.com\n"), Want: one},
		{Name: "conda_pip", Subject: named("conda.yaml", "- pip:\n  - \"git+https://example.com/x\"\n"), Want: one},
		{Name: "loader", Subject: named("MLmodel", "  loader_module: mine.loader\n"), Want: one},
		{Name: "loader_dangerous", Subject: named("MLmodel", "  loader_module: os\n"), Want: one},
		{Name: "start", Subject: named("x.pth", "import os; os.system('id')\n"), Want: one},
	})
	res := examineWith(t, named("requirements.txt", "git+https://user:secret@example.com/x\n"), manifests)
	if strings.Contains(res.Findings[0].Evidence, "secret") {
		t.Errorf("evidence %q shows a password", res.Findings[0].Evidence)
	}
}
