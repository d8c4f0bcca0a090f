package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/keyfile"
)

func newKey(a *app) *cobra.Command {
	return group("key", "Signing keys", newKeyGenerate(a), newKeyShow(a), newKeyRotate(a))
}

func newKeyGenerate(a *app) *cobra.Command {
	var kind, out, lock string
	c := &cobra.Command{
		Use: "generate --out PREFIX", Short: "Make a signing key: PREFIX.key and PREFIX.pub",
		Long: "Generate makes a private key that only its owner can read (PREFIX.key) and its public half\n" +
			"(PREFIX.pub). It never replaces a file.\n\n  warden key generate --out release\n  warden scan --attest model.scan.json --key release.key ./model",
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return a.keyGenerate(kind, out, lock) },
	}
	c.Flags().StringVar(&kind, "type", "p256", "p256, p384 or p521")
	c.Flags().StringVar(&out, "out", "", "prefix of the two files")
	c.Flags().StringVar(&lock, "passphrase-file", "", "lock the private key with the passphrase in this file (age)")
	return c
}

func (a *app) keyGenerate(kind, out, lock string) error {
	curve := map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()}[kind]
	if curve == nil {
		return usage("--type %q: want p256, p384 or p521", kind)
	}
	if out == "" {
		return usage("--out PREFIX is missing: where to write PREFIX.key and PREFIX.pub")
	}
	key, err := attest.GenerateKey(curve)
	if err != nil {
		return err
	}
	private, err := attest.PrivatePEM(key)
	if err != nil {
		return err
	}
	public, err := attest.PublicPEM(key.Public())
	if err != nil {
		return err
	}
	kept := "keep it secret"
	if lock != "" {
		pass, err := passphrase(lock)
		if err != nil {
			return err
		}
		if private, err = keyfile.Lock(private, pass); err != nil {
			return usage("--passphrase-file: %w", err)
		}
		kept = "locked with the passphrase"
	}
	if err := create(out+".key", private, 0o600); err != nil {
		return err
	}
	if err := create(out+".pub", public, 0o644); err != nil {
		return errors.Join(err, os.Remove(out+".key")) // half a pair helps nobody
	}
	id, err := attest.KeyID(key.Public())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "%s.key  private, %s\n%s.pub  public\nid  %s\n", out, kept, out, id)
	return err
}

// create writes a new file, whole or not at all. It never replaces one.
func create(name string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, fs.ErrExist) {
		return usage("%s is there already, and a key is never replaced (hint: choose another --out)", name)
	}
	if err != nil {
		return usage("%w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

func newKeyShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show FILE", Short: "Id, curve and fingerprint of a key file; a private part is never shown",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, x []string) error { return a.keyShow(x[0]) },
	}
}

func (a *app) keyShow(name string) error {
	text, err := readKeyFile(name)
	if err != nil {
		return usage("%w", err)
	}
	if keyfile.Locked(text) {
		return usage("%s is locked with a passphrase; its public half tells the same", name)
	}
	kind := "public"
	pub, err := attest.ParsePublicPEM(text)
	if err != nil {
		key, perr := attest.ParsePrivatePEM(text)
		if perr != nil {
			return usage("%s: neither a public nor a private key: %w", name, perr)
		}
		kind, pub = "private", &key.PublicKey
	}
	return a.printKey(kind, pub)
}

func (a *app) printKey(kind string, pub *ecdsa.PublicKey) error {
	id, err := attest.KeyID(pub)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "kind         %s\ncurve        %s\nid           %s\nfingerprint  sha256:%x (of the DER form)\n", kind, pub.Curve.Params().Name, id, sha256.Sum256(der))
	return err
}

// maxKeyFile bounds a key file in bytes.
const maxKeyFile = 1 << 16

func readKeyFile(name string) ([]byte, error) { return readUpTo(name, maxKeyFile) }
