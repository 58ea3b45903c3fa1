package launch

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"
)

// WriteErrorFile tells torchrun why this rank failed, for its summary, in which the first failure of all ranks comes
// first: it writes the file that TORCHELASTIC_ERROR_FILE names. It does nothing where torchrun asks for none.
func WriteErrorFile(getenv func(string) string, failure error) error {
	path := variables{getenv}.get("TORCHELASTIC_ERROR_FILE")
	if path == "" || failure == nil {
		return nil
	}
	type extra struct {
		Timestamp string `json:"timestamp"` // seconds since 1970
	}
	type message struct {
		Message   string `json:"message"`
		ExtraInfo extra  `json:"extraInfo"`
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	data, err := json.Marshal(map[string]message{"message": {failure.Error(), extra{now}}})
	if err == nil {
		err = os.WriteFile(path, data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("telling torchrun of the failure, TORCHELASTIC_ERROR_FILE: %w", err)
	}
	return nil
}
