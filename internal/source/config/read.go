package config

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/modelwarden/warden/internal/source/sight"
)

// Snippet shortens a line for a report, see [sight.Snippet].
func Snippet(s string) string { return sight.Snippet(s) }

// Merge takes over what another Doc says.
func (d *Doc) Merge(o Doc) {
	d.Sightings = append(d.Sightings, o.Sightings...)
	d.Env = append(d.Env, o.Env...)
	d.Packages = append(d.Packages, o.Packages...)
	d.Entries = append(d.Entries, o.Entries...)
	d.Problems = append(d.Problems, o.Problems...)
	if d.Value == nil {
		d.Value = o.Value
	}
}

// model reports a model that a configuration names, if the text can be an id.
func (d *Doc) model(p, provider, id, revision string, line int, text string) {
	id = strings.Trim(strings.TrimSpace(id), `"'`)
	if !sight.IsID(id) || strings.ContainsAny(id, "$") {
		return
	}
	s := d.sight(p, sight.Model, id, provider, line, text)
	s.Revision, s.Pinned = revision, sight.Pinned(revision)
	if provider == "huggingface" {
		if sight.IsPath(id, nil) {
			s.Kind, s.Provider = sight.ModelFile, ""
		} else if !s.Pinned {
			s.Flags = []sight.Flag{{Flag: "revision_unpinned", At: s.Evidence[0]}}
		}
	}
	d.Sightings = append(d.Sightings, s)
}

// A form is how a kind of file is read.
type form uint8

const (
	none form = iota
	formRequirements
	formPyproject
	formPoetryLock
	formPipfile
	formPipfileLock
	formSetupCfg
	formConda
	formPackageJSON
	formPackageLock
	formYarn
	formPnpm
	formGoMod
	formPom
	formGradle
	formCatalog
	formCsproj
	formNugetLock
	formDotenv
	formProperties
	formDockerfile
	formCompose
	formWorkflow
	formTerraform
	formShell
	formAssistant
	formMarkdown
	formModelfile
	formPrompt
	formYAML
	formJSON
	formTOML
	formMLmodel
	formMetadata
	formInstalled
)

// names are files that are known by their whole name, in lower case.
var names = map[string]form{
	"pyproject.toml": formPyproject, "poetry.lock": formPoetryLock, "uv.lock": formPoetryLock, "pdm.lock": formPoetryLock,
	"pipfile": formPipfile, "pipfile.lock": formPipfileLock, "setup.cfg": formSetupCfg, "environment.yml": formConda, "environment.yaml": formConda,
	"conda.yml": formConda, "conda.yaml": formConda,
	"package.json": formPackageJSON, "package-lock.json": formPackageLock, "npm-shrinkwrap.json": formPackageLock, "yarn.lock": formYarn,
	"pnpm-lock.yaml": formPnpm, "go.mod": formGoMod, "pom.xml": formPom, "build.gradle": formGradle, "build.gradle.kts": formGradle,
	"libs.versions.toml": formCatalog, "packages.lock.json": formNugetLock, "directory.packages.props": formCsproj,
	"dockerfile": formDockerfile, "containerfile": formDockerfile,
	"docker-compose.yml": formCompose, "docker-compose.yaml": formCompose, "compose.yml": formCompose, "compose.yaml": formCompose,
	".gitlab-ci.yml": formWorkflow, "azure-pipelines.yml": formWorkflow, "bitbucket-pipelines.yml": formWorkflow,
	"modelfile": formModelfile, "readme.md": formMarkdown, "mlmodel": formMLmodel, "makefile": formShell, "justfile": formShell,
}

func formOf(p string) form {
	base := strings.ToLower(path.Base(p))
	low := strings.ToLower(p)
	if Installed(p) {
		if base == "metadata" {
			return formMetadata
		}
		return formInstalled
	}
	if f, ok := names[base]; ok {
		return f
	}
	if assistantFile(p) != "" && mcpKey(p) == "" {
		return formAssistant
	}
	switch {
	case strings.HasPrefix(base, "requirements") && strings.HasSuffix(base, ".txt"), strings.HasPrefix(base, "requirements") && strings.HasSuffix(base, ".in"),
		strings.Contains(low, "requirements/") && strings.HasSuffix(base, ".txt"), strings.HasPrefix(base, "constraints") && strings.HasSuffix(base, ".txt"):
		return formRequirements
	case base == ".env", strings.HasPrefix(base, ".env."), strings.HasSuffix(base, ".env"):
		return formDotenv
	case strings.HasPrefix(base, "dockerfile."), strings.HasSuffix(base, ".dockerfile"):
		return formDockerfile
	case strings.HasPrefix(base, "docker-compose") && (strings.HasSuffix(base, ".yml") || strings.HasSuffix(base, ".yaml")),
		strings.HasPrefix(base, "compose.") && (strings.HasSuffix(base, ".yml") || strings.HasSuffix(base, ".yaml")):
		return formCompose
	case strings.Contains(low, ".github/workflows/") && (strings.HasSuffix(base, ".yml") || strings.HasSuffix(base, ".yaml")):
		return formWorkflow
	case strings.HasSuffix(base, ".promptly"), strings.HasSuffix(base, ".prompt"), strings.HasSuffix(base, ".prompt.md"),
		strings.Contains(low, "prompts/") && (strings.HasSuffix(base, ".txt") || strings.HasSuffix(base, ".md") || strings.HasSuffix(base, ".j2") || strings.HasSuffix(base, ".jinja2")):
		return formPrompt
	}
	switch path.Ext(base) {
	case ".csproj", ".fsproj", ".vbproj":
		return formCsproj
	case ".tf", ".tfvars", ".hcl":
		return formTerraform
	case ".sh", ".bash", ".zsh":
		return formShell
	case ".properties", ".ini", ".cfg", ".conf":
		return formProperties
	case ".yaml", ".yml":
		return formYAML
	case ".json", ".jsonc":
		return formJSON
	case ".toml":
		return formTOML
	}
	return none
}

