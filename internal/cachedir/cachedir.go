// Package cachedir says where Thaw keeps what can be brought or computed again.
package cachedir

import (
	"fmt"
	"os"
	"path/filepath"
)

// Root is THAW_CACHE, or else the folder thaw in the user's cache folder, XDG_CACHE_HOME or ~/.cache. Where there is no home
// folder it is an error.
func Root() (string, error) {
	if root := os.Getenv("THAW_CACHE"); root != "" {
		return root, nil
	}
	caches, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder: %w", err)
	}
	return filepath.Join(caches, "thaw"), nil
}
