package rules

import _ "embed"

//go:embed modelfile/callables.tsv
var callableTable string

// Callables returns the table of callables that a pickle stream can name: one
// per line, tab-separated, of name or prefix, kind, tier, effects and reason.
// Lines that begin with # are comments.
func Callables() string { return callableTable }
