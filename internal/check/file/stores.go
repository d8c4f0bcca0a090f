package file

import (
	"context"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
)

const (
	rulePackage warden.RuleID = "WDN-MF-039"
	ruleShard   warden.RuleID = "WDN-MF-077"
	ruleCodec   warden.RuleID = "WDN-MF-079"
)

// parts finds what descriptions of weights in several files name.
var parts = &detect.Detector[*format.File]{
	Name: "config/parts",
	Doc: `Files, codecs and modules that the description of a model names.

An index of weights names the files that hold them, and a loader opens what it
names. Zarr, in which Orbax keeps checkpoints, decodes each chunk of an array
with the codecs that its description names; the codec pickle of numcodecs
unpickles them. A package of torch brings Python source, which runs when its
objects are loaded, and names the modules that it takes from the host. What a
codec of another library does cannot be seen here.`,
	Rules: []warden.Rule{
		{
			ID: rulePackage, Title: "Package of torch runs code of its own", Severity: warden.Medium,
			Advice:     "Read the Python source in the package before you load it, or ask for the weights alone.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
		{
			ID: ruleShard, Title: "Index names a file outside the model", Severity: warden.High,
			Advice:     "Do not load the model by this index. Ask for one that names files beside it.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0010"},
		},
		{
			ID: ruleCodec, Title: "Array is decoded by a codec that can run code", Severity: warden.High,
			Advice:     "Do not read the array. Ask for one of numbers with an ordinary compressor.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000"},
		},
	},
	Run: runParts,
}

// codecs are those of zarr and numcodecs that only compute.
var codecs = []string{
	"blosc", "zlib", "gzip", "bz2", "lzma", "lz4", "zstd", "zfpy", "pcodec", "delta", "fixedscaleoffset", "quantize", "bitround", "packbits", "categorize", "astype", "base64",
	"vlen-utf8", "vlen-bytes", "vlen-array", "json2", "json", "msgpack2", "msgpack", "shuffle", "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3", "checksum32",
	"bytes", "endian", "transpose", "sharding_indexed", "bytes_to_bytes", "lcodec", "jpeg2k", "imagecodecs_lz4",
}

// objectCodecs turn texts and lists into objects without running anything.
var objectCodecs = []string{"vlen-utf8", "vlen-bytes", "vlen-array", "json2", "json", "msgpack2", "msgpack", "categorize"}

func runParts(ctx context.Context, p *detect.Pass[*format.File]) error {
	f := p.Subject
	emit := func(id warden.RuleID, sev warden.Severity, start, end int64, evidence, message string) {
		p.Emit(warden.Finding{Rule: id, Severity: sev, At: at(f, start, end), Evidence: evidence, Message: message})
	}
	known := slices.ContainsFunc(f.References, func(r format.Reference) bool {
		return r.Key == format.KeyCodec && (codecName(r.Name) == "pickle" || slices.Contains(objectCodecs, codecName(r.Name)))
	})
	for i, r := range f.References {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		switch name := codecName(r.Name); {
		case r.Key == format.KeyShard && leaves(r.Name):
			emit(ruleShard, warden.High, r.Start, r.End, r.Name, "Loading the model opens a file outside its folder. Reached by: transformers from_pretrained, accelerate load_checkpoint.")
		case r.Key == format.KeyCodec && name == "pickle":
			emit(ruleCodec, warden.High, r.Start, r.End, r.Name, "Reading the array unpickles its chunks. Reached by: zarr.open, numcodecs.get_codec.")
		case r.Key == format.KeyCodec && !slices.Contains(codecs, name):
			emit(ruleCodec, warden.Medium, r.Start, r.End, r.Name, "Reading the array calls a codec that is not known to be safe. Reached by: zarr.open.")
		case r.Key == format.KeyObject && !known:
			emit(ruleCodec, warden.Medium, r.Start, r.End, r.Name, "Reading the array makes objects of its chunks, by a codec that its description does not name. Reached by: zarr.open.")
		case r.Key == format.KeyExtern && row(strings.TrimSpace(r.Name)+"._").tier == tierDangerous:
			emit(rulePackage, warden.Medium, r.Start, r.End, r.Name, "The code of the package uses a module of the host that can harm. Reached by: torch.package.PackageImporter.")
		}
	}
	if f.Zip != nil && f.Is("torch-package") {
		for i, e := range f.Zip.Entries {
			if i%4096 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if strings.HasSuffix(e.Name, ".py") && !strings.Contains(e.Name, "/.data/") {
				emit(rulePackage, warden.Medium, e.Header, e.Data, e.Name, "Loading an object of the package runs Python source that it holds. Reached by: torch.package.PackageImporter.")
				break // one cause, one finding
			}
		}
	}
	return nil
}

// codecName returns the name of a codec without that of its library.
func codecName(name string) string {
	name = strings.ToLower(name)
	return strings.TrimPrefix(strings.TrimPrefix(name, "numcodecs."), "https://codec.zarrs.dev/")
}
