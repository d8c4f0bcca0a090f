package file

import (
	"context"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
)

// rObjects finds R objects that run code when they are used.
var rObjects = &detect.Detector[*format.File]{
	Name: "rdata/promise",
	Doc: `Promises in serialised R objects.

A promise is an expression that R evaluates when its value is first needed. One
without a value in an RDS or RData file runs as soon as the object is touched
(CVE-2024-27322, R before 4.4). Functions and formulas in an object are normal:
they run only when they are called. It cannot see what they would do.`,
	Rules: []warden.Rule{
		{
			ID: "WDN-MF-076", Title: "Promise runs on first use", Severity: warden.Critical,
			Advice:     "Do not read the file with R before 4.4. Ask for the data in a format without code, such as CSV or Parquet.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
	},
	Run: runRObjects,
}

// rPerils are functions of R that run commands, code or downloads.
var rPerils = map[string]bool{
	"system": true, "system2": true, "shell": true, "shell.exec": true, "pipe": true, "eval": true, "evalq": true, "parse": true, "source": true,
	"sys.source": true, "do.call": true, "download.file": true, "url": true, "readLines": true, "writeLines": true, "file": true, "unlink": true,
	"file.remove": true, "file.copy": true, "socketConnection": true, "dyn.load": true, "library.dynam": true, ".Call": true, ".C": true,
	".External": true, ".Internal": true, "Sys.setenv": true, "install.packages": true, "loadNamespace": true, "require": true, "library": true, "browseURL": true, "readRDS": true, "load": true, "unserialize": true, "exec": true,
}

func runRObjects(ctx context.Context, p *detect.Pass[*format.File]) error {
	if p.Subject.RData == nil {
		return nil
	}
	for i, pr := range p.Subject.RData.Promises {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		sev, message := warden.High, "Using the object evaluates an expression that the file carries."
		for _, s := range pr.Symbols {
			if rPerils[s] {
				sev, message = warden.Critical, "Using the object calls "+s+" with arguments of the file's choosing."
			}
		}
		p.Emit(warden.Finding{
			Rule: "WDN-MF-076", Severity: sev, At: at(p.Subject, pr.At, pr.At+4), Evidence: strings.Join(pr.Symbols, " "),
			Message: message + " Reached by: readRDS, load of R before 4.4.",
		})
	}
	return nil
}
