package pii

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"golang.org/x/crypto/sha3"

	"github.com/modelwarden/warden/internal/text/stream"
)

// An identifier has letters in it. Its form is one letter a place: A a letter, 9
// a digit, X either, and others themselves.
type identifier struct {
	name, form string
	check      func(s string) bool
	alone      bool
	words      map[string]bool
}

var identifiers = []identifier{
	{"cn-id", "99999999999999999X", func(s string) bool { return s[17] == 'X' && residentCN([]byte(s[:17]), 'X') }, true, nil},
	{"it-cf", "AAAAAA99A99A999A", codiceFiscale, true, nil},
	{"mx-curp", "AAAA999999AAAAAAX9", curp, true, nil},
	{"mx-rfc", "AAAA999999XXX", dated(4), false, set("rfc")},
	{"mx-rfc", "AAA999999XXX", dated(3), false, set("rfc")},
	{"es-dni", "99999999A", func(s string) bool { return letter23(s[:8], s[8]) }, true, nil},
	{"es-nie", "A9999999A", nie, true, nil},
	{"sg-nric", "A9999999A", nric, true, nil},
	{"tw-id", "A999999999", taiwanID, true, nil},
	{"uk-nino", "AA999999A", nino, false, set("nino national insurance ni")},
	{"in-pan", "AAAAA9999A", func(s string) bool { return strings.IndexByte("ABCFGHLJPTK", s[3]) >= 0 }, false, set("pan income")},
}

// shortest is the length of the shortest identifier that is one run, and of a BIC.
const shortest = 8

// ident decides about the run of letters and digits [w.At, end), and about what
// begins with it.
func ident(w stream.Window, end int) ([]stream.Match, stream.State) {
	b, at := w.B, w.At
	if m, s := iban(w, end); s != stream.No {
		return m, s
	}
	if m, s := finnish(w, end); s != stream.No {
		return m, s
	}
	if m, s := rut(w, end); s != stream.No {
		return m, s
	}
	if end-at < shortest {
		return nil, stream.No
	}
	run := string(b[at:end])
	upper := strings.ToUpper(run)
	for i := range identifiers {
		k := &identifiers[i]
		if shaped(upper, k.form) && k.check(upper) && (k.alone || beside(b, at, k.words)) {
			return []stream.Match{match(at, end, k.name, 2)}, stream.Yes
		}
	}
	if len(upper) == 2 && end < len(b) && b[end] == ' ' { // a national insurance number in pairs
		return nil, stream.No
	}
	if name := coin(b, at, end, run); name != "" {
		return []stream.Match{match(at, end, name, 3)}, stream.Yes
	}
	if (len(run) == 8 || len(run) == 11) && shaped(upper[:6], "AAAAAA") && beside(b, at, bicWords) {
		return []stream.Match{match(at, end, "bic", 3)}, stream.Yes
	}
	return nil, stream.No
}

var bicWords = set("bic swift")

func shaped(s, form string) bool {
	if len(s) != len(form) {
		return false
	}
	for i := range len(s) {
		switch {
		case form[i] == 'A' && !isLetter(s[i]), form[i] == '9' && !isDigit(s[i]):
			return false
		}
	}
	return true
}

// ibanLength gives the length of each country's account number.
//
// Source: the IBAN registry of SWIFT.
var ibanLength = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22,
	"CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22,
	"GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30,
	"KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27,
	"MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33,
	"SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29,
	"VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

// iban decides about an account number, with or without spaces (ISO 13616).
func iban(w stream.Window, end int) ([]stream.Match, stream.State) {
	b, at := w.B, w.At
	if end-at < 4 || !isLetter(b[at]) || !isLetter(b[at+1]) || !isDigit(b[at+2]) || !isDigit(b[at+3]) {
		return nil, stream.No
	}
	n := ibanLength[strings.ToUpper(string(b[at:at+2]))]
	if n == 0 {
		return nil, stream.No
	}
	s := make([]byte, 0, 34)
	i := at
	for i < len(b) && len(s) < n {
		c := b[i]
		switch {
		case isAlnum(c):
			s = append(s, c&^(c>>1&0x20))
		case (c == ' ' || c == '-') && len(s)%4 == 0 && b[i-1] != c:
		default:
			return nil, stream.No
		}
		i++
	}
	if i == len(b) && !w.Ended() {
		return nil, stream.More
	}
	if len(s) < n || i < len(b) && isWord(b[i]) {
		return nil, stream.No
	}
	r := 0
	for j := range s {
		switch c := strings.ToUpper(string(s[(j+4)%n]))[0]; {
		case isDigit(c):
			r = (r*10 + int(c-'0')) % 97
		default:
			r = (r*100 + int(c-'A') + 10) % 97
		}
	}
	if r != 1 {
		return nil, stream.No
	}
	return []stream.Match{match(at, i, "iban", 0)}, stream.Yes
}

