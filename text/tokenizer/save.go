package tokenizer

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Save writes the files that the tokenizer was loaded from into the folder, byte for byte, making
// the folder if need be. Each file is there as a whole or not at all.
func (t *Tokenizer) Save(folder string) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return fmt.Errorf("tokenizer: save: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(t.files)) {
		if err := writeFile(filepath.Join(folder, name), t.files[name]); err != nil {
			return fmt.Errorf("tokenizer: save: %w", err)
		}
	}
	return nil
}

// writeFile puts data at path by way of a file beside it.
func writeFile(path string, data []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(file.Name())
		}
	}()
	if _, err = file.Write(data); err != nil {
		return err
	}
	// CreateTemp makes the file for its owner alone; a tokenizer is no secret.
	if err = file.Chmod(0o644); err != nil {
		return err
	}
	if err = file.Sync(); err != nil {
		return err
	}
	if err = file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
