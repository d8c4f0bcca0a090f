package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/keyfile"
)

// flags are those of a command.
type flags interface {
	StringVar(p *string, name, value, usage string)
}

// keyFlag adds the flags of a private key.
func (a *app) keyFlag(fl flags, key *string) {
	fl.StringVar(key, "key", "", "private key that signs: "+keyForms+"; see warden key generate")
	fl.StringVar(&a.passphraseFile, "passphrase-file", "", "file with the passphrase of a locked key (default $WARDEN_PASSPHRASE_FILE)")
}

const maxPassphrase = 1 << 12

// passphrase reads a passphrase: the first line of a file.
func passphrase(name string) (string, error) {
	b, err := readUpTo(name, maxPassphrase)
	if err != nil {
		return "", usage("--passphrase-file: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// signerOf reads the text of a private key, and opens it first if it is locked.
func (a *app) signerOf(name string, text []byte) (*attest.Signer, error) {
	if keyfile.Locked(text) {
		file := a.passphraseFile
		if file == "" {
			file = a.Getenv("WARDEN_PASSPHRASE_FILE")
		}
		if file == "" {
			return nil, usage("--key %s is locked with a passphrase (hint: give it with --passphrase-file FILE)", name)
		}
		pass, err := passphrase(file)
		if err != nil {
			return nil, err
		}
		if text, err = keyfile.Unlock(text, pass); errors.Is(err, keyfile.ErrPassphrase) {
			return nil, usage("--key %s: %s does not hold its passphrase", name, file)
		} else if err != nil {
			return nil, fmt.Errorf("--key %s: %w", name, err)
		}
	}
	key, err := attest.ParsePrivatePEM(text)
	if err != nil {
		return nil, usage("--key %s: %w (hint: warden key generate makes one)", name, err)
	}
	return attest.NewSigner(key)
}
