package js_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/source/js"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// dump renders a tree: kinds, texts, kids in brackets.
func dump(n *syntax.Node) string {
	if n == nil {
		return "-"
	}
	var b strings.Builder
	b.WriteString(n.Kind.String())
	if n.Flag&syntax.New != 0 {
		b.WriteString("!")
	}
	if n.Text != "" {
		fmt.Fprintf(&b, ":%s", n.Text)
	}
	if len(n.Kids) > 0 {
		b.WriteByte('(')
		for i, k := range n.Kids {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(dump(k))
		}
		b.WriteByte(')')
	}
	return b.String()
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, file, src, want string }{
		{"call", "a.js", `f(1, ...b)`, "Expr(Call(Name:f Number:1 Star(Name:b)))"},
		{"new", "a.js", `new A.B({x, y: 1, [z]: 2})`, "Expr(Call!(Attr:B(Name:A) Dict(String:x Name:x String:y Number:1 Name:z Number:2)))"},
		{"new_member", "a.ts", `new A<T>().b`, "Expr(Attr:b(Call!(Name:A)))"},
		{"optional", "a.js", `a?.b?.[c]?.(d)`, "Expr(Call(Subscript(Attr:b(Name:a) Name:c) Name:d))"},
		{"nullish", "a.js", `const m = process.env.X ?? "d"`, "Assign(Name:m Bool:or(Attr:X(Attr:env(Name:process)) String:d))"},
		{"template", "a.js", "x = `a${b}c${`d${e}`}`", "Assign(Name:x FString(String:a Field(Name:b -) String:c Field(FString(String:d Field(Name:e -)) -)))"},
		{"regex", "a.js", `x = /["'/]+[/]/g.test(a) / 2`, "Assign(Name:x Binary:/(Call(Attr:test(Call(Name:RegExp)) Name:a) Number:2))"},
		{"asi", "a.js", "a = b\nc()\nreturn\nd", "Assign(Name:a Name:b) Expr(Call(Name:c)) Return(-) Expr(Name:d)"},
		{"as", "a.ts", "const a = {b: 'x'} as const satisfies Record<string, T[]>", "Assign(Name:a Dict(String:b String:x))"},
		{"assertion", "a.ts", "const a = <any>b", "Assign(Name:a Name:b)"},
		{"non_null", "a.ts", "a!.b!()", "Expr(Call(Attr:b(Name:a)))"},
		{"generic_call", "a.ts", "f<A, B<C>>(d)", "Expr(Call(Name:f Name:d))"},
		{"less_than", "a.ts", "a < b, c > (d)", "Expr(Call(Name:a Name:d))"},
		{"less_than_js", "a.js", "a < b && c > d", "Expr(Bool:and(Compare:<(Name:a Name:b) Compare:>(Name:c Name:d)))"},
		{"arrow", "a.ts", "const f = async (a: string, {b = 1}: {b?: number} = {}): Promise<void> => g(a)", "Assign(Name:f Lambda(Params(Param:a(- -) Param:(1)(- Dict)) Block(Assign(Dict(String:b Walrus(Name:b Number:1)) Name:(1)) Return(Call(Name:g Name:a)))))"},
		{"arrow_generic_tsx", "a.tsx", "const f = <T,>(x: T) => x", "Assign(Name:f Lambda(Params(Param:x(- -)) Name:x))"},
		{"arrow_generic", "a.ts", "const f = <T extends A>(x: T) => x", "Assign(Name:f Lambda(Params(Param:x(- -)) Name:x))"},
		{"conditional_arrow", "a.ts", "a ? (b) : c => d", "Expr(IfExp(Name:a Name:b Lambda(Params(Param:c(- -)) Name:d)))"},
		{"enum", "a.ts", "export enum M { A = 'x', B = 'y' }", "Assign(Name:M Dict(String:A String:x String:B String:y))"},
		{"const_enum", "a.ts", "const enum M { A = 'x' }", "Assign(Name:M Dict(String:A String:x))"},
		{"namespace", "a.ts", "namespace N { export const a = 1; const b = 2 }", "Assign(Name:a Number:1) Assign(Name:b Number:2) Assign(Name:N Dict(String:a Name:a))"},
		{"types_only", "a.ts", "type A<T> = T extends B ? { a: `x${C}` } : (x: D) => E | typeof import('x')\ninterface F extends G<H> { a(): void; [k: string]: I }\ndeclare module 'x' { export const y: 1 }\ndeclare const z: J\nk()", "Expr(Call(Name:k))"},
		{"overloads", "a.ts", "function f(a: A): B\nfunction f(a: any) { return a }", "Func:f(Params(Param:a(- -)) - - Block(Return(Name:a)))"},
		{"class", "a.ts", "@D() class A<T> extends B<T> implements C { private readonly m: string = 'x'; #p = 1; static s() {} constructor(private c: C) { super(c) } get g(): T { return this.#p } abstract h(): void; [k: string]: any }", "Class:A(- Args(Name:B) Block(Assign(Name:m String:x) Assign(Name:#p Number:1) Func:s(Params - - Block Name:classmethod) Func:constructor(Params(Param:c(- -)) - - Block(Assign(Attr:c(Name:this) Name:c) Expr(Call(Attr:constructor(Call(Name:super)) Name:c)))) Func:g(Params - - Block(Return(Attr:#p(Name:this))) Name:property)) Call(Name:D))"},
		{"imports", "a.ts", "import O, { a as b, type C } from 'x'\nimport * as n from 'y'\nimport 'z'\nimport type { T } from 't'\nimport q = require('q')\nimport d from './d.json' with { type: 'json' }", "From:x(Alias:default(Name:O) Alias:a(Name:b)) Import(Alias:y(Name:n)) From:z Assign(Name:q Call(Name:require String:q)) From:./d.json(Alias:default(Name:d))"},
		{"exports", "a.ts", "export default f\nexport { a as b }\nexport * from 'x'\nexport { c } from 'y'\nexport type { T } from 't'\nexport const e = 1", "Assign(Name:default Name:f) Assign(Name:b Name:a) From:x(Alias:*(-)) From:y(Alias:c(Name:c)) Assign(Name:e Number:1)"},
		{"export_function", "a.ts", "export default async function h(r) {}", "Func:h(Params(Param:r(- -)) - - Block) Assign(Name:default Name:h)"},
		{"commonjs", "a.js", "module.exports = { a }\nexports.b = c", "Assign(Name:module.exports Dict(String:a Name:a)) Assign(Name:b Name:c)"},
		{"destructure", "a.js", "const { a, b: { c = 1 }, ...d } = e, [f, , g = 2] = h", "Assign(Dict(String:a Name:a String:b Dict(String:c Walrus(Name:c Number:1)) - Name:d) Name:e) Assign(List(Name:f Constant:None Walrus(Name:g Number:2)) Name:h)"},
		{"methods", "a.js", "x = { async *a(b) {}, get c() { return 1 }, get: 2, async: 3 }", "Assign(Name:x Dict(String:a Lambda(Params(Param:b(- -)) Block) String:c Call(Lambda(Params Block(Return(Number:1)))) String:get Number:2 String:async Number:3))"},
		{"jsx", "a.tsx", "const e = <A.B m=\"it's\" f={() => g()} {...h} d>Don't {x} <br/> <p className='y'>z // no comment</p></A.B>", "Assign(Name:e Call(Attr:B(Name:A) Dict(String:m String:it's String:f Lambda(Params Call(Name:g)) - Name:h String:d Constant:True String:children List(Name:x Call(Name:jsx) Call(Name:jsx Dict(String:className String:y))))))"},
		{"fragment", "a.jsx", "f(<><a-b/>{/* no */}</>)", "Expr(Call(Name:f Call(Name:jsx Call(Name:jsx))))"},
		{"switch", "a.js", "switch (a) { case 1: case 2: b(); break; default: c() }", "Match(Name:a Case(PatOr(PatValue(Number:1) PatValue(Number:2)) - Block(Expr(Call(Name:b)) Pass)) Case(PatAs(-) - Block(Expr(Call(Name:c)))))"},
		{"loops", "a.js", "for (const a of b) { break }\nfor (let i = 0; i < 3; i++) f(i)\nfor (k in o);", "For(Name:a Name:b Block(Break) -) Assign(Name:i Number:0) While(Compare:<(Name:i Number:3) Block(Expr(Call(Name:f Name:i)) Assign(Name:i Number)) -) For(Name:k Name:o Block -)"},
		{"try", "a.js", "try { a() } catch { b() } finally { c() }", "Try(Block(Expr(Call(Name:a))) - Block(Expr(Call(Name:c))) Handler(- Block(Expr(Call(Name:b)))))"},
		{"error_is_local", "a.js", "a()\nconst x = = 3\nb()", "Expr(Call(Name:a)) Assign(Name:x Constant:None) Expr(Call(Name:b))"},
		{"vue", "a.vue", "<template>it's {{ a }}</template>\n<script setup lang=\"ts\">\nconst m: string = 'x'\n</script>", "Assign(Name:m String:x)"},
		{"hashbang", "a.mjs", "#!/usr/bin/env node\na()", "Expr(Call(Name:a))"},
		{"keywords_as_names", "a.ts", "const type = of.from.as; type.get = async; let async = await.x", "Assign(Name:type Attr:as(Attr:from(Name:of))) Assign(Attr:get(Name:type) Name:async) Assign(Name:async Await(Constant:None))"},
		{"sequence", "a.js", "a, b", "Expr(Bool:,(Name:a Name:b))"},
		{"dynamic_import", "a.js", "const { a } = await import('x')", "Assign(Dict(String:a Name:a) Await(Call(Name:import String:x)))"},
		{"escapes", "a.js", `a = "\x41\u{1F600}\n\"" + 'b\
c'`, "Assign(Name:a Binary:+(String:A😀\n\" String:bc))"},
		{"decorated_params", "a.ts", "class A { constructor(@Inject(X) private readonly x: X) {} }", "Class:A(- Args Block(Func:constructor(Params(Param:x(- -)) - - Block(Assign(Attr:x(Name:this) Name:x)))))"},
		{"satisfies_arrow", "a.ts", "export default { fetch: (async (r): Promise<R> => {}) } satisfies H", "Assign(Name:default Dict(String:fetch Lambda(Params(Param:r(- -)) Block)))"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, errs := js.Parse(t.Context(), c.file, []byte(c.src))
			if len(errs) > 0 && c.name != "error_is_local" && c.name != "keywords_as_names" {
				t.Error(errs)
			}
			var got []string
			for _, n := range f.Body {
				got = append(got, dump(n))
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

func TestFile(t *testing.T) {
	p := os.Getenv("JSFILE")
	if p == "" {
		t.Skip()
	}
	b, _ := os.ReadFile(p)
	f, errs := js.Parse(t.Context(), p, b)
	for _, e := range errs {
		t.Log(f.Line(int32(e.Start)), e.Message)
	}
}
