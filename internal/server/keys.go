package server

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/audit"
)

// keys are the secrets of one platform, made at its first start and kept in
// files that only their owner may read.
type keys struct {
	first       bool // they were made just now
	statements  *attest.Signer
	publicPEM   []byte
	checkpoints note.Signer
	verifier    note.Verifier
	verifierKey string // text form of verifier
	pepper      []byte
	retired     []retired // keys before, which are trusted for what they signed
}

// logName is the name of the audit log; a note verifier is bound to it.
const logName = "warden"

// loadKeys reads the keys in dir. If some are missing it makes them all, but
// only if nothing was signed yet: new keys would not verify what old ones signed.
func loadKeys(dir string, used bool) (*keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var missing []string
	for _, n := range keyNames() {
		if _, err := os.Stat(filepath.Join(dir, n)); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, n)
		} else if err != nil {
			return nil, err
		}
	}
	k := &keys{first: len(missing) > 0}
	if k.first && used {
		return nil, &warden.Error{
			Code: warden.CodeInvalid, Message: fmt.Sprintf("keys are missing in %s: %s", dir, strings.Join(missing, ", ")),
			Hint: "restore them from a backup; new keys would not verify what the old ones signed",
		}
	}
	if k.first {
		if err := makeKeys(dir); err != nil {
			return nil, err
		}
	}
	return k, k.read(dir)
}

func makeKeys(dir string) error {
	ec, err := attest.GenerateKey(nil)
	if err != nil {
		return err
	}
	text, err := attest.PrivatePEM(ec)
	if err != nil {
		return err
	}
	sk, vk, err := audit.GenerateKey(audit.Origin(logName))
	if err != nil {
		return err
	}
	pepper := make([]byte, 32)
	rand.Read(pepper)
	for _, f := range []struct {
		name string
		data []byte
	}{{"statements.pem", text}, {"checkpoints.key", []byte(sk)}, {"checkpoints.pub", []byte(vk)}, {"pepper", pepper}} {
		if err := writeFile(filepath.Join(dir, f.name), f.data); err != nil {
			return err
		}
	}
	return nil
}

// writeFile replaces a file so that a crash leaves the old one or the new one.
func writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name) //nolint:gosec // its callers name the file
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name())) //nolint:gosec // as above
	}
	d, err := os.Open(filepath.Dir(name)) //nolint:gosec // as above
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func readKey(dir, name string) ([]byte, error) {
	st, err := os.Stat(filepath.Join(dir, name)) //nolint:gosec // the operator names the folder
	if err != nil {
		return nil, err
	}
	if st.Size() > maxSecret {
		return nil, fmt.Errorf("%s: %d bytes, at most %d", name, st.Size(), maxSecret)
	}
	return os.ReadFile(filepath.Join(dir, name)) //nolint:gosec // as above
}

func (k *keys) read(dir string) error {
	read := func(name string) ([]byte, error) { return readKey(dir, name) }
	text, err := read("statements.pem")
	if err != nil {
		return err
	}
	ec, err := attest.ParsePrivatePEM(text)
	if err != nil {
		return fmt.Errorf("statements.pem: %w", err)
	}
	if k.statements, err = attest.NewSigner(ec); err != nil {
		return fmt.Errorf("statements.pem: %w", err)
	}
	if k.publicPEM, err = attest.PublicPEM(k.statements.Public()); err != nil {
		return err
	}
	if text, err = read("checkpoints.key"); err != nil {
		return err
	}
	if k.checkpoints, err = audit.NewSigner(strings.TrimSpace(string(text))); err != nil {
		return fmt.Errorf("checkpoints.key: %w", err)
	}
	if text, err = read("checkpoints.pub"); err != nil {
		return err
	}
	k.verifierKey = strings.TrimSpace(string(text))
	if k.verifier, err = audit.NewVerifier(k.verifierKey); err != nil {
		return fmt.Errorf("checkpoints.pub: %w", err)
	}
	if k.retired, err = readRetired(dir); err != nil {
		return err
	}
	if k.verifier, err = verifierOf(k.verifier, k.retired); err != nil {
		return err
	}
	k.pepper, err = read("pepper")
	return err
}

// ReadLocal reads what a server wrote for commands on its machine.
func ReadLocal(name string) (Local, error) {
	var l Local
	st, err := os.Stat(name)
	if err != nil {
		return l, err
	}
	if st.Size() > maxSecret {
		return l, fmt.Errorf("%s: %d bytes, at most %d", name, st.Size(), maxSecret)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return l, err
	}
	return l, json.Unmarshal(b, &l)
}
