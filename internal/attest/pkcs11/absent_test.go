//go:build !pkcs11

package pkcs11_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/attest/pkcs11"
)

func TestAbsent(t *testing.T) {
	_, err := pkcs11.Open("pkcs11:token=a;object=b?module-path=/x", pkcs11.Config{})
	if !errors.Is(err, pkcs11.ErrAbsent) || !strings.Contains(err.Error(), "-tags pkcs11") {
		t.Errorf("Open = %v", err)
	}
}
