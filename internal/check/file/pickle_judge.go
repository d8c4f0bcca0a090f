package file

import (
	"context"
	"fmt"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/format/pickle"
)

// A finding is what is said about one effect, or about several with one cause.
type finding struct {
	rule       warden.RuleID
	severity   warden.Severity
	start, end int64
	message    string
	evidence   string
	count      int
}

// uses is how a stream uses one global.
type uses struct {
	called  bool // by anything but __new__
	built   bool // as a class: by __new__, a reconstructor, or with state set afterwards; a stream can fake it
	covered bool // a finding speaks of it
}

// A judge weighs the effects of one stream.
type judge struct {
	s     *pickle.Stream
	found []finding
	index map[string]int // of found, by cause
	uses  map[uint32]*uses
	codes map[uint32]bool // calls whose result is a code object
	ran   bool            // something that is not vetted was called
}

func judgeStream(ctx context.Context, s *pickle.Stream) (*judge, error) {
	j := &judge{s: s, index: map[string]int{}, uses: map[uint32]*uses{}, codes: map[uint32]bool{}}
	for i, e := range s.Effects {
		if i&0xfff == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		j.note(e)
	}
	for i, e := range s.Effects {
		if i&0xfff == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		j.effect(i, e)
	}
	for i, e := range s.Effects {
		if i&0xfff == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if e.Kind == pickle.Import {
			j.imported(i, e)
		}
	}
	if !s.Stopped && j.ran {
		j.add(rulePickleBroken, warden.Medium, s.Start, s.End, "broken",
			"The stream breaks off, but what stands before the break has already run.", fmt.Sprint(s.Err))
	}
	return j, nil
}

// of returns how v, a Global, is used.
func (j *judge) of(v pickle.Value) *uses {
	u := j.uses[v.ID()]
	if u == nil {
		u = &uses{}
		j.uses[v.ID()] = u
	}
	return u
}

// note collects how names are used, before anything is judged.
func (j *judge) note(e pickle.Effect) {
	switch e.Kind {
	case pickle.Invoke:
		callee := e.Value.Callee()
		m, p, ok := callee.Global()
		if !ok {
			return
		}
		if e.Value.How() == pickle.New {
			j.of(callee).built = true
			return
		}
		j.of(callee).called = true
		if classify(m, p).effect == "construct" {
			for _, g := range e.Value.Args().Callables(maxCallables) {
				j.of(g).built = true
			}
		}
	case pickle.Build:
		if callee := e.Value.Callee(); callee.Kind() == pickle.Global && e.State.Kind() == pickle.Dict {
			j.of(callee).built = true
		}
	case pickle.Code:
		j.codes[e.Value.ID()] = true
	default:
	}
}

// maxCallables is how many names handed to one call are looked at.
const maxCallables = 64

// add records a finding; several with the same cause are one with a count.
func (j *judge) add(rule warden.RuleID, sev warden.Severity, start, end int64, cause, message, evidence string) {
	key := string(rule) + "\x00" + cause
	if i, ok := j.index[key]; ok {
		f := &j.found[i]
		f.count++
		if sev > f.severity {
			f.severity, f.message, f.evidence, f.start, f.end = sev, message, evidence, start, end
		}
		return
	}
	j.index[key] = len(j.found)
	j.found = append(j.found, finding{rule, sev, start, end, message, evidence, 1})
}

func (j *judge) effect(i int, e pickle.Effect) {
	switch e.Kind {
	case pickle.Invoke:
		j.invoke(i, e)
	case pickle.Build, pickle.Mutate:
		j.patch(e)
	case pickle.Code:
		j.ran = true
		evidence := "code object"
		if len(e.Names) > 0 {
			evidence = "code object that uses " + strings.Join(e.Names, ", ")
		}
		j.add(rulePickleCode, warden.High, e.Start, e.End, evidence, "The file carries Python bytecode.", evidence)
	case pickle.Extension:
		j.add(rulePickleModule, warden.Medium, e.Start, e.End, "extension", "The stream uses an extension code, which stands for a name that the loading program chooses.", "extension code")
	case pickle.Reserve:
		j.add(rulePickleBomb, warden.High, e.Start, e.End, "reserve", "Loading reserves memory for a memo that the file does not have: a number in it says how much.", "memo index")
	case pickle.Expansion:
		j.add(rulePickleBomb, warden.High, e.Start, e.End, "bomb", "Walking the loaded value takes far more steps than the file has bytes.", e.Value.Expr())
	default:
	}
}

