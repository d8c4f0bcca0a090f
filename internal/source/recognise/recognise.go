// Package recognise tells what of AI the code of a tree uses: it compares the
// calls that package flow resolved with the catalogue, and resolves the ids,
// revisions and addresses in them as values.
//
// A name is reported only if a value reached the slot of an id. An identifier,
// a type or a word in the text is never one; what cannot be resolved is kept as
// an expression, see [sight.Sighting.Dynamic].
package recognise

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/modelwarden/warden/internal/source/config"
	"github.com/modelwarden/warden/internal/source/flow"
	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/internal/source/syntax"
	"github.com/modelwarden/warden/rules"
)

// An Input is a tree whose calls were resolved.
type Input struct {
	Graph    *flow.Graph
	Reach    *flow.Reach
	Scope    func(path string) sight.Scope // what a file is for
	Cells    func(path string) []int       // first lines of a notebook's cells; nil for other files
	Exists   func(path string) bool        // whether the tree has a file or folder at a path
	Packages []config.Package
	Env      map[string][]config.Variable // that deployments set
}

// Rows are the rows of a catalogue, compiled. They are not changed after [Compile].
type Rows struct {
	cat       *rules.Catalogue
	calls     map[string]*table // by language
	hosts     []hostRow
	services  map[string]bool // that count as providers
	unsafe    map[string]rules.UnsafeRow
	packages  map[string]map[string]bool
	wildcards map[string][]string // packages with "*", by ecosystem
	ids       []idRow
	keys      map[string]bool
}

// a table finds the rows for a resolved name.
type table struct {
	byHead   map[string][]*row
	prefixes []string // what resolved names begin with, of languages whose packages have dots
	any      []*row
}

type row struct {
	rules.CallRow
	re    func() *regexp.Regexp // compiled when the first name may match: most never do
	order int
}

// Compile makes rows of a catalogue.
func Compile(cat *rules.Catalogue) *Rows {
	r := &Rows{
		cat: cat, calls: map[string]*table{}, services: map[string]bool{}, unsafe: map[string]rules.UnsafeRow{},
		packages: map[string]map[string]bool{}, wildcards: map[string][]string{}, keys: map[string]bool{},
	}
	for lang, rows := range map[string][]rules.CallRow{
		"python": cat.Python, "javascript": cat.JavaScript, "go": cat.Go, "java": cat.Java, "csharp": cat.CSharp,
	} {
		t := &table{byHead: map[string][]*row{}}
		for i, c := range rows {
			text, heads := pattern(c.Call)
			w := &row{CallRow: c, re: sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) }), order: i}
			if p, _, _ := strings.Cut(c.Call, "{"); lang == "java" || lang == "csharp" {
				if j := strings.IndexAny(p, "*("); j >= 0 {
					p = p[:j]
				}
				if p = strings.TrimSuffix(p, "."); p != "" && !slices.Contains(t.prefixes, p) {
					t.prefixes = append(t.prefixes, p)
				}
			}
			for _, h := range heads {
				if h == "" {
					t.any = append(t.any, w)
				} else {
					t.byHead[h] = append(t.byHead[h], w)
				}
			}
		}
		r.calls[lang] = t
	}
	r.calls["kotlin"] = r.calls["java"]
	for host, p := range cat.Endpoints {
		r.hosts = append(r.hosts, hostRow{host: host, provider: p})
		r.services[p] = true
	}
	slices.SortFunc(r.hosts, func(a, b hostRow) int { return strings.Compare(a.host, b.host) })
	for _, p := range cat.Prefixes {
		r.services[p] = true
	}
	for _, p := range [...]string{"huggingface", "ollama", "openai-compatible", "aws-ai", "modelscope"} {
		r.services[p] = true
	}
	for _, u := range cat.Unsafe {
		r.unsafe[u.Flag] = u
	}
	for eco, names := range cat.Packages {
		r.packages[eco] = map[string]bool{}
		for _, n := range names {
			if strings.Contains(n, "*") {
				r.wildcards[eco] = append(r.wildcards[eco], n)
			} else {
				r.packages[eco][strings.ToLower(n)] = true
			}
		}
	}
	for p, globs := range cat.Names {
		for _, g := range globs {
			r.ids = append(r.ids, idRow{glob: g, provider: p})
		}
	}
	slices.SortFunc(r.ids, func(a, b idRow) int { return strings.Compare(a.provider+"\x00"+a.glob, b.provider+"\x00"+b.glob) })
	for _, k := range cat.Variables.Keys {
		r.keys[k] = true
	}
	return r
}

