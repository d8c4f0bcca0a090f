package file

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
)

func TestTemplates(t *testing.T) {
	in := func(text string) []byte {
		b, err := json.Marshal(map[string]string{"tokenizer_class": "X", "chat_template": text})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var cases []fileCase
	add := func(text string, want ...warden.RuleID) {
		cases = append(cases, fileCase{
			Name: fmt.Sprintf("template_%d", len(cases)), Want: want,
			Subject: open(t, "tokenizer_config.json", in(text)),
		})
	}
	for _, honest := range []string{
		"{% for m in messages %}{{ '<|' + m['role'] + '|>' + m.content | trim }}{% endfor %}",
		"{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% endif %}",
		"{{ raise_exception('Roles must alternate') }}{{ strftime_now('%d %b %Y') }}{{ tools | tojson(indent=4) }}",
		"{% set ns = namespace(found=false) %}{% for x in range(1000) %}{% set ns.found = true %}{% endfor %}",
		"{{ messages | selectattr('role', 'equalto', 'system') | map(attribute='content') | join('\\n') }}",
		"{% if message.content.split('</think>')[-1].lstrip('\\n') %}{% generation %}x{% endgeneration %}{% endif %}",
		"{{ '__init__ is a word in a text' }}{{ message['run'] }}{{ x.call }}",
		"{%- macro f(a, b='x') -%}{{ a ~ b }}{%- endmacro -%}{{ f(1) }}{{ '{}: {}'.format(a, b) }}",
	} {
		add(honest)
	}
	dd := func(s string) string { return strings.ReplaceAll(s, "$", "__") } // fixtures are assembled
	const walk = "WDN-MF-080"
	add(dd("{{ ''.$class$ }}"), walk)
	add(dd("{% for c in [].$class$.$base$.$subclasses$() %}{{ c()._module.$builtins$['$import$']('o'+'s').system('id') }}{% endfor %}"), walk)
	add(dd("{{ ''|attr('$class$') }}"), walk)
	add(dd("{{ x['\\x5f\\x5fglobals\\x5f\\x5f'] }}"), walk)
	add(dd("{{ x|attr('_' ~ '_class_' ~ '_') }}"), walk)
	add(dd("{{ x['_'*2 ~ 'mro' ~ '_'*2] }}"), walk)
	add(dd("{{ x|attr('$ssalc$'|reverse) }}"), walk)
	add(dd("{{ x|attr('%c%cclass%c%c'|format(95,95,95,95)) }}"), walk)
	add(dd("{{ x|attr(['$cla','ss$']|join) }}"), walk)
	add(dd("{{ x|attr(dict($cla=1,ss$=2)|join) }}"), walk)
	add(dd("{% set a = '$class$' %}{{ x[a] }}"), walk)
	add(dd("{{ [x]|map(attribute='$class$.$mro$')|list }}"), walk)
	add(dd("{{ [x]|map('attr', '$class$')|list }}"), walk)
	add(dd("{{ '{0.$class$}'.format(x) }}"), walk)
	add(dd("{{ getattr('', '$class$') }}"), walk)
	add(dd("{{ cycler['$ssalc$'[::-1]] }}"), walk)
	add("{{ x.gi_frame.f_back }}", walk)
	add("{{ x|attr(y) }}", "WDN-MF-081")
	add("{{ x['__' ~ y] }}", "WDN-MF-081")
	add("{{ eval('1') }}", "WDN-MF-082")
	add(dd("{{ $import$('os') }}"), "WDN-MF-082")
	add("{{ os.system('x') }}", "WDN-MF-082")
	add("{% include 'other.txt' %}", "WDN-MF-083")
	add("{% for a in range(10**9) %}{% endfor %}", "WDN-MF-084")
	add("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "WDN-MF-084")
	detecttest.Accept(t, templates, cases)
}

func TestTemplateSeverity(t *testing.T) {
	text := strings.ReplaceAll("{{ cycler.$init$.$globals$.os.popen('id') }}", "$", "__")
	for name, b := range map[string][]byte{"a.jinja": []byte(text), "b.yaml": []byte("chat_template: \"" + text + "\"\n")} {
		res := examineWith(t, open(t, name, b), templates)
		if len(res.Findings) != 1 || res.Findings[0].Severity != warden.Critical {
			t.Errorf("%s: %+v", name, res.Findings)
		}
	}
}
