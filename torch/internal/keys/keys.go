// Package keys writes lists of checkpoint keys into error messages.
package keys

import (
	"fmt"
	"strings"
)

// List names the first few of many keys.
func List(keys []string) string {
	const most = 5
	if len(keys) <= most {
		return strings.Join(keys, ", ")
	}
	return strings.Join(keys[:most], ", ") + fmt.Sprintf(" and %d more", len(keys)-most)
}
