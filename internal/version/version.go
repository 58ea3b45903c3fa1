// Package version knows Thaw's version.
package version

import "runtime/debug"

// Version is Thaw's version.
const Version = "0.1.0"

// WithRevision is Version, with the first digits of the commit where the build knows it.
func WithRevision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return Version + "+" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return Version
}
