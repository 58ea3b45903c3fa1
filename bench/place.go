package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/internal/cachedir"
)

// What the benchmarks need, seen from the folder bench, and what brings it.
const (
	root        = ".."
	program     = root + "/bin/thaw"
	demoSpec    = root + "/examples/reviews/reviews.yaml"
	demoRows    = root + "/examples/reviews/reviews.tsv"
	dataFolder  = root + "/examples/reviews/data"
	modelFolder = dataFolder + "/model"
	reviewsFile = dataFolder + "/movieReviewSnippets_GroundTruth.txt"
	tweetsFile  = dataFolder + "/tweets_GroundTruth.txt"
)

var broughtBy = map[string]string{
	program:     "make build",
	demoRows:    "examples/reviews/prepare.sh",
	modelFolder: "third_party/fetch.sh --set reviews",
	reviewsFile: "third_party/fetch.sh --set reviews",
	tweetsFile:  "third_party/fetch.sh --set reviews",
}

// need checks that files are there, and says how to get one that is not.
func need(paths ...string) error {
	if _, err := os.Stat("peers"); err != nil {
		return errors.New("this is not the folder bench: cd there and run it again")
	}
	for _, path := range paths {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is not there: run %s in the checkout", filepath.Clean(path[len(root)+1:]), broughtBy[path])
		} else if err != nil {
			return err
		}
	}
	return nil
}

// python is the interpreter of the peers, which `make peers` brings.
func python() (string, error) {
	cache, err := cachedir.Root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "peers", "bin", "python")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the Python stack to compare with is missing (%s): run make peers in the checkout, 5 GB", path)
	}
	return path, nil
}
