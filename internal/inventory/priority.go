package inventory

import (
	"path"
	"slices"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/source/sight"
)

// executes lists the loaders that run what a file says.
var executes = map[string]string{
	"pickle": "the loader unpickles the file", "code": "the loader runs code that the file names", "keras": "the loader may run a Lambda layer",
	"torchscript": "the loader runs a TorchScript program", "savedmodel": "the loader runs a TensorFlow graph", "npy": "the loader may unpickle arrays",
}

// Priority decides how urgent a file with this verdict is, given how it is
// loaded: 1 first, 5 last. The first row of the table that applies decides. known
// says that a verdict exists.
func Priority(verdict warden.Verdict, known bool, loads string, state sight.State, scope sight.Scope, pinned bool) (priority int, because []string) {
	because = append(because, string(state))
	runs := executes[loads] != ""
	if runs {
		because = append(because, executes[loads])
	}
	bad := known && verdict >= warden.Unsafe
	switch {
	case known:
		because = append(because, "the file is "+verdict.String())
	default:
		because = append(because, "the file was not scanned")
	}
	switch {
	case bad && runs && state == sight.Reachable:
		priority = 1
	case bad && runs && (state == sight.Possible || state == sight.ConfigOnly):
		priority = 2
	case known && verdict == warden.Malicious && loads == "safe":
		priority = 3
		because = append(because, "a safe loader reads it")
	case known && verdict == warden.Malicious:
		priority = 3
	case bad:
		priority = 4
	case known && (verdict == warden.Review || verdict == warden.Inconclusive) && runs && state == sight.Reachable:
		priority = 3
	case known && verdict == warden.Clean && runs && !pinned && state == sight.Reachable:
		priority = 3
		because = append(because, "the revision is not pinned: the content may change")
	case !known && runs && state == sight.Reachable && !pinned:
		priority = 2
		because = append(because, "the revision is not pinned")
	case !known && runs && state == sight.Reachable:
		priority = 3
	case known && (verdict == warden.Review || verdict == warden.Inconclusive):
		priority = 4
	default:
		priority = 5
	}
	if scope != sight.Production {
		because = append(because, "scope "+string(scope))
		if priority++; priority > 5 {
			priority = 5
		}
		if known && verdict == warden.Malicious && priority > 3 {
			priority = 3
		}
	}
	return priority, because
}

// flagPriority orders unsafe sites by what they are and whether they run.
func flagPriority(f *Finding, s *sight.Sighting) (priority int, because []string) {
	because = append(because, string(s.State))
	switch f.Severity {
	case "critical":
		priority = 1
	case "high":
		priority = 2
	case "medium":
		priority = 3
	default:
		priority = 4
	}
	switch s.State {
	case sight.Reachable:
	case sight.Possible, sight.ConfigOnly:
		if priority < 4 && f.Flag != "hardcoded_key" {
			priority++
		}
	default:
		priority = 5
	}
	if s.Scope != sight.Production {
		because = append(because, "scope "+string(s.Scope))
		priority = min(priority+1, 5)
	}
	if s.Kind == sight.Model && s.Provider == "huggingface" {
		because = append(because, "remote source")
	}
	if f.Conditional {
		because = append(because, "off unless something sets it")
	}
	return priority, because
}

// pickled are ends of files that a loader of a folder unpickles, unless it
// prefers safetensors beside them.
var pickled = map[string]bool{".bin": true, ".pt": true, ".pth": true, ".ckpt": true, ".pkl": true}

// folders passes what loads a folder on to the files in it. A loader of
// transformers takes safetensors first where a folder has both, unless that is
// switched off.
func (d *Document) folders() {
	type folder struct {
		a    *Asset
		safe bool
	}
	loaded := map[string]folder{}
	for i := range d.Assets {
		if a := &d.Assets[i]; a.Kind == sight.ModelFile && a.Loads != "" && a.Digest == "" && a.Name != "" {
			loaded[a.Name] = folder{a: a}
		}
	}
	for i := range d.Assets {
		if f, ok := loaded[path.Dir(d.Assets[i].Name)]; ok && path.Ext(d.Assets[i].Name) == ".safetensors" && !slices.Contains(f.a.Flags, "use_safetensors") {
			f.safe = true
			loaded[path.Dir(d.Assets[i].Name)] = f
		}
	}
	for i := range d.Assets {
		a := &d.Assets[i]
		f, ok := loaded[path.Dir(a.Name)]
		if !ok || a.Kind != sight.ModelFile || a.Loads != "" {
			continue
		}
		a.State, a.Scope, a.CallStack = f.a.State, f.a.Scope, f.a.CallStack
		switch {
		case path.Ext(a.Name) == ".safetensors", f.safe && pickled[path.Ext(a.Name)]:
			a.Loads = "safe"
			if f.safe && pickled[path.Ext(a.Name)] {
				a.Note = "a safetensors file beside it is loaded instead"
			}
		case pickled[path.Ext(a.Name)]:
			a.Loads = f.a.Loads
		}
	}
}

// join gives each asset with a loader the verdict of its file and a priority.
func (d *Document) join(verdict func(path, digest, model, revision string) (warden.Verdict, bool)) {
	d.folders()
	for i := range d.Assets {
		a := &d.Assets[i]
		if a.Kind != sight.ModelFile && (a.Kind != sight.Model || a.Provider != "huggingface") {
			continue
		}
		var v warden.Verdict
		known := false
		if verdict != nil {
			model := ""
			if a.Kind == sight.Model {
				model = a.Name
			}
			if v, known = verdict(a.Name, a.Digest, model, a.Revision); known {
				a.Verdict = v.String()
			}
		}
		if a.Loads == "" && !known {
			continue
		}
		pinned := a.Pinned || a.Kind == sight.ModelFile && a.Digest != ""
		a.Priority, a.Because = Priority(v, known, a.Loads, a.State, a.Scope, pinned)
	}
}
