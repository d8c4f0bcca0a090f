package pii

import "math/big"

// The check digits of numbers. Each function takes digits, and only digits.

// luhn: ISO/IEC 7812-1, Annex B.
func luhn(d []byte) bool {
	sum := 0
	for i := range d {
		n := int(d[len(d)-1-i] - '0')
		if i%2 == 1 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0 && !allSame(d)
}

func allSame(d []byte) bool {
	for _, c := range d {
		if c != d[0] {
			return false
		}
	}
	return true
}

// weighted sums digits times weights.
func weighted(d []byte, weights ...int) int {
	sum := 0
	for i, w := range weights {
		sum += w * int(d[i]-'0')
	}
	return sum
}

func value(d []byte) int {
	n := 0
	for _, c := range d {
		n = n*10 + int(c-'0')
	}
	return n
}

func last(d []byte) int { return int(d[len(d)-1] - '0') }

// mod97 is the remainder of a long number.
func mod97(d []byte) int {
	n := 0
	for _, c := range d {
		n = (n*10 + int(c-'0')) % 97
	}
	return n
}

// mod1110 is ISO 7064 MOD 11,10.
func mod1110(d []byte) bool {
	p := 10
	for _, c := range d[:len(d)-1] {
		if p = (p + int(c-'0')) % 10; p == 0 {
			p = 10
		}
		p = p * 2 % 11
	}
	return (p+last(d))%10 == 1
}

// verhoeff: J. Verhoeff, Error Detecting Decimal Codes, 1969.
func verhoeff(d []byte) bool {
	mul := func(a, b int) int { // of the dihedral group of ten
		switch {
		case a < 5 && b < 5:
			return (a + b) % 5
		case a < 5:
			return 5 + (b-5+a)%5
		case b < 5:
			return 5 + (a-5-b+5)%5
		default:
			return (a - b + 5) % 5
		}
	}
	perm := [8][10]int{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 5, 7, 6, 2, 8, 3, 0, 9, 4}}
	for i := 2; i < 8; i++ {
		for j := range 10 {
			perm[i][j] = perm[i-1][perm[1][j]]
		}
	}
	c := 0
	for i := range d {
		c = mul(c, perm[i%8][d[len(d)-1-i]-'0'])
	}
	return c == 0
}

// day reports whether a year of two or four digits, a month and a day are a date.
func day(year, month, d int) bool {
	return year >= 0 && month >= 1 && month <= 12 && d >= 1 && d <= 31 && (month != 2 || d <= 29) &&
		(d <= 30 || month != 4 && month != 6 && month != 9 && month != 11)
}

// issuer reports whether a number begins as cards of an issuer do and is as long.
//
// Source: ranges that the networks publish.
func issuer(d []byte) bool {
	n, four := len(d), value(d[:4])
	two := four / 100
	three := four / 10
	switch {
	case d[0] == '4':
		return n == 13 || n == 16 || n == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720:
		return n == 16
	case two == 34, two == 37:
		return n == 15
	case three >= 300 && three <= 305, two == 36, two == 38, two == 39, three == 309:
		return n >= 14 && n <= 19
	case three == 213 && four == 2131, four == 1800:
		return n == 15
	case two == 35:
		return n >= 15 && n <= 19
	case two == 62, two == 65, two == 60, two == 64, two == 81, four == 2014, four == 2149:
		return n >= 15 && n <= 19 || two == 60 && n >= 12
	case two == 50, two >= 56 && two <= 69:
		return n >= 12 && n <= 19
	case four >= 2200 && four <= 2204, four == 9792:
		return n == 16
	}
	return false
}

func card(d []byte) bool { return len(d) >= 12 && len(d) <= 19 && issuer(d) && luhn(d) }

func ssn(d []byte) bool {
	area, grp, serial := value(d[:3]), value(d[3:5]), value(d[5:])
	return area != 0 && area != 666 && area < 900 && grp != 0 && serial != 0 && !allSame(d)
}

