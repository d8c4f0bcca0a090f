package hub_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/inventory/hub"
)

func read(t *testing.T, text string) *hub.Snapshot {
	t.Helper()
	s, err := hub.Read(t.Context(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestFactors says of each factor what it is for what, and that it is unknown,
// not zero, where the hub says nothing or something of another type.
func TestFactors(t *testing.T) {
	const unknown = -1
	for _, tt := range []struct {
		name, factor, fields string
		use                  hub.Use
		want                 float64
	}{
		{"downloads_none", "downloads", `"downloads":0`, hub.Use{}, 0},
		{"downloads_thousand", "downloads", `"downloads":1000`, hub.Use{}, 4.3},
		{"downloads_most", "downloads", `"downloads":900000000`, hub.Use{}, 10},
		{"downloads_unknown", "downloads", ``, hub.Use{}, unknown},
		{"downloads_text", "downloads", `"downloads":"many"`, hub.Use{}, unknown},
		{"downloads_negative", "downloads", `"downloads":-5`, hub.Use{}, unknown},
		{"likes", "likes", `"likes":5000`, hub.Use{}, 10},
		{"papers", "papers", `"tags":["arxiv:1810.04805","pytorch"]`, hub.Use{}, 5},
		{"papers_not_named", "papers", `"tags":["pytorch"]`, hub.Use{}, unknown},
		{"spaces", "spaces", `"spaces":["a/b"]`, hub.Use{}, 1.5},
		{"derived", "derived models", `"childrenModelCount":1000`, hub.Use{}, 10},
		{"change_today", "last change", `"lastModified":"2026-11-01T00:00:00.000Z"`, hub.Use{}, 10},
		{"change_year_ago", "last change", `"lastModified":"2025-11-01T00:00:00.000Z"`, hub.Use{}, 3.1},
		{"change_long_ago", "last change", `"lastModified":"2020-11-01T00:00:00.000Z"`, hub.Use{}, 0},
		{"change_no_date", "last change", `"lastModified":"yesterday"`, hub.Use{}, unknown},
		{"discussions", "discussions", `"discussions":[{"createdAt":"2026-10-20T00:00:00Z"},{"createdAt":"2021-01-01T00:00:00Z"}]`, hub.Use{}, 2.3},
		{"releases", "releases", `"releases":["v1","v2","v3","v4","v5"]`, hub.Use{}, 10},
		{"author_user", "author", `"authorData":{"type":"user"}`, hub.Use{}, 4},
		{"author_org", "author", `"authorData":{"type":"org"}`, hub.Use{}, 7},
		{"author_verified", "author", `"authorData":{"type":"org","isVerified":true}`, hub.Use{}, 10},
		{"author_unknown", "author", `"author":"acme"`, hub.Use{}, unknown},
		{"age_half_year", "age", `"createdAt":"2026-05-02T00:00:00Z"`, hub.Use{}, 5},
		{"age_old", "age", `"createdAt":"2022-01-01T00:00:00Z"`, hub.Use{}, 10},
		{"gating_open", "gating", `"gated":false`, hub.Use{}, 10},
		{"gating_auto", "gating", `"gated":"auto"`, hub.Use{}, 7},
		{"gating_manual", "gating", `"gated":"manual"`, hub.Use{}, 5},
		{"gating_null", "gating", `"gated":null`, hub.Use{}, unknown},
		{"licence_permissive", "licence", `"cardData":{"license":"apache-2.0"}`, hub.Use{}, 10},
		{"licence_noncommercial", "licence", `"cardData":{"license":["cc-by-nc-4.0"]}`, hub.Use{}, 2},
		{"licence_own", "licence", `"cardData":{"license":"acme-terms"}`, hub.Use{}, 3},
		{"licence_none", "licence", `"cardData":{"language":"en"}`, hub.Use{}, 0},
		{"licence_of_tags", "licence", `"tags":["license:mit"],"cardData":{}`, hub.Use{}, 10},
		{"licence_unknown", "licence", ``, hub.Use{}, unknown},
		{"card_half", "card", `"cardData":{"language":"en","datasets":["x"],"base_model":"y/z","model-index":[]}`, hub.Use{}, 5},
		{"card_empty", "card", `"cardData":{}`, hub.Use{}, 0},
		{"safetensors_half", "safetensors", `"siblings":[{"rfilename":"a.safetensors"},{"rfilename":"pytorch_model.bin"},{"rfilename":"config.json"}]`, hub.Use{}, 5},
		{"safetensors_no_weights", "safetensors", `"siblings":[{"rfilename":"README.md"}]`, hub.Use{}, unknown},
		{"pickles", "pickle files", `"siblings":[{"rfilename":"a.safetensors"},{"rfilename":"training_args.bin"}]`, hub.Use{}, 0},
		{"pickles_none", "pickle files", `"siblings":[{"rfilename":"a.safetensors"}]`, hub.Use{}, 10},
		{"remote_code", "remote code", `"config":{"auto_map":{"AutoModel":"m.M"}}`, hub.Use{}, 0},
		{"remote_code_of_tags", "remote code", `"tags":["custom_code"]`, hub.Use{}, 0},
		{"remote_code_none", "remote code", `"config":{}`, hub.Use{}, 10},
		{"remote_code_unknown", "remote code", ``, hub.Use{}, unknown},
		{"verdict_clean", "verdict", ``, hub.Use{Verdict: "clean"}, 10},
		{"verdict_malicious", "verdict", ``, hub.Use{Verdict: "malicious"}, 0},
		{"verdict_unknown", "verdict", ``, hub.Use{}, unknown},
		{"signed", "signature", `"siblings":[{"rfilename":"model.sig"}]`, hub.Use{}, 10},
		{"not_signed", "signature", `"siblings":[]`, hub.Use{}, 0},
		{"signature_unknown", "signature", ``, hub.Use{}, unknown},
		{"pinned", "pinned", ``, hub.Use{Pinned: true}, 10},
		{"not_pinned", "pinned", ``, hub.Use{}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			line := `{"id":"acme/m"`
			if tt.fields != "" {
				line += "," + tt.fields
			}
			s := read(t, line+"}\n"+`{"id":"acme/clock","lastModified":"2026-11-01T00:00:00Z"}`+"\n")
			_, factors := s.Score(s.Model("Acme/M"), tt.use)
			got := math.NaN()
			for _, f := range factors {
				if f.Name == tt.factor {
					got = unknown
					if f.Known {
						got = math.Round(f.Value*10) / 10
					}
				}
			}
			if got != tt.want {
				t.Errorf("%s = %v, want %v", tt.factor, got, tt.want)
			}
		})
	}
}

// TestScoresLeaveUnknownOut says that a score is the mean of what is known, and
// nil where nothing is.
func TestScoresLeaveUnknownOut(t *testing.T) {
	s := read(t, `{"id":"acme/m","downloads":10000000}`)
	got, factors := s.Score(s.Model("acme/m"), hub.Use{Pinned: true})
	if got.Popularity == nil || *got.Popularity != 10 {
		t.Errorf("popularity %v", got.Popularity)
	}
	if got.Activity != nil || got.Operational != nil {
		t.Errorf("activity %v, operational %v: nothing is known of them", got.Activity, got.Operational)
	}
	if got.Security == nil || *got.Security != 10 {
		t.Errorf("security %v", got.Security)
	}
	if want := math.Round(2.0/float64(len(factors))*100) / 100; got.Known != want {
		t.Errorf("known %v, want %v", got.Known, want)
	}
	if none, _ := s.Score(s.Model("acme/other"), hub.Use{}); none.Popularity != nil || *none.Security != 0 {
		t.Errorf("a model that the snapshot lacks: %+v", none)
	}
}

const two = `{"id":"b/two","downloads":5,"gated":"auto","tags":["license:mit"],"cardData":{"language":"en"},"siblings":[{"rfilename":"a.bin"}],"config":{"auto_map":{}},"createdAt":"2024-01-02T03:04:05.000Z"}
{"modelId":"a/one","likes":3,"authorData":{"type":"org"},"spaces":["x/y"],"unheard":{"of":[1]}}
`

// TestWriteReadsBack says that what is stored gives the same scores, sorted.
func TestWriteReadsBack(t *testing.T) {
	first := read(t, two)
	var b, again bytes.Buffer
	if err := first.Write(&b); err != nil {
		t.Fatal(err)
	}
	second := read(t, b.String())
	for _, id := range []string{"a/one", "b/two"} {
		_, want := first.Score(first.Model(id), hub.Use{})
		_, got := second.Score(second.Model(id), hub.Use{})
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: -want +got:\n%s", id, d)
		}
	}
	if err := second.Write(&again); err != nil || again.String() != b.String() {
		t.Errorf("written twice: %v\n%s%s", err, &b, &again)
	}
	if !strings.HasPrefix(b.String(), `{"id":"a/one"`) {
		t.Errorf("not sorted: %s", &b)
	}
}

func TestReadForms(t *testing.T) {
	for name, text := range map[string]string{
		"lines": two, "array": "[" + strings.ReplaceAll(strings.TrimSpace(two), "\n", ",") + "]", "array_over_lines": "[\n" + strings.ReplaceAll(strings.TrimSpace(two), "\n", ",\n") + "\n]\n", "empty_lines": "\n\n" + two + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			if s := read(t, text); s.Len() != 2 || s.Model("A/One") == nil {
				t.Errorf("%d models", s.Len())
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no_json": "hello\n", "no_id": `{"downloads":1}`, "list_in_list": `[[{"id":"a/b"}]]`, "number": "7", "cut": `{"id":"a/b"`, "long_line": `{"id":"` + strings.Repeat("a", 5<<20) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := hub.Read(t.Context(), strings.NewReader(text)); !errors.Is(err, hub.ErrSnapshot) || !strings.Contains(err.Error(), "line 1") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(two))
	f.Add([]byte(`[{"id":"a/b","gated":true,"siblings":{},"cardData":{"license":["x"]}}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := hub.Read(t.Context(), bytes.NewReader(b))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := s.Write(&out); err != nil {
			t.Fatal(err)
		}
		again, err := hub.Read(t.Context(), bytes.NewReader(out.Bytes()))
		if err != nil || again.Len() != s.Len() {
			t.Fatalf("what was written does not read back: %v, %d of %d\n%s", err, again.Len(), s.Len(), &out)
		}
		_, factors := s.Score(nil, hub.Use{})
		for _, x := range factors {
			if x.Value < 0 || x.Value > 10 || math.IsNaN(x.Value) {
				t.Errorf("%+v", x)
			}
		}
	})
}
