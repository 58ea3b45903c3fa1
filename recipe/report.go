package recipe

import (
	"fmt"
	"image"
	"path/filepath"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/report"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/text/corpus"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/album"
	"github.com/thaw-ml/thaw/vision/picture"
)

// shown is what a report shows of a run's data.
type shown struct {
	train, test report.DataSet
	sample      func(number int) (report.Sample, error) // of the test data
	detection   func() (*report.Detection, error)       // of a detector: what its last evaluation came to; else nil
}

// record has a run's folder get the records of a report, and the report when finish is called, at the end of the run.
func record(s *Spec, model interface{ Objective() train.Objective }, o *finetune.Options, shown shown) (finish func()) {
	if s.group.Rank() != 0 { // the folder is rank 0's
		return func() {}
	}
	ro := report.RecorderOptions{Folder: s.Out, Device: s.Device, Train: shown.train, Test: shown.test, Sample: shown.sample, Detection: shown.detection}
	if m, ok := model.Objective().(objective.Objective); ok {
		ro.Problem = m.ProblemType()
	}
	if ro.Problem != objective.Regression {
		ro.Classes = s.Head.Classes
	}
	onEvent := o.OnEvent
	r := report.NewRecorder(ro)
	o.Observer, o.OnEvent = r, r.OnEvent(onEvent)
	return func() {
		if err := r.Finish(); err != nil && onEvent != nil {
			// The run is over: what it left is whole without a report.
			_ = onEvent(train.Warning{Kind: train.RecordingFailed, Text: fmt.Sprintf("the report was not made: %v", err)})
		}
	}
}

// dataSet is what a report says of a data set; its hash is part of the fingerprint that finetune.Result has.
func dataSet(d interface {
	Len() int
	ContentHash() string
}) report.DataSet {
	return report.DataSet{Rows: d.Len(), Hash: d.ContentHash()}
}

// shownTexts is that of texts: the rows of test are the samples of testSet.
func shownTexts(trainSet, testSet *text.Dataset, test *corpus.Table) shown {
	return shown{train: dataSet(trainSet), test: dataSet(testSet), sample: func(i int) (report.Sample, error) {
		if i < 0 || i >= len(test.Rows) {
			return report.Sample{}, fmt.Errorf("%s has no row %d", test.Path, i)
		}
		r := test.Rows[i]
		return report.Sample{Name: fmt.Sprintf("%s:%d", filepath.Base(test.Path), r.Line), Text: r.Text, Pair: r.Pair}, nil
	}}
}

// shownImages is that of images: the images of test are the samples of testSet.
func shownImages(trainSet, testSet *vision.Dataset, test *album.Album) shown {
	return shown{train: dataSet(trainSet), test: dataSet(testSet), sample: func(i int) (report.Sample, error) {
		if i < 0 || i >= test.Len() {
			return report.Sample{}, fmt.Errorf("there is no test image %d", i)
		}
		m, err := test.Picture(i, picture.Options{MinSize: func(int, int) (int, int) { return 320, 320 }})
		if err != nil {
			return report.Sample{}, err
		}
		name := test.Name(i)
		if folder := filepath.Base(filepath.Dir(name)); folder != "." && folder != string(filepath.Separator) {
			name = filepath.Join(folder, filepath.Base(name))
		}
		return report.Sample{Name: name, Picture: asRGBA(m)}, nil
	}}
}

// asRGBA is a picture as Go's image packages have it.
func asRGBA(m *picture.Image) image.Image {
	out := image.NewRGBA(image.Rect(0, 0, m.Width, m.Height))
	for i := range m.Width * m.Height {
		copy(out.Pix[4*i:], m.Pix[3*i:3*i+3])
		out.Pix[4*i+3] = 0xff
	}
	return out
}
