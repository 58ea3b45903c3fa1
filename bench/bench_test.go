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
		{"all", "opcall tokenizer loader steps demo lora dist detect", "", 0},
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

func TestDDPLine(t *testing.T) {
	if s, err := parseDDP("W1130 setting OMP_NUM_THREADS\nddp text: 12.345 s an epoch, 8589 samples, last loss 0.4321\n"); err != nil || s != 12.345 {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := parseDDP("Traceback"); err == nil {
		t.Error("no error for a peer that failed")
	}
}

// TestScale: one bucket of a network that is sent at the end, by hand; covered ones; and more GPUs never make a step shorter.
func TestScale(t *testing.T) {
	c := cluster{gpus: 2, nodes: 1, inside: 1e9, hop: 1e-3, message: 1e-3}
	near := func(got, want float64) bool { return got > want-1e-9 && got < want+1e-9 }
	s := network{Buckets: []int64{1e6}}.on(c, 30e-3)
	want := launchTime + 1e-3 + 2e-3
	if !near(s.reduce, want) || !near(s.exposed, want) || !near(s.talk, 2e-3) || !near(s.step, 30e-3+want+2e-3) {
		t.Errorf("%+v", s)
	}
	s = network{Buckets: []int64{5e5, 5e5}}.on(c, 30e-3) // the first goes while the second is computed
	if each := launchTime + 0.5e-3 + 2e-3; !near(s.reduce, 2*each) || !near(s.exposed, each) {
		t.Errorf("%+v", s)
	}
	for _, g := range gpuSteps {
		last := float64(g.batch) / g.rate
		for _, c := range clusters {
			s := network{Buckets: []int64{1 << 20, 25 << 20, 25 << 20}}.on(c, float64(g.batch)/g.rate)
			if s.step < last {
				t.Errorf("%s on %s: %v after %v", g.what, c.name, s.step, last)
			}
			last = s.step
		}
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
	if m, err := only("a", []measuredSteps{good}); err != nil || m.Case != good.Case || m.Rate != good.Rate {
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
