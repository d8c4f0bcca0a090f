//go:build pkcs11

package pkcs11_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/pkcs11"
)

const pin = "pin-of-the-test"

// token makes a token of SoftHSM with one P-256 key, in the test's own folder.
func token(t *testing.T) (module string) {
	t.Helper()
	for _, m := range []string{os.Getenv("WARDEN_SOFTHSM"), "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"} {
		if _, err := os.Stat(m); m != "" && err == nil {
			module = m
			break
		}
	}
	if _, err := exec.LookPath("pkcs11-tool"); module == "" || err != nil {
		t.Skip("no SoftHSM here: install softhsm2 and opensc to test keys on tokens")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+filepath.Join(dir, "tokens")+"\nobjectstore.backend = file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	for _, args := range [][]string{
		{"softhsm2-util", "--init-token", "--free", "--label", "release", "--pin", pin, "--so-pin", pin},
		{"pkcs11-tool", "--module", module, "--token-label", "release", "--login", "--pin", pin, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "signing", "--id", "01"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", args[0], err, out)
		}
	}
	return module
}

func TestSoftHSM(t *testing.T) {
	module := token(t)
	cfg := pkcs11.Config{Getenv: func(name string) string { return map[string]string{"PIN": pin, "WRONG": "x"}[name] }}
	uri := func(object, source string) string {
		return fmt.Sprintf("pkcs11:token=release;object=%s?module-path=%s&pin-source=env:%s", object, module, source)
	}
	key, err := pkcs11.Open(uri("signing", "PIN"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("x"))
	sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil || !ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), sum[:], sig) {
		t.Fatalf("signature %x, %v", sig, err)
	}
	// The same key signs statements that anybody verifies with its public half.
	s, err := attest.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := s.Sign([]byte(`{"_type":"x"}`))
	if err != nil || len(envelope) == 0 {
		t.Errorf("Sign = %q, %v", envelope, err)
	}
	for what, u := range map[string]string{"no such key": uri("other", "PIN"), "no such module": strings.Replace(uri("signing", "PIN"), ".so", ".sx", 1)} {
		if _, err := pkcs11.Open(u, cfg); err == nil || strings.Contains(err.Error(), pin) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