// IsPackage reports whether a package is one of AI.
func (r *Rows) IsPackage(ecosystem, name string) bool {
	name = strings.ToLower(name)
	if r.packages[ecosystem][name] {
		return true
	}
	if ecosystem == "go" {
		for p := range r.packages["go"] {
			if strings.HasPrefix(name, p+"/") {
				return true
			}
		}
	}
	return slices.ContainsFunc(r.wildcards[ecosystem], func(g string) bool { return glob(strings.ToLower(g), name) })
}

// IsService reports whether a provider is somebody who runs or hands out
// models, in contrast to a library that brings its own.
func (r *Rows) IsService(provider string) bool { return r.services[provider] }

// Unsafe returns what the catalogue says of a flag.
func (r *Rows) Unsafe(flag string) rules.UnsafeRow { return r.unsafe[flag] }

// Calls returns what the code uses, one sighting for each place, not merged.
func (r *Rows) Calls(ctx context.Context, in Input) []sight.Sighting {
	m := &matcher{rows: r, in: in, g: in.Graph, clients: map[int]string{}, ctx: ctx, used: map[string]bool{}}
	m.imports()
	for i := range in.Graph.Sites() {
		if i%256 == 0 && ctx.Err() != nil {
			break
		}
		m.site(i)
	}
	m.decorators()
	m.literals()
	m.variables()
	m.lists()
	m.importedProviders()
	m.settle()
	return m.out
}

// settle drops an id from the providers that it does not fit where it fits
// another: the values of several clients meet where one function serves all.
func (m *matcher) settle() {
	fits := map[string]map[string]bool{}
	for i := range m.out {
		s := &m.out[i]
		if s.Kind == sight.Model && s.Name != "" && m.rows.fits(s.Provider, s.Name) {
			k := strings.ToLower(s.Name)
			if fits[k] == nil {
				fits[k] = map[string]bool{}
			}
			fits[k][s.Provider] = true
		}
	}
	m.out = slices.DeleteFunc(m.out, func(s sight.Sighting) bool {
		if s.Kind != sight.Model || s.Name == "" {
			return false
		}
		others := fits[strings.ToLower(s.Name)]
		if !m.rows.fits(s.Provider, s.Name) {
			return len(others) > 0
		}
		return s.Provider == "ollama" && others["huggingface"] && sight.IsHub(s.Name)
	})
}

// names reports whether a package that is imported as a whole can have what a
// row names.
func (t *table) names(pkg string) bool {
	return slices.ContainsFunc(t.prefixes, func(p string) bool {
		return p == pkg || strings.HasPrefix(p, pkg+".") || strings.HasPrefix(pkg, p+".")
	})
}

// headOf is what a resolved name begins with, up to its first member or call.
func headOf(path string) string {
	if i := strings.IndexAny(path, ".("); i > 0 {
		return path[:i]
	}
	return path
}

// Matches reports whether a resolved name of a language matches the row that is
// written as call.
func (r *Rows) Matches(language, name, call string) bool {
	return slices.ContainsFunc(r.calls[language].find(name), func(w *row) bool { return w.Call == call })
}

