package pii_test

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/text/pii"
	"github.com/modelwarden/warden/internal/text/stream"
)

func newText(t testing.TB) *stream.Text {
	t.Helper()
	plan, err := stream.NewPlan([]stream.Trigger{{Slot: 0, Bytes: "@"}, {Slot: 1, Runs: true}, {Slot: 2, Words: []string{"<<"}}})
	if err != nil {
		t.Fatal(err)
	}
	o := pii.Options{Regions: map[string]bool{"US": true, "DE": true}}
	return stream.New(plan, []stream.Recogniser{{Run: pii.Email}, {Run: o.Run}, {Run: pii.MRZ, Cap: pii.MRZCap}})
}

// kinds returns what is found in a text: the kind, and the text it is in.
func kinds(t testing.TB, s string) string {
	var out []string
	newText(t).Add([]byte(s), true, func(m stream.Match) { out = append(out, m.Kind+":"+s[m.Start:m.End]) })
	return strings.Join(out, " ")
}

func TestKinds(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"4111111111111111", "card:4111111111111111"},
		{"x4111111111111111", ""},
		{"41111111111111112222222222222222", ""},
		{"4111-1111-1111-1111 123", "card:4111-1111-1111-1111"},
		{"4111 1111 1111 1111 12/27", "card:4111 1111 1111 1111"},
		{"5555555555554444, 378282246310005; 30569309025904", "card:5555555555554444 card:378282246310005 card:30569309025904"},
		{"0000000000000000", ""},
		{"GB82WEST12345698765432.", "iban:GB82WEST12345698765432"},
		{"DE89 3704 0044 0532 0130 00 is", "iban:DE89 3704 0044 0532 0130 00"},
		{"NL91ABNA0417164300 and NL91ABNA0417164301", "iban:NL91ABNA0417164300"},
		{"my ssn: 460-89-9847", "us-ssn:460-89-9847"},
		{"classn 460-89-9847", ""},
		{"ssn one two three four five six 460-89-9847", ""},
		{"mail a.b+c@sub.skane.se!", "email:a.b+c@sub.skane.se"},
		{"a@b, @c.de d@e.f", ""},
		{"jörg@müller.de", "email:jörg@müller.de"},
		{"ip 8.8.4.4, v 1.2.3.4, 1.2.3.4.5, 10.0.0.1", "ip:8.8.4.4"},
		{"2606:4700::1111 ::1 fe80::1", "ip:2606:4700::1111"},
		{"at 12:30:45 and 00:00:00:00:00:00", ""},
		{"00-1B-44-11-3A-B7", "mac:00-1B-44-11-3A-B7"},
		{"+1 415 555 2671", "phone:+1 415 555 2671"},
		{"(415) 555-2671", "phone:(415) 555-2671"},
		{"030 901820", "phone:030 901820"},
		{"pages 100-200, 1999-2004, 3.14159 and 10,000,000", ""},
		{"2024-11-22 10:11:12", ""},
		{"isbn 978-3-16-148410-0", ""},
	} {
		if got := kinds(t, tt.text); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
}

// TestWeakChecks: a number with one check digit is nothing without its word.
func TestWeakChecks(t *testing.T) {
	for text, want := range map[string]string{
		"943 476 5919": "", "nhs 943 476 5919": "uk-nhs:943 476 5919", "111222333": "", "bsn 111222333": "nl-bsn:111222333",
		"nhsx 943 476 5919": "", "afm 094259216": "gr-afm:094259216", "oib 94577403194": "hr-oib:94577403194", "44051401359": "", "egn 7523169263": "bg-egn:7523169263",
	} {
		if got := kinds(t, text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzRun(f *testing.F) {
	for _, s := range []string{"4111 1111 1111 1111", "(415) 555-2671 x12 fax", "GB82 WEST 1234 5698 7654 32", "a@b.de", "2606:4700::1111", "P<UTOERIKSSON<<ANNA", "131052-308T", "12.345.678-5", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, s string, cut int) {
		if len(s) > 10_000 {
			return
		}
		whole := kinds(t, s)
		cut = min(max(0, cut), len(s))
		var out []string
		text := newText(t)
		tell := func(m stream.Match) { out = append(out, m.Kind+":"+s[m.Start:m.End]) }
		text.Add([]byte(s[:cut]), false, tell)
		text.Add([]byte(s[cut:]), true, tell)
		if got := strings.Join(out, " "); got != whole {
			t.Errorf("%q cut at %d: %q, whole %q", s, cut, got, whole)
		}
	})
}