func itin(d []byte) bool {
	g := value(d[3:5])
	return d[0] == '9' && (g >= 50 && g <= 65 || g >= 70 && g <= 88 || g >= 90 && g <= 92 || g >= 94)
}

func personnummer(d []byte) bool {
	if len(d) == 12 {
		if c := value(d[:2]); c < 18 || c > 20 {
			return false
		}
		d = d[2:]
	}
	dd := value(d[4:6])
	if dd > 60 { // a coordination number
		dd -= 60
	}
	return day(value(d[:2]), value(d[2:4]), dd) && luhn(d)
}

func zaID(d []byte) bool {
	return day(value(d[:2]), value(d[2:4]), value(d[4:6])) && d[10] <= '2' && luhn(d)
}

func nhs(d []byte) bool {
	r := 11 - weighted(d, 10, 9, 8, 7, 6, 5, 4, 3, 2)%11
	return r%11 == last(d) && r != 10 && !allSame(d)
}

func utr(d []byte) bool {
	r := weighted(d[1:], 6, 7, 8, 9, 10, 5, 4, 3, 2) % 11
	return "21987654321"[r] == d[0]
}

func nir(d []byte) bool {
	m := value(d[3:5])
	return (d[0] == '1' || d[0] == '2') && (m >= 1 && m <= 12 || m >= 20 && m <= 42) && 97-mod97(d[:13]) == value(d[13:])
}

func nationalBE(d []byte) bool {
	m := value(d[2:4]) % 20
	if m > 12 || value(d[4:6]) > 31 {
		return false
	}
	return 97-value(d[:9])%97 == value(d[9:]) || 97-(2_000_000_000+value(d[:9]))%97 == value(d[9:])
}

func residentCN(d []byte, check byte) bool {
	if !day(value(d[6:10])-1800, value(d[10:12]), value(d[12:14])) || value(d[6:10]) > 2100 {
		return false
	}
	r := weighted(d, 7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2) % 11
	return "10X98765432"[r] == check
}

func bsn(d []byte) bool {
	return (weighted(d, 9, 8, 7, 6, 5, 4, 3, 2)-last(d))%11 == 0 && value(d) > 10_000_000
}

func fodselsnummer(d []byte) bool {
	dd := value(d[:2])
	if dd > 40 {
		dd -= 40
	}
	m := value(d[2:4])
	if m > 40 {
		m -= 40
	}
	return day(value(d[4:6]), m, dd) && weighted(d, 3, 7, 6, 1, 8, 9, 4, 5, 2, 1)%11 == 0 && weighted(d, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)%11 == 0
}

func pesel(d []byte) bool {
	return day(value(d[:2]), value(d[2:4])%20, value(d[4:6])) && weighted(d, 1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)%10 == 0
}

func nip(d []byte) bool {
	return weighted(d, 6, 5, 7, 2, 3, 4, 5, 6, 7)%11 == last(d) && !allSame(d)
}

func nif(d []byte) bool {
	r := 11 - weighted(d, 9, 8, 7, 6, 5, 4, 3, 2)%11
	if r > 9 {
		r = 0
	}
	return r == last(d) && d[0] != '0' && !allSame(d)
}

func rodneCislo(d []byte) bool {
	m := value(d[2:4]) % 50 % 20
	return day(value(d[:2]), m, value(d[4:6])) && (value(d)%11 == 0 || value(d[:9])%11 == 10 && last(d) == 0)
}

func cnp(d []byte) bool {
	r := weighted(d, 2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9) % 11
	if r == 10 {
		r = 1
	}
	return d[0] != '0' && day(value(d[1:3]), value(d[3:5]), value(d[5:7])) && r == last(d)
}

func egn(d []byte) bool {
	m := value(d[2:4]) % 20
	return day(value(d[:2]), m, value(d[4:6])) && weighted(d, 2, 4, 8, 5, 10, 9, 7, 3, 6)%11%10 == last(d)
}

