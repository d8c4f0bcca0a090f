package pii

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/modelwarden/warden/internal/text/stream"
)

// Options say what counts as personal.
type Options struct {
	Regions map[string]bool // whose national telephone numbers count without a word beside them: "US"
}

// A kind is a sort of number: its digits in groups as people write them, and
// what a true one passes.
type kind struct {
	name    string
	layouts []string // lengths of the groups: "3-2-4"; a separator stands for itself, "_" for any one
	check   func(d []byte) bool
	alone   bool            // its check is strong enough without a word beside it
	words   map[string]bool // one of which stands before it otherwise
}

// Bounds of a number as it is written.
const (
	fewestDigits = 6
	maxGroups    = 12
	maxNumber    = 48
)

// A group is a run of digits, and the separator before it.
type group struct {
	start, end int
	sep        string
}

// Run decides about the run of letters and digits at w.At, and what follows it.
func (o Options) Run(w stream.Window) ([]stream.Match, stream.State) {
	b, at := w.B, w.At
	end := at
	digits, hex := true, true
	for end < len(b) && isAlnum(b[end]) {
		digits = digits && isDigit(b[end])
		hex = hex && isHex(b[end])
		end++
	}
	if end == len(b) && !w.Ended() {
		return nil, stream.More
	}
	if at > 0 && (b[at-1] == '_' || b[at-1] == '@') || end < len(b) && b[end] == '_' {
		return nil, stream.No
	}
	if hex && (at > 0 && b[at-1] == ':' || end < len(b) && (b[end] == ':' || b[end] == '-' && end-at == 2)) {
		if m, s := address(w); s != stream.No {
			return m, s
		}
	}
	if !digits {
		return ident(w, end)
	}
	inner := at > 1 && isDigit(b[at-2]) && strings.IndexByte(".-/:,", b[at-1]) >= 0
	if inner && b[at-1] != '-' && b[at-1] != '/' {
		return nil, stream.No
	}
	var buf [maxGroups]group
	groups, more := split(w, buf[:0])
	if more {
		return nil, stream.More
	}
	if groups[0].end < end { // the digits end within the run: too long for any number
		return nil, stream.No
	}
	if m, ok, undecided := o.number(w, groups, inner); undecided {
		return nil, stream.More
	} else if ok {
		return []stream.Match{m}, stream.Yes
	}
	return ident(w, end)
}

// split reads groups of digits from w.At on. It reports whether more of them may
// come.
func split(w stream.Window, groups []group) ([]group, bool) {
	b := w.B
	i, sep := w.At, ""
	for len(groups) < maxGroups && i-w.At < maxNumber {
		start := i
		for i < len(b) && isDigit(b[i]) && i-w.At < maxNumber {
			i++
		}
		if i == len(b) && !w.Ended() {
			return groups, true
		}
		if i == start || len(groups) > 0 && i < len(b) && (isLetter(b[i]) && b[i] != 'x' || b[i] == '_') {
			return groups, false
		}
		groups = append(groups, group{start, i, sep})
		from := i
		for i < len(b) && i-from < 2 && strings.IndexByte(" -./()\n", b[i]) >= 0 {
			i++
		}
		if i == len(b) && !w.Ended() {
			return groups, true
		}
		sep = string(b[from:i])
		if i == len(b) || !isDigit(b[i]) || sep == "" || strings.Contains(sep, "\n") {
			return groups, false
		}
		switch {
		case len(sep) == 1, sep == ") ", sep == " (", sep == ")-":
		default:
			return groups, false
		}
	}
	return groups, false
}

// number looks for the longest prefix of the groups that is a known number.
func (o Options) number(w stream.Window, groups []group, inner bool) (m stream.Match, ok, more bool) {
	b := w.B
	if len(groups) == 0 || len(groups) == 1 && groups[0].end-groups[0].start < fewestDigits {
		return m, false, false
	}
	var words context
	var buf [maxNumber]byte
	all := buf[:0]
	for _, x := range groups {
		all = append(all, b[x.start:x.end]...)
	}
	d := all
	for n := len(groups); n > 0; n-- {
		g := groups[:n]
		last := g[n-1].end
		if n < len(groups) {
			d = d[:len(d)-(groups[n].end-groups[n].start)]
			if groups[n].sep != " " {
				continue // it goes on
			}
		}
		if m, ok := ipv4(b, g); ok {
			return m, true, false
		}
		for _, f := range byDigits()[len(d)][n] {
			k := f.kind
			if !f.fits(g) || inner && (len(g) > 1 || !k.alone) || !k.check(d) {
				continue
			}
			if !k.alone && !words.before(b, w.At).has(k.words, wordsBefore) {
				continue
			}
			return match(g[0].start, last, k.name, 2), true, false
		}
		if inner {
			continue
		}
		if m, ok, more := o.phone(w, g, d, &words); ok || more {
			return m, ok, more
		}
	}
	return m, false, false
}

