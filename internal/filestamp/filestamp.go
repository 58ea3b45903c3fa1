// Package filestamp tells whether a file is as it was, without reading it.
package filestamp

import (
	"fmt"
	"os"
	"syscall"
)

// Of gives the file's size, its number in the file system and the times of the last change of its content and of what
// the file system keeps of it. The latter is the system's own: tools that set back a file's time change it. "" stands
// for what is no regular file.
func Of(path string) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	stamp := fmt.Sprint(info.Size(), " ", info.ModTime().UnixNano())
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		stamp += fmt.Sprint(" ", s.Ino, " ", s.Ctim.Nano())
	}
	return stamp
}
