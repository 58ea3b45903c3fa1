package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args, benchmarks, wrong string
		rounds                  int
	}{
		{"", "opcall tokenizer", "", 0},
		{"-profile", "opcall", "", 0},
		{"opcall -profile", "opcall", "", 0},
		{"demo -rounds 2 opcall", "demo opcall", "", 2},
		{"all", "opcall tokenizer loader steps demo lora", "", 0},
		{"opcal", "", `"opcal" is no benchmark`, 0},
		{"tokenizer -profile", "", "-profile is for opcall alone", 0},
		{"-calls 0", "", "above 0", 0},
	} {
		o, err := parse(strings.Fields(c.args))
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%q: error %v, want %q", c.args, err, c.wrong)
			}
			continue
		}
		if err != nil || strings.Join(o.benchmarks, " ") != c.benchmarks || o.rounds != c.rounds {
			t.Errorf("%q: %v, %d rounds, %v", c.args, o.benchmarks, o.rounds, err)
		}
	}
}

// TestCompare: rounds alternate who begins, the warm-up does not count, and the ratio is that of the medians.
func TestCompare(t *testing.T) {
	var order strings.Builder
	thaw, peer := []float64{99, 1, 9, 2}, []float64{99, 4, 5, 30}
	next := func(name string, values *[]float64) side {
		return func() (float64, error) {
			order.WriteString(name)
			v := (*values)[0]
			*values = (*values)[1:]
			return v, nil
		}
	}
	got, err := compare(3, 1, []trial{{name: "x", peerName: "y", unit: "ns", thaw: next("t", &thaw), peer: next("p", &peer)}})
	if err != nil {
		t.Fatal(err)
	}
	want := comparison{"x", "y", "ns", 0.4, series{2, []float64{1, 9, 2}}, series{5, []float64{4, 5, 30}}}
	if !reflect.DeepEqual(got[0], want) {
		t.Errorf("%+v, want %+v", got[0], want)
	}
	if order.String() != "pttpptt"+"p" {
		t.Errorf("order %s", &order)
	}
	if m := median([]float64{4, 1, 2, 3}); m != 2.5 {
		t.Errorf("median of an even number: %v", m)
	}
}

func TestPeerLine(t *testing.T) {
	var r peerRun
	if err := r.parse("missing [] unexpected []\nfull epochs 1 lr 5e-05: 23.9 samples/s, 400 s, test acc 0.8285 of 1061\n"); err != nil {
		t.Fatal(err)
	}
	if r.Throughput != 23.9 || r.Seconds != 400 || r.Accuracy != 0.8285 {
		t.Errorf("%+v", r)
	}
	if r.parse("Traceback") == nil {
		t.Error("no error for a peer that failed")
	}
}

func TestGroups(t *testing.T) {
	for s, want := range map[symbol]string{
		{"bench", "main.opCases.func1"}:                                                  loopGroup,
		{"bench", "runtime.cgocall"}:                                                     crossingGroup,
		{"bench", "_cgo_2a3b_Cfunc_thaw_call"}:                                           crossingGroup,
		{"bench", "github.com/thaw-ml/thaw/torch/internal/capi._Cfunc_thaw_call.abi0"}:   crossingGroup,
		{"bench", "github.com/thaw-ml/thaw/torch/internal/capi.Op.Call"}:                 capiGroup,
		{"bench", "github.com/thaw-ml/thaw/torch.(*call).run"}:                           torchGroup,
		{"bench", "runtime.mallocgc"}:                                                    runtimeGroup,
		{"bench", "thaw_call"}:                                                           boxingGroup,
		{"libc.so.6", "_int_malloc"}:                                                     mallocGroup,
		{"libstdc++.so.6.0.30", "operator new(unsigned long)"}:                           mallocGroup,
		{"libtorch_cpu.so", "c10::Dispatcher::callBoxed"}:                                dispatchGroup,
		{"libtorch_cpu.so", "at::TensorIteratorBase::build(at::TensorIteratorConfig&)"}:  kernelGroup,
		{"libtorch_cpu.so", "torch::autograd::VariableType::(anonymous namespace)::add"}: autogradGroup,
		{"libtorch_cpu.so", "at::native::DispatchStubImpl::try_get_call_ptr"}:            kernelGroup,
		{"libc10.so", "c10::TensorImpl::~TensorImpl()"}:                                  tensorGroup,
		{"libc.so.6", "__memmove_avx_unaligned_erms"}:                                    libraryGroup,
		{"libtorch_cpu.so", "0x0000000005d1c7a4"}:                                        libtorchGroup,
	} {
		if got := groupOf(s); got != want {
			t.Errorf("%v is in %q, want %q", s, got, want)
		}
	}
}

func TestOnly(t *testing.T) {
	good := measuredSteps{Case: "a", Rate: 2}
	if m, err := only("a", []measuredSteps{good}); err != nil || m != good {
		t.Errorf("%+v, %v", m, err)
	}
	for _, wrong := range [][]measuredSteps{nil, {good, good}, {{Case: "b", Rate: 2}}, {{Case: "a"}}} {
		if _, err := only("a", wrong); err == nil || !strings.Contains(err.Error(), "a was asked for") {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
	if _, err := only("a", []measuredSteps{{Case: "a", Error: "out of memory"}}); err == nil || err.Error() != "out of memory" {
		t.Error(err)
	}
}