// A form is a kind, and the layouts of it that have so many digits and groups.
type form struct {
	kind    *kind
	layouts []string
}

// fits reports whether the groups are laid out so.
func (f form) fits(g []group) bool {
	for _, l := range f.layouts {
		if layout(l, g) {
			return true
		}
	}
	return false
}

// byDigits gives the kinds by how many digits they have, and groups of them.
var byDigits = sync.OnceValue(func() [][maxGroups + 1][]form {
	by := make([][maxGroups + 1][]form, maxNumber+1)
	for i := range numberKinds {
		k := &numberKinds[i]
		for _, l := range k.layouts {
			total, size, groups := 0, 0, 0
			for j := range len(l) {
				if size = size*10 + int(l[j]-'0'); !isDigit(l[j]) {
					size = 0
				} else if j+1 == len(l) || !isDigit(l[j+1]) {
					total += size
					groups++
				}
			}
			fs := by[total][groups]
			if n := len(fs); n == 0 || fs[n-1].kind != k {
				fs = append(fs, form{kind: k})
			}
			fs[len(fs)-1].layouts = append(fs[len(fs)-1].layouts, l)
			by[total][groups] = fs
		}
	}
	return by
})

func layout(l string, g []group) bool {
	n, i := 0, 0
	for i < len(l) {
		size := 0
		for i < len(l) && isDigit(l[i]) {
			size = size*10 + int(l[i]-'0')
			i++
		}
		if n == len(g) || g[n].end-g[n].start != size {
			return false
		}
		if n++; i < len(l) {
			if n == len(g) {
				return false
			}
			if l[i] != '_' && g[n].sep != l[i:i+1] || l[i] == '_' && (len(g[n].sep) != 1 || n > 1 && g[n].sep != g[1].sep) {
				return false
			}
			i++
		}
	}
	return n == len(g)
}

// ipv4 decides about four groups with full stops between them. A version of a
// program is none.
func ipv4(b []byte, g []group) (stream.Match, bool) {
	if len(g) != 4 || g[1].sep != "." || g[2].sep != "." || g[3].sep != "." {
		return stream.Match{}, false
	}
	a, err := netip.ParseAddr(string(b[g[0].start:g[3].end]))
	if err != nil || !personal(a) {
		return stream.Match{}, false
	}
	var words context
	words.before(b, g[0].start)
	small := true // like the versions of programs
	for _, x := range g {
		small = small && value(b[x.start:x.end]) < 20
	}
	if words.has(versions, 2) || small && !words.has(addressWords, wordsBefore) {
		return stream.Match{}, false
	}
	return match(g[0].start, g[3].end, "ip", 1), true
}

var addressWords = set("ip ips ipv4 address addresses host hosts server client ping from")

var versions = set("version versions v ver release build driver firmware section chapter oid")

// A plan is how long the numbers of a country are, without its code and without
// the leading zero or other digit that is dialled inside.
type plan struct {
	code     string
	min, max int
}

// Sources: ITU-T E.164 and E.123; lists of national numbering plans.
var plans = map[string]plan{
	"AT": {"43", 7, 13}, "AU": {"61", 9, 9}, "BE": {"32", 8, 9}, "BR": {"55", 10, 11}, "CA": {"1", 10, 10}, "CH": {"41", 9, 9},
	"CN": {"86", 9, 11}, "CZ": {"420", 9, 9}, "DE": {"49", 6, 11}, "DK": {"45", 8, 8}, "ES": {"34", 9, 9}, "FI": {"358", 6, 12},
	"FR": {"33", 9, 9}, "GB": {"44", 9, 10}, "HU": {"36", 8, 9}, "IE": {"353", 7, 9}, "IN": {"91", 10, 10}, "IT": {"39", 6, 11},
	"JP": {"81", 9, 10}, "KR": {"82", 8, 10}, "MX": {"52", 10, 10}, "NL": {"31", 9, 9}, "NO": {"47", 8, 8}, "NZ": {"64", 8, 10},
	"PL": {"48", 9, 9}, "PT": {"351", 9, 9}, "SE": {"46", 7, 9}, "SG": {"65", 8, 8}, "TR": {"90", 10, 10}, "US": {"1", 10, 10}, "ZA": {"27", 9, 9},
}

