package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lock takes an exclusive lock on a file, which is made when it is not there, and waits for whoever holds it; waiting
// is called once when there is a wait. It is flock(2), as huggingface_hub takes it on the same files, so the kernel
// drops the lock of a process that dies. The file stays: to remove it would part those who wait.
func lock(ctx context.Context, path string, poll time.Duration, waiting func()) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	for told := false; ; {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o664)
		if err != nil {
			return nil, err
		}
		err = retryInterrupted(func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) })
		if err == nil {
			if stillAt(f, path) {
				return func() { f.Close() }, nil
			}
			f.Close() // somebody removed it meanwhile
			continue
		}
		f.Close()
		switch {
		case errors.Is(err, syscall.EWOULDBLOCK):
		case errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOTSUP):
			return func() {}, nil // a file system without locks: what is renamed into place is verified anyway
		default:
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !told {
			waiting()
			told = true
		}
		if err := sleep(ctx, poll); err != nil {
			return nil, err
		}
	}
}

func stillAt(f *os.File, path string) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(ours, there)
}

func retryInterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// sleep waits, or gives the cause of ctx's end.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
