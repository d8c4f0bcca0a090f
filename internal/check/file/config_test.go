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

func TestConfigurations(t *testing.T) {
	yaml := func(s string) *format.File { return open(t, "model_config.yaml", []byte(s)) }
	named := func(name, s string) *format.File { return open(t, name, []byte(s)) }
	schema := func(loader, module, class string) *format.File {
		s := fmt.Sprintf(`{"__class__": %q, "__module__": %q, "__loader__": %q, "content": {}, "protocol": 2}`, class, module, loader)
		return member(t, "m.skops", formattest.Zip(formattest.ZipEntry{Name: "schema.json", Data: []byte(s)}), format.DefaultLimits(), "schema.json")
	}
	ids := func(id ...warden.RuleID) []warden.RuleID { return id }
	many := strings.Repeat(`{"_target_": "torch.nn.Linear"},`, 90_000)
	detecttest.Accept(t, configurations, []fileCase{
		{Name: "honest_nemo", Subject: yaml("model:\n  _target_: nemo.collections.asr.models.EncDecCTCModel\n  optim: {_target_: torch.optim.AdamW}\n")},
		{Name: "honest_tags", Subject: yaml("a: !!python/tuple [1, 2]\nb: !!set {x}\n")},
		{Name: "honest_config", Subject: named("config.json", `{"model_type": "bert", "trust_remote_code": false, "architectures": ["BertModel"]}`)},
		{Name: "honest_modules", Subject: named("modules.json", `[{"idx": 0, "type": "sentence_transformers.models.Transformer"}]`)},
		{Name: "honest_adapter", Subject: named("adapter_config.json", `{"auto_mapping": {"base_model_class": "BertModel", "parent_library": "transformers.models.bert.Modeling"}}`)},
		{Name: "honest_skops", Subject: schema("ObjectNode", "sklearn.linear_model._logistic", "LogisticRegression")},
		{Name: "honest_large", Subject: named("config.json", "["+strings.TrimSuffix(many, ",")+"]")},
		{Name: "target", Subject: yaml("x:\n- _target_: os.system\n"), Want: ids("WDN-MF-087")},
		{Name: "target_tail", Subject: yaml("x: {_target_: nemo.utils.os.system}\n"), Want: ids("WDN-MF-087")},
		{Name: "target_builtin", Subject: named("config.json", `{"a": {"_target_": "eval"}}`), Want: ids("WDN-MF-087")},
		{Name: "target_unknown", Subject: yaml("_target_: mine.helpers.run\n"), Want: ids("WDN-MF-087")},
		{Name: "tag_apply", Subject: yaml("a: !!python/object/apply:os.system ['id']\n"), Want: ids("WDN-MF-088")},
		{Name: "tag_object", Subject: yaml("a: !!python/object:mine.Config {}\n"), Want: ids("WDN-MF-088")},
		{Name: "tag_name", Subject: yaml("a: !!python/name:mine.f ''\n"), Want: ids("WDN-MF-088")},
		{Name: "auto_map", Subject: named("config.json", `{"auto_map": {"AutoModel": "modeling.Mine"}}`), Want: ids("WDN-MF-085")},
		{Name: "auto_map_list", Subject: named("tokenizer_config.json", `{"auto_map": {"AutoTokenizer": ["tok.Slow", null]}}`), Want: ids("WDN-MF-085")},
		{Name: "auto_map_remote", Subject: named("config.json", `{"auto_map": {"AutoModel": "someone/else--modeling.Mine"}}`), Want: ids("WDN-MF-086")},
		{Name: "pipelines", Subject: named("config.json", `{"custom_pipelines": {"p": {"impl": "pipe.P", "pt": ["AutoModel"]}}}`), Want: ids("WDN-MF-085")},
		{Name: "trust", Subject: named("config.json", `{"trust_remote_code": true}`), Want: ids("WDN-MF-085")},
		{Name: "modules", Subject: named("modules.json", `[{"type": "mine.Transformer"}]`), Want: ids("WDN-MF-085")},
		{Name: "skops_dangerous", Subject: schema("FunctionNode", "os", "system"), Want: ids("WDN-MF-037")},
		{Name: "skops_operator", Subject: schema("OperatorFuncNode", "mine", "Get"), Want: ids("WDN-MF-037")},
		{Name: "skops_method", Subject: schema("MethodNode", "builtins", "getattr"), Want: ids("WDN-MF-037")},
		{Name: "skops_unknown", Subject: schema("ObjectNode", "mine", "Model"), Want: ids("WDN-MF-037")},
	})
	if f := named("config.json", `{"auto_map": {"AutoModel": "modeling.Mine"}}`); len(f.Unread) != 1 {
		t.Errorf("code beside a configuration was not examined: %v", f.Unread)
	}
	nemo := formattest.Gzip(formattest.Tar(formattest.TarEntry{Name: "model_config.yaml", Data: []byte("_target_: os.system\n")}))
	if v, why := verdict(t.Context(), "m.nemo", nemo); v != warden.Malicious {
		t.Errorf("a NeMo archive that calls os.system is %s: %v", v, why)
	}
	if f := yaml("_target_: ${x}.y\n"); len(f.Unread) != 1 {
		t.Errorf("a name made of others: %v", f.Unread)
	}
}

func TestJudgeName(t *testing.T) {
	for name, want := range map[string]warden.Severity{
		"os.system": warden.Critical, "subprocess.Popen": warden.Critical, "exec": warden.Critical, "torch.hub.load": warden.Critical, "a.b.subprocess.run": warden.Critical,
		"mine.run": warden.High, "mine.Model": warden.Medium, "torch.optim.AdamW": warden.Info, "nemo.core.config.set_up": warden.Medium,
		"sklearn.linear_model._logistic.LogisticRegression": warden.Info, "builtins.dict": warden.Info,
	} {
		if got := judgeName(name); got != want {
			t.Errorf("judgeName(%q) = %v, want %v", name, got, want)
		}
	}
}
