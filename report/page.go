package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/internal/quantity"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText + detectionText))

// mostClasses is the number of classes whose scores stand open on the page.
const mostClasses = 30

// view is what the page shows.
type view struct {
	Run         *Run
	What        string
	Headline    headline
	Notice      string // of a run that did not come to its end
	Facts       []fact
	Charts      []drawnChart
	Epochs      epochTable
	Confusion   *confusion
	Pairs       []pair
	Classes     []classRow
	More        []classRow
	Sorted      bool // the classes are sorted by F1
	Reliability template.HTML
	Calibration string
	Scatter     template.HTML
	Mistakes    []mistakeView
	MistakesOf  string
	Pictures    bool
	Detection   *detectionView // nil of what is no detector
	Plan, Spec  string
	Versions    []fact
}

// headline is the outcome.
type headline struct {
	Name, Value, Interval string
	Before                string
	Others                []fact
	Epoch                 string
}

type fact struct{ Name, Value string }

type drawnChart struct {
	Title  string
	SVG    template.HTML
	Legend []legend
}

type legend struct {
	Name  string
	Color int
	Faint bool
}

type epochTable struct {
	Header []string
	Rows   []epochRow
}

type epochRow struct {
	Cells []string
	Best  bool
}

type classRow struct {
	metric.ClassScore
	Bar string // of F1, in percent
}

type mistakeView struct {
	Mistake
	True, Predicted string
	Probability     string
	Picture         template.URL
	Off             string
}

// page makes report.html.
func (r *Run) page() ([]byte, error) {
	v := view{
		Run: r, What: r.what(), Headline: r.headline(), Notice: r.notice(), Facts: r.facts(), Epochs: r.epochTable(),
		Confusion: r.confusion(), Pairs: r.pairs(), Plan: r.Plan, Spec: r.Spec, Versions: r.versions(),
	}
	for i, c := range r.charts() {
		d := drawnChart{Title: c.title, SVG: c.svg(i)}
		if len(c.curves) > 1 {
			for _, curve := range c.curves {
				d.Legend = append(d.Legend, legend{curve.name, curve.color, curve.faint})
			}
		}
		v.Charts = append(v.Charts, d)
	}
	v.classes(r.perClass())
	if e := r.evaluation(); e != nil {
		v.evaluation(e)
	}
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, v)
	return b.Bytes(), err
}

// headline is the best epoch's metric, with what it was before.
func (r *Run) headline() (h headline) {
	epoch, score := r.best()
	if score.Rows == 0 {
		if n := len(r.Epochs); n > 0 {
			h.Name, h.Value = "training loss", short(r.Epochs[n-1].TrainLoss)
			h.Epoch = fmt.Sprintf("after epoch %d; nothing was evaluated", n)
		} else if n := len(r.Steps); n > 0 {
			h.Name, h.Value = "training loss", short(r.Steps[n-1].EpochLoss)
			h.Epoch = fmt.Sprintf("at step %s, in the first epoch", quantity.Digits(r.Steps[n-1].Step))
		}
		return h
	}
	h.Name = r.chosenBy()
	value, found := score.Find(h.Name)
	if !found && len(score.Values) > 0 {
		value = score.Values[0]
		h.Name = value.Name
	} else if !found {
		value, _ = score.Find("loss")
		h.Name = "loss"
	}
	h.Value = short(value.Value)
	if i, ok := score.Intervals[h.Name]; ok {
		h.Interval = fmt.Sprintf("%s to %s", short(i.Low), short(i.High))
	}
	if before := r.before(); before != nil {
		h.Before = short(before.Value(h.Name))
	}
	h.Epoch = fmt.Sprintf("at epoch %d of %d", epoch, max(epoch, len(r.Epochs)))
	for _, name := range score.Names() {
		if name != h.Name {
			h.Others = append(h.Others, fact{readable(name), short(score.Value(name))})
		}
	}
	h.Name = readable(h.Name)
	return h
}

func readable(name string) string { return strings.ReplaceAll(name, "_", " ") }

