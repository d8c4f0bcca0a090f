package pkcs11_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/attest/pkcs11"
)

func TestParse(t *testing.T) {
	for uri, want := range map[string]pkcs11.Address{
		"pkcs11:token=release;object=signing?module-path=/lib/x.so&pin-source=env:PIN": {Module: "/lib/x.so", Token: "release", Slot: -1, Object: "signing", PINSource: "env:PIN"},
		"pkcs11:serial=1a2b;id=%01%ff;type=private?module-path=/lib/x.so":              {Module: "/lib/x.so", Serial: "1a2b", Slot: -1, ID: []byte{1, 0xff}},
		"pkcs11:slot-id=3;object=a%3Bb?module-path=/lib/x.so&pin-source=file:/run/pin": {Module: "/lib/x.so", Slot: 3, Object: "a;b", PINSource: "file:/run/pin"},
	} {
		got, err := pkcs11.Parse(uri)
		if err != nil {
			t.Errorf("Parse(%q): %v", uri, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Parse(%q): %s", uri, diff)
		}
	}
	const good = "pkcs11:token=a;object=b?module-path=/x"
	for name, uri := range map[string]string{
		"empty": "", "scheme_only": "pkcs11:", "other_scheme": "file:x", "no_module": "pkcs11:token=a;object=b", "relative_module": "pkcs11:token=a;object=b?module-path=x.so",
		"no_token": "pkcs11:object=b?module-path=/x", "two_tokens": "pkcs11:token=a;serial=1;object=b?module-path=/x", "no_key": "pkcs11:token=a?module-path=/x",
		"pin": good + "&pin-value=1234", "pin_source": good + "&pin-source=|cmd", "twice": good + "&module-path=/y", "unknown": good + "&x=y", "no_value": "pkcs11:token=;object=b?module-path=/x",
		"bad_escape": "pkcs11:token=%zz;object=b?module-path=/x", "zero_byte": "pkcs11:token=%00;object=b?module-path=/x", "public": "pkcs11:token=a;object=b;type=public?module-path=/x",
		"slot": "pkcs11:slot-id=-1;object=b?module-path=/x", "huge": good + strings.Repeat("x", 3000),
	} {
		if _, err := pkcs11.Parse(uri); !errors.Is(err, pkcs11.ErrURI) || strings.Contains(err.Error(), "1234") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPIN(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(file, []byte("4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := pkcs11.Config{Getenv: func(name string) string { return map[string]string{"PIN": "1234"}[name] }}
	for source, want := range map[string]string{"env:PIN": "1234", "file:" + file: "4711", "": ""} {
		if got, err := (pkcs11.Address{PINSource: source}).PIN(cfg); got != want || err != nil {
			t.Errorf("%s: %q, %v", source, got, err)
		}
	}
	for _, source := range []string{"env:NONE", "file:" + file + "x"} {
		if _, err := (pkcs11.Address{PINSource: source}).PIN(cfg); err == nil {
			t.Errorf("%s: no error", source)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("pkcs11:token=release;object=signing?module-path=/lib/x.so&pin-source=env:PIN")
	f.Add("pkcs11:slot-id=3;id=%01?module-path=/x")
	f.Fuzz(func(t *testing.T, uri string) {
		a, err := pkcs11.Parse(uri)
		if err == nil && (a.Module == "" || a.Object == "" && len(a.ID) == 0) {
			t.Errorf("%q: %+v", uri, a)
		}
	})
}
