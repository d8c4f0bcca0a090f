//go:build unix

package server

import (
	"fmt"
	"os"
	"syscall"

	"github.com/modelwarden/warden"
)

// lock takes the data folder for this process. The kernel gives the lock back
// when the process ends, however it ends.
func lock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, &warden.Error{
			Code: warden.CodeConflict, Message: fmt.Sprintf("another warden serve uses this data folder (%s): %v", name, err),
			Hint: "stop it, or choose another folder with --data", Err: f.Close(),
		}
	}
	return f, nil
}