// notice says why a run is not what it was to be.
func (r *Run) notice() string {
	switch r.Status {
	case Stopped:
		return "The run was stopped before all its epochs were done, as the program that trains asked for."
	case Interrupted:
		return "The run was interrupted. thaw resume goes on from its newest checkpoint."
	case Failed:
		return "The run failed: " + r.Reason
	case Unfinished:
		return "The run is not finished: it is still running, or its process was killed."
	}
	return ""
}

func (r *Run) facts() (facts []fact) {
	add := func(name, format string, args ...any) {
		facts = append(facts, fact{name, fmt.Sprintf(format, args...)})
	}
	_, score := r.best()
	if m := r.Machine; m != nil && m.Train.Rows > 0 {
		add("training samples", "%s", quantity.Digits(m.Train.Rows))
	}
	if score.Rows > 0 {
		add("test samples", "%s", quantity.Digits(score.Rows))
	} else if r.Machine != nil {
		add("test samples", "%s", quantity.Digits(r.Machine.Test.Rows))
	}
	if n := len(r.Steps); n > 0 {
		add("steps", "%s", quantity.Digits(r.Steps[n-1].Step))
	}
	add("epochs", "%s", quantity.Digits(len(r.Epochs)))
	if s := r.seconds(); s > 0 {
		add("time", "%s", duration(s))
	}
	if t := r.throughput(); t > 0 {
		add("training speed", "%s samples/s", short3(t))
	}
	if bytes, ofGPU := r.memory(); bytes > 0 {
		name := "peak memory"
		if ofGPU {
			name = "peak GPU memory"
		}
		add(name, "%s", gigabytes(bytes))
	}
	return facts
}

// short3 writes a number with about three digits.
func short3(x float64) string {
	if x >= 100 {
		return quantity.Digits(int(x + 0.5))
	}
	return fmt.Sprintf("%.3g", x)
}

func gigabytes(bytes int64) string { return fmt.Sprintf("%.2f GB", float64(bytes)/1e9) }

// duration writes seconds as people do: 4.1 s, 2 min 40 s, 3 h 50 min.
func duration(seconds float64) string {
	s := int(seconds + 0.5)
	switch {
	case seconds < 60:
		return fmt.Sprintf("%.1f s", seconds)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	}
	return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
}

// mostEpochs is the number of epochs in the table: the first and the last ones of more.
const mostEpochs = 40

func (r *Run) epochTable() (t epochTable) {
	if len(r.Epochs) == 0 {
		return t
	}
	tested := slices.ContainsFunc(r.Epochs, func(e Epoch) bool { return !math.IsNaN(e.TestLoss) })
	phases := r.Epochs[len(r.Epochs)-1].Phase > 1
	t.Header = []string{"epoch"}
	if phases {
		t.Header = append(t.Header, "phase")
	}
	t.Header = append(t.Header, "training loss")
	if tested {
		t.Header = append(t.Header, "test loss")
		for _, name := range r.Metrics {
			t.Header = append(t.Header, readable(name))
		}
	}
	t.Header = append(t.Header, "time")
	best, _ := r.best()
	for i, e := range r.Epochs {
		if len(r.Epochs) > mostEpochs && i >= mostEpochs/2 && i < len(r.Epochs)-mostEpochs/2 && e.Number != best {
			continue
		}
		row := epochRow{Best: e.Number == best && tested, Cells: []string{fmt.Sprint(e.Number)}}
		if phases {
			row.Cells = append(row.Cells, fmt.Sprint(e.Phase))
		}
		row.Cells = append(row.Cells, short(e.TrainLoss))
		if tested {
			row.Cells = append(row.Cells, short(e.TestLoss))
			for _, v := range e.Values {
				row.Cells = append(row.Cells, short(v))
			}
		}
		row.Cells = append(row.Cells, duration(e.Seconds))
		t.Rows = append(t.Rows, row)
	}
	return t
}

