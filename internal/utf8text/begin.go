package utf8text

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// What Begin finds in the place of text.
var (
	ErrEmpty  = errors.New("the file is empty")
	ErrGitLFS = errors.New("this is a git-lfs pointer: fetch the file itself (git lfs pull)")
	ErrUTF16  = errors.New("the file is UTF-16; save it as UTF-8")
)

// gitLFS begins the file that git leaves in the place of a large one.
const gitLFS = "version https://git-lfs"

// Begin looks at the beginning of a text and passes over a byte order mark.
func Begin(b *bufio.Reader) error {
	start, err := b.Peek(len(gitLFS))
	if err != nil && err != io.EOF {
		return err
	}
	switch {
	case len(start) == 0:
		return ErrEmpty
	case string(start) == gitLFS:
		return ErrGitLFS
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return ErrUTF16
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		_, err = b.Discard(3)
		return err
	}
	return nil
}
