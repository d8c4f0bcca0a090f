package file

import (
	"fmt"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/format/pickle"
)

// danger judges a call of a dangerous callable by what it does with its
// arguments.
func (j *judge) danger(i int, e pickle.Effect, c callable, name string) {
	j.of(e.Value.Callee()).covered = true
	effect := c.effect
	switch effect {
	case "calls", "lookup", "partial", "type":
		if j.handsOver(e, name) || j.leadsOn(i, e) {
			return
		}
		if effect == "lookup" && harmlessLookup(c.name, e.Value) {
			return
		}
		if effect == "type" && len(e.Value.Args().Items()) == 1 {
			return // type(None)
		}
		if effect == "partial" {
			j.partial(e, name)
			return
		}
	case "codeobj":
		if j.codes[e.Value.ID()] {
			return // the finding about the code object says more
		}
	case "open":
		effect = opens(e.Value)
	}
	texts := textsOf(e.Value)
	v, ok := verbs[effect]
	if !ok {
		v = verbs["code"]
	}
	switch {
	case effect == "read" && anyText(texts, isAddress):
		v = verbs["net"]
	case effect == "write" && anyText(texts, runsLater):
		v = verb{rulePickleStartup, warden.Critical, "Loading writes a file that a later program runs."}
	case effect == "load" && anyText(texts, isAddress):
		v = verbs["net"]
	case effect == "patch" && c.name == "copyreg.add_extension":
		v.severity = warden.High
	}
	if c.via != "" {
		v = reached(c, v, e.Value)
	}
	cause := e.Value.Expr()
	if v.rule == rulePickleNested {
		cause = name
	}
	j.add(v.rule, v.severity, e.Start, e.End, cause, v.sentence, e.Value.Expr())
}

// strong are the effects that make it dangerous to hand a function on. Many
// honest functions come to the others: a tokenizer reads its data with pickle.
var strong = map[string]bool{"shell": true, "spawn": true, "code": true, "native": true, "process": true}

// reached adapts a verb to what tools/callables found out about a function: it
// is not the function itself that does it, and without arguments nothing of the
// file's choice flows there.
func reached(c callable, v verb, call pickle.Value) verb {
	if c.effect == "import" || len(call.Args().Items()) == 0 && len(call.Keywords().Items()) == 0 {
		v.severity = min(v.severity, warden.High)
	}
	v.sentence += " It comes to " + c.via + "."
	return v
}

// arms judges that a class is called, with text that reads like code or a
// path, whose construction comes to something dangerous.
func (j *judge) arms(e pickle.Effect, c callable, name string) {
	j.ran, j.of(e.Value.Callee()).covered = true, true
	v, ok := verbs[c.effect]
	if !ok {
		v = verbs["code"]
	}
	v = reached(c, v, e.Value)
	if e.Value.How() == pickle.New && !c.builds {
		v.severity = warden.Medium
	}
	j.add(v.rule, v.severity, e.Start, e.End, name, v.sentence, e.Value.Expr())
}

// armed judges the state of an object whose __setstate__ comes to something
// dangerous: honest state holds no code.
func (j *judge) armed(e pickle.Effect, c callable, name string) {
	if !c.builds {
		return
	}
	for _, v := range e.State.Items() {
		text := v.Text()
		for _, sign := range [...]string{"__import__", "exec(", "eval(", "system(", "import os", "import sys", "subprocess", "__builtins__", "__subclasses__", "open("} {
			if strings.Contains(text[:min(len(text), 1<<16)], sign) {
				j.ran = true
				j.add(rulePickleFunction, warden.High, e.Start, e.End, name,
					fmt.Sprintf("Loading gives code as state to an object of the class %s, which comes to %s.", name, c.via), v.Expr())
				return
			}
		}
	}
}

// leadsOn reports whether the machine followed what the call at i returns or
// calls to something dangerous, which then has its own finding.
func (j *judge) leadsOn(i int, e pickle.Effect) bool {
	for _, next := range j.s.Effects[i+1:] {
		if next.End != e.End {
			return false
		}
		g := next.Value
		if next.Kind == pickle.Invoke {
			g = next.Value.Callee()
		} else if next.Kind == pickle.Import && !j.of(next.Value).called {
			continue
		}
		if m, p, ok := g.Global(); ok && p != "" && classify(m, p).tier == tierDangerous {
			return true
		}
	}
	return false
}