func tckn(d []byte) bool {
	odd := weighted(d, 1, 0, 1, 0, 1, 0, 1, 0, 1)
	even := weighted(d, 0, 1, 0, 1, 0, 1, 0, 1)
	ten := ((odd*7-even)%10 + 10) % 10
	return d[0] != '0' && ten == int(d[9]-'0') && (odd+even+ten)%10 == last(d)
}

func afm(d []byte) bool {
	return weighted(d, 256, 128, 64, 32, 16, 8, 4, 2)%11%10 == last(d) && !allSame(d)
}

func svnr(d []byte) bool {
	return weighted(d, 3, 7, 9, 0, 5, 8, 4, 2, 1, 6)%11 == int(d[3]-'0') && value(d[4:6]) <= 31 && value(d[6:8]) <= 15 && d[0] != '0'
}

func ean13(d []byte) bool {
	return weighted(d, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1)%10 == 0
}

func ahv(d []byte) bool { return value(d[:3]) == 756 && ean13(d) }

func cpr(d []byte) bool { return day(value(d[4:6]), value(d[2:4]), value(d[:2])) }

func cpf(d []byte) bool {
	a := weighted(d, 10, 9, 8, 7, 6, 5, 4, 3, 2) * 10 % 11 % 10
	b := weighted(d, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2) * 10 % 11 % 10
	return a == int(d[9]-'0') && b == last(d) && !allSame(d)
}

func cnpj(d []byte) bool {
	digit := func(sum int) int {
		if r := sum % 11; r >= 2 {
			return 11 - r
		}
		return 0
	}
	return digit(weighted(d, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)) == int(d[12]-'0') &&
		digit(weighted(d, 6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)) == last(d) && !allSame(d)
}

func cuit(d []byte) bool {
	r := (11 - weighted(d, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)%11) % 11
	p := value(d[:2])
	return r == last(d) && (p == 20 || p == 23 || p == 24 || p == 27 || p == 30 || p == 33 || p == 34)
}

func aadhaar(d []byte) bool { return d[0] >= '2' && verhoeff(d) && !allSame(d) }

func tfn(d []byte) bool { return weighted(d, 1, 4, 3, 7, 5, 8, 6, 9, 10)%11 == 0 && !allSame(d) }

func abn(d []byte) bool {
	return d[0] != '0' && (weighted(d, 10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)-10)%89 == 0
}

func medicare(d []byte) bool {
	return d[0] >= '2' && d[0] <= '6' && weighted(d, 1, 3, 7, 9, 1, 3, 7, 9)%10 == int(d[8]-'0')
}

func ird(d []byte) bool {
	if len(d) == 8 {
		d = append([]byte{'0'}, d...)
	}
	if n := value(d); n < 10_000_000 || n > 150_000_000 {
		return false
	}
	r := (11 - weighted(d, 3, 2, 7, 6, 5, 4, 3, 2)%11) % 11
	if r == 10 {
		r = (11 - weighted(d, 7, 4, 3, 2, 5, 2, 7, 6)%11) % 11
	}
	return r == last(d)
}

func rrn(d []byte) bool {
	return day(value(d[:2]), value(d[2:4]), value(d[4:6])) && d[6] >= '1' && d[6] <= '8'
}

func myNumber(d []byte) bool {
	r := weighted(d, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2) % 11
	if r <= 1 {
		return last(d) == 0
	}
	return 11-r == last(d)
}

func thaiID(d []byte) bool {
	return d[0] != '0' && (11-weighted(d, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2)%11)%10 == last(d) && !allSame(d)
}

func anyDigits(d []byte) bool { return !allSame(d) }

// base58 decodes a text in the alphabet of Bitcoin; nil if it is none.
func base58(s string) []byte {
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	n, zeros := new(big.Int), 0
	for i := range len(s) {
		v := -1
		for j := range len(alphabet) {
			if alphabet[j] == s[i] {
				v = j
			}
		}
		if v < 0 {
			return nil
		}
		if v == 0 && zeros == i {
			zeros++
		}
		n.Add(n.Mul(n, big.NewInt(58)), big.NewInt(int64(v)))
	}
	return append(make([]byte, zeros), n.Bytes()...)
}
