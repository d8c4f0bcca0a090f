package detect_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/modelwarden/warden/detect"
)

func TestPrintable(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"os.system('id')", "os.system('id')"},
		{"a\nb\x1b[31m", `a\nb\x1b[31m`},
		{"\u202egpj.exe", `\u202egpj.exe`},
		{"a\xffb", `a\xffb`},
		{"größe 😀", "größe 😀"},
		{strings.Repeat("x", 300), strings.Repeat("x", 253) + "…"},
	} {
		if got := detect.Printable(tt.in, 256); got != tt.want {
			t.Errorf("Printable(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("é\x00\xff", 8)
	f.Add(strings.Repeat("\u202e", 99), 64)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = 16 + n&255
		got := detect.Printable(s, n)
		if !utf8.ValidString(got) || len(got) > n || strings.ContainsAny(got, "\n\r\x1b") {
			t.Errorf("Printable(%q, %d) = %q", s, n, got)
		}
	})
}
