package gpu

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// stand stands in for torch and transformers, of which gpu_steps.py needs little to lay out what it measures.
const stand = `
import json, math, sys, types
sys.path.insert(0, "../peers")
sys.dont_write_bytecode = True
import gpu_steps

class Anything:
    """Whatever is asked of it, it is that."""
    type, shape = "cuda", (16, 128)
    def __call__(self, *a, **k): return self
    def __enter__(self): return self
    def __exit__(self, *a): pass
    def __getattr__(self, name): return self
    def __iter__(self): return iter(())
    def __getitem__(self, at): return self
    def __lt__(self, other): return self
    def __int__(self): return 128
    def __len__(self): return 16

def module(name, **values):
    sys.modules[name] = types.SimpleNamespace(**values)

registered, configs = {}, []
sdpa = object()
module("torch", device=lambda name: Anything(), backends=Anything(), cuda=Anything(), _dynamo=Anything())
module("transformers", BertConfig=lambda **k: configs.append(k), BertForSequenceClassification=Anything(),
       AttentionInterface=types.SimpleNamespace(register=registered.__setitem__))
module("transformers.integrations.sdpa_attention", sdpa_attention_forward=sdpa)
`

// python runs a script behind the stand-ins and decodes what it printed.
func python(t *testing.T, script string, found any) {
	t.Helper()
	command := exec.Command("python3", "-c", stand+script)
	var problem strings.Builder
	command.Stderr = &problem
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, problem.String())
	}
	if err := json.Unmarshal(out, found); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// What a user's loop runs has a mask; PyTorch's strongest forms have none where no text is padded.
func TestPeersMasks(t *testing.T) {
	var got map[string]struct {
		Attention string
		Tensors   int
		Same      bool
	}
	python(t, `
found = {}
for lengths in ("even", "real"):
    for mode in gpu_steps.MODES:
        net = gpu_steps.Bert(Anything(), "full", 16, lengths, Anything(), mode)
        name = configs[-1]["attn_implementation"]
        found[lengths + " " + mode] = dict(attention=name, tensors=len(net.batches[0]), same=registered.get(name) is sdpa)
print(json.dumps(found))
`, &got)
	for _, lengths := range []string{"even", "real"} {
		for _, mode := range []string{"eager", "eager-unmasked", "graph", "compile"} {
			masked := lengths == "real" || mode == "eager"
			g := got[lengths+" "+mode]
			if masked && (g.Attention != "sdpa" || g.Tensors != 3) || !masked && (g.Attention != "sdpa_unmasked" || g.Tensors != 2 || !g.Same) {
				t.Errorf("%s %s: %+v", lengths, mode, g)
			}
		}
	}
}

// All cases are measured in a mode before the next mode begins; a case has those that make sense.
func TestPeersOrder(t *testing.T) {
	var got []string
	python(t, `
gpu_steps.versions = lambda *_: {}
gpu_steps.one = lambda *_: {}
rows = []
gpu_steps.emit = lambda **row: rows.append(row)
sys.argv = ["", "--cases", "^(bert-base-full-(len128-bs16|real-bs32)|resnet50-full-bs32)$"]
try:
    gpu_steps.main()
except SystemExit as e:
    code = e.code
print(json.dumps([row["mode"] + " " + row["case"] for row in rows if "case" in row] + [str(code)]))
`, &got)
	want := "eager bert-base-full-len128-bs16; eager bert-base-full-real-bs32; eager resnet50-full-bs32; " +
		"eager-unmasked bert-base-full-len128-bs16; " +
		"graph bert-base-full-len128-bs16; graph bert-base-full-real-bs32; graph resnet50-full-bs32; " +
		"compile bert-base-full-len128-bs16; compile resnet50-full-bs32; 0"
	if g := strings.Join(got, "; "); g != want {
		t.Errorf("measured %s, want %s", g, want)
	}
}

// Where time ended before all began, the exit code says so.
func TestPeersDeadline(t *testing.T) {
	var got []any
	python(t, `
gpu_steps.versions = lambda *_: {}
rows = []
gpu_steps.emit = lambda **row: rows.append(row)
sys.argv = ["", "--cases", "^resnet50-full-bs32$", "--modes", "eager", "--deadline", "-1"]
try:
    gpu_steps.main()
except SystemExit as e:
    print(json.dumps([rows[-1]["error"], e.code]))
`, &got)
	if len(got) != 2 || got[0] != "not begun: -1 s were over" || got[1] != 124.0 {
		t.Errorf("got %v", got)
	}
}

// The loss shows that the steps were steps; where it is not finite there is no figure. A compiled model has no truth value.
func TestPeersLoss(t *testing.T) {
	var got []map[string]any
	python(t, `
class Loss(Anything):
    def __float__(self): return value

class Compiled(Anything):
    def __len__(self): raise TypeError("it does not support len()")

class Torch(Anything):
    def compile(self, *a, **k): return Compiled()

gpu_steps.measure = lambda torch, net, step, *_: (float(step(net.batches[0])) and 5, [5], 1)
gpu_steps.peak_memory = lambda *_: 7
gpu_steps.ResNet = lambda *_: types.SimpleNamespace(model=Anything(), optimizer=Anything(), batches=[()], loss=lambda *_: Loss())
found = []
for mode, value in ("eager", 0.5), ("compile", 0.25), ("eager", math.nan), ("compile", math.inf):
    try:
        found.append(gpu_steps.one(Torch(), "resnet", "full", 32, "even", mode, Anything(), True, 0.4, 5))
    except ArithmeticError as e:
        found.append(dict(error=str(e)))
print(json.dumps(found))
`, &got)
	if len(got) != 4 || got[0]["loss"] != 0.5 || got[1]["loss"] != 0.25 || got[0]["samples_per_second"] != 5.0 ||
		got[2]["error"] != "the loss is nan" || got[3]["error"] != "the loss is inf" {
		t.Errorf("got %v", got)
	}
}
