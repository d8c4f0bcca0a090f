package rules

import _ "embed"

//go:embed secrets/gitleaks.txt
var secretTable string

// Secrets returns the rules about secrets in text, as [secret.Parse] of the text
// room reads them: one fact per line, tab-separated. Lines that begin with # are
// comments. The rules come from gitleaks (MIT); origin, commit and checksum are
// in the comments.
func Secrets() string { return secretTable }

//go:embed modelfile/collector_hosts.txt
var collectorHosts string

// CollectorHosts returns the addresses that collect what is sent to them or
// serve pastes: a host or a host with the beginning of a path per line. Lines
// that begin with # are comments.
func CollectorHosts() string { return collectorHosts }
