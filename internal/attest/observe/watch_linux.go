package observe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// An inotify watches folders for files that are opened.
type inotify struct {
	fd   int
	stop [2]int // a pipe that ends the reader
	wg   sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	names  map[int32]string
	opened map[string]bool
	why    []string
}

// watch begins to watch the folders. Folders that are made later are watched
// from the moment they are seen.
func watch(folders []string) (watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	w := &inotify{fd: fd, names: map[int32]string{}, opened: map[string]bool{}}
	if err := unix.Pipe2(w.stop[:], unix.O_CLOEXEC); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	for _, f := range folders {
		if err := w.add(f); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	w.wg.Go(w.read)
	return w, nil
}

func (w *inotify) add(folder string) error {
	wd, err := unix.InotifyAddWatch(w.fd, folder, unix.IN_OPEN|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR|unix.IN_DONT_FOLLOW)
	if errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("watch %s: too many folders (fs.inotify.max_user_watches)", folder)
	}
	if err != nil {
		return fmt.Errorf("watch %s: %w", folder, err)
	}
	w.mu.Lock()
	w.names[int32(wd)] = folder
	w.mu.Unlock()
	return nil
}

// read takes events until the pipe is closed, and then those that wait.
func (w *inotify) read() {
	buf := make([]byte, 64<<10)
	for ending := false; ; {
		fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}, {Fd: int32(w.stop[0]), Events: unix.POLLIN}}
		timeout := -1
		if ending {
			fds, timeout = fds[:1], 0
		}
		n, err := unix.Poll(fds, timeout)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		ending = ending || fds[len(fds)-1].Revents != 0 && len(fds) == 2
		for {
			n, err := unix.Read(w.fd, buf)
			if n <= 0 || err != nil {
				break
			}
			w.events(buf[:n])
		}
	}
}

func (w *inotify) events(b []byte) {
	for len(b) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(b))
		mask := binary.NativeEndian.Uint32(b[4:])
		n := int(binary.NativeEndian.Uint32(b[12:]))
		if n > len(b)-unix.SizeofInotifyEvent {
			return
		}
		name := strings.TrimRight(string(b[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+n]), "\x00")
		b = b[unix.SizeofInotifyEvent+n:]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			w.incomplete("the system dropped events: more files were opened than it could tell")
			continue
		}
		w.mu.Lock()
		folder, ok := w.names[wd]
		w.mu.Unlock()
		if !ok || name == "" {
			continue
		}
		path := filepath.Join(folder, name)
		switch {
		case mask&unix.IN_ISDIR == 0 && mask&unix.IN_OPEN != 0:
			w.mu.Lock()
			w.opened[path] = true
			w.mu.Unlock()
		case mask&unix.IN_ISDIR != 0 && mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0 && !skipped(name):
			if err := w.add(path); err != nil && !errors.Is(err, unix.ENOENT) {
				w.incomplete(err.Error())
			}
		}
	}
}

func (w *inotify) incomplete(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.why) < 10 {
		w.why = append(w.why, why)
	}
}

func (w *inotify) close() error {
	return errors.Join(unix.Close(w.fd), unix.Close(w.stop[0]), os.NewSyscallError("close", unix.Close(w.stop[1])))
}

// Stop implements watcher.
func (w *inotify) Stop() (opened, incomplete []string) {
	if _, err := unix.Write(w.stop[1], []byte{0}); err != nil {
		w.incomplete(err.Error())
	}
	w.wg.Wait()
	if err := w.close(); err != nil {
		w.incomplete(err.Error())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for path := range w.opened {
		opened = append(opened, path)
	}
	return opened, w.why
}
