package formattest

import "encoding/binary"

// R holds items of a serialised R object, for [RDS].
type R []byte

// RInt is a number of 32 bits: the flags of an item, a length, a value.
func RInt(v int) R { return binary.BigEndian.AppendUint32(nil, uint32(v)) }

// RJoin joins items.
func RJoin(items ...R) (r R) {
	for _, i := range items {
		r = append(r, i...)
	}
	return r
}

// RSymbol is a name.
func RSymbol(name string) R { return RJoin(RInt(1), RInt(9), RInt(len(name)), R(name)) }

// RText is a vector with one text.
func RText(s string) R { return RJoin(RInt(16), RInt(1), RInt(9), RInt(len(s)), R(s)) }

// RCall is a call of a function with one argument.
func RCall(name string, argument R) R {
	return RJoin(RInt(6), RSymbol(name), RInt(2), argument, RInt(254))
}

// RPromise is a promise without a value.
func RPromise(expression R) R { return RJoin(RInt(5|1<<10), RInt(253), RInt(252), expression) }

// RPairs is a list of one named value, as RData files hold.
func RPairs(name string, value R) R {
	return RJoin(RInt(2|1<<10), RSymbol(name), value, RInt(254))
}

// RDS writes a file with the object.
func RDS(object R) []byte {
	return append([]byte("X\n\x00\x00\x00\x03\x00\x04\x04\x00\x00\x03\x05\x00\x00\x00\x00\x05UTF-8"), object...)
}