// Wants reports whether [Read] reads the file at p.
func Wants(p string) bool { return formOf(p) != none }

// Read reads the file at p. Its size is bounded by the caller.
func Read(ctx context.Context, p string, data []byte) Doc {
	text := string(data)
	if strings.IndexByte(text[:min(len(text), 8000)], 0) >= 0 {
		return Doc{Problems: []Problem{{Detail: "not text"}}}
	}
	switch formOf(p) {
	case formRequirements:
		return requirements(p, text)
	case formSetupCfg:
		return setupCfg(p, text)
	case formYarn:
		return yarnLock(p, text)
	case formGoMod:
		return goMod(p, text)
	case formPom:
		return pom(p, text)
	case formGradle:
		return gradle(p, text)
	case formCsproj:
		return csproj(p, text)
	case formDotenv:
		return dotenv(p, text)
	case formProperties:
		return Doc{Value: properties(text)}
	case formDockerfile:
		return dockerfile(p, text)
	case formTerraform:
		return terraform(p, text)
	case formShell:
		return script(p, text)
	case formAssistant:
		return assistant(p, text)
	case formMarkdown:
		return card(p, text)
	case formModelfile:
		return modelfile(p, text)
	case formPrompt:
		return prompt(p, text)
	case formMetadata:
		return metadata(p, text)
	default:
	}
	if ctx.Err() != nil {
		return Doc{}
	}
	return structured(p, text)
}

// structured reads files that are JSON, YAML or TOML.
func structured(p, text string) (d Doc) {
	var docs []*Value
	var problem int
	switch strings.ToLower(path.Ext(p)) {
	case ".json", ".jsonc", ".lock":
		if strings.HasSuffix(p, ".lock") && !strings.HasPrefix(strings.TrimSpace(text), "{") {
			var v *Value
			v, problem = TOML(text)
			docs = []*Value{v}
			break
		}
		var v *Value
		v, problem = JSON(text)
		if v != nil {
			docs = []*Value{v}
		}
	case ".toml":
		var v *Value
		v, problem = TOML(text)
		docs = []*Value{v}
	default:
		if strings.EqualFold(path.Base(p), "pipfile") {
			var v *Value
			v, problem = TOML(text)
			docs = []*Value{v}
			break
		}
		docs, problem = YAML(text)
	}
	for _, v := range docs {
		d.Merge(document(p, v))
	}
	if problem > 0 {
		d.Problems = append(d.Problems, Problem{Line: problem, Detail: fmt.Sprintf("%s: does not parse here", strings.TrimPrefix(path.Ext(p), "."))})
	}
	return d
}

// document reads one value by the name of its file, then by what it looks like.
func document(p string, v *Value) (d Doc) {
	switch formOf(p) {
	case formPyproject:
		return pyproject(p, v)
	case formPoetryLock:
		return poetryLock(p, v)
	case formPipfile, formPipfileLock:
		return pipfile(p, v)
	case formConda:
		return conda(p, v)
	case formPackageJSON:
		return packageJSON(p, v)
	case formPackageLock:
		return packageLock(p, v)
	case formPnpm:
		return pnpmLock(p, v)
	case formCatalog:
		return versionCatalog(p, v)
	case formNugetLock:
		return nugetLock(p, v)
	case formCompose:
		return compose(p, v)
	case formWorkflow:
		return workflow(p, v)
	case formMLmodel:
		return mlmodel(p, v)
	case formInstalled:
		return installed(p, v)
	default:
	}
	d.Merge(mcp(p, v))
	d.Merge(known(p, v))
	switch {
	case v.Get("services") != nil && v.Get("apiVersion") == nil && (v.Get("version") != nil || v.Get("volumes") != nil || v.Get("networks") != nil):
		d.Merge(compose(p, v))
	case v.Get("apiVersion") != nil && v.Get("kind") != nil:
		d.Merge(kubernetes(p, v))
	case v.Get("kind").text() == "List" && v.Get("items") != nil:
		v.Get("items").each(func(_ string, k *Value) { d.Merge(kubernetes(p, k)) })
	}
	d.Value = v
	return d
}

// script reads the lines of a shell script.
func script(p, text string) (d Doc) {
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines) && i < 100_000; i++ {
		from, l := i, strings.TrimSpace(lines[i])
		for strings.HasSuffix(l, "\\") && i+1 < len(lines) && len(l) < 64<<10 {
			i++
			l = strings.TrimSuffix(l, "\\") + " " + strings.TrimSpace(lines[i])
		}
		if l == "" || l[0] == '#' {
			continue
		}
		l = strings.TrimPrefix(l, "@")
		if name, value, ok := strings.Cut(strings.TrimPrefix(l, "export "), "="); ok && !strings.ContainsAny(name, " \t:?+") && strings.HasPrefix(l, "export ") {
			d.variable(p, name, value, from+1)
		}
		d.Merge(shellLine(p, l, from+1))
		d.Entries = append(d.Entries, commandEntries(p, l, from+1, "shell script")...)
	}
	return d
}
