package file

import (
	"bytes"
	"context"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
)

const ruleLua warden.RuleID = "WDN-MF-038"

// luaFunctions finds functions in files of Lua Torch.
var luaFunctions = &detect.Detector[*format.File]{
	Name: "torch7/function",
	Doc: `Functions of Lua in files of Torch 7.

The serialiser writes functions as bytecode and loads them with loadstring,
which takes source code too and checks neither. A function runs when something
calls it, for instance as a method of a layer; malformed bytecode can break the
interpreter at once. Names in the bytecode are compared with functions that run
commands or code. It cannot see names that the code puts together.`,
	Rules: []warden.Rule{
		{
			ID: ruleLua, Title: "Function of Lua in a model", Severity: warden.Critical,
			Advice:     "Do not load the file. Ask for the weights as tensors only, for instance as safetensors.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
	},
	Run: runLuaFunctions,
}

// luaPerils are functions that run commands or code, and how they are written.
var luaPerils = []struct{ name, shown string }{
	{"execute", "os.execute"},
	{"popen", "io.popen"},
	{"loadstring", "loadstring"},
	{"loadfile", "loadfile"},
	{"dofile", "dofile"},
	{"loadlib", "package.loadlib"},
	{"cdef", "ffi.cdef"},
}

func runLuaFunctions(ctx context.Context, p *detect.Pass[*format.File]) error {
	if p.Subject.Torch7 == nil {
		return nil
	}
	for _, f := range p.Subject.Torch7.Functions {
		if err := ctx.Err(); err != nil {
			return err
		}
		where := at(p.Subject, f.Start, f.End)
		var named []string
		for _, peril := range luaPerils {
			if luaNames(f.Code, peril.name) {
				named = append(named, peril.shown)
			}
		}
		switch {
		case len(named) > 0:
			p.Emit(warden.Finding{
				Rule: ruleLua, Severity: warden.Critical, At: where, Evidence: strings.Join(named, " "),
				Message: "Loading the file brings a function that runs commands or code. Reached by: torch.load.",
			})
		default:
			p.Emit(warden.Finding{
				Rule: ruleLua, Severity: warden.High, At: where,
				Message: "Loading the file brings a function that runs when the model calls it. Reached by: torch.load.",
			})
		}
	}
	return nil
}

// luaNames reports whether bytecode or source names something. In bytecode of
// LuaJIT the length, plus five, comes before a text; in that of Lua a zero byte
// comes behind it.
func luaNames(code []byte, name string) bool {
	source := !bytes.HasPrefix(code, []byte("\x1bL"))
	for at := 0; ; at++ {
		i := bytes.Index(code[at:], []byte(name))
		if i < 0 {
			return false
		}
		at += i
		end := at + len(name)
		before := at > 0 && word(code[at-1])
		switch {
		case source && !before && (end == len(code) || !word(code[end])),
			!source && at > 0 && int(code[at-1]) == len(name)+5,
			!source && !before && (end == len(code) || !word(code[end])):
			return true
		}
	}
}

func word(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