// invoke judges a call.
func (j *judge) invoke(i int, e pickle.Effect) {
	callee := e.Value.Callee()
	if module, path, ok := callee.Global(); ok {
		j.invokeGlobal(i, e, module, path)
		return
	}
	inner := callee
	for range 8 { // the function behind what is called: f in f(a)(b)
		if k := inner.Kind(); k != pickle.Call && k != pickle.Attr && k != pickle.Item {
			break
		}
		inner = inner.Callee()
	}
	var c callable
	module, path, named := inner.Global()
	if named {
		c = classify(module, path)
	}
	switch {
	case callee.Kind() == pickle.Attr && inner.Kind() != pickle.Global && inner.Kind() != pickle.Unknown && inner.Kind() != pickle.Persistent:
		return // a method of a constant
	case c.effect == "codeobj":
		j.ran = true
		j.add(rulePickleCall, warden.Critical, e.Start, e.End, e.Value.Expr(), "Loading runs bytecode that the file brings.", e.Value.Expr())
	case j.handsOver(e, "the result of a call"):
	case c.tier == tierDangerous && c.effect != "partial":
		j.ran = true // the finding about c says it
	default:
		j.ran = true
		j.add(rulePickleFunction, warden.High, e.Start, e.End, callee.Expr(), "Loading calls what another call returned, which cannot be told.", e.Value.Expr())
	}
}

func dotted(module, path string) string {
	switch {
	case path == "":
		return module
	case module == "builtins":
		return path
	default:
		return module + "." + path
	}
}

func (j *judge) invokeGlobal(i int, e pickle.Effect, module, path string) {
	c := classify(module, path)
	callee, name := e.Value.Callee(), dotted(module, path)
	if c.tier == tierDangerous && (!isException(path) || c.exact) {
		j.ran = true
		j.danger(i, e, c, name)
		return
	}
	if c.tier == tierReaches && !j.handsOver(e, name) {
		j.ran, j.of(callee).covered = true, true
		j.add(rulePickleFunction, warden.High, e.Start, e.End, name,
			fmt.Sprintf("Loading calls %s, which comes to %s.", name, c.via), e.Value.Expr())
		return
	}
	if c.tier == tierVetted {
		if c.effect == "calls" || c.effect == "construct" {
			j.handsOver(e, name)
		}
		if c.effect == "inner" && !j.followed(i, e) {
			j.add(rulePickleNested, warden.High, e.Start, e.End, name, "Loading hands bytes to an inner loader that this scan cannot follow.", e.Value.Expr())
		}
		if c.effect == "construct" {
			for _, g := range e.Value.Args().Callables(1) { // the class that is built
				m, p, _ := g.Global()
				j.class(e, classify(m, p), g, pickle.New, dotted(m, p))
			}
		}
		return
	}
	j.ran = true
	if j.handsOver(e, name) {
		return
	}
	u := j.of(callee)
	active := looksActive(e.Value)
	if c.tier == tierInert || c.tier == tierBuilt && e.Value.How() == pickle.New {
		j.class(e, c, callee, e.Value.How(), name)
		return
	}
	if c.class && c.via != "" && active {
		j.arms(e, c, name)
		return
	}
	if e.Value.How() == pickle.New || (c.class || classLike(path) || rebuilds(path, c) || u.built && len(textsOf(e.Value)) == 0) && !active {
		j.class(e, c, callee, e.Value.How(), name)
		return
	}
	u.covered = true
	j.add(rulePickleFunction, warden.High, e.Start, e.End, name,
		fmt.Sprintf("Loading calls %s, which is not known to be safe.", name), e.Value.Expr())
}

