package hub

import (
	"math"
	"path"
	"slices"
	"strings"
	"time"
)

// A Use is what an inventory knows of a model beside the snapshot.
type Use struct {
	Pinned  bool   // every use names a commit or a digest
	Verdict string // of its files: clean, review, inconclusive, unsafe, malicious; "": not scanned
}

// A Factor is one part of a score.
type Factor struct {
	Score string // popularity, activity, operational, security
	Name  string
	Value float64 // 0 to 10
	Known bool
}

// Scores are the four scores; nil is unknown. Known is the share of factors
// that are known.
type Scores struct {
	Popularity, Activity, Operational, Security *float64
	Known                                       float64
}

// Score makes the scores of a model of the snapshot and says from what. A nil
// model gives only the factors of its use.
func (s *Snapshot) Score(m *Model, use Use) (Scores, []Factor) {
	if m == nil {
		m = &Model{}
	}
	factors := slices.Concat(m.popularity(), m.activity(s.Taken), m.operational(s.Taken), m.security(use))
	known := 0
	for _, f := range factors {
		if f.Known {
			known++
		}
	}
	return Scores{
		Popularity: mean(factors, "popularity"), Activity: mean(factors, "activity"), Operational: mean(factors, "operational"), Security: mean(factors, "security"),
		Known: round(float64(known)/float64(len(factors)), 100),
	}, factors
}

func mean(all []Factor, score string) *float64 {
	sum, n := 0.0, 0
	for _, f := range all {
		if f.Score == score && f.Known {
			sum += f.Value
			n++
		}
	}
	if n == 0 {
		return nil
	}
	v := round(sum/float64(n), 10)
	return &v
}

func round(v, parts float64) float64 { return math.Round(v*parts) / parts }

// logarithmic gives 0 for none and 10 for most and more.
func logarithmic(n, most int64) float64 {
	return min(10, 10*math.Log1p(float64(n))/math.Log1p(float64(most)))
}

// The numbers that give a full score, near the top of the Hub in 2026.
const (
	fullDownloads = 10_000_000 // in thirty days
	fullLikes     = 5_000
	fullSpaces    = 100
	fullDerived   = 1_000
	fullPapers    = 3
	fullThreads   = 20 // discussions in half a year
	fullReleases  = 5
)

func counted(score, name string, n *int64, most int64) Factor {
	f := Factor{Score: score, Name: name, Known: n != nil}
	if n != nil {
		f.Value = logarithmic(*n, most)
	}
	return f
}

func listed[T any](score, name string, list []T, most int64) Factor {
	if list == nil {
		return Factor{Score: score, Name: name}
	}
	n := int64(len(list))
	return counted(score, name, &n, most)
}

func (m *Model) popularity() []Factor {
	const s = "popularity"
	papers := Factor{Score: s, Name: "papers"}
	n := int64(0)
	for _, t := range m.Tags {
		if strings.HasPrefix(t, "arxiv:") || strings.HasPrefix(t, "doi:") {
			n++
		}
	}
	if n > 0 { // a card that links no paper does not say that there is none
		papers = counted(s, "papers", &n, fullPapers)
	}
	return []Factor{
		counted(s, "downloads", m.Downloads, fullDownloads), counted(s, "likes", m.Likes, fullLikes), papers,
		listed(s, "spaces", m.Spaces, fullSpaces), counted(s, "derived models", m.Derived, fullDerived),
	}
}

func days(from, to time.Time) float64 { return to.Sub(from).Hours() / 24 }

func (m *Model) activity(now time.Time) []Factor {
	const s = "activity"
	change := Factor{Score: s, Name: "last change"}
	if m.LastModified != nil && !now.IsZero() {
		// Full for a month, none after three years, by the logarithm between.
		age := max(30, days(*m.LastModified, now))
		change.Known, change.Value = true, max(0, 10*(1-math.Log(age/30)/math.Log(1095.0/30)))
	}
	threads := Factor{Score: s, Name: "discussions"}
	if m.Discussions != nil {
		n := int64(0)
		for _, d := range m.Discussions {
			if age := days(d.Created, now); age <= 183 {
				n++
			}
		}
		threads = counted(s, "discussions", &n, fullThreads)
	}
	return []Factor{change, threads, listed(s, "releases", m.Releases, fullReleases)}
}