// harmlessLookup allows getattr(Class, 'NAME') and the attribute of an object,
// which is how enumeration members and bound methods are pickled.
func harmlessLookup(name string, call pickle.Value) bool {
	args := call.Args().Items()
	if strings.HasSuffix(name, "._ufunc_reconstruct") && len(args) == 2 {
		m := args[0].Text()
		return (strings.HasPrefix(m, "numpy") || strings.HasPrefix(m, "scipy")) && classify(m, args[1].Text()).tier != tierDangerous
	}
	if name != "builtins.getattr" || len(args) < 2 || args[1].Kind() != pickle.Str || isDunder(args[1].Text()) || strings.Contains(args[1].Text(), ".") {
		return false
	}
	switch args[0].Kind() {
	case pickle.Global:
		m, p, _ := args[0].Global()
		return p != "" && classify(m, p).tier != tierDangerous && classLike(p)
	case pickle.Call:
		m, p, ok := args[0].Callee().Global()
		return ok && classify(m, p).tier != tierDangerous && classLike(p)
	default:
		return false
	}
}

// partial judges functools.partial: it calls nothing by itself.
func (j *judge) partial(e pickle.Effect, name string) {
	args := e.Value.Args().Items()
	if len(args) == 0 && e.Value.How() == pickle.New {
		return
	}
	sev := warden.Medium
	if len(args) > 0 {
		if m, p, ok := args[0].Global(); ok && classify(m, p).tier == tierVetted {
			return
		} else if !ok {
			sev = warden.High
		}
	}
	j.add(rulePickleFunction, sev, e.Start, e.End, e.Value.Expr(), "Loading prepares a later call of a function that is not known to be safe, with "+name+".", e.Value.Expr())
}

// opens tells reading from writing by the mode that open is given.
func opens(call pickle.Value) string {
	args := call.Args().Items()
	mode := "r"
	if len(args) > 1 && args[1].Kind() == pickle.Str {
		mode = args[1].Text()
	}
	for i, kw := 0, call.Keywords().Items(); i+1 < len(kw); i += 2 {
		if kw[i].Text() == "mode" {
			mode = kw[i+1].Text()
		}
	}
	if strings.ContainsAny(mode, "wax+") || len(mode) > 4 {
		return "write"
	}
	return "read"
}

const maxTexts = 256

// textsOf returns the texts among the arguments of a call, two levels deep.
func textsOf(call pickle.Value) []string {
	var out []string
	for _, part := range [...]pickle.Value{call.Args(), call.Keywords()} {
		for _, v := range part.Items() {
			for _, w := range append(v.Items(), v) {
				if k := w.Kind(); (k == pickle.Str || k == pickle.Bytes) && len(out) < maxTexts {
					out = append(out, w.Text())
				}
				if w.Kind() == pickle.Call {
					for _, x := range w.Args().Items() {
						if x.Kind() == pickle.Str && len(out) < maxTexts {
							out = append(out, x.Text())
						}
					}
				}
			}
		}
	}
	return out
}

func anyText(texts []string, is func(string) bool) bool {
	return slices.ContainsFunc(texts, is)
}

func isAddress(s string) bool {
	head, _, ok := strings.Cut(s[:min(len(s), 32)], "://")
	return ok && head != "file" && !strings.ContainsAny(head, " /\n")
}

// runsLater reports whether s names a file that some program runs unasked.
func runsLater(s string) bool {
	if len(s) > 4096 {
		return false
	}
	for _, end := range [...]string{".pth", ".py", ".pyc", ".so", ".dll", ".sh", ".bat", ".ps1", ".cmd", "rc", ".profile", "_profile", "/crontab", "authorized_keys", ".service", ".desktop", ".plist"} {
		if strings.HasSuffix(strings.ToLower(s), end) {
			return true
		}
	}
	for _, part := range [...]string{"/cron", "/init.d/", "/.ssh/", "autostart", "Startup", "site-packages"} {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}

// looksActive reports whether a call is given text that reads like code, a
// path, an address or a command: then even a name written like a class is
// judged as a function.
func looksActive(call pickle.Value) bool {
	return anyText(textsOf(call), func(s string) bool {
		if len(s) < 3 || len(s) > 1<<16 {
			return false
		}
		switch {
		case isAddress(s), strings.HasPrefix(s, "/") && !strings.ContainsAny(s, " ") && len(s) > 4, strings.HasPrefix(s, "../"), strings.HasPrefix(s, "~/"), strings.HasPrefix(s, `C:\`):
			return true
		case strings.Contains(s, "__import__"), strings.Contains(s, "import "), strings.Contains(s, "lambda"), strings.Contains(s, "exec("), strings.Contains(s, "eval("), strings.Contains(s, "system("), strings.Contains(s, "$("), strings.Contains(s, "; "), strings.Contains(s, "| "), strings.Contains(s, "&&"):
			return true
		}
		first, _, spaced := strings.Cut(s, " ")
		switch first {
		case "curl", "wget", "bash", "sh", "nc", "python", "python3", "powershell", "cmd", "cmd.exe", "rm", "touch", "cat", "echo", "chmod", "ping", "nslookup":
			return true
		case "id", "whoami", "ls", "uname":
			return !spaced
		}
		return false
	})
}