// followed reports whether the machine ran the inner stream of the call at i.
func (j *judge) followed(i int, e pickle.Effect) bool {
	for _, next := range j.s.Effects[i+1:] {
		if next.Kind == pickle.Nested && next.Value.ID() == e.Value.ID() {
			return true
		}
		if next.End != e.End {
			return false
		}
	}
	return false
}

// class judges that an object of a class is built.
func (j *judge) class(e pickle.Effect, c callable, g pickle.Value, how pickle.How, name string) {
	j.of(g).covered = j.of(g).covered || c.tier != tierDangerous
	switch {
	case c.tier == tierVetted, (c.tier == tierClasses || c.tier == tierBuilt) && how == pickle.New, c.tier == tierInert, c.tier == tierDangerous && !isException(name):
		return
	case c.builds, c.via != "" && how != pickle.New:
		j.add(rulePickleClass, warden.Medium, e.Start, e.End, name,
			fmt.Sprintf("Loading builds an object of the class %s, which can come to %s.", name, c.via), e.Value.Expr())
		return
	}
	j.add(rulePickleClass, warden.Medium, e.Start, e.End, name,
		fmt.Sprintf("Loading builds an object of the class %s, which is not known to be safe.", name), e.Value.Expr())
}

// handsOver reports, and records, that a call is given a dangerous callable:
// what is not vetted may call it.
func (j *judge) handsOver(e pickle.Effect, to string) bool {
	hit := false
	for _, part := range [...]pickle.Value{e.Value.Args(), e.Value.Keywords()} {
		for _, g := range part.Callables(maxCallables) {
			m, p, _ := g.Global()
			c := classify(m, p)
			if c.tier != tierDangerous || isException(p) || p == "" && !unmistakable[m] || c.via != "" && !strong[c.effect] {
				continue
			}
			j.of(g).covered, hit, j.ran = true, true, true
			sev := warden.Critical
			if v, ok := verbs[c.effect]; ok && v.severity < sev && c.effect != "codeobj" && c.effect != "load" {
				sev = warden.High
			}
			j.add(rulePickleCall, sev, e.Start, e.End, e.Value.Expr(),
				fmt.Sprintf("Loading hands %s to %s, which can call it.", dotted(m, p), to), e.Value.Expr())
		}
	}
	return hit
}

// patch judges BUILD, and items added to what is not a plain container.
func (j *judge) patch(e pickle.Effect) {
	obj := e.Value
	name := obj.Expr()
	sev := warden.Critical
	switch obj.Kind() {
	case pickle.Global:
		j.of(obj).covered = true
	case pickle.Attr, pickle.Item:
		sev = warden.High
	case pickle.Call:
		if m, p, ok := obj.Callee().Global(); ok {
			j.tensor(e, m, p)
			j.companion(e, p)
			j.armed(e, classify(m, p), dotted(m, p))
			if c := classify(m, p); c.tier != tierDangerous || c.effect != "lookup" && c.effect != "import" {
				return
			}
			break
		}
		return
	default:
		return
	}
	j.ran = true
	j.add(rulePicklePatch, sev, e.Start, e.End, name,
		fmt.Sprintf("Loading changes %s for the whole program.", name), fmt.Sprintf("%s <- %s", name, e.State.Expr()))
}

// tensor judges items that are set on a tensor. The restricted unpickler of
// torch did so before version 2.10, into memory that the stream chooses
// (CVE-2026-24747); no honest stream has it.
func (j *judge) tensor(e pickle.Effect, module, path string) {
	if e.Kind == pickle.Mutate && (module == "torch._utils" || module == "torch._tensor") && strings.HasPrefix(path, "_rebuild") {
		j.add(ruleTensorMemory, warden.High, e.Start, e.End, "tensor",
			"Loading writes into a tensor, which corrupts memory even with weights_only=True (torch before 2.10).", e.Value.Expr()+" <- "+e.State.Expr())
	}
}

