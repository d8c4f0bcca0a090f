package file

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/pickle"
)

// pickles judges what the pickle streams of a file do when they are loaded.
var pickles = &detect.Detector[*format.File]{
	Name: "pickle/calls",
	Doc: `What a pickle stream does while it is loaded.
A pickle is a program. This check looks at every call, lookup and patch that the
program makes and at every value that it hands on. Names are vetted one by one;
a name that is not vetted is dangerous, or an unknown function, or an unknown
class, and the three weigh differently.`,
	Rules: pickleRules,
	Run:   runPickle,
}

func runPickle(ctx context.Context, p *detect.Pass[*format.File]) error {
	f := p.Subject
	if len(f.Pickles) == 0 {
		return fmt.Errorf("no pickle stream: %w", detect.ErrNotExamined)
	}
	judged := map[*pickle.Stream]*judge{}
	for _, s := range f.Pickles {
		j, err := judgeStream(ctx, s)
		if err != nil {
			return err
		}
		judged[s] = j
	}
	loaders := loadersOf(f)
	for _, s := range f.Pickles {
		j := judged[s]
		j.nested(judged)
		found := j.found
		if s.Via == pickle.Data {
			found = asData(found)
		}
		for _, fd := range found {
			path := f.Path
			if s.Path != "" {
				path += "!" + s.Path
			}
			msg := fd.message
			if fd.count > 1 {
				msg += fmt.Sprintf(" %d times.", fd.count)
			}
			if fd.severity >= warden.High && s.Via != pickle.Data {
				msg += " Reached by: " + loaders + "."
			}
			p.Emit(warden.Finding{
				Rule: fd.rule, Severity: fd.severity, Message: msg, Evidence: fd.evidence,
				At: warden.Location{Path: path, Span: warden.Span{Unit: warden.Bytes, Start: fd.start, End: fd.end}},
			})
		}
		if errors.Is(s.Err, context.DeadlineExceeded) || errors.Is(s.Err, context.Canceled) {
			return s.Err
		}
	}
	return nil
}

// loadersOf names the usual programs that run the streams of f.
func loadersOf(f *format.File) string {
	switch f.Format {
	case "npy", "npz":
		return "numpy.load(allow_pickle=True), pickle.load"
	case "joblib":
		return "joblib.load, pickle.load"
	case "torch-zip", "torch-legacy", "torch-tar", "torchscript":
		return "torch.load(weights_only=False)"
	default:
		return "pickle.load, torch.load(weights_only=False), joblib.load"
	}
}

// asData sums up what a stream would do that nothing loads.
func asData(found []finding) []finding {
	if len(found) == 0 {
		return nil
	}
	worst := slices.MaxFunc(found, func(a, b finding) int { return int(a.severity) - int(b.severity) })
	if worst.severity < warden.High {
		return nil
	}
	worst.rule, worst.severity, worst.count = rulePickleData, warden.Medium, 1
	worst.message = "The data holds a stream that would call functions if a program loaded it."
	return []finding{worst}
}