// finnish decides about a personal identity code: a date, a sign of the century,
// three digits and a check letter.
func finnish(w stream.Window, end int) ([]stream.Match, stream.State) {
	b, at := w.B, w.At
	if end-at < 6 || !isDigit(b[at+5]) {
		return nil, stream.No
	}
	for i := range 6 {
		if !isDigit(b[at+i]) {
			return nil, stream.No
		}
	}
	if end-at == 6 && (end == len(b) || b[end] != '-' && b[end] != '+') {
		return nil, stream.No
	}
	if len(b) < at+12 && !w.Ended() {
		return nil, stream.More
	}
	if len(b) < at+11 || strings.IndexByte("+-ABCDEFYXWVU", b[at+6]) < 0 || len(b) > at+11 && isWord(b[at+11]) {
		return nil, stream.No
	}
	d := append(append([]byte{}, b[at:at+6]...), b[at+7:at+10]...)
	for _, c := range d {
		if !isDigit(c) {
			return nil, stream.No
		}
	}
	if !day(value(d[4:6]), value(d[2:4]), value(d[:2])) || "0123456789ABCDEFHJKLMNPRSTUVWXY"[value(d)%31] != b[at+10] {
		return nil, stream.No
	}
	return []stream.Match{match(at, at+11, "fi-hetu", 2)}, stream.Yes
}

// rut decides about a number of Chile: up to eight digits, a hyphen and a check.
func rut(w stream.Window, end int) ([]stream.Match, stream.State) {
	b, at := w.B, w.At
	i, dots := at, 0
	var digits [11]byte
	d := digits[:0]
	for i < len(b) && i-at < 11 && (isDigit(b[i]) || b[i] == '.') {
		if b[i] == '.' {
			dots++
		} else {
			d = append(d, b[i])
		}
		i++
	}
	if i < end || len(d) == 0 {
		return nil, stream.No
	}
	if i+3 > len(b) && !w.Ended() && i-at < 11 {
		return nil, stream.More
	}
	if len(d) < 7 || len(d) > 8 || i+1 >= len(b) || b[i] != '-' || i+2 < len(b) && (isWord(b[i+2]) || b[i+2] == '-') {
		return nil, stream.No
	}
	sum, k := 0, 2
	for _, c := range slices.Backward(d) {
		sum += k * int(c-'0')
		if k++; k > 7 {
			k = 2
		}
	}
	if "0K987654321"[sum%11] != b[i+1]&^(b[i+1]>>1&0x20) || dots != 2 && !beside(b, at, rutWords) {
		return nil, stream.No
	}
	return []stream.Match{match(at, i+2, "cl-rut", 2)}, stream.Yes
}

var rutWords = set("rut run")

func letter23(digits string, c byte) bool {
	return "TRWAGMYFPDXBNJZSQVHLCKE"[value([]byte(digits))%23] == c && digits != "00000000"
}

func nie(s string) bool {
	i := strings.IndexByte("XYZ", s[0])
	return i >= 0 && letter23("012"[i:i+1]+s[1:8], s[8])
}

func nric(s string) bool {
	sum := weighted([]byte(s[1:8]), 2, 7, 6, 5, 4, 3, 2)
	switch s[0] {
	case 'S':
		return "JZIHGFEDCBA"[sum%11] == s[8]
	case 'T':
		return "JZIHGFEDCBA"[(sum+4)%11] == s[8]
	case 'F':
		return "XWUTRQPNMLK"[sum%11] == s[8]
	case 'G':
		return "XWUTRQPNMLK"[(sum+4)%11] == s[8]
	case 'M':
		return "KLJNPQRTUWX"[(sum+3)%11] == s[8]
	}
	return false
}