// companion judges the state of old joblib arrays, which names the file that
// holds the numbers.
func (j *judge) companion(e pickle.Effect, path string) {
	if !strings.HasSuffix(path, "NDArrayWrapper") {
		return
	}
	for i, kv := 0, e.State.Items(); i+1 < len(kv); i += 2 {
		if name := kv[i+1].Text(); kv[i].Text() == "filename" && (strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, "..")) {
			j.add(rulePickleRead, warden.High, e.Start, e.End, name, "Loading reads an array from a file outside the folder.", kv[i+1].Expr())
		}
	}
}

// rebuilds reports whether a function of a known package is one of those that
// make an object from its state, by how such packages name them.
func rebuilds(path string, c callable) bool {
	if c.tier != tierKnown && c.tier != tierClasses {
		return false
	}
	last := path[strings.LastIndexByte(path, '.')+1:]
	for _, head := range [...]string{"__pyx_unpickle_", "_unpickle", "unpickle_", "_reconstruct", "_rebuild", "newObj"} {
		if strings.HasPrefix(last, head) {
			return true
		}
	}
	return false
}

// imported judges a name that is looked up, after the calls were judged.
func (j *judge) imported(i int, e pickle.Effect) {
	module, path, _ := e.Value.Global()
	c := classify(module, path)
	u, name := j.of(e.Value), dotted(module, path)
	if c.tier == tierDangerous && !isException(path) {
		switch {
		case e.Swept:
			j.add(rulePickleImport, warden.High, e.Start, e.End, name, fmt.Sprintf("Behind the point where reading stopped, the file names %s.", name), name)
		case c.via != "" && !strong[c.effect] && (u.covered || u.called): // the call was judged
		case c.via != "" && !strong[c.effect]:
			j.add(rulePickleImport, warden.Medium, e.Start, e.End, name, fmt.Sprintf("Loading imports %s, which can come to %s.", name, c.via), name)
		case u.covered, path == "" && i > 0 && j.s.Effects[i-1].End == e.End:
		default:
			j.add(rulePickleImport, warden.High, e.Start, e.End, name, fmt.Sprintf("Loading imports %s, ready to be called.", name), name)
		}
		return
	}
	if c.tier != tierUnknown && (c.tier != tierDangerous) || u.covered || u.called || u.built || e.Swept {
		return
	}
	j.add(rulePickleModule, warden.Medium, e.Start, e.End, module, fmt.Sprintf("Loading imports %s, which runs the top level of an unknown module.", module), name)
}

// nested raises the findings about loaders whose inner streams were judged.
func (j *judge) nested(judged map[*pickle.Stream]*judge) {
	for _, e := range j.s.Effects {
		if e.Kind != pickle.Nested {
			continue
		}
		module, path, _ := e.Value.Callee().Global()
		worst, proof := warden.Info, ""
		for _, s := range e.Inner {
			if in := judged[s]; in != nil {
				for _, f := range in.found {
					if f.severity > worst {
						worst, proof = f.severity, f.evidence
					}
				}
			}
		}
		name := dotted(module, path)
		switch {
		case worst >= warden.High:
			j.add(rulePickleNested, min(worst, warden.Critical), e.Start, e.End, name, "Loading runs an inner stream: "+proof, e.Value.Expr())
		case len(e.Inner) == 0 && classify(module, path).effect == "inner":
			j.add(rulePickleNested, warden.High, e.Start, e.End, name, "Loading hands bytes to an inner loader that are no stream this scan can follow.", e.Value.Expr())
		}
	}
}

// isException reports whether a path names an exception class: building one
// only holds data.
func isException(path string) bool {
	last := path[strings.LastIndexByte(path, '.')+1:]
	return classLike(last) && (strings.HasSuffix(last, "Error") || strings.HasSuffix(last, "Exception") || strings.HasSuffix(last, "Warning"))
}
