package hub

import (
	"context"
	"crypto/sha1" // what git names its blobs by
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
)

// checksum is what a file's content must hash to.
type checksum struct {
	want string // hexadecimal
	git  bool   // the SHA-1 of git's blob, "blob SIZE\0" before the content; otherwise the SHA-256, of which want may be a prefix
}

// checksumOf reads an ETag of Hugging Face's hub: the SHA-256 of a file in large file storage, or the name of git's
// blob.
func checksumOf(etag string) (checksum, bool) {
	if strings.Trim(etag, "0123456789abcdef") != "" {
		return checksum{}, false
	}
	switch len(etag) {
	case 2 * sha256.Size:
		return checksum{want: etag}, true
	case 2 * sha1.Size:
		return checksum{want: etag, git: true}, true
	}
	return checksum{}, false
}

// of hashes a file from its beginning, and says whether it is the one.
//
// The file is read back rather than hashed while it comes: so what was there before a resumed download counts too, and
// what another process wrote where the file system's locks do not lock.
func (c checksum) of(ctx context.Context, f *os.File) (got string, ok bool, err error) {
	var h hash.Hash = sha256.New()
	if c.git {
		info, err := f.Stat()
		if err != nil {
			return "", false, err
		}
		h = sha1.New()
		fmt.Fprintf(h, "blob %d\x00", info.Size())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", false, err
	}
	buffer := make([]byte, 1<<20)
	for {
		if ctx.Err() != nil {
			return "", false, context.Cause(ctx)
		}
		n, err := f.Read(buffer)
		h.Write(buffer[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", false, err
		}
	}
	got = hex.EncodeToString(h.Sum(nil))
	return got, strings.HasPrefix(got, c.want), nil
}
