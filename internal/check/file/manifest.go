package file

import (
	"context"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/rules"
)

const ruleManifest warden.RuleID = "WDN-MF-089"

// manifests finds manifests that install or import from elsewhere.
var manifests = &detect.Detector[*format.File]{
	Name: "manifest/source",
	Doc: `Manifests beside a model that install or import from elsewhere.

A requirement with an address installs whatever lies there, and a further index
can serve a package of the same name. MLflow imports the module that MLmodel
names. A line of a .pth file that begins with import runs whenever Python starts.
Version bounds and known vulnerabilities are not looked at here.`,
	Rules: []warden.Rule{
		{
			ID: ruleManifest, Title: "Manifest installs or imports code from elsewhere", Severity: warden.High,
			Advice:     "Install from your own index with hashes (pip --require-hashes), after you know what the line brings.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0010.001", "mitre-atlas@5.6.0:AML.T0011.001"},
		},
	},
	Run: runManifests,
}

var (
	address     = regexp.MustCompile(`(?i)\b((?:git|hg|svn|bzr)\+[a-z+]+|https?|ftp|file)://[^\s"',;#]+`)
	indexFlag   = regexp.MustCompile(`(?:^|[\s"'-])(--extra-index-url|--index-url|--find-links|-i|-f)[\s=]`)
	credentials = regexp.MustCompile(`://[^/@\s]*@`)
	loaderLine  = regexp.MustCompile(`^["']?loader_module["']?\s*:\s*["']?([\w.]+)`)
)

// packageHosts are the hosts that need no remark.
var packageHosts = sync.OnceValue(func() map[string]bool {
	hosts := map[string]bool{}
	for line := range strings.Lines(rules.PackageHosts()) {
		if line[0] != '#' {
			hosts[strings.TrimSpace(line)] = true
		}
	}
	return hosts
})

func runManifests(ctx context.Context, p *detect.Pass[*format.File]) error {
	f := p.Subject
	name := strings.ToLower(f.Name)
	for i, l := range f.Manifest {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		emit := func(sev warden.Severity, message string) {
			p.Emit(warden.Finding{Rule: ruleManifest, Severity: sev, At: at(f, l.Start, l.End), Message: message, Evidence: withoutSecret(l.Text)})
		}
		switch {
		case strings.HasSuffix(name, ".pth"):
			if strings.HasPrefix(l.Text, "import ") || strings.HasPrefix(l.Text, "import\t") {
				emit(warden.High, "In a folder of packages, this line runs whenever Python starts.")
			}
		case name == "mlmodel":
			if m := loaderLine.FindStringSubmatch(l.Text); m != nil && !strings.HasPrefix(m[1], "mlflow.") {
				loaderModule(m[1], emit)
			}
		case !strings.HasPrefix(l.Text, "#"):
			requirement(l.Text, emit)
		}
	}
	return nil
}

// loaderModule judges the module that MLflow imports to load a model.
func loaderModule(module string, emit func(warden.Severity, string)) {
	if row(module+".load").tier == tierDangerous {
		emit(warden.High, "Loading the model imports a module that harms. Reached by: mlflow.pyfunc.load_model.")
		return
	}
	emit(warden.Medium, "Loading the model imports a module that is not one of MLflow. Reached by: mlflow.pyfunc.load_model.")
}

// requirement judges one line of requirements, also inside a conda environment.
func requirement(line string, emit func(warden.Severity, string)) {
	line = strings.Trim(strings.TrimPrefix(line, "- "), `"'`)
	if i := strings.Index(line, " #"); i >= 0 {
		line = line[:i]
	}
	index := indexFlag.MatchString(line)
	for _, text := range address.FindAllString(line, 4) {
		u, err := url.Parse(text)
		switch {
		case err == nil && u.Scheme == "http" && u.Hostname() != "":
			emit(warden.High, "Installing fetches code over a connection that anyone on the way can change.")
		case err == nil && !strings.Contains(u.Scheme, "+") && packageHosts()[u.Hostname()]:
			continue
		case index:
			emit(warden.Medium, "Installing asks a further index, which can serve any package under a known name.")
		default:
			emit(warden.Medium, "Installing fetches code from an address instead of an index.")
		}
		return
	}
	if strings.Contains(line, "--trusted-host") {
		emit(warden.Medium, "Installing does not check who answers.")
	}
}

// withoutSecret hides what comes before the host of an address: user names and
// passwords do not belong into reports.
func withoutSecret(line string) string {
	return credentials.ReplaceAllString(line, "://…@")
}
