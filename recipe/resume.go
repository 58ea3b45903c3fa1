package recipe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/yamlkeys"
)

// Checkpoint says when a run saves what it needs to go on bit for bit, see [finetune.Checkpointing]. It does so, too,
// when it is stopped. A run that came to its end removes its checkpoints.
type Checkpoint struct {
	// Every is the time between two checkpoints, as in "30s" or "1h30m"; the default is "10m". "off" writes none, not
	// even when the run is stopped, unless Steps does.
	Every string `yaml:"every"`
	Steps int    `yaml:"steps,omitempty"` // between two checkpoints; 0, the default: not by steps
	Keep  int    `yaml:"keep"`            // how many are kept, the newest; the default is 2
}

func (c *Checkpoint) resolve(f *faults) {
	if c.Every == "" && !f.source.given("checkpoint.every") {
		c.Every = "10m"
	}
	f.check(c.Every == "off" || duration(c.Every) > 0, "checkpoint.every",
		`must be a time such as 30s, 10m or 1h30m, or off, found %q`, c.Every)
	f.check(c.Steps >= 0, "checkpoint.steps", "must be 0 (not by steps) or above, found %d", c.Steps)
	if c.Keep == 0 && !f.source.given("checkpoint.keep") {
		c.Keep = 2
	}
	f.check(c.Keep >= 1, "checkpoint.keep", "must be 1 or more, found %d", c.Keep)
}

// duration reads a time such as 3h50m; 0 where it is none.
func duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0
	}
	return d
}

func (c Checkpoint) options() finetune.Checkpointing {
	return finetune.Checkpointing{Steps: c.Steps, Every: duration(c.Every), Keep: c.Keep}
}

// mayDiffer are the keys in which a run that goes on may differ from how it began, and maySet those of them that
// ReadRun takes: what is accepted about the data changes no number.
var (
	mayDiffer = []string{"accept", "checkpoint", "stop_after", "distributed", "threads", "out"}
	maySet    = mayDiffer[:4]
)

// ReadRun reads the spec of a run folder, to go on with the run there. Of overrides only those of accept, checkpoint
// and stop_after are taken. A folder that is none is an *OpenError.
func ReadRun(folder string, overrides ...string) (Spec, error) {
	for _, o := range overrides {
		key, _, _ := strings.Cut(o, "=")
		if !slices.Contains(maySet, firstKey(key)) {
			return Spec{}, noSuch("a run goes on as it began: only %s may be set, not %s", strings.Join(maySet, ", "), key)
		}
	}
	path := filepath.Join(folder, finetune.SpecFile)
	if _, err := os.Stat(folder); err != nil {
		return Spec{}, noSuch("there is no run folder %q", folder)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return Spec{}, noSuch("%q is no run of the program: it has no %s", folder, finetune.SpecFile)
	}
	s, err := Read(path, overrides...)
	if err != nil {
		return s, err
	}
	s.Out, err = filepath.Abs(folder) // it may have been moved
	s.goesOn = true
	return s, err
}

// Started tells whether the run folder that a spec names has the beginning of a run, and whether the run came to its
// end. A run that was begun is one to go on with: the folder is no mistake then.
func (s *Spec) Started() (started, finished bool) {
	if s.Out == "" {
		return false, false
	}
	_, ended := os.Stat(filepath.Join(s.Out, finetune.SummaryFile))
	s.goesOn = finetune.NewFolder(s.Out).Begun()
	return s.goesOn, ended == nil
}

// GoesOn says that a run was begun in the spec's folder, as Started finds: on a machine that does not see the folder,
// say.
func (s *Spec) GoesOn() { s.goesOn = true }

// SameRun is an error that names what differs where a spec is not that of the run in its folder.
func (s *Spec) SameRun() error {
	path := filepath.Join(s.Out, finetune.SpecFile)
	before, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the process ended before it had written it
	}
	if err != nil {
		return err
	}
	now, err := s.YAML()
	if err != nil {
		return err
	}
	was, is := map[string]string{}, map[string]string{}
	for into, text := range map[*map[string]string][]byte{&was: before, &is: now} {
		keys, err := yamlkeys.List(text)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, k := range keys {
			(*into)[k.Name] = k.Value
		}
	}
	var differ []string
	for key := range was {
		if _, ok := is[key]; !ok {
			is[key] = ""
		}
	}
	for key, value := range is {
		if was[key] != value && !slices.Contains(mayDiffer, firstKey(key)) {
			differ = append(differ, fmt.Sprintf("%s was %s and is %s", key, orNothing(was[key]), orNothing(value)))
		}
	}
	if slices.Sort(differ); differ != nil {
		return s.Errorf("out", "%s is of another spec: %s; give another folder, or go on as the run began: thaw resume %[1]s",
			s.Out, strings.Join(differ, "; "))
	}
	return nil
}

// firstKey of "checkpoint.every" is "checkpoint", and of "accept[0]" is "accept".
func firstKey(key string) string {
	if end := strings.IndexAny(key, ".["); end >= 0 {
		return key[:end]
	}
	return key
}

func orNothing(s string) string {
	if s == "" {
		return "not given"
	}
	return s
}
