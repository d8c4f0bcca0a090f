package config

import (
	"encoding/xml"
	"path"
	"regexp"
	"strings"
)

// canonical is the form in which an ecosystem compares names.
func canonical(ecosystem, name string) string {
	name = strings.TrimSpace(name)
	if ecosystem == "pypi" {
		name = strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name))
	}
	return name
}

func (d *Doc) pkg(p, ecosystem, name, version string, line int, locked, dev bool) {
	name = canonical(ecosystem, name)
	if name == "" || len(name) > 214 || strings.ContainsAny(name, " \t\n${") {
		return
	}
	at := place(p, line, name)
	if version != "" {
		at.Snippet = Snippet(name + " " + version)
	}
	d.Packages = append(d.Packages, Package{Ecosystem: ecosystem, Name: name, Version: strings.TrimSpace(version), Locked: locked, Dev: dev, At: at})
}

var requirement = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(.*)$`)

// pep508 reads a requirement of Python: name[extra] >= 1.0 ; marker.
func (d *Doc) pep508(p, text string, line int, dev bool) {
	text, _, _ = strings.Cut(text, ";")
	text, _, _ = strings.Cut(text, " #")
	m := requirement.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return
	}
	v := strings.Trim(strings.TrimSpace(m[2]), "()")
	if strings.HasPrefix(v, "@") {
		v = ""
	}
	if v != "" && !strings.ContainsAny(v[:1], "=<>~!^*") {
		return // prose
	}
	d.pkg(p, "pypi", m[1], strings.TrimPrefix(strings.ReplaceAll(v, " ", ""), "=="), line, false, dev)
}

func requirements(p, text string) (d Doc) {
	dev := strings.Contains(path.Base(p), "dev") || strings.Contains(path.Base(p), "test")
	for i, l := range strings.Split(text, "\n") {
		l = strings.TrimSpace(l)
		if l == "" || l[0] == '#' || l[0] == '-' {
			continue
		}
		l, _, _ = strings.Cut(l, " --hash")
		d.pep508(p, strings.TrimSuffix(l, "\\"), i+1, dev)
	}
	return d
}

func pyproject(p string, v *Value) (d Doc) {
	v.At("project", "dependencies").each(func(_ string, k *Value) { d.pep508(p, k.text(), k.line(), false) })
	v.At("project", "optional-dependencies").each(func(group string, l *Value) {
		l.each(func(_ string, k *Value) { d.pep508(p, k.text(), k.line(), group == "dev" || group == "test") })
	})
	v.At("dependency-groups").each(func(_ string, l *Value) {
		l.each(func(_ string, k *Value) { d.pep508(p, k.text(), k.line(), true) })
	})
	v.At("build-system", "requires").each(func(_ string, k *Value) { d.pep508(p, k.text(), k.line(), true) })
	poetry := func(deps *Value, dev bool) {
		deps.each(func(name string, k *Value) {
			if name == "python" {
				return
			}
			version := k.text()
			if k.Kind == Map {
				version = k.Get("version").text()
			}
			d.pkg(p, "pypi", name, version, k.line(), false, dev)
		})
	}
	poetry(v.At("tool", "poetry", "dependencies"), false)
	poetry(v.At("tool", "poetry", "dev-dependencies"), true)
	v.At("tool", "poetry", "group").each(func(_ string, g *Value) { poetry(g.Get("dependencies"), true) })
	v.At("tool", "pdm", "dev-dependencies").each(func(_ string, l *Value) {
		l.each(func(_ string, k *Value) { d.pep508(p, k.text(), k.line(), true) })
	})
	for _, scripts := range [...]*Value{v.At("project", "scripts"), v.At("project", "gui-scripts"), v.At("tool", "poetry", "scripts")} {
		scripts.each(func(_ string, k *Value) {
			d.consoleScript(p, k.text(), k.line())
		})
	}
	return d
}

// consoleScript reads "package.module:function".
func (d *Doc) consoleScript(p, s string, line int) {
	mod, fn, _ := strings.Cut(strings.TrimSpace(s), ":")
	if mod != "" {
		fn, _, _ = strings.Cut(fn, " ")
		d.Entries = append(d.Entries, Entry{Module: mod, Func: fn, Via: "console script", At: place(p, line, s)})
	}
}

// poetryLock reads poetry.lock, uv.lock and pdm.lock.
func poetryLock(p string, v *Value) (d Doc) {
	v.Get("package").each(func(_ string, k *Value) {
		d.pkg(p, "pypi", k.Get("name").text(), k.Get("version").text(), k.Get("name").line(), true, false)
	})
	return d
}

func pipfile(p string, v *Value) (d Doc) {
	for _, g := range [...]struct {
		key string
		dev bool
	}{{"packages", false}, {"dev-packages", true}, {"default", false}, {"develop", true}} {
		v.Get(g.key).each(func(name string, k *Value) {
			version := k.text()
			if k.Kind == Map {
				version = k.Get("version").text()
			}
			d.pkg(p, "pypi", name, strings.TrimPrefix(strings.TrimPrefix(version, "*"), "=="), k.line(), g.key == "default" || g.key == "develop", g.dev)
		})
	}
	return d
}

// setupPy reads install_requires of setup.py and setup.cfg by their look: names
// with versions in a list of texts.
func setupCfg(p, text string) (d Doc) {
	in := ""
	for i, l := range strings.Split(text, "\n") {
		t := strings.TrimSpace(l)
		switch {
		case t == "" || t[0] == '#':
		case l[0] != ' ' && l[0] != '\t':
			key, rest, ok := strings.Cut(t, "=")
			in = ""
			if ok {
				in = strings.TrimSpace(key)
				if in == "install_requires" && strings.TrimSpace(rest) != "" {
					d.pep508(p, rest, i+1, false)
				}
			}
		case in == "install_requires":
			d.pep508(p, t, i+1, false)
		case in == "console_scripts":
			_, s, _ := strings.Cut(t, "=")
			d.consoleScript(p, s, i+1)
		}
	}
	return d
}

// conda reads environment.yml.
func conda(p string, v *Value) (d Doc) {
	v.Get("dependencies").each(func(_ string, k *Value) {
		if k.Kind == Map {
			k.Get("pip").each(func(_ string, l *Value) { d.pep508(p, l.text(), l.line(), false) })
			return
		}
		name, version, _ := strings.Cut(k.text(), "=")
		if i := strings.Index(name, "::"); i >= 0 {
			name = name[i+2:]
		}
		name, _, _ = strings.Cut(name, ">")
		if name = strings.TrimSpace(name); name != "python" && name != "pip" {
			if name == "pytorch" {
				name = "torch"
			}
			version, _, _ = strings.Cut(strings.TrimPrefix(version, "="), "=")
			d.pkg(p, "pypi", name, version, k.line(), false, false)
		}
	})
	return d
}

func packageJSON(p string, v *Value) (d Doc) {
	d.Value = v // its name and entry points tell what imports in the tree mean
	for _, key := range [...]string{"dependencies", "optionalDependencies", "peerDependencies", "devDependencies"} {
		v.Get(key).each(func(name string, k *Value) {
			d.pkg(p, "npm", name, k.text(), k.line(), false, key == "devDependencies")
		})
	}
	file := func(s, via string, line int) {
		if s != "" && !strings.Contains(s, " ") {
			d.Entries = append(d.Entries, Entry{Path: s, Via: via, At: place(p, line, s)})
		}
	}
	for _, key := range [...]string{"main", "module", "browser"} {
		file(v.Get(key).text(), "package.json "+key, v.Get(key).line())
	}
	if b := v.Get("bin"); b != nil {
		file(b.text(), "package.json bin", b.line())
		b.each(func(_ string, k *Value) { file(k.text(), "package.json bin", k.line()) })
	}
	v.Get("exports").walk(nil, func(_ []string, k *Value) { file(k.text(), "package.json exports", k.line()) })
	v.Get("scripts").each(func(_ string, k *Value) {
		c := commandEntries(p, k.text(), k.line(), "package.json script")
		d.Entries = append(d.Entries, c...)
	})
	return d
}

func packageLock(p string, v *Value) (d Doc) {
	v.Get("packages").each(func(name string, k *Value) {
		if i := strings.LastIndex(name, "node_modules/"); i >= 0 {
			d.pkg(p, "npm", name[i+len("node_modules/"):], k.Get("version").text(), k.line(), true, k.Get("dev").text() == "true")
		}
	})
	if v.Get("packages") == nil {
		v.Get("dependencies").each(func(name string, k *Value) {
			d.pkg(p, "npm", name, k.Get("version").text(), k.line(), true, k.Get("dev").text() == "true")
		})
	}
	return d
}

// yarnLock reads both forms: name@range: and a version below.
func yarnLock(p, text string) (d Doc) {
	name, line := "", 0
	for i, l := range strings.Split(text, "\n") {
		t := strings.TrimSpace(l)
		switch {
		case l != "" && l[0] != ' ' && l[0] != '#' && strings.HasSuffix(t, ":"):
			first, _, _ := strings.Cut(strings.TrimSuffix(t, ":"), ",")
			first = strings.Trim(first, `" `)
			if k := strings.LastIndexByte(first, '@'); k > 0 {
				if j := strings.IndexByte(first[1:], '@'); j >= 0 {
					k = j + 1
				}
				name, line = first[:k], i+1
			}
		case name != "" && strings.HasPrefix(t, "version"):
			d.pkg(p, "npm", name, strings.Trim(strings.TrimLeft(strings.TrimPrefix(t, "version"), ": "), `"`), line, true, false)
			name = ""
		}
	}
	return d
}

