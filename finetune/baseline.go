package finetune

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch/data"
)

// baseline measures the model before anything is trained. Where the test samples' rows come from a file, an earlier run that began
// with the same weights has left what they came to.
func (r *run[B]) baseline(ctx context.Context, p *phase[B]) (metric.Score, error) {
	task := train.Task{Kind: train.Baseline}
	if err := r.emit(train.TaskStarted{Task: task, Samples: r.test.Len()}); err != nil {
		return metric.Score{}, err
	}
	began := time.Now()
	name := r.scoreName(p)
	score, found := keptScore(p.testCache, name)
	if !found {
		var err error
		score, err = r.evaluate(ctx, p, func(samples int) error { return r.emit(train.Progress{Task: task, Samples: samples}) })
		if errors.Is(err, train.ErrNotFinite) {
			err = fmt.Errorf("evaluating: %w", train.ErrDamaged)
		}
		if err != nil {
			return score, err
		}
		if name != "" && !r.verify {
			keepScore(p.testCache, name, score)
		}
	}
	return score, r.emit(train.TaskDone{Task: task, Samples: r.test.Len(), Elapsed: time.Since(began), Score: &score})
}

// scoreName says what the score of an evaluation depends on besides the kept rows and their inputs: the other stages' weights, the
// targets and what is measured; "" where some of it cannot be told.
func (r *run[B]) scoreName(p *phase[B]) string {
	told, ok := r.test.(data.Fingerprinter)
	if !ok || p.testCache == nil || p.testCache.file == nil || r.options.Group != nil || !tells(r.objective) {
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q %q\n", told.Fingerprint(), describe(r.objective))
	for _, s := range p.plan.Stages[p.plan.NumFrozen:] {
		fmt.Fprintf(h, "%q\n", s.Name)
		s.hash(h)
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// tells reports whether describe tells all of an objective: of Thaw's own, whose fields are exported.
func tells(o train.Objective) bool {
	t := reflect.TypeOf(o)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return strings.HasSuffix(t.PkgPath(), "/finetune/train/objective")
}

func keptScore[B data.Batch[B]](c *cache[B], name string) (score metric.Score, found bool) {
	if name == "" {
		return score, false
	}
	content := c.file.Note(name)
	return score, content != nil && gob.NewDecoder(bytes.NewReader(content)).Decode(&score) == nil
}

// keepScore keeps what comes cheap: where it cannot, the next run evaluates.
func keepScore[B data.Batch[B]](c *cache[B], name string, score metric.Score) {
	var content bytes.Buffer
	if gob.NewEncoder(&content).Encode(score) == nil {
		_ = c.file.PutNote(name, content.Bytes())
	}
}
