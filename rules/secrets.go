package rules

import _ "embed"

//go:embed secrets/gitleaks.txt
var secretTable string

//go:embed secrets/examples.txt
var secretExamples string

// Secrets returns the rules about secrets in text, as Parse of text/secret reads
// them: one fact per line, tab-separated. Lines that begin with # are comments.
// The rules come from gitleaks (MIT); origin, commit and checksum are in the
// comments. Before them stand well-known values that are no secrets.
func Secrets() string { return secretExamples + secretTable }

//go:embed modelfile/collector_hosts.txt
var collectorHosts string

// CollectorHosts returns the addresses that collect what is sent to them or
// serve pastes: a host or a host with the beginning of a path per line. Lines
// that begin with # are comments.
func CollectorHosts() string { return collectorHosts }
