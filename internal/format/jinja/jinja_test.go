package jinja_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/jinja"
)

// show writes a tree as text.
func show(n *jinja.Node) string {
	kinds := []string{"tag", "out", "name", "str", "num", "attr", "item", "call", "filter", "test", "op", "list", "dict", "slice", "kw"}
	var kids []string
	for _, k := range n.Kids {
		kids = append(kids, show(k))
	}
	s := kinds[n.Kind]
	if n.Text != "" {
		s += fmt.Sprintf(":%s", n.Text)
	}
	if len(kids) > 0 {
		s += "(" + strings.Join(kids, " ") + ")"
	}
	return s
}

func TestParse(t *testing.T) {
	for src, want := range map[string]string{
		`{{ a.b['c'](1, x=2) }}`:                       "out(call(item(attr:b(name:a) str:c) num:1 kw:x(num:2)))",
		`{{- '\x5f' 'b' ~ c|join(',')|upper -}}`:       "out(op:~(str:_b filter:upper(filter:join(name:c str:,))))",
		`{% for k, v in d.items() if v is not none %}`: "tag:for(list(name:k name:v) op:if(test:none(name:v) call(attr:items(name:d))))",
		`{% set x = 1 if a else {'b': [1, 2]} %}`:      "tag:set(name:x op:if(name:a num:1 dict(str:b list(num:1 num:2))))",
		`{# {{ no }} #}{{ x[1:] }}{{ y[::-1] }}`:       "out(item(name:x slice(num:1 num:none num:none))) out(item(name:y slice(num:none num:none op:-(num:1))))",
		`{% raw %}{{ no }}{% endraw %}{{ 1 }}`:         "tag:raw out(num:1)",
		`{% if not a and b not in c %}`:                "tag:if(op:and(op:not(name:a) op:not(name:b name:c)))",
		`{% macro f(a, b=1) %}`:                        "tag:macro(call(name:f name:a kw:b(num:1)))",
		`{{ x is divisibleby 3 }}`:                     "out(test:divisibleby(name:x num:3))",
		`{{ {'a': {'b': 1}} }}`:                        "out(dict(str:a dict(str:b num:1)))",
	} {
		tpl, err := jinja.Parse(t.Context(), src, bound.Default())
		var got []string
		for _, n := range tpl.Nodes {
			got = append(got, show(n))
		}
		if s := strings.Join(got, " "); err != nil || s != want {
			t.Errorf("Parse(%s)\n got %s, %v\nwant %s", src, s, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	deep := "{{ " + strings.Repeat("(", 500) + "1" + strings.Repeat(")", 500) + " }}"
	long := "{{ a" + strings.Repeat(".b", 5000) + " }}"
	for _, src := range []string{"{{ a", "{% %}", "{{ a b }}", "{{ 'x }}", "{# x", "{% raw %}x", "{{ a[ }}", "{{ ? }}", deep, long} {
		if _, err := jinja.Parse(t.Context(), src, bound.Default()); err == nil {
			t.Errorf("Parse(%.30q) took it", src)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"{{ a.b|c(1) }}", "{% for x in y if z %}{% endfor %}", "{% set a = b[1:2, ::3] %}", "{{ 'a' 'b' ~ {'c': not d} }}", "{% macro a(b=1) %}", "{% filter upper(1) %}", "{{ a if b else c is not d e }}", "{%- raw -%}{{ {%- endraw %}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tpl, _ := jinja.Parse(t.Context(), s, bound.Default())
		for _, n := range tpl.Nodes {
			n.Walk(func(n *jinja.Node) {
				if n == nil {
					t.Fatal("nil node")
				}
			})
		}
	})
}