func pnpmLock(p string, v *Value) (d Doc) {
	v.Get("packages").each(func(name string, k *Value) {
		name = strings.TrimPrefix(name, "/")
		name, _, _ = strings.Cut(name, "(")
		if i := strings.LastIndexByte(name, '@'); i > 0 {
			d.pkg(p, "npm", name[:i], name[i+1:], k.line(), true, false)
		}
	})
	return d
}

func goMod(p, text string) (d Doc) {
	in := false
	for i, l := range strings.Split(text, "\n") {
		l, _, _ = strings.Cut(l, "//")
		t := strings.Fields(l)
		switch {
		case len(t) == 0:
		case t[0] == "module" && len(t) > 1:
			d.Value = &Value{Kind: Map, Line: i + 1}
			d.Value.put("module", &Value{Kind: String, Text: t[1], Line: i + 1})
		case t[0] == "require" && len(t) > 1 && t[1] == "(":
			in = true
		case t[0] == ")":
			in = false
		case t[0] == "require" && len(t) >= 3:
			d.pkg(p, "go", t[1], t[2], i+1, true, false)
		case in && len(t) >= 2:
			d.pkg(p, "go", t[0], t[1], i+1, true, false)
		}
	}
	return d
}

// pom reads Maven's dependencies; properties are put in.
func pom(p, text string) (d Doc) {
	dec := xml.NewDecoder(strings.NewReader(text))
	dec.Strict, dec.Entity = false, map[string]string{}
	var stack []string
	props := map[string]string{}
	var group, artifact, version, scope string
	for range 1_000_000 {
		t, err := dec.Token()
		if err != nil {
			return d
		}
		switch e := t.(type) {
		case xml.StartElement:
			if len(stack) > maxDepth {
				return d
			}
			stack = append(stack, e.Name.Local)
			if e.Name.Local == "dependency" {
				group, artifact, version, scope = "", "", "", ""
			}
		case xml.CharData:
			if len(stack) < 2 {
				continue
			}
			s := strings.TrimSpace(string(e))
			if s == "" || len(s) > 300 {
				continue
			}
			switch stack[len(stack)-2] {
			case "dependency":
				switch stack[len(stack)-1] {
				case "groupId":
					group = s
				case "artifactId":
					artifact = s
				case "version":
					version = s
				case "scope":
					scope = s
				}
			case "properties":
				props[stack[len(stack)-1]] = s
			}
		case xml.EndElement:
			if len(stack) > 0 {
				stack = stack[:len(stack)-1]
			}
			if e.Name.Local == "dependency" && artifact != "" {
				if k, ok := strings.CutPrefix(version, "${"); ok {
					version = props[strings.TrimSuffix(k, "}")]
				}
				line, _ := dec.InputPos()
				d.pkg(p, "maven", group+":"+artifact, version, line, false, scope == "test")
			}
		}
	}
	return d
}

