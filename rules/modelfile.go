package rules

import _ "embed"

//go:embed modelfile/callables.tsv
var callableTable string

// Callables returns the table of callables that a pickle stream can name: one
// per line, tab-separated, of name or prefix, kind, tier, effects and reason.
// Lines that begin with # are comments.
func Callables() string { return callableTable }

//go:embed modelfile/tensorflow_ops.txt
var tensorflowOps string

// TensorFlowOps returns the operators that TensorFlow brings: one name, or
// prefix that ends in *, per line. Lines that begin with # are comments.
func TensorFlowOps() string { return tensorflowOps }

//go:embed modelfile/package_hosts.txt
var packageHosts string

// PackageHosts returns the hosts from which manifests may install without a
// remark, one per line. Lines that begin with # are comments.
func PackageHosts() string { return packageHosts }
