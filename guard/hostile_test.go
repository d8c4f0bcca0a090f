package guard_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/chat"
)

// hostile are texts that open candidates again and again and end few of them.
var hostile = map[string]string{
	"addresses":    "http://",
	"images":       "![a](",
	"links":        "[a](http://",
	"links_open":   "[a](",
	"links_spaced": "![](x y ",
	"titles":       `[](a "`,
	"brackets":     "![[",
	"angles":       "[](<a",
	"definitions":  "\n[a]:http",
	"defined_line": "[a]:",
	"tags":         `<a x="`,
	"tags_bare":    "<a ",
	"tags_attr":    "<a b=c d=e",
	"tags_unknown": "<q b=c d=e ",
	"slack":        "<a:b|c ",
	"styles":       "url(http:",
	"emails":       "a@b.c@",
	"ats":          "@",
	"emails_dots":  "a.b.c.d.e@f.g.h.i.j.k-",
	"digits":       "1 22 333-4444 ",
	"digits_all":   "1234567890",
	"digits_pairs": "4111 1111 1111 1111 1",
	"digits_words": "card 1 ssn 2 ",
	"hex":          "ab:cd:12:",
	"macs":         "00-11-22-",
	"runs":         "a1 b2 c3 ",
	"mrz":          "P<<A",
	"mrz_lines":    "P<UTOA<<B<<<<<<\n",
	"keys":         "key=key=key=",
	"keys_quoted":  `api_key = "a`,
	"tokens":       "token: token ",
	"pem":          "-----BEGIN ",
	"pem_keys":     "-----BEGIN RSA PRIVATE KEY-----\n-----END ",
	"jwt":          "eyJ",
	"jwt_dots":     "eyJa.",
	"dots":         "a.",
	"escapes":      "\x1b]",
	"escapes_csi":  "\x1b[1;",
	"placeholders": "[A_",
	"shell":        "curl http://a ",
	"rm":           "rm -rf ",
	"sql":          "drop table ",
	"script":       "<script ",
	"formulas":     "hyperlink(",
	"markers":      "<|im_end|>",
	"tags_names":   "<a a",
	"tags_mixed":   "<q a",
	"powershell":   "powershell base64 -d ",
	"rm_all":       "rm -mkfs dd if=remove-item del /format c:chmod -r 777 /vssadmin delete ",
	"sql_dump":     "DROP TABLE IF EXISTS t;\nDELETE FROM x WHERE a = 1;\n",
	"passwords":    "postgres://a:b",
	"bearer":       "authorization: bearer ",
}

func BenchmarkHostile(b *testing.B) {
	for name, text := range hostile {
		for _, size := range []struct {
			name  string
			piece int
		}{{"", 4096}, {"_pieces", 16}} {
			b.Run(name+size.name, func(b *testing.B) { benchmark(b, text, size.piece, &chat.Exchange{}) })
		}
	}
}

// Whatever an answer says, and however it is cut, a byte of it is shown to
// recognisers a bounded number of times.
func TestHostileIsLinear(t *testing.T) {
	const size, most = 128 << 10, 1600
	for name, text := range hostile {
		t.Run(name, func(t *testing.T) {
			data := []byte(strings.Repeat(text, 1+size/len(text)))
			for _, piece := range []int{len(data), 4096, 16} {
				s, err := guard.NewStream(guard.StreamConfig{}, &chat.Exchange{})
				if err != nil {
					t.Fatal(err)
				}
				for p := data; len(p) > 0; p = p[min(piece, len(p)):] {
					if _, err := s.Write(textLane, p[:min(piece, len(p))]); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := s.Close(textLane); err != nil {
					t.Fatal(err)
				}
				t.Logf("pieces of %d: %d a byte", piece, s.Steps()/int64(len(data)))
				if got := s.Steps() / int64(len(data)); got > most {
					t.Errorf("pieces of %d: a byte is shown %d times, want at most %d", piece, got, most)
				}
			}
		})
	}
}

// What costs more than texts may is not looked at to its end, and said to be so.
func TestTooHostile(t *testing.T) {
	text := strings.Repeat("![a]("+strings.Repeat("![a](b()", 500)+"\n\n", 100)
	for _, piece := range []int{len(text), 1000} {
		s, err := guard.NewStream(guard.StreamConfig{}, &chat.Exchange{})
		if err != nil {
			t.Fatal(err)
		}
		for p := text; len(p) > 0 && err == nil; p = p[min(piece, len(p)):] {
			_, err = s.Write(textLane, []byte(p[:min(piece, len(p))]))
		}
		if !errors.Is(err, detect.ErrLimit) || s.Finish().Complete {
			t.Errorf("pieces of %d: %v, want that a limit was passed", piece, err)
		}
	}
}

// Links that never end are found as one after the other, without gaps. Only what
// is shorter than one may be, at the end of the text, is no link.
func TestWithoutEnd(t *testing.T) {
	text := strings.Repeat("![a](http://evil.test/", 2000)
	got, res := examine(t, guard.StreamConfig{}, &chat.Exchange{}, textLane, text, cutsOf(text, 7)...)
	if n := strings.Count(got, "evil"); n*22 > 8<<10 || res.Effect != warden.Redact {
		t.Errorf("%s: %.200q", res.Effect, got)
	}
}
