// Package pkcs11 signs with a key that a hardware token keeps, named by a
// PKCS #11 URI (RFC 7512). Only a digest goes to the token; the key never leaves
// it. The library of the token is C, so that this works only in a program that
// was built with the tag pkcs11; in every other, [Open] says so.
package pkcs11

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// Scheme is what the address of such a key begins with.
const Scheme = "pkcs11:"

// ErrURI is wrapped by [Parse] for an address that names no key.
var ErrURI = errors.New("malformed PKCS #11 address")

// ErrAbsent is wrapped by [Open] in a program without PKCS #11.
var ErrAbsent = errors.New("this program was built without PKCS #11")

// A Config is what [Open] needs besides the address.
type Config struct {
	Getenv func(string) string // of a PIN that is a variable
}

// An Address names one key pair on one token.
type Address struct {
	Module    string // path of the token's library
	Token     string // label; "" if Serial or Slot is given
	Serial    string
	Slot      int    // -1: not given
	Object    string // label of the key
	ID        []byte // id of the key
	PINSource string // file:PATH or env:NAME; "": no login
}

const maxURI = 2048

// Parse reads an address such as
//
//	pkcs11:token=release;object=signing?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=env:TOKEN_PIN
//
// A PIN in the address itself is refused: command lines are seen by others. The
// module must be named by its path, as nothing is searched for.
func Parse(uri string) (Address, error) {
	a := Address{Slot: -1}
	bad := func(format string, args ...any) (Address, error) {
		return Address{}, fmt.Errorf("%w: %s", ErrURI, fmt.Sprintf(format, args...))
	}
	rest, ok := strings.CutPrefix(uri, Scheme)
	if !ok || len(uri) > maxURI {
		return bad("want pkcs11:token=…;object=…?module-path=…")
	}
	path, query, _ := strings.Cut(rest, "?")
	seen := map[string]bool{}
	for _, part := range append(split(path, ";"), split(query, "&")...) {
		name, raw, ok := strings.Cut(part, "=")
		value, err := url.PathUnescape(raw)
		if !ok || err != nil || value == "" || strings.ContainsRune(value, 0) {
			return bad("%.60q", name)
		}
		if seen[name] {
			return bad("%s is given twice", name)
		}
		seen[name] = true
		switch name {
		case "token":
			a.Token = value
		case "serial":
			a.Serial = value
		case "slot-id":
			if a.Slot, err = strconv.Atoi(value); err != nil || a.Slot < 0 {
				return bad("slot-id %.20q is no number", value)
			}
		case "object":
			a.Object = value
		case "id":
			a.ID = []byte(value)
		case "type":
			if value != "private" {
				return bad("type %.20q: want private", value)
			}
		case "module-path":
			a.Module = value
		case "pin-source":
			a.PINSource = value
		case "pin-value":
			return bad("a PIN on the command line is seen by others: use pin-source=env:NAME or pin-source=file:PATH")
		default:
			return bad("%.60q is not known here: token, serial, slot-id, object, id, module-path, pin-source", name)
		}
	}
	tokens := 0
	for _, given := range []bool{a.Token != "", a.Serial != "", a.Slot >= 0} {
		if given {
			tokens++
		}
	}
	switch {
	case !strings.HasPrefix(a.Module, "/"):
		return bad("module-path is missing: the whole path of the token's library")
	case tokens != 1:
		return bad("name the token by one of token, serial and slot-id")
	case a.Object == "" && len(a.ID) == 0:
		return bad("name the key by object or id")
	case a.PINSource != "" && !strings.HasPrefix(a.PINSource, "file:") && !strings.HasPrefix(a.PINSource, "env:"):
		return bad("pin-source: want file:PATH or env:NAME")
	}
	return a, nil
}

func split(s, at string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, at)
}

// String returns the address without the source of its PIN, for messages.
func (a Address) String() string {
	key := a.Object
	if key == "" {
		key = "id " + hex.EncodeToString(a.ID)
	}
	switch {
	case a.Token != "":
		return fmt.Sprintf("key %q on token %q", key, a.Token)
	case a.Serial != "":
		return fmt.Sprintf("key %q on token number %q", key, a.Serial)
	default:
		return fmt.Sprintf("key %q in slot %d", key, a.Slot)
	}
}

const maxPIN = 1 << 10

// PIN reads the PIN from where the address says. "" means that there is none.
func (a Address) PIN(cfg Config) (string, error) {
	if name, ok := strings.CutPrefix(a.PINSource, "env:"); ok {
		pin := ""
		if cfg.Getenv != nil {
			pin = cfg.Getenv(name)
		}
		if pin == "" {
			return "", fmt.Errorf("%w: the variable %s of its PIN is not set", ErrURI, name)
		}
		return pin, nil
	}
	name, ok := strings.CutPrefix(a.PINSource, "file:")
	if !ok {
		return "", nil
	}
	st, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if st.Size() > maxPIN {
		return "", fmt.Errorf("%s: %d bytes are no PIN", name, st.Size())
	}
	b, err := os.ReadFile(name)
	return strings.TrimRight(string(b), "\r\n"), err
}