// classes lists the classes in their order, or, where there are many, those with the lowest F1 first.
func (v *view) classes(c *metric.Classes) {
	if c == nil {
		return
	}
	var rows []classRow
	for _, s := range c.PerClass {
		rows = append(rows, classRow{s, fmt.Sprintf("%.1f", 100*s.F1)})
	}
	if len(rows) > mostClasses {
		v.Sorted = true
		slices.SortStableFunc(rows, func(a, b classRow) int {
			switch {
			case (a.Support == 0) != (b.Support == 0): // of a class without samples nothing is known
				return b.Support - a.Support
			case a.F1 < b.F1:
				return -1
			case a.F1 > b.F1:
				return 1
			}
			return 0
		})
	}
	n := min(mostClasses, len(rows))
	v.Classes, v.More = rows[:n], rows[n:]
}

func (v *view) evaluation(e *Evaluation) {
	if e.Detection != nil {
		v.detection(e.Detection)
	}
	if c := e.Calibration; c != nil && c.count() > 0 {
		v.Reliability, v.Calibration = c.reliability(), short(c.Error)
	}
	if len(e.Points) > 0 {
		v.Scatter = scatter(e.Points)
	}
	for _, m := range e.Mistakes {
		shown := mistakeView{Mistake: m, True: strings.Join(m.True, ", "), Predicted: strings.Join(m.Predicted, ", ")}
		switch {
		case m.Value != nil && m.Wanted != nil:
			shown.True, shown.Predicted = fmt.Sprintf("%.4g", *m.Wanted), fmt.Sprintf("%.4g", *m.Value)
			shown.Off = fmt.Sprintf("%+.4g", *m.Value-*m.Wanted)
		case e.Problem == objective.MultiLabel:
			if shown.True == "" {
				shown.True = "none"
			}
			if shown.Predicted == "" {
				shown.Predicted = "none"
			}
		}
		if m.Probability != nil {
			shown.Probability = percent(*m.Probability)
		}
		if isPicture(m.Encoded) {
			shown.Picture = template.URL(m.Encoded)
			v.Pictures = true
		}
		v.Mistakes = append(v.Mistakes, shown)
	}
	switch {
	case e.Problem == objective.Regression:
		v.MistakesOf = "The test samples whose number is furthest off."
	case e.Problem == objective.MultiLabel:
		v.MistakesOf = "The test samples with a wrong label whose loss is highest."
	default:
		v.MistakesOf = "The test samples whose own class the model finds least likely, most certain mistakes first."
	}
	if e.Rows < e.Score.Rows {
		v.MistakesOf += fmt.Sprintf(" Of %s samples %s were looked at.",
			quantity.Digits(e.Score.Rows), quantity.Digits(e.Rows))
	}
}

func (r *Run) versions() (facts []fact) {
	add := func(name, value string) {
		if value != "" && value != "0" {
			facts = append(facts, fact{name, value})
		}
	}
	if m := r.Machine; m != nil {
		add("began", m.Began.Format("2006-01-02 15:04 MST"))
		add("Thaw", m.Thaw)
		add("libtorch", m.Libtorch)
		add("Go", strings.TrimPrefix(m.Go, "go"))
		add("system", m.System)
		add("CPU", m.CPU)
		add("CPU kernels", m.Kernels)
		add("threads", fmt.Sprint(m.Threads))
		add("GPU", m.GPU)
		add("training data", m.Train.Hash)
		add("test data", m.Test.Hash)
	} else if r.Result != nil && r.Result.Versions != nil {
		v := r.Result.Versions
		add("Thaw", v.Thaw)
		add("libtorch", v.Libtorch)
		add("Go", strings.TrimPrefix(v.Go, "go"))
		add("CPU kernels", v.CPUCapability)
		add("threads", fmt.Sprint(v.Threads))
	}
	if d := r.key("device"); d != "" {
		add("device", d+", "+r.key("precision"))
	}
	if r.Result != nil {
		add("seed", fmt.Sprint(r.Result.Seed))
	}
	return facts
}
