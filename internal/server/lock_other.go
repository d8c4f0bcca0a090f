//go:build !unix

package server

import "os"

// lock opens the lock file. Without a kernel lock, two servers on one data
// folder are kept apart by their listening addresses only.
func lock(name string) (*os.File, error) { return os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600) }