var (
	phoneWords = set(`phone phones telephone tel mobile cell cellphone fax desk office call calling called text sms whatsapp dial contact
		registered reach ring telefon tel. handy teléfono telefono móvil movil telefone celular téléphone portable telefoon puhelin telefonnummer
		rufnummer numéro numero cellulare тел телефон 电话 電話 phone: hotline pager voicemail answering messages`)
	afterPhone = set("fax mobile office phone cell tel home work desk")
	notPhone   = set(`order ticket invoice case reference ref version isbn issn id account card number-of zip postcode bug issue pr rfc page pages
		line lines row rows year years total sum price usd eur gbp port score`)
)

// phone decides about a telephone number. With a country code its length is
// right; without one it is one of the regions, or a word beside it says so.
func (o Options) phone(w stream.Window, g []group, d []byte, words *context) (m stream.Match, ok, more bool) {
	b := w.B
	start, end := g[0].start, g[len(g)-1].end
	if len(d) < 7 || len(d) > 17 {
		return m, false, false
	}
	for _, x := range g[1:] {
		if x.sep == "/" || x.sep == "." && x.end-x.start > 4 { // a date, a fraction
			return m, false, false
		}
	}
	plus := start > w.Lo && b[start-1] == '+' || start > w.Lo+1 && b[start-1] == '(' && b[start-2] == '+'
	for start > w.Lo && w.At-start < 2 && (b[start-1] == '+' || b[start-1] == '(') {
		start--
	}
	if start > 0 && (isWord(b[start-1]) || strings.IndexByte("#$€£/=.", b[start-1]) >= 0) {
		return m, false, false
	}
	if end < len(b) && b[end] == 'x' {
		i := end + 1
		for i < len(b) && isDigit(b[i]) && i-end < 7 {
			i++
		}
		if i == len(b) && !w.Ended() {
			return m, false, true
		}
		if i > end+1 {
			end = i
		}
	}
	if end < len(b) && (isWord(b[end]) || b[end] == '%' || b[end] == '+') {
		return m, false, false
	}
	m = match(start, end, "phone", 4)
	if plus || len(g) > 1 && len(d) > 10 && d[0] == '0' && d[1] == '0' {
		n := d
		if !plus {
			n = d[2:]
		}
		return m, len(n) >= 8 && len(n) <= 16 && n[0] != '0', false
	}
	if words.before(b, w.At).has(notPhone, 2) || datelike(g, d) || value(d[len(d)-3:]) == 0 && g[0].end-g[0].start <= 3 {
		return m, false, false
	}
	if o.national(b, g, d) {
		return m, true, false
	}
	if len(g) == 1 && len(d) < 9 || len(d) > 13 {
		return m, false, false
	}
	if words.has(phoneWords, wordsBefore) {
		return m, true, false
	}
	if len(g) == 1 {
		return m, false, false
	}
	next, known := after(w, end)
	return m, known && afterPhone[string(next)], !known && !w.Ended()
}

// national reports whether the digits are a number of one of the regions, in
// groups as it is written there.
func (o Options) national(b []byte, g []group, d []byte) bool {
	if o.Regions["US"] || o.Regions["CA"] {
		us := len(g) == 3 && len(d) == 10 && g[2].end-g[2].start == 4 && g[1].end-g[1].start == 3 && g[1].sep != "/"
		if us && d[0] >= '2' && (d[3] >= '2' || b[g[0].end] == '-' || b[g[0].end] == ')') && g[2].sep == strings.TrimLeft(g[1].sep, ") ") || us && g[1].sep == ")" || us && g[1].sep == ") " {
			return true
		}
	}
	if len(g) < 2 || d[0] != '0' || d[1] == '0' {
		return false
	}
	for r := range o.Regions {
		p, ok := plans[r]
		if ok && p.code != "1" && len(d)-1 >= p.min && len(d)-1 <= p.max {
			return true
		}
	}
	return false
}

// datelike reports whether groups of digits look like a date, or like years.
func datelike(g []group, d []byte) bool {
	if len(g) == 3 && len(d) == 8 && slices.ContainsFunc(g, func(x group) bool { return x.end-x.start == 4 }) {
		return true
	}
	return len(g) == 2 && len(d) == 8 && (d[0] == '1' && d[1] == '9' || d[0] == '2' && d[1] == '0') && (d[4] == '1' || d[4] == '2')
}
