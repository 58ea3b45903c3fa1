// Compose makes the data of make demo-detect: pictures of stamps (photographs with a transparent ground, of Tux Paint)
// on grounds of noise, stripes and the like, with a box around each, and smaller pictures of other stamps to pre-train
// a classifier on.
//
//	go run ./examples/stamps/compose -stamps examples/stamps/data -out examples/stamps/composed
//
// The folder gets
//
//	train.json, train/     240 pictures with their boxes in COCO's format
//	test.json, test/       60 more
//	pretrain/CLASS/        small pictures of other stamps, each of which is a class
//
// The same seed makes the same pictures, byte for byte. Test pictures show the stamps that training pictures show, in
// other sizes and places, on other grounds.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

// options are the program's flags.
type options struct {
	stamps, out string
	seed        uint64
	train, test int // pictures with boxes
	each        int // pictures of each class to pre-train on
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("compose: ")
	var o options
	flag.StringVar(&o.stamps, "stamps", "examples/stamps/data", "the folder of stamps, which make stamps brings")
	flag.StringVar(&o.out, "out", "examples/stamps/composed",
		"the folder to make, in place of what this program made there before")
	flag.Uint64Var(&o.seed, "seed", 1, "of all that is random")
	flag.IntVar(&o.train, "train", 240, "training pictures with boxes")
	flag.IntVar(&o.test, "test", 60, "test pictures with boxes")
	flag.IntVar(&o.each, "each", 12, "pictures of each class to pre-train on")
	flag.Parse()
	if flag.NArg() > 0 || o.train < 1 || o.test < 1 || o.each < 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := compose(o); err != nil {
		log.Fatal(err)
	}
}

// compose makes the folder under another name, and gives it its own when it is whole.
func compose(o options) error {
	library, err := openStamps(o.stamps)
	if err != nil {
		return err
	}
	if err := replaceable(o.out); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.out), 0o777); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(o.out), ".composed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	boxes := 0
	for _, set := range []struct {
		name   string
		n      int
		stream uint64
	}{{"train", o.train, 1}, {"test", o.test, 2}} {
		n, err := writeSet(work, set.name, set.n, library, o.seed, set.stream)
		if err != nil {
			return err
		}
		boxes += n
	}
	if err := writePretraining(filepath.Join(work, "pretrain"), o.each, library, o.seed); err != nil {
		return err
	}
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(o.out); err != nil {
		return err
	}
	if err := os.Rename(work, o.out); err != nil {
		return err
	}
	fmt.Printf("%s: %d and %d pictures with %d boxes of %d classes; %d pictures of %d other classes to pre-train on\n",
		o.out, o.train, o.test, boxes, len(library.classes), o.each*len(library.others), len(library.others))
	return nil
}

// replaceable refuses a folder with something else in it.
func replaceable(folder string) error {
	entries, err := os.ReadDir(folder)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	ours := map[string]bool{"train": true, "train.json": true, "test": true, "test.json": true, "pretrain": true}
	for _, e := range entries {
		if !ours[e.Name()] {
			return fmt.Errorf("%s holds %s, which is not this program's: name another folder with -out", folder, e.Name())
		}
	}
	return nil
}
