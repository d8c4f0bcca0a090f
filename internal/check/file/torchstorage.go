package file

import (
	"context"
	"fmt"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/pickle"
)

const ruleStorage warden.RuleID = "WDN-MF-018"

// torchStorages compares the storages that a checkpoint names with those that
// its archive holds.
var torchStorages = &detect.Detector[*format.File]{
	Name: "torch/storage",
	Doc: `Storages that a checkpoint declares larger than they are.

A checkpoint names each storage with its type and number of elements, and the
bytes lie in another member of the archive. torch before 2.10 took the number as
it was and read behind the bytes, also with weights_only=True (CVE-2026-24747).
Storages of types that are not known are not compared, nor those of archives
whose pickle has another name.`,
	Rules: []warden.Rule{{
		ID: ruleStorage, Title: "A storage is declared larger than it is", Severity: warden.High,
		Advice: "Do not load this checkpoint with torch before 2.10, not even with weights_only=True. Ask for safetensors.", Frameworks: malwareFrameworks,
	}},
	Run: runTorchStorages,
}

// elementBytes are the sizes of the elements of torch's storage classes.
var elementBytes = map[string]int64{
	"DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1,
	"ByteStorage": 1, "BoolStorage": 1, "ComplexDoubleStorage": 16, "ComplexFloatStorage": 8, "QUInt8Storage": 1, "QInt8Storage": 1, "QInt32Storage": 4, "UntypedStorage": 1,
}

func runTorchStorages(ctx context.Context, p *detect.Pass[*format.File]) error {
	f := p.Subject
	if f.Storages == nil {
		return detect.ErrNotExamined
	}
	for _, s := range f.Pickles {
		for i, e := range s.Effects {
			if i&4095 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if e.Kind != pickle.Identifier {
				continue
			}
			key, need, ok := declaredStorage(e.Value)
			if have, there := f.Storages[key]; ok && there && need > have {
				p.Emit(warden.Finding{
					Rule: ruleStorage, Severity: warden.High, At: at(f, e.Start, e.End),
					Message:  fmt.Sprintf("Storage %.40q is declared with %d bytes and has %d: torch before 2.10 reads behind it, even with weights_only=True.", key, need, have),
					Evidence: e.Value.Expr(),
				})
			}
		}
	}
	return nil
}

// declaredStorage reads ("storage", type, key, location, number of elements).
func declaredStorage(v pickle.Value) (key string, bytes int64, ok bool) {
	id := v.Args().Items()
	if len(id) == 1 {
		id = id[0].Items()
	}
	if len(id) < 5 || id[0].Text() != "storage" {
		return "", 0, false
	}
	_, path, named := id[1].Global()
	size, known := elementBytes[path[strings.LastIndexByte(path, '.')+1:]]
	n, isInt := id[4].Int()
	const most = 1 << 58
	if !named || !known || !isInt || n < 0 || n > most {
		return "", 0, named && known && isInt && n > most
	}
	return id[2].Text(), n * size, true
}