// licences gives families of licences what they let a user do.
var licences = [...]struct {
	prefix string
	value  float64
}{
	{"apache", 10},
	{"mit", 10},
	{"bsd", 10},
	{"cc0", 10},
	{"unlicense", 10},
	{"isc", 10},
	{"cc-by-nc", 2},
	{"cc-by-nd", 4},
	{"cc-by", 9},
	{"odc-by", 9},
	{"mpl", 8},
	{"lgpl", 7},
	{"agpl", 5},
	{"gpl", 6},
	{"openrail", 7},
	{"bigscience", 7},
	{"bigcode", 7},
	{"creativeml", 7},
	{"llama", 5},
	{"gemma", 5},
	{"deepfloyd", 4},
	{"other", 3},
	{"unknown", 1},
}

func (m *Model) operational(now time.Time) []Factor {
	const s = "operational"
	who := Factor{Score: s, Name: "author"}
	if a := m.AuthorData; a != nil && a.Type != "" {
		who.Known = true
		switch {
		case a.Verified:
			who.Value = 10
		case a.Type == "org":
			who.Value = 7
		default:
			who.Value = 4
		}
	}
	age := Factor{Score: s, Name: "age"}
	if m.CreatedAt != nil && !now.IsZero() {
		age.Known, age.Value = true, min(10, max(0, 10*days(*m.CreatedAt, now)/365))
	}
	gate := Factor{Score: s, Name: "gating"}
	if m.Gated != nil {
		gate.Known = true
		switch *m.Gated {
		case "false":
			gate.Value = 10
		case "auto":
			gate.Value = 7
		default:
			gate.Value = 5
		}
	}
	licence := Factor{Score: s, Name: "licence"}
	if m.License != nil {
		licence.Known = true
		if *m.License != "" {
			licence.Value = 3
		}
		for _, l := range licences {
			if strings.HasPrefix(strings.ToLower(*m.License), l.prefix) {
				licence.Value = l.value
				break
			}
		}
	}
	card := Factor{Score: s, Name: "card"}
	if m.HasCard {
		card.Known, card.Value = true, min(10, 10*float64(len(m.Card))/float64(len(cardFields)))
	}
	return []Factor{who, age, gate, licence, card}
}

// weights and pickles are ends of names of files: weights of any form, and those
// that a pickle may be in.
var (
	weights = []string{".safetensors", ".gguf", ".onnx", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".h5", ".keras", ".msgpack", ".tflite", ".pb"}
	pickles = []string{".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill"}
)

func (m *Model) security(use Use) []Factor {
	const s = "security"
	safe, pickle, signed := Factor{Score: s, Name: "safetensors"}, Factor{Score: s, Name: "pickle files"}, Factor{Score: s, Name: "signature"}
	if m.Files != nil {
		total, good, bad := 0, 0, 0
		signature := false
		for _, f := range m.Files {
			end := strings.ToLower(path.Ext(f))
			name := strings.ToLower(path.Base(f))
			if name == "training_args.bin" { // a pickle, and no weights
				bad++
				continue
			}
			if slices.Contains(weights, end) {
				total++
			}
			if end == ".safetensors" {
				good++
			}
			if slices.Contains(pickles, end) {
				bad++
			}
			signature = signature || name == "model.sig" || strings.HasSuffix(name, ".sigstore") || strings.HasSuffix(name, ".sigstore.json") || strings.HasSuffix(name, ".intoto.jsonl")
		}
		if total > 0 {
			safe.Known, safe.Value = true, 10*float64(good)/float64(total)
			pickle.Known, pickle.Value = true, 10
			if bad > 0 {
				pickle.Value = 0
			}
		}
		signed.Known = true
		if signature {
			signed.Value = 10
		}
	}
	remote := Factor{Score: s, Name: "remote code"}
	if m.AutoMap != nil || m.Tags != nil {
		remote.Known, remote.Value = true, 10
		if m.AutoMap != nil && *m.AutoMap || slices.Contains(m.Tags, "custom_code") {
			remote.Value = 0
		}
	}
	verdict := Factor{Score: s, Name: "verdict"}
	if use.Verdict != "" {
		verdict.Known = true
		verdict.Value = map[string]float64{"clean": 10, "review": 5, "inconclusive": 3}[use.Verdict]
	}
	pinned := Factor{Score: s, Name: "pinned", Known: true}
	if use.Pinned {
		pinned.Value = 10
	}
	return []Factor{safe, pickle, remote, verdict, signed, pinned}
}
