package file

import (
	"os"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	pt "github.com/modelwarden/warden/internal/format/pickle/pickletest"
	"github.com/modelwarden/warden/rules"
)

// TestGeneratedTable wants lines in order and each of them to be found.
func TestGeneratedTable(t *testing.T) {
	last := ""
	for line := range strings.Lines(rules.GeneratedCallables()) {
		if line[0] == '#' {
			if last != "" {
				t.Fatalf("comment behind %s", last)
			}
			continue
		}
		name, rest, _ := strings.Cut(line, "\t")
		if name <= last {
			t.Fatalf("%q behind %q", name, last)
		}
		last = name
		if strings.Count(rest, "\t") != 4 {
			t.Fatalf("%q has no six columns", line)
		}
		c, ok := generated(name)
		if !ok || c.name != name || c.tier == tierUnknown {
			t.Fatalf("generated(%q) = %+v, %v", name, c, ok)
		}
		for _, other := range [...]string{name + "x", name + ".x", name[:len(name)-1]} {
			if c, ok := generated(other); ok && c.name != other {
				t.Fatalf("generated(%q) = %+v", other, c)
			}
		}
	}
	for _, name := range [...]string{"", "#", "A", "zzz", "~"} {
		if _, ok := generated(name); ok {
			t.Errorf("generated(%q) is there", name)
		}
	}
}

// TestGadgetsAreDangerous wants each callable that beat another scanner to be
// dangerous, whoever told of it.
func TestGadgetsAreDangerous(t *testing.T) {
	list, err := os.ReadFile("../../../tools/callables/gadgets.tsv")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for line := range strings.Lines(string(list)) {
		c := strings.Split(strings.TrimSpace(line), "\t")
		if line[0] == '#' {
			continue
		}
		if len(c) != 3 {
			t.Errorf("%q says not who tells of it and why", line)
			continue
		}
		count[c[1]]++
		i := strings.LastIndexByte(c[0], '.')
		if got := classify(c[0][:i], c[0][i+1:]); got.tier != tierDangerous {
			t.Errorf("%s: %+v, want dangerous", c[0], got)
		}
	}
	t.Logf("told by the trees: %d, by hand: %d", count["trees"], count["hand"])
}

func TestGeneratedVerdicts(t *testing.T) {
	code := pt.Str("__import__('os').system('id')")
	for name, c := range map[string]struct {
		in   string
		want warden.Verdict
	}{
		"inert_class":             {pt.New(named("PIL.ImageFilter:MinFilter")) + pt.DictOf(pt.Str("size"), pt.Int(3)) + pt.Build, warden.Clean},
		"inert_class_called":      {call("PIL.ImageFilter:MinFilter", pt.Int(3)), warden.Clean},
		"inert_class_given_power": {call("PIL.ImageFilter:MinFilter", named("os:system")), warden.Malicious},
		"class_inert_if_built":    {pt.New(named("statsmodels.discrete.discrete_model:Probit")) + pt.DictOf(pt.Str("a"), pt.Int(1)) + pt.Build, warden.Clean},
		"class_not_inert_called":  {call("statsmodels.discrete.discrete_model:Probit", pt.Int(1)), warden.Review},
		"state_that_is_run":       {pt.New(named("scipy.stats._continuous_distns:norm_gen")) + pt.DictOf(pt.Str("_parse_arg_template"), code) + pt.Build, warden.Unsafe},
		"honest_state":            {pt.New(named("scipy.stats._continuous_distns:norm_gen")) + pt.DictOf(pt.Str("name"), pt.Str("norm")) + pt.Build, warden.Clean},
		"class_that_runs_text":    {call("fairseq.modules.multihead_attention:MultiheadAttention", code), warden.Malicious},
		"class_with_numbers":      {call("fairseq.modules.multihead_attention:MultiheadAttention", pt.Int(3)), warden.Review},
		"function_that_runs_text": {call("fairseq.utils:eval_str_dict", code), warden.Malicious},
		"function_without_text":   {call("fairseq.utils:eval_str_dict"), warden.Unsafe},
		"function_handed_on":      {call("pkg:run", named("fairseq.utils:eval_str_dict")), warden.Malicious},
		"reader_as_data":          {pt.New(named("sklearn.feature_extraction.text:CountVectorizer")) + pt.DictOf(pt.Str("tokenizer"), named("nltk.tokenize:word_tokenize")) + pt.Build, warden.Review},
		"reaches":                 {call("xarray.util.print_versions:get_sys_info", pt.Int(1)), warden.Unsafe},
		"second_name":             {call("sympy:preview_diagram", code), warden.Unsafe},
	} {
		t.Run(name, func(t *testing.T) {
			if res, v := verdictOf(t, p4(c.in)); v != c.want {
				t.Errorf("%v, want %v: %+v", v, c.want, res.Findings)
			}
		})
	}
}

// BenchmarkGenerated looks a name up in the generated table.
func BenchmarkGenerated(b *testing.B) {
	for b.Loop() {
		generated("sklearn.linear_model._logistic.LogisticRegression")
	}
}
