package optim_test

import (
	"testing"

	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) { torchtest.Main(m) }

// golden is testdata/golden.json.
type golden struct {
	Start []torchtest.Stored
	Grads [][]*torchtest.Stored // by step and parameter; nil for none
	Runs  []struct {
		Name, Optimizer string
		Groups          []struct {
			Params      []int
			LR          float64 `json:"lr"`
			WeightDecay float64 `json:"weight_decay"`
		}
		Schedule []float64
		Options  struct {
			Betas     [2]float64
			Eps       float64
			AMSGrad   bool `json:"amsgrad"`
			Momentum  float64
			Dampening float64
			Nesterov  bool
		}
		After torchtest.Stored // [steps, elements of all parameters]
	}
	Clips []struct {
		Name    string
		Max     float64
		Grads   []*torchtest.Stored
		Norm    torchtest.Stored
		Clipped []*torchtest.Stored
	}
	Schedules []struct {
		Name   string
		WarmUp int `json:"warm_up"`
		Total  int
		Rates  []float64
	}
	Cycles []struct {
		Share float64
		Total int
		Rates []float64
	}
}

func read(t testing.TB) golden { return torchtest.Golden[golden](t, "golden.json") }