var gradleDep = regexp.MustCompile(`\b(implementation|api|compile|compileOnly|runtimeOnly|testImplementation|kapt|ksp)\s*\(?\s*(?:platform\s*\(\s*)?["']([\w.-]+:[\w.-]+)(?::([\w.$-]+))?["']`)

func gradle(p, text string) (d Doc) {
	for i, l := range strings.Split(text, "\n") {
		if len(l) > 2000 {
			continue
		}
		for _, m := range gradleDep.FindAllStringSubmatch(l, 4) {
			d.pkg(p, "maven", m[2], m[3], i+1, false, strings.HasPrefix(m[1], "test"))
		}
	}
	return d
}

// versionCatalog reads gradle/libs.versions.toml.
func versionCatalog(p string, v *Value) (d Doc) {
	v.Get("libraries").each(func(_ string, k *Value) {
		module := k.Get("module").text()
		if module == "" {
			module = k.Get("group").text() + ":" + k.Get("name").text()
		}
		version := k.Get("version").text()
		if ref := k.At("version", "ref").text(); ref != "" {
			version = v.At("versions", ref).text()
		}
		if k.Kind == String {
			parts := strings.Split(k.text(), ":")
			if len(parts) >= 2 {
				module = parts[0] + ":" + parts[1]
			}
			if len(parts) == 3 {
				version = parts[2]
			}
		}
		d.pkg(p, "maven", module, version, k.line(), false, false)
	})
	return d
}

