package keyfile_test

import (
	"bytes"
	"errors"
	"testing"

	"filippo.io/age"

	"github.com/modelwarden/warden/internal/attest/keyfile"
)

const passphrase = "correct horse battery staple"

func TestLock(t *testing.T) {
	key := []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	locked, err := keyfile.Lock(key, passphrase)
	if err != nil || !keyfile.Locked(locked) || keyfile.Locked(key) || bytes.Contains(locked, []byte("PRIVATE KEY")) {
		t.Fatalf("Lock = %q, %v", locked, err)
	}
	if got, err := keyfile.Unlock(locked, passphrase); err != nil || !bytes.Equal(got, key) {
		t.Errorf("Unlock = %q, %v", got, err)
	}
	if _, err := keyfile.Unlock(locked, passphrase+"x"); !errors.Is(err, keyfile.ErrPassphrase) {
		t.Errorf("wrong passphrase: %v", err)
	}
	if _, err := keyfile.Lock(key, "short"); err == nil {
		t.Error("a short passphrase was taken")
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "cut": locked[:len(locked)-40], "no_armour": []byte("age-encryption.org/v1\n"), "text": []byte("x"), "huge": bytes.Repeat([]byte("a"), 1<<20),
	} {
		if _, err := keyfile.Unlock(bad, passphrase); !errors.Is(err, keyfile.ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A hostile file must not make us spend hours or gigabytes on its passphrase.
func TestWorkFactor(t *testing.T) {
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(10)
	var b bytes.Buffer
	w, err := age.Encrypt(&b, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	costly := bytes.Replace(b.Bytes(), []byte(" 10\n"), []byte(" 30\n"), 1)
	if bytes.Equal(costly, b.Bytes()) {
		t.Fatal("the work factor was not found")
	}
	if _, err := keyfile.Unlock(costly, passphrase); err == nil {
		t.Error("a costly file was opened")
	}
}

func FuzzUnlock(f *testing.F) {
	f.Add([]byte("-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n"))
	f.Add([]byte("age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 1\nAAAA\n--- AAAA\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte("scrypt")) && !bytes.Contains(data, []byte(" 1\n")) {
			return // the cost is tested elsewhere
		}
		if _, err := keyfile.Unlock(data, passphrase); err == nil {
			t.Errorf("%q was opened", data)
		}
	})
}
