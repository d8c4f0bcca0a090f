// Package format identifies model files by content and opens them without
// executing or trusting them. Each format is a leaf package below this one;
// leaves do not know each other, this package joins them.
package format

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/executorch"
	"github.com/modelwarden/warden/internal/format/gguf"
	"github.com/modelwarden/warden/internal/format/graph"
	"github.com/modelwarden/warden/internal/format/hdf5"
	"github.com/modelwarden/warden/internal/format/jinja"
	"github.com/modelwarden/warden/internal/format/jsontext"
	"github.com/modelwarden/warden/internal/format/msgpack"
	"github.com/modelwarden/warden/internal/format/named"
	"github.com/modelwarden/warden/internal/format/npy"
	"github.com/modelwarden/warden/internal/format/onnx"
	"github.com/modelwarden/warden/internal/format/opaque"
	"github.com/modelwarden/warden/internal/format/pickle"
	"github.com/modelwarden/warden/internal/format/rdata"
	"github.com/modelwarden/warden/internal/format/safetensors"
	"github.com/modelwarden/warden/internal/format/sevenzip"
	"github.com/modelwarden/warden/internal/format/tarfile"
	"github.com/modelwarden/warden/internal/format/tensorflow"
	"github.com/modelwarden/warden/internal/format/tflite"
	"github.com/modelwarden/warden/internal/format/torch7"
	"github.com/modelwarden/warden/internal/format/torchscript"
	"github.com/modelwarden/warden/internal/format/xmltext"
	"github.com/modelwarden/warden/internal/format/zipfile"
)

// Limits bound what the readers may read and keep; see [bound.Limits].
type Limits = bound.Limits

// DefaultLimits returns the limits used by the engines.
func DefaultLimits() Limits { return bound.Default() }

// ErrEncrypted says that a member is encrypted. It is a status, not a finding.
var ErrEncrypted = errors.New("encrypted")

// notYetError says what no reader reads yet. It counts as a limit of this version,
// so that the file is inconclusive.
type notYetError string

// Error implements error.
func (e notYetError) Error() string { return string(e) }

// Is makes a notYetError an [detect.ErrLimit] without its words.
func (notYetError) Is(target error) bool { return target == detect.ErrLimit }

// A File is one file open for examination, or one member of a container at any
// depth. Detectors read it; they do not change it.
type File struct {
	Path   string      // as in findings: "outer.zip!/inner.pkl"
	Name   string      // last part, as stored; only a hint
	In     string      // format of the container that holds it; "" at the top
	Format string      // outermost format of the catalogue; "" if unknown
	Also   []string    // further formats that some loader would take it for
	Kind   string      // for an unknown format: what it plainly is ("text", "image", …) or ""
	Size   int64       // bytes, after decompression
	R      io.ReaderAt // the bytes, valid until the next step of Members

	BadCheck bool // the checksum that its container declares is wrong

	Pickles []*pickle.Stream // every stream found, in order
	Zip     *zipfile.Archive
	Tar     *tarfile.Archive
	Seven   *sevenzip.Archive
	Npy     *npy.Header

	// Storages are the sizes of the storages beside the pickle of a torch
	// archive, by key; nil for other files.
	Storages map[string]int64

	Safetensors *safetensors.Header
	GGUF        *gguf.Model
	ONNX        *onnx.Model
	Graphs      []*graph.Model // how nodes are connected, for each entry point
	HDF5        *hdf5.File
	TFLite      *tflite.Model
	TensorFlow  *tensorflow.Model
	RData       *rdata.Tree
	ExecuTorch  *executorch.Program
	MsgPack     *msgpack.Doc
	Torch7      *torch7.Doc
	Opaque      *opaque.Blob
	XML         *xmltext.Doc     // of PMML and OpenVINO
	Manifest    []Line           // of files that say what to install or import
	Texts       []Text           // descriptive texts of tree models
	TorchOps    []torchscript.Op // of TorchScript source and of exported programs
	TorchCode   []Source         // all source of a TorchScript archive
	Templates   []Template       // in JSON, GGUF and template files
	Keras       []Config         // model configurations, in JSON and HDF5
	Named       []named.Item     // code and files that CoreML, Paddle, CNTK and MXNet models name
	References  []Reference      // code that a configuration names

	// Unread lists what the readers could not read, one Status each: Failed for
	// malformed input, Skipped for a limit. Not empty means not clean.
	Unread []detect.Status

	budget  *bound.Budget
	depth   int
	wrapper string // the compressor of the whole file, or ""
	storage bool   // raw tensor bytes of a container: examined by their head only
	rest    int64  // where a further array of a npy file begins, or 0
	object  int64  // where the pickle of an object array begins, or 0
}

// A Template is a Jinja template that a loader renders.
type Template struct {
	Key  string // where it lies: "chat_template", or "" for a whole file
	At   int64  // of its text in the file; positions are exact where it is stored unescaped
	Tree *jinja.Template
}

// A Config is a Keras model configuration.
type Config struct {
	Source string // "model_config", "config.json"
	At     int64  // of its text in the file
	Legacy bool   // in HDF5, where safe_mode is ignored
	Doc    *jsontext.Doc
}

// A Line is a line of a manifest, without the white space around it.
type Line struct {
	Text       string
	Start, End int64
}

// A Text is a descriptive text inside a model.
type Text struct {
	Key, Value string
	At         int64
}

// A Reference is code that a configuration names and its loader imports or
// calls.
type Reference struct {
	Key        string // what names it: one of the Key constants
	Name       string // "module.Class", "repository--module.Class"
	Start, End int64
}

// Is reports whether some loader would take f for the format.
func (f *File) Is(name string) bool { return f.Format == name || slices.Contains(f.Also, name) }

// Open identifies the size bytes of r and reads their structure, but no tensor
// data. It keeps r. The error is not nil only if r cannot be read at all;
// damage inside the file is in File.Unread.
func Open(ctx context.Context, name string, r io.ReaderAt, size int64, lim Limits) (*File, error) {
	f := &File{Path: name, Name: path.Base(name), R: r, Size: size, budget: bound.NewBudget(lim)}
	return f, f.open(ctx)
}

func (f *File) limits() Limits { return f.budget.Limits() }

// unread records that a part was not read.
func (f *File) unread(reader string, err error) {
	f.Unread = append(f.Unread, detect.Status{Detector: reader, State: detect.StateOf(err), Err: fmt.Errorf("%s: %w", f.Path, err)})
}

// take appends the statuses of a leaf.
func (f *File) take(sts []detect.Status) {
	for _, s := range sts {
		s.Err = fmt.Errorf("%s: %w", f.Path, s.Err)
		f.Unread = append(f.Unread, s)
	}
}

// claim records that f is of the format, beside those claimed before.
func (f *File) claim(name string) {
	switch {
	case f.Format == "":
		f.Format = name
	case !f.Is(name):
		f.Also = append(f.Also, name)
	}
}

// ext returns the lower-case extension of the name.
func (f *File) ext() string { return strings.ToLower(path.Ext(f.Name)) }
