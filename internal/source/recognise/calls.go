package recognise

import (
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// site compares one call with the catalogue.
func (m *matcher) site(i int) {
	s := m.g.Sites()[i]
	done := map[string]bool{}
	for _, callee := range s.Callees {
		if callee.Path == "" || done[callee.Path] {
			continue
		}
		done[callee.Path] = true
		c := &call{index: i, site: s, path: callee.Path, made: callee.Made}
		m.keys(c)
		lang := m.g.Units()[s.Unit].Language.Name
		for _, w := range m.rows.calls[lang].find(callee.Path) {
			c.row = w
			if m.accepts(c) {
				m.used[segments(c.path)[0]] = true
				m.report(c)
				break
			}
		}
		m.anyCall(c)
	}
}

// accepts tests what a row asks besides the name.
func (m *matcher) accepts(c *call) bool {
	if c.row.First != "" {
		v := m.read(c, "arg0|kw:service_name").first()
		if v == "" || !globs(c.row.First, v) {
			return false
		}
	}
	if c.row.Needs != "" && !m.has(c.row.Needs) {
		return false
	}
	return true
}

// has reports whether a package is declared, or modules of it are imported that
// no other package of that name has.
func (m *matcher) has(pkg string) bool {
	for _, p := range m.in.Packages {
		if p.Name == pkg {
			return true
		}
	}
	if pkg == "openai-agents" {
		for _, i := range m.modules {
			if i.name == "agents.mcp" || i.name == "agents.Runner" || i.name == "agents.function_tool" || i.name == "agents.model_settings" || strings.HasPrefix(i.name, "agents.extensions") {
				return true
			}
		}
	}
	return false
}

// report makes the sightings of a call that matches a row.
func (m *matcher) report(c *call) {
	r := c.row
	switch r.Kind {
	case "flag":
		m.flagsOnly(c)
	case "http":
		m.http(c)
	case "client":
		m.client(c)
	case "", "model", "dataset":
		from := len(m.out)
		m.model(c)
		if r.Quiet && c.site.Node.Flag&syntax.New != 0 && m.g.Units()[c.site.Unit].Language.Name == "go" {
			m.weak = append(m.weak, m.out[from:]...)
			m.out = m.out[:from]
			return
		}
	case "model_file":
		m.file(c)
	case "agent":
		m.named(c, sight.Agent)
		if r.ID != "" {
			m.model(c)
		}
	default:
		m.named(c, sight.Kind(r.Kind))
	}
	if r.Framework != "" {
		m.framework(c)
	}
	if r.Prompt != "" {
		m.prompts(c, r.Prompt)
	}
	m.messages(c)
}

// base is a sighting at the place of a call.
func (m *matcher) base(c *call, kind sight.Kind, name string) sight.Sighting {
	s := sight.Sighting{Kind: kind, Name: name, Evidence: []sight.Place{m.place(c.site.Unit, c.site.Node, "")}}
	m.state(c.site.In, &s, m.g.Units()[c.site.Unit].Path)
	return s
}

// client remembers whose object a call makes.
func (m *matcher) client(c *call) {
	p := m.provider(c)
	m.clients[c.index] = p
	if p != "" && m.rows.IsService(p) {
		s := m.base(c, sight.Provider, p)
		s.Flags = m.flags(c, text{})
		m.out = append(m.out, s)
	}
}

// provider decides who answers: the address that is given, then the SDK.
func (m *matcher) provider(c *call) string {
	r := c.row
	if r.Base != "" {
		for alt := range strings.SplitSeq(r.Base, "|") {
			s := m.readOne(c, alt)
			if !s.present {
				continue
			}
			for _, t := range s.texts {
				if t.dynamic || t.s == "" {
					continue
				}
				p, local := m.rows.Host(t.s)
				switch {
				case p != "":
					return p
				case local && r.Provider != "ollama" && strings.Contains(t.s, "://"):
					return "openai-compatible"
				case strings.Contains(t.s, "://") && !t.open && r.Provider == "openai":
					return "openai-compatible"
				}
			}
		}
	}
	if r.Vertex != "" {
		if m.setting(c, r.Vertex, "True") == on {
			return "vertex-ai"
		}
	}
	return m.byName(c, r.Provider)
}

// byName resolves the words that stand for a provider.
func (m *matcher) byName(c *call, p string) string {
	switch {
	case p == "client":
		return m.ofObject(c)
	case p == "class":
		return m.ofClass(c)
	case strings.HasPrefix(p, "part"):
		parts := segments(c.path)
		if i := int(p[4] - '0'); len(p) == 5 && i >= 0 && i < len(parts) {
			if known, ok := m.rows.cat.Prefixes[strings.ToLower(parts[i])]; ok {
				return known
			}
			return strings.ToLower(parts[i])
		}
	}
	return p
}

// ofObject is the provider of the client whose method is called.
func (m *matcher) ofObject(c *call) string {
	if c.made < 0 {
		return ""
	}
	if p, ok := m.clients[c.made]; ok {
		return p
	}
	made := m.g.Sites()[c.made]
	m.clients[c.made] = ""
	lang := m.g.Units()[made.Unit].Language.Name
	for _, callee := range made.Callees {
		k := &call{index: c.made, site: made, path: callee.Path, made: callee.Made}
		for _, w := range m.rows.calls[lang].find(callee.Path) {
			k.row = w
			if w.Provider == "" || !m.accepts(k) {
				continue
			}
			p := m.provider(k)
			m.clients[c.made] = p
			return p
		}
	}
	return ""
}

// ofClass tells a provider from the name of a class: ChatGroq, MistralAIEmbedding.
func (m *matcher) ofClass(c *call) string {
	name := strings.ToLower(strings.TrimPrefix(className(segments(c.path)), "Chat"))
	best, provider := 0, ""
	for prefix, p := range m.rows.cat.Prefixes {
		plain := strings.ReplaceAll(prefix, "_", "")
		if len(plain) > best && strings.HasPrefix(name, plain) {
			best, provider = len(plain), p
		}
	}
	return provider
}

// model reports the ids of a call.
func (m *matcher) model(c *call) {
	r := c.row
	kind := sight.Model
	if r.Kind == "dataset" {
		kind = sight.Dataset
	}
	if r.Typed != "" && m.read(c, r.Typed).first() == "dataset" {
		kind = sight.Dataset
	}
	ids := m.read(c, r.ID)
	if kind == sight.Dataset && r.ID == "" {
		ids = m.read(c, r.Path)
	}
	if r.Kind == "agent" && !ids.present {
		return
	}
	if !ids.present && r.Default != "" {
		s := m.modelAt(c, kind, text{s: r.Default, from: m.place(c.site.Unit, c.site.Node, "library default")})
		s.Implicit = "library default"
		m.add(s)
		return
	}
	if !ids.present {
		if p := m.provider(c); p != "" && r.Provider != "" && !r.Quiet && m.rows.IsService(p) && p != "huggingface" {
			s := m.base(c, sight.Provider, p)
			s.Flags = m.flags(c, text{})
			m.out = append(m.out, s)
		}
		return
	}
	reported := false
	for _, t := range ids.texts {
		if t.dynamic || t.open || !m.rows.fits(m.provider(c), t.s) && r.Maker == "" && len(ids.texts) > 1 || !m.plausible(c, ids, t.s) {
			continue
		}
		if r.Strip != "" {
			for p := range strings.SplitSeq(r.Strip, "|") {
				t.s = strings.TrimPrefix(t.s, p)
			}
		}
		if r.Only != "" && !globs(r.Only, t.s) && r.Only != "[a-z]*" && r.Only != "[A-Z]*" ||
			r.Only == "[a-z]*" && (t.s == "" || t.s[0] < 'a' || t.s[0] > 'z') || r.Only == "[A-Z]*" && (t.s == "" || t.s[0] < 'A' || t.s[0] > 'Z') ||
			r.Skip != "" && globs(r.Skip, t.s) {
			return
		}
		if r.Builders != "" && globs(r.Builders, t.s) {
			m.datafiles(c)
			return
		}
		m.add(m.modelAt(c, kind, t))
		reported = true
	}
	if reported || r.Quiet {
		return
	}
	for _, t := range ids.texts {
		if t.dynamic || t.open {
			s := m.modelAt(c, kind, text{from: t.from})
			s.Name, s.Dynamic = "", t.s
			m.add(s)
			return
		}
	}
	// Something was passed that is no text: an object that is seen where it is made.
	if p := m.provider(c); p != "" && m.rows.IsService(p) && r.Kind != "agent" && !r.Quiet && p != "huggingface" {
		s := m.base(c, sight.Provider, p)
		s.Flags = m.flags(c, text{})
		m.out = append(m.out, s)
	}
}

// plausible tells ids from other values that reach a slot where a function
// passes on whatever it got: among several, an id must look like one.
func (m *matcher) plausible(c *call, ids slot, id string) bool {
	if tasks[id] && m.provider(c) == "huggingface" {
		return false
	}
	if len(ids.texts) < 3 && !ids.mixed {
		return true
	}
	if m.rows.Known(id) || strings.Contains(id, "/") {
		return true
	}
	if p := m.provider(c); ids.mixed || p == "huggingface" || p == "" {
		return !ids.mixed && strings.ContainsAny(id, "0123456789") && strings.ContainsAny(id, "-")
	}
	return strings.ContainsAny(id, "0123456789-.:")
}

// add keeps a model, and its provider.
func (m *matcher) add(s sight.Sighting) {
	if s.Name == "" && s.Dynamic == "" {
		return
	}
	m.out = append(m.out, s)
	if m.rows.IsService(s.Provider) && (s.Kind == sight.Model || s.Kind == sight.Dataset && s.Provider != "huggingface") {
		p := s
		p.Kind, p.Name, p.Provider, p.Revision, p.Pinned, p.Flags, p.Links, p.Dynamic, p.Implicit, p.Selectable, p.Loads = sight.Provider, s.Provider, "", "", false, nil, nil, "", "", false, ""
		p.Evidence = slices.Clone(s.Evidence[len(s.Evidence)-1:])
		m.out = append(m.out, p)
	}
}

// modelAt makes the sighting of one id.
func (m *matcher) modelAt(c *call, kind sight.Kind, t text) sight.Sighting {
	r := c.row
	s := m.base(c, kind, t.s)
	at := s.Evidence[0]
	if t.from.Path != "" && (t.from.Path != at.Path || t.from.Line != at.Line || t.from.Cell != at.Cell) {
		s.Evidence = []sight.Place{t.from, at}
	} else if t.from.Via != "" {
		s.Evidence[0].Via = t.from.Via
	}
	s.Selectable, s.Loads = t.one, m.loads(c)
	s.Revision = m.read(c, strings.ReplaceAll(r.Rev, "after::", "")).first()
	if strings.Contains(r.Rev, "after::") {
		if name, rev, ok := strings.Cut(s.Name, ":"); ok {
			s.Name, s.Revision = name, rev
		}
	}
	if name, rev, ok := strings.Cut(s.Name, "@"); ok && sight.IsHub(name) && kind == sight.Model {
		s.Name, s.Revision = name, rev
	}
	s.Pinned = sight.Pinned(s.Revision)
	s.Provider = m.providerOf(c, &s)
	if t.s != "" && (s.Provider == "huggingface" || s.Provider == "modelscope" || s.Provider == "sentence-transformers") {
		if sight.IsPath(s.Name, m.in.Exists) {
			return m.asFile(c, s, kind)
		}
		if r.Org != "" && !strings.Contains(s.Name, "/") {
			s.Name = r.Org + "/" + s.Name
		}
	}
	if t.s != "" && kind == sight.Dataset && sight.IsPath(s.Name, m.in.Exists) {
		s.Provider = ""
		s.Note = "local"
	}
	if t.s != "" && !sight.IsID(s.Name) && s.Note != "local" {
		s.Name, s.Dynamic = "", sight.Snippet(t.s)
	}
	s.Flags = m.flags(c, t)
	if s.Implicit == "" {
		s.Implicit = r.Implicit
	}
	if d := m.rows.Retired(s.Name); d != "" {
		s.Note = "retired by its maker on " + d
	}
	return s
}

// asFile turns what looked like an id and is a path into a file.
func (m *matcher) asFile(c *call, s sight.Sighting, kind sight.Kind) sight.Sighting {
	if kind == sight.Dataset {
		s.Provider, s.Note = "", "local"
		return s
	}
	s.Kind, s.Provider, s.Revision, s.Pinned = sight.ModelFile, "", "", false
	s.Name = strings.TrimPrefix(strings.TrimSuffix(s.Name, "/"), "./")
	s.Flags = m.flags(c, text{s: s.Name})
	return s
}

// providerOf decides the provider of an id that a call names.
func (m *matcher) providerOf(c *call, s *sight.Sighting) string {
	r := c.row
	if r.Maker != "" {
		if v := m.read(c, r.Maker).first(); v != "" {
			if p, ok := m.rows.cat.Prefixes[strings.ToLower(v)]; ok {
				return p
			}
			return strings.ToLower(v)
		}
	}
	switch r.Provider {
	case "prefix", "prefix:":
		if r.Base != "" {
			if p := m.provider(c); p != r.Provider && p != "" && p != "openai-compatible" {
				if _, rest := m.rows.Prefix(s.Name); rest != "" {
					s.Name = rest
				}
				return p
			}
		}
		if r.Provider == "prefix:" && strings.Contains(s.Name, "/") && !strings.Contains(strings.SplitN(s.Name, "/", 2)[0], ":") {
			if p := m.rows.Maker(s.Name); p != "" {
				return p
			}
		}
		p, rest := m.rows.Prefix(s.Name)
		if p == "" {
			if p = m.rows.Maker(s.Name); p == "" && r.Framework == "litellm" {
				p = "openai"
			}
			return p
		}
		if m.rows.IsGateway(p) {
			return p
		}
		s.Name = rest
		return p
	case "class":
		return m.ofClass(c)
	}
	p := m.provider(c)
	if r.Upstream != "" {
		if v := m.read(c, r.Upstream).first(); v != "" && v != "auto" && v != "hf-inference" {
			s.Note = "run by " + v
		}
	}
	if p == "" && r.Provider == "client" {
		p = m.rows.Maker(s.Name)
	}
	if p == "" && r.Provider == "" {
		p = "huggingface"
	}
	if p == "google" || p == "vertex-ai" {
		s.Name = strings.TrimPrefix(s.Name, "models/")
	}
	if r.Kind == "agent" && (p == "aws-bedrock" || p == "google" || p == "openai") {
		if q, rest := m.rows.Prefix(s.Name); q != "" && strings.Contains(s.Name, "/") {
			s.Name, p = rest, q
		}
	}
	return p
}

// datafiles reports the files that a builder such as "csv" reads.
func (m *matcher) datafiles(c *call) {
	files := m.read(c, "kw:data_files|arg1")
	for _, t := range files.texts {
		if t.dynamic || t.open || t.s == "" {
			continue
		}
		s := m.base(c, sight.Dataset, strings.TrimPrefix(t.s, "./"))
		s.Note = "local"
		m.out = append(m.out, s)
	}
}

// file reports a file that is loaded, by its path or address.
func (m *matcher) file(c *call) {
	r := c.row
	slotOf := r.Path
	if r.URL != "" {
		slotOf = r.URL
		if r.Path != "" {
			slotOf = r.Path + "|" + r.URL
		}
	}
	paths := m.read(c, slotOf)
	named := false
	for _, t := range paths.texts {
		if t.dynamic || t.open && !strings.ContainsAny(t.s, "./") || t.s == "" || len(t.s) > 400 || strings.ContainsAny(t.s, "\n\x00") {
			continue
		}
		s := m.base(c, sight.ModelFile, strings.TrimPrefix(t.s, "./"))
		if t.from.Path != "" && (t.from.Path != s.Evidence[0].Path || t.from.Line != s.Evidence[0].Line) {
			s.Evidence = append([]sight.Place{t.from}, s.Evidence...)
		}
		s.Loads = m.loads(c)
		if hub, rev, file, ok := sight.HubURL(t.s); ok {
			s.Kind, s.Name, s.Provider, s.Revision, s.Note = sight.Model, hub, "huggingface", rev, file
			s.Pinned = sight.Pinned(rev)
			s.Flags = m.flags(c, t)
			m.add(s)
			named = true
			continue
		}
		if r.Provider == "remote" {
			s.Note = "downloaded"
		}
		s.Flags = m.flags(c, t)
		if t.open {
			s.Dynamic, s.Name = s.Name, ""
		}
		if r.Quiet && (t.open || !sight.WeightFile.MatchString(t.s) && len(s.Flags) == 0) {
			continue
		}
		m.out = append(m.out, s)
		named = true
	}
	if named {
		return
	}
	s := m.base(c, sight.ModelFile, "")
	s.Flags, s.Loads = m.flags(c, text{}), m.loads(c)
	if r.Quiet && len(s.Flags) == 0 {
		return
	}
	s.Dynamic = sight.Snippet(oneLine(m.g.Units()[c.site.Unit].File.Text(c.site.Node)))
	m.out = append(m.out, s)
}

// named reports things that have a name of their own.
func (m *matcher) named(c *call, kind sight.Kind) {
	r := c.row
	names := m.read(c, r.Name)
	reported := false
	for _, t := range names.texts {
		if t.dynamic || t.s == "" {
			continue
		}
		s := m.base(c, kind, sight.Snippet(t.s))
		if t.open {
			s.Name, s.Dynamic = "", sight.Snippet(t.s)
		}
		s.Flags = m.flags(c, t)
		if r.Args != "" {
			if args := m.read(c, r.Args); len(args.texts) > 0 {
				words := []string{t.s}
				for _, a := range args.texts {
					if !a.dynamic {
						words = append(words, a.s)
					}
				}
				s.Note = sight.Snippet(strings.Join(words, " "))
			}
		}
		m.out = append(m.out, s)
		reported = true
		if kind == sight.Agent || kind == sight.Tool {
			break
		}
	}
	if reported {
		return
	}
	decorated := strings.Contains(r.Name, "decorated")
	switch {
	case decorated: // by the pass over decorators
	case kind == sight.Framework || kind == sight.VectorStore:
	case kind == sight.Agent || kind == sight.Tool:
		n := m.assigned(c)
		if n == "" {
			n = className(segments(c.path))
		}
		s := m.base(c, kind, n)
		s.Flags = m.flags(c, text{})
		m.out = append(m.out, s)
	default:
		s := m.base(c, kind, "")
		s.Flags = m.flags(c, text{})
		for _, t := range names.texts {
			s.Dynamic = t.s
		}
		if s.Dynamic == "" {
			s.Dynamic = sight.Snippet(oneLine(m.g.Units()[c.site.Unit].File.Text(c.site.Node)))
		}
		m.out = append(m.out, s)
	}
}

// framework reports the library of a row.
func (m *matcher) framework(c *call) {
	name := c.row.Framework
	if name == "part0" {
		name = m.distribution(segments(c.path)[0])
	}
	s := m.base(c, sight.Framework, name)
	m.out = append(m.out, s)
}

// keys reports the names of variables that hold keys, and keys in the source.
func (m *matcher) keys(c *call) {
	switch c.path {
	case "os.getenv", "os.environ.get", "os.environ.setdefault", "os.environ.pop", "os.environ.__getitem__", "os.Getenv", "os.LookupEnv", "java.lang.System.getenv", "builtins.System.getenv", "builtins.Environment.GetEnvironmentVariable", "System.Environment.GetEnvironmentVariable":
		for _, t := range m.read(c, "arg0|kw:key").texts {
			if !t.dynamic && !t.open && m.rows.IsKeyVariable(t.s) {
				m.out = append(m.out, m.base(c, sight.Key, t.s))
			}
		}
	}
}
