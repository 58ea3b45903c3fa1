package recipe

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/internal/version"
)

// cardMatter is the front matter of a model card, with the keys of Hugging Face's hub. Keys that a run knows nothing
// of, such as license and language, are left to whoever publishes the model.
type cardMatter struct {
	Library  string      `yaml:"library_name"`
	Pipeline string      `yaml:"pipeline_tag"`
	Base     string      `yaml:"base_model,omitempty"`
	Tags     []string    `yaml:"tags,flow"`
	Index    []cardModel `yaml:"model-index,omitempty"`
}

type cardModel struct {
	Name    string       `yaml:"name"`
	Results []cardResult `yaml:"results"`
}

type cardResult struct {
	Task struct {
		Type string `yaml:"type"`
	} `yaml:"task"`
	Dataset struct {
		Name string `yaml:"name"`
		Type string `yaml:"type"`
	} `yaml:"dataset"`
	Metrics []cardMetric `yaml:"metrics"`
}

type cardMetric struct {
	Type  string  `yaml:"type"`
	Value float64 `yaml:"value"`
}

// card is the model card of an export called name, of whose files those in folder are there already.
func (r *Run) card(name, folder string, to Format) ([]byte, error) {
	result, err := r.summary()
	if err != nil {
		return nil, err
	}
	spec, _ := r.Spec() // a run that a Go program made has none
	pipeline, called := r.task()
	base, revision := baseModel(spec)
	matter := cardMatter{Library: string(to), Pipeline: pipeline, Tags: []string{"thaw", pipeline}}
	if revision != "" && spec.Weights == "" {
		matter.Base = base // the name of a repository; another would be none of the hub's
	}
	if result != nil && result.Best.Rows > 0 {
		matter.Index = indexed(name, pipeline, cmp.Or(dataName(spec), "the run's test data"), result.Best)
	}
	head, err := indented(matter)
	if err != nil {
		return nil, fmt.Errorf("the model card: %w", err)
	}

	var b bytes.Buffer
	fmt.Fprintf(&b, "---\n%s---\n\n# %s\n\n%s ", head, cell(name), cell(called))
	fmt.Fprintf(&b, "It was %s with [Thaw](https://github.com/thaw-ml/thaw)", origin(spec))
	if result != nil && result.Versions != nil {
		fmt.Fprintf(&b, " %s on libtorch %s", result.Versions.Thaw, result.Versions.Libtorch)
	}
	fmt.Fprintf(&b, ", and exported for %s by Thaw %s.", to, version.WithRevision())
	if spec != nil && spec.LoRA != nil {
		b.WriteString(" It was trained with LoRA; the adapters are merged into the weights.")
	}
	b.WriteString("\n")
	r.cardUse(&b, folder, to)
	r.cardClasses(&b)
	cardData(&b, spec, result)
	cardResults(&b, result)
	cardTraining(&b, filepath.Join(r.Folder, finetune.SpecFile), result)
	b.WriteString("\n## What this card does not say\n\nLicence, language, intended use and limits are not known to the program that " +
		"wrote it: the licences of the base model and of the data apply.\n")
	return b.Bytes(), nil
}

