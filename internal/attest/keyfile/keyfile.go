// Package keyfile locks private keys with a passphrase: the text of a key inside
// an armoured age file (age-encryption.org/v1, scrypt), which the stock age tool
// opens as well. It touches no file.
package keyfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// Errors of [Unlock]; each is wrapped by what it returns.
var (
	ErrPassphrase = errors.New("wrong passphrase")
	ErrFile       = errors.New("malformed locked key")
)

// MinPassphrase is the shortest passphrase that [Lock] takes, in bytes.
const MinPassphrase = 12

const (
	workFactor = 18      // logarithm of scrypt's cost, as age has it: about a second, 256 MiB
	maxFile    = 1 << 16 // bytes of a locked key, and of what is in it
)

// Locked reports whether data is a locked key.
func Locked(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte(armor.Header)) || bytes.HasPrefix(data, []byte("age-encryption.org/"))
}

// Lock encrypts the text of a key.
func Lock(key []byte, passphrase string) ([]byte, error) {
	if len(passphrase) < MinPassphrase {
		return nil, fmt.Errorf("a passphrase of %d bytes is too short: want %d or more", len(passphrase), MinPassphrase)
	}
	if len(key) > maxFile {
		return nil, fmt.Errorf("a key of %d bytes, at most %d", len(key), maxFile)
	}
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, err
	}
	r.SetWorkFactor(workFactor)
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, r)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(key)
	if err = errors.Join(err, w.Close(), text.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Unlock is the inverse of [Lock]. It refuses files that would take more time or
// memory than those that Lock makes.
func Unlock(data []byte, passphrase string) ([]byte, error) {
	if len(data) > 2*maxFile {
		return nil, fmt.Errorf("%w: %d bytes", ErrFile, len(data))
	}
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPassphrase, err)
	}
	id.SetMaxWorkFactor(workFactor)
	var src io.Reader = bytes.NewReader(data)
	if strings.HasPrefix(strings.TrimLeft(string(data[:min(len(data), 64)]), " \t\r\n"), armor.Header) {
		src = armor.NewReader(src)
	}
	plain, err := age.Decrypt(src, id)
	if err != nil {
		var no *age.NoIdentityMatchError
		if errors.As(err, &no) || errors.Is(err, age.ErrIncorrectIdentity) {
			return nil, ErrPassphrase
		}
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(plain, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if n > maxFile {
		return nil, fmt.Errorf("%w: holds more than %d bytes", ErrFile, maxFile)
	}
	return out.Bytes(), nil
}
