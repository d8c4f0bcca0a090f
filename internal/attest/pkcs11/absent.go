//go:build !pkcs11

package pkcs11

import (
	"crypto"
	"fmt"
)

// Open checks the address and returns an error that wraps [ErrAbsent]: a token's
// library is C, and this program has none.
func Open(uri string, _ Config) (crypto.Signer, error) {
	if _, err := Parse(uri); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w (hint: build one that has it: CGO_ENABLED=1 go build -tags pkcs11 ./cmd/warden)", ErrAbsent)
}