func taiwanID(s string) bool {
	n := strings.IndexByte("ABCDEFGHJKLMNPQRSTUVXYWZIO", s[0]) + 10
	d := []byte(s[1:])
	return (s[1] == '1' || s[1] == '2') && (n/10+n%10*9+weighted(d, 8, 7, 6, 5, 4, 3, 2, 1, 1))%10 == 0
}

func nino(s string) bool {
	return strings.IndexByte("DFIQUV", s[0]) < 0 && strings.IndexByte("DFIOQUV", s[1]) < 0 && s[8] >= 'A' && s[8] <= 'D' &&
		s[:2] != "BG" && s[:2] != "GB" && s[:2] != "NK" && s[:2] != "KN" && s[:2] != "TN" && s[:2] != "NT" && s[:2] != "ZZ"
}

func dated(at int) func(string) bool {
	return func(s string) bool {
		d := []byte(s[at : at+6])
		return day(value(d[:2]), value(d[2:4]), value(d[4:6]))
	}
}

func curp(s string) bool {
	const order = "0123456789ABCDEFGHIJKLMN\x00OPQRSTUVWXYZ" // the place of Ñ is not used
	if !dated(4)(s) || s[10] != 'H' && s[10] != 'M' && s[10] != 'X' {
		return false
	}
	sum := 0
	for i := range 17 {
		sum += strings.IndexByte(order, s[i]) * (18 - i)
	}
	return (10-sum%10)%10 == int(s[17]-'0')
}

// codiceFiscale: decree of the Italian ministry of finance of 23 December 1976.
func codiceFiscale(s string) bool {
	odd := [26]int{1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23}
	sum := 0
	for i := range 15 {
		v := int(s[i] - 'A')
		if isDigit(s[i]) {
			v = int(s[i] - '0')
		}
		if i%2 == 0 {
			v = odd[v]
		}
		sum += v
	}
	return byte('A'+sum%26) == s[15] && strings.IndexByte("ABCDEHLMPRST", s[8]) >= 0
}

// coin names the network of a payment address, or returns "".
//
// Sources: base58check; BIP 173 and BIP 350; ERC-55.
func coin(b []byte, at, end int, s string) string {
	n := end - at
	switch {
	case n == 42 && (strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X")):
		if ethereum(s[2:]) || strings.ToLower(s[2:]) == s[2:] && beside(b, at, coinWords) && hexOnly(s[2:]) {
			return "eth"
		}
	case n >= 26 && n <= 35 && (s[0] == '1' || s[0] == '3'):
		if raw := base58(s); len(raw) == 25 {
			one := sha256.Sum256(raw[:21])
			two := sha256.Sum256(one[:])
			if string(two[:4]) == string(raw[21:]) {
				return "btc"
			}
		}
	case n >= 14 && n <= 90 && (strings.HasPrefix(s, "bc1") || strings.HasPrefix(s, "BC1")):
		if bech32(strings.ToLower(s)) {
			return "btc"
		}
	}
	return ""
}

var coinWords = set("eth ethereum wallet ether address usdt")

func hexOnly(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil
}

func ethereum(s string) bool {
	small := strings.ToLower(s)
	if !hexOnly(small) || small == s || strings.ToUpper(s) == s {
		return false
	}
	h := sha3.NewLegacyKeccak256()
	_, _ = h.Write([]byte(small))
	sum := hex.EncodeToString(h.Sum(nil))
	for i := range len(s) {
		if isLetter(s[i]) && (sum[i] >= '8') != (s[i] < 'a') {
			return false
		}
	}
	return true
}

func bech32(s string) bool {
	const alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	gen := [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}
	c := uint32(1)
	step := func(v uint32) {
		top := c >> 25
		c = c&0x1ffffff<<5 ^ v
		for i := range 5 {
			if top>>i&1 == 1 {
				c ^= gen[i]
			}
		}
	}
	for _, v := range []uint32{3, 3, 0, 2, 3} { // "bc"
		step(v)
	}
	for i := 3; i < len(s); i++ {
		v := strings.IndexByte(alphabet, s[i])
		if v < 0 {
			return false
		}
		step(uint32(v)) //nolint:gosec // at most 31
	}
	return c == 1 || c == 0x2bc830a3
}