var csprojRef = regexp.MustCompile(`<Package(?:Reference|Version)\s[^>]*\bInclude\s*=\s*"([^"]+)"(?:[^>]*\bVersion\s*=\s*"([^"]*)")?`)

func csproj(p, text string) (d Doc) {
	for i, l := range strings.Split(text, "\n") {
		if len(l) > 4000 {
			continue
		}
		for _, m := range csprojRef.FindAllStringSubmatch(l, 8) {
			d.pkg(p, "nuget", m[1], m[2], i+1, false, false)
		}
	}
	return d
}

func nugetLock(p string, v *Value) (d Doc) {
	v.Get("dependencies").each(func(_ string, fw *Value) {
		fw.each(func(name string, k *Value) { d.pkg(p, "nuget", name, k.Get("resolved").text(), k.line(), true, false) })
	})
	return d
}

// metadata reads the METADATA of an installed package of Python.
func metadata(p, text string) (d Doc) {
	name, version := "", ""
	for i, l := range strings.Split(text, "\n") {
		if l = strings.TrimSuffix(l, "\r"); l == "" || i > 50 {
			break
		}
		if v, ok := strings.CutPrefix(l, "Name: "); ok {
			name = v
		}
		if v, ok := strings.CutPrefix(l, "Version: "); ok {
			version = v
		}
	}
	d.pkg(p, "pypi", name, version, 1, true, false)
	return d
}

// installed reads the package.json of a package in node_modules.
func installed(p string, v *Value) (d Doc) {
	d.pkg(p, "npm", v.Get("name").text(), v.Get("version").text(), 1, true, false)
	return d
}

// Installed reports whether [Read] reads the file at p, in a folder of others'
// code, for the package that is installed there.
func Installed(p string) bool {
	return strings.HasSuffix(p, ".dist-info/METADATA") || strings.Contains(p, "node_modules/") && path.Base(p) == "package.json"
}
