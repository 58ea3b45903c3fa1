package recipe

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/preflight"
)

// Task is what a spec asks for: a model with a new head, and data that was read and checked.
type Task interface {
	// Describe tells what was read, a subject and a line each.
	Describe() [][2]string
	// Train runs the phases and leaves the run folder. onEvent gets the events of the run, see finetune.Options; it may
	// be nil. Of Train and Resume one is called, once.
	Train(ctx context.Context, onEvent func(finetune.Event) error) (*finetune.Result, error)
	// Resume goes on with the run that was interrupted in the spec's folder, see finetune.Options.Resume.
	Resume(ctx context.Context, onEvent func(finetune.Event) error) (*finetune.Result, error)
	// Verify trains from the oldest to the newest checkpoint in the spec's folder, and compares, see finetune.Verify.
	Verify(ctx context.Context, onEvent func(finetune.Event) error) (from, to string, err error)
	// Close frees the model.
	Close()
}

// Open opens all that a spec names and checks it: paths, device, classes, phases. What only the data and the model
// tell, such as the classes of images, is put into the spec. The error is SpecErrors, or a *SpecError, where a key is
// at fault.
func Open(ctx context.Context, s *Spec) (Task, error) {
	resolved, err := s.Resolved()
	if err != nil {
		return nil, err
	}
	*s = resolved
	if err := s.Check(); err != nil {
		return nil, err
	}
	return s.kind().open(ctx, s)
}

// Check looks for the files that a resolved spec names and chooses the device where that is "auto". It reads no data
// and no weights. The error has all that was found wrong.
func (s *Spec) Check() error { return joinFaults(s.CheckPaths(), s.ChooseDevice()) }

// kind is a kind of samples: what differs between texts and images is behind these methods, and nowhere else.
type kind interface {
	name() string // in a spec
	// modelTypes are the model_type of the config.json files that are read, and what people call them.
	modelTypes() (types []string, called string)
	registered() hub.Kind            // what hub calls the models that are trained
	trains(architecture string) bool // of a model that hub knows
	hasHead(m hub.Model) bool        // whether the model predicts as it was published
	means(s *Spec) bool              // whether the keys of a spec that names no kind are those of this one
	resolve(s *Spec, f *faults)      // fills in and checks the keys that are this kind's
	objectives() []string            // of a head, the default first
	checkMetrics(s *Spec) error      // that a head's objective has the metrics that are named
	checkModel(s *Spec, f *faults)   // that there is what a spec that names no registered model calls its model
	isArchitecture(s *Spec) bool     // whether model is no checkpoint, but what random or other weights are for
	takesFolders() bool              // whether data may be a folder
	sizeKey() string                 // the key that makes samples smaller
	loraTargets() []string           // the layers that get adapters where a spec names none
	open(ctx context.Context, s *Spec) (Task, error)
	preflight(ctx context.Context, s *Spec) (*preflight.Report, error) // all checks of the data, those that take time too
	openModel(model, weights string) (Model, error)
	openWeights(folder string) (Model, error) // those of a run
	evaluate(ctx context.Context, r *Run, o EvalOptions) (*metric.Score, error)
}

// kinds is the table of kinds. The first is that of a spec whose keys mean no other.
var kinds = []kind{texts{}, images{}, boxes{}}

// kind is what the samples of a resolved spec are.
func (s *Spec) kind() kind {
	for _, k := range kinds {
		if k.name() == s.Kind {
			return k
		}
	}
	for _, k := range slices.Backward(kinds[1:]) { // boxes are images too
		if k.means(s) {
			return k
		}
	}
	return kinds[0]
}

// resolveKind finds the kind where it was left out.
func (s *Spec) resolveKind(f *faults) kind {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name()
	}
	if s.Kind == "" && !f.source.given("kind") {
		s.Kind = s.kind().name()
	}
	f.choice("kind", &s.Kind, names...)
	return s.kind()
}

// kindOf is the kind of a model whose config.json has the model_type.
func kindOf(modelType string) (kind, error) {
	var known []string
	for _, k := range kinds {
		types, _ := k.modelTypes()
		if slices.Contains(types, modelType) {
			return k, nil
		}
		known = append(known, fmt.Sprintf("%s (%s)", strings.Join(types, ", "), k.name()))
	}
	last := len(known) - 1
	return nil, fmt.Errorf("model_type is %q, and only %s and %s are supported", modelType, strings.Join(known[:last], ", "), known[last])
}

// CanTrain is nil for a model of hub's registry that Thaw fine-tunes, and says why not for one that it only downloads.
func CanTrain(m hub.Model) error {
	for _, k := range kinds {
		if m.Kind != k.registered() {
			continue
		}
		if k.trains(m.Architecture) {
			return nil
		}
		_, called := k.modelTypes()
		return fmt.Errorf("%s is %s other than %s, which Thaw does not fine-tune yet", m.Name, withArticle(string(m.Kind)), called)
	}
	return fmt.Errorf("%s is %s, which Thaw does not fine-tune yet", m.Name, withArticle(string(m.Kind)))
}

func withArticle(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

// Local is [hub.Local] for a model that Thaw is to fine-tune: of one of the registry that it only downloads it says so,
// whether that is here or not.
func Local(name string) (path string, err error) {
	known, _, _ := strings.Cut(strings.TrimPrefix(name, "hf:"), "@")
	if m, err := hub.Find(known); err == nil {
		if err := CanTrain(m); err != nil {
			return "", err
		}
	}
	return hub.Local(name)
}
