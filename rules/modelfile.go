package rules

import _ "embed"

//go:embed modelfile/callables.tsv
var callableTable string

// Callables returns the table of callables that a pickle stream can name: one
// per line, tab-separated, of name or prefix, kind, tier, effects and reason.
// Lines that begin with # are comments.
func Callables() string { return callableTable }

//go:embed modelfile/callables_generated.tsv
var generatedCallables string

// GeneratedCallables returns what tools/callables found out about callables of
// Python packages: tab-separated lines, sorted by name, of name, kind, tier,
// effect, the way to the effect, and the trees. Lines that begin with # come
// first and say what the tiers and trees are. It is meant to be searched as it
// is: reading all of it would cost more than a scan of a small file.
func GeneratedCallables() string { return generatedCallables }

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