// summary reads what the run came to; nil where it has not ended.
func (r *Run) summary() (*finetune.Result, error) {
	path := filepath.Join(r.Folder, finetune.SummaryFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var result finetune.Result
	if err == nil {
		if err = json.Unmarshal(data, &result); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	return &result, err
}

// inCache matches the path of a model in Hugging Face's cache.
var inCache = regexp.MustCompile(`models--([^/]+)/snapshots/([0-9a-f]{7,})`)

// baseModel is what the run began with: the name of a repository and its revision, or the last part of a path.
func baseModel(s *Spec) (name, revision string) {
	switch {
	case s == nil:
		return "", ""
	case s.ModelName() != "":
		name, revision, _ = strings.Cut(strings.TrimPrefix(s.Model, "hf:"), "@")
		return name, revision
	}
	if m := inCache.FindStringSubmatch(filepath.ToSlash(s.Model)); m != nil {
		return strings.ReplaceAll(m[1], "--", "/"), m[2]
	}
	return filepath.Base(s.Model), ""
}

// origin says what the run began with.
func origin(s *Spec) string {
	base, revision := baseModel(s)
	switch {
	case base == "":
		return "fine-tuned"
	case s.FromScratch():
		return "trained from random weights (" + code(base) + ")"
	case s.Weights != "":
		return "fine-tuned from the weights " + code(filepath.Base(s.Weights)) + " (" + code(base) + ")"
	case revision != "":
		return "fine-tuned from " + code(base) + " at revision " + code(revision)
	}
	return "fine-tuned from " + code(base)
}

// dataName is what the test data is called.
func dataName(s *Spec) string {
	if s == nil {
		return ""
	}
	if file, ok := s.Data.TestFile(); ok {
		return filepath.Base(file)
	}
	return filepath.Base(s.Data.Train)
}

// indexed are the measures as the hub shows them.
func indexed(name, pipeline, data string, score metric.Score) []cardModel {
	result := cardResult{}
	result.Task.Type, result.Dataset.Name, result.Dataset.Type = pipeline, data, data
	for _, v := range score.Values {
		if !math.IsNaN(v.Value) && !math.IsInf(v.Value, 0) {
			result.Metrics = append(result.Metrics, cardMetric{v.Name, v.Value})
		}
	}
	if len(result.Metrics) == 0 {
		return nil
	}
	return []cardModel{{name, []cardResult{result}}}
}

// cardClasses lists what the logits, or a detector's labels, stand for.
func (r *Run) cardClasses(b *bytes.Buffer) {
	if len(r.Labels()) == 0 {
		return
	}
	number, first := "logit", 0
	if m, ok := r.Model.(interface{ FirstLabel() int }); ok {
		number, first = "label", m.FirstLabel()
	}
	fmt.Fprintf(b, "\n## Classes\n\n| %s | class |\n|---|---|\n", number)
	for i, class := range r.Labels() {
		fmt.Fprintf(b, "| %d | %s |\n", first+i, cell(class))
	}
}

// cardData tells of the data.
func cardData(b *bytes.Buffer, s *Spec, r *finetune.Result) {
	if s == nil && (r == nil || r.TrainData == "") {
		return
	}
	b.WriteString("\n## Data\n\n| | from | samples |\n|---|---|---|\n")
	train, test := "", ""
	if s != nil {
		train = filepath.Base(s.Data.Train)
		if file, ok := s.Data.TestFile(); ok {
			test = filepath.Base(file)
		} else if every, ok := strings.CutPrefix(s.Data.Test, "every "); ok {
			test = "one in " + every + " of " + train
		} else if s.Data.Test != "" {
			test = s.Data.Test + " of " + train
		}
	}
	var trained, tested string
	if r != nil {
		trained, tested = r.TrainData, r.TestData
		if tested == "" && r.Best.Rows > 0 {
			tested = quantity.Digits(r.Best.Rows)
		}
	}
	fmt.Fprintf(b, "| training | %s | %s |\n", cell(train), cell(cmp.Or(trained, "not recorded")))
	if test != "" || tested != "" {
		fmt.Fprintf(b, "| test | %s | %s |\n", cell(test), cell(tested))
	}
	if trained != "" {
		b.WriteString("\nThe first hash is of the samples with their targets, the second of how the network reads them: equal hashes " +
			"stand for the same.\n")
	}
}

// cardResults tells what was measured.
func cardResults(b *bytes.Buffer, r *finetune.Result) {
	b.WriteString("\n## Results\n\n")
	switch {
	case r == nil:
		b.WriteString("The run had not ended when this was exported: these are its best weights until then.\n")
		return
	case r.Best.Rows == 0:
		b.WriteString("Nothing was measured: the run had no test data.\n")
		return
	}
	fmt.Fprintf(b, "On the %s test samples, after epoch %d of %d, which was the best on them", quantity.Digits(r.Best.Rows),
		r.BestEpoch, len(r.Epochs))
	b.WriteString(" (so the numbers are, if anything, a little better than on new data)")
	if r.Stopped {
		b.WriteString("; the run was stopped before all of its epochs were done")
	}
	b.WriteString(":\n\n| measure | before | best |\n|---|---|---|\n")
	fmt.Fprintf(b, "| loss | %s | %s |\n", figure(r.Before.Loss), figure(r.Best.Loss))
	for _, v := range r.Best.Values {
		value := figure(v.Value)
		if interval, ok := r.Best.Intervals[v.Name]; ok {
			value += fmt.Sprintf(" (%s to %s)", figure(interval.Low), figure(interval.High))
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", cell(v.Name), figure(r.Before.Value(v.Name)), value)
	}
	if c := r.Best.Classes; c != nil && len(c.PerClass) <= metric.MostClasses {
		b.WriteString("\n| class | precision | recall | F1 | samples |\n|---|---|---|---|---|\n")
		for _, s := range c.PerClass {
			fmt.Fprintf(b, "| %s | %s | %s | %s | %d |\n",
				cell(s.Name), figure(s.Precision), figure(s.Recall), figure(s.F1), s.Support)
		}
	}
}

// cardTraining shows the spec, without paths of the machine.
func cardTraining(b *bytes.Buffer, specPath string, r *finetune.Result) {
	spec, err := publicSpec(specPath)
	if r == nil && spec == nil {
		return
	}
	b.WriteString("\n## Training\n\n")
	if r != nil {
		fmt.Fprintf(b, "Seed %d, %s", r.Seed, quantity.Count(len(r.Epochs), "epoch", "epochs"))
		if v := r.Versions; v != nil {
			threads := quantity.Count(v.Threads, "thread", "threads")
			fmt.Fprintf(b, ", Thaw %s, libtorch %s, %s, CPU kernels %s, %s", v.Thaw, v.Libtorch, v.Go, v.CPUCapability, threads)
		}
		b.WriteString(".\n")
	}
	switch {
	case spec != nil:
		fence := "```"
		for bytes.Contains(spec, []byte(fence)) {
			fence += "`"
		}
		fmt.Fprintf(b, "\nThe spec, of whose paths the last parts are shown:\n\n%syaml\n%s%s\n", fence, spec, fence)
	case !errors.Is(err, fs.ErrNotExist):
		b.WriteString("\nThe run's spec could not be read.\n")
	}
}

// publicSpec is a spec.yaml without what is of the machine alone: folders of paths, and out.
func publicSpec(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, err
	}
	var hide func(n *yaml.Node)
	hide = func(n *yaml.Node) {
		if n.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(n.Content); {
				if n.Content[i].Value == "out" {
					n.Content = slices.Delete(n.Content, i, i+2)
					continue
				}
				i += 2
			}
		}
		if n.Kind == yaml.ScalarNode && filepath.IsAbs(n.Value) {
			if name, revision := baseModel(&Spec{Model: n.Value}); revision != "" {
				n.Value = name + "@" + revision
			} else {
				n.Value = filepath.Base(n.Value)
			}
		}
		for _, c := range n.Content {
			hide(c)
		}
	}
	hide(&root)
	return indented(&root)
}

// indented is YAML with two spaces a level.
func indented(value any) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	err := errors.Join(e.Encode(value), e.Close())
	return b.Bytes(), err
}

// figure is a number of a table.
func figure(x float64) string {
	if math.IsNaN(x) {
		return "not defined"
	}
	return strconv.FormatFloat(x, 'f', 4, 64)
}

var markdown = strings.NewReplacer("\\", `\\`, "|", `\|`, "*", `\*`, "_", `\_`, "`", "\\`", "<", "&lt;", ">", "&gt;",
	"[", `\[`, "]", `\]`, "&", "&amp;", "#", `\#`, "\r\n", " ⏎ ", "\n", " ⏎ ", "\r", " ⏎ ")

// cell is text that stands in Markdown as it is, on one line.
func cell(s string) string { return markdown.Replace(s) }

// code is text in backticks.
func code(s string) string { return "`" + strings.NewReplacer("`", "'", "\n", " ").Replace(s) + "`" }
