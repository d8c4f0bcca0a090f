//go:build pkcs11

package pkcs11

import (
	"crypto"
	"fmt"

	"github.com/ThalesGroup/crypto11"
)

// Open opens the token that uri names and finds the key. The session with the
// token lasts as long as the process.
func Open(uri string, cfg Config) (crypto.Signer, error) {
	a, err := Parse(uri)
	if err != nil {
		return nil, err
	}
	pin, err := a.PIN(cfg)
	if err != nil {
		return nil, err
	}
	c := &crypto11.Config{Path: a.Module, TokenLabel: a.Token, TokenSerial: a.Serial, Pin: pin, LoginNotSupported: a.PINSource == ""}
	if a.Slot >= 0 {
		c.SlotNumber = &a.Slot
	}
	token, err := crypto11.Configure(c)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", a, err)
	}
	var label []byte
	if a.Object != "" {
		label = []byte(a.Object)
	}
	found, err := token.FindKeyPairs(a.ID, label)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", a, err)
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("find %s: %d key pairs have this name, want one (hint: name it by id as well)", a, len(found))
	}
	return found[0], nil
}