// find returns the rows whose pattern matches a resolved name, in the order of
// the catalogue.
func (t *table) find(path string) []*row {
	if t == nil {
		return nil
	}
	var out []*row
	for _, w := range t.byHead[headOf(path)] {
		if w.re().MatchString(path) {
			out = append(out, w)
		}
	}
	for _, w := range t.any {
		if w.re().MatchString(path) {
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(a, b *row) int { return a.order - b.order })
	return slices.Compact(out)
}

// pattern turns the text of a row's call into an expression, which always
// compiles: what is not its own is quoted, and the loader counts the braces.
// heads are what a name can begin with up to the first dot or bracket; "" stands
// for anything.
func pattern(s string) (re string, heads []string) {
	s = called(s)
	var b strings.Builder
	b.WriteString("^")
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '{':
			depth++
			b.WriteString("(?:")
		case c == '}':
			depth--
			b.WriteString(")")
		case c == ',' && depth > 0:
			b.WriteString("|")
		case strings.HasPrefix(s[i:], "***"):
			b.WriteString(".*")
			i += 2
		case strings.HasPrefix(s[i:], "**"):
			i++
			if i+1 == len(s) || s[i+1] == '.' || s[i+1] == '(' {
				b.WriteString(`[^()]*`)
			} else {
				b.WriteString(`(?:[^()]*[./])?`)
			}
		case c == '*':
			b.WriteString(`[^().]*`)
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	b.WriteString("$")
	for _, alt := range expand(s, 0) {
		h := alt
		if i := strings.IndexAny(alt, ".("); i >= 0 {
			h = alt[:i]
		}
		if strings.Contains(h, "*") {
			h = ""
		}
		if !slices.Contains(heads, h) {
			heads = append(heads, h)
		}
	}
	return b.String(), heads
}

// called takes the brackets off the end of a call's text, where they only say
// that it is a class: what is compared is the name that is called.
func called(s string) string {
	if !strings.HasSuffix(s, "}") {
		return strings.TrimSuffix(s, "()")
	}
	level, open := 0, len(s)-1
	for ; open > 0; open-- {
		switch s[open] {
		case '}':
			level++
		case '{':
			level--
		}
		if level == 0 {
			break
		}
	}
	alts := strings.Split(s[open+1:len(s)-1], ",")
	for i := range alts {
		if !strings.ContainsAny(alts[i], "{}") {
			alts[i] = strings.TrimSuffix(alts[i], "()")
		}
	}
	return s[:open+1] + strings.Join(alts, ",") + "}"
}

// expand writes out the alternatives of the first braces, and of those in them.
func expand(s string, depth int) []string {
	open := strings.IndexByte(s, '{')
	if open < 0 || depth > 4 || strings.ContainsAny(s[:open], ".(") {
		return []string{s}
	}
	level, from, end := 0, open+1, -1
	var alts []string
	for i := open; i < len(s) && end < 0; i++ {
		switch s[i] {
		case '{':
			level++
		case '}':
			if level--; level == 0 {
				alts = append(alts, s[from:i])
				end = i
			}
		case ',':
			if level == 1 {
				alts = append(alts, s[from:i])
				from = i + 1
			}
		}
	}
	if end < 0 {
		return []string{s}
	}
	var out []string
	for _, a := range alts {
		out = append(out, expand(s[:open]+a+s[end+1:], depth+1)...)
	}
	return out
}

// glob compares with a pattern in which "*" stands for anything.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

func globs(list, s string) bool {
	for g := range strings.SplitSeq(list, "|") {
		if g != "" && glob(g, s) {
			return true
		}
	}
	return false
}

// a matcher goes over one tree.
type matcher struct {
	rows    *Rows
	in      Input
	g       *flow.Graph
	ctx     context.Context //nolint:containedctx // lives as long as one call of Calls
	clients map[int]string  // provider of the object that a site made
	used    map[string]bool // heads of packages of which a call was recognised
	modules []module        // that are imported
	out     []sight.Sighting
	weak    []sight.Sighting // of literals of types, which count unless a call tells the same
}

// place is where a node stands.
func (m *matcher) place(unit int, n *syntax.Node, via string) sight.Place {
	u := m.g.Units()[unit]
	return m.at(u.Path, u.File.Line(n.Start), line(u.File.Source, int(n.Start)), via)
}

func (m *matcher) at(path string, ln int, text, via string) sight.Place {
	p := sight.Place{Path: path, Line: ln, Snippet: sight.Snippet(text), Via: via}
	if cells := m.in.Cells(path); len(cells) > 0 {
		i, _ := slices.BinarySearch(cells, ln+1)
		if i > 0 {
			p.Cell, p.Line = i, ln-cells[i-1]+1
		}
	}
	return p
}

// line returns the line of text around a byte.
func line(s string, at int) string {
	if at > len(s) {
		return ""
	}
	from := strings.LastIndexByte(s[:at], '\n') + 1
	end := strings.IndexByte(s[at:], '\n')
	if end < 0 {
		end = len(s) - at
	}
	return s[from : at+end]
}

// state tells whether the function that has a site runs.
func (m *matcher) state(f flow.FuncID, s *sight.Sighting, path string) {
	s.Scope = m.in.Scope(path)
	st, stack := m.in.Reach.State(f)
	switch st {
	case flow.Reachable:
		s.State = sight.Reachable
	case flow.Possibly:
		s.State = sight.Possible
	default:
		s.State = sight.Unreachable
		if m.tolerant(f) { // who calls it may have been read over
			s.State = sight.Possible
		}
	}
	s.Stack = stack
	if s.Scope == sight.Production && m.in.Reach.Test(f) {
		s.Scope = sight.Test
	}
}

// weak are packages that much code imports, and what such a file must have
// besides to matter.
var weak = map[string][]string{
	"pickle": {"load", "Unpickler"}, "_pickle": {"load"}, "cPickle": {"load"}, "dill": {"load"}, "cloudpickle": {"load"}, "joblib": {"load"}, "shelve": {"open"},
	"numpy": {".load("}, "pandas": {"read_pickle"}, "seaborn": {"load_dataset"}, "boto3": {"bedrock", "sagemaker", "comprehend", "rekognition", "textract"},
	"requests": nil, "httpx": nil, "aiohttp": nil, "urllib": nil, "sklearn": {"fetch_", "load_", "externals"},
}

// Matters reports whether a file can hold what the catalogue names: strongly, so
// that whoever uses the file matters too, or by itself alone.
func (r *Rows) Matters(language string, imports []string, text string) (strong, alone bool) {
	t := r.calls[language]
	if t == nil {
		return true, true
	}
	for _, name := range imports {
		head := name
		if i := strings.IndexAny(name, "./"); i > 0 && language == "python" {
			head = name[:i]
		}
		need, isWeak := weak[head]
		switch {
		case isWeak:
			for _, w := range need {
				alone = alone || strings.Contains(text, w)
			}
		case language == "javascript" || language == "go":
			pkg, _ := r.packageIn(language, name)
			if pkg != "" || len(t.byHead[headOf(name)]) > 0 {
				return true, true
			}
		case language != "python":
			if t.names(name) {
				return true, true
			}
		case len(t.byHead[head]) > 0 || r.packages["pypi"][strings.ReplaceAll(strings.ToLower(head), "_", "-")]:
			return true, true
		}
	}
	for _, h := range r.hosts {
		host := strings.TrimLeft(h.host, "*")
		if i := strings.IndexByte(host, '*'); i > 0 {
			host = host[:i]
		}
		if len(host) > 8 && strings.Contains(text, host) {
			return true, true
		}
	}
	for _, w := range [...]string{"/api/generate", "/api/chat", "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "11434", "mcp_servers", "mcpServers"} {
		if strings.Contains(text, w) {
			return true, true
		}
	}
	return false, alone
}

// Catalogued reports whether the catalogue says what a package does, so that
// its own code need not be read.
func (r *Rows) Catalogued(language, head string) bool {
	t := r.calls[language]
	return t != nil && len(t.byHead[head]) > 0 || language == "python" && r.packages["pypi"][strings.ReplaceAll(strings.ToLower(head), "_", "-")]
}
