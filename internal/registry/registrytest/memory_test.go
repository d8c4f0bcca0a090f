package registrytest_test

import (
	"testing"

	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/registry/registrytest"
)

func TestMemory(t *testing.T) {
	registrytest.TestStore(t, func(*testing.T) registry.Store { return registrytest.NewMemory() })
}
