package torch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// inputs are the tensors of testdata/ops.py, by the same names.
type inputs struct {
	On torch.Device // where they lie, and where cases make more

	A, B, P, U, Prob, Target                                     torch.Tensor // [3, 4]
	C, V, G, H, Z, Sorted                                        torch.Tensor // [4]
	X, Y, Sign, Bias3                                            torch.Tensor // [3]
	M, S                                                         torch.Tensor // [4, 4]
	T, R                                                         torch.Tensor // [2, 3, 4], [2, 4, 3]
	W, Logits, Bias                                              torch.Tensor // [5, 4], [5, 4], [5]
	Flat, Bad                                                    torch.Tensor // [10], [6] with nan and inf
	Img, Ker, KerT, Seq, Ker1, Vol, Ker3, Theta, Grid, Q, K, Val torch.Tensor
	I, J, Cols                                                   torch.Tensor // [3, 4] int64
	Idx, Cls, Ids, Reps, Runs                                    torch.Tensor // int64
	Mask, Mask2                                                  torch.Tensor // [3, 4] bool
}

// outs is what a case gives when it is more than one tensor.
type outs = []torch.Tensor

func two(a, b torch.Tensor) any      { return outs{a, b} }
func three(a, b, c torch.Tensor) any { return outs{a, b, c} }

// opCases are the calls, by the names of testdata/ops.py: the wrapper's, and what is special behind a slash. The tables
// stand in ops_*_test.go.
var opCases = []map[string]func(x *inputs) any{
	makingCases, shapeCases, indexingCases, arithmeticCases, comparisonCases, reductionCases, linalgCases,
	activationCases, layerCases, lossCases, foreachCases,
}

type opGolden struct {
	Inputs map[string]torchtest.Stored
	Cases  map[string]struct {
		Outputs []torchtest.Stored
		Grads   map[string]torchtest.Stored
		Error   string
	}
}

// The kernels are the very same, so what may differ is the instruction set they choose and the order of sums over
// threads: a few units in the last place of float32, of sums of up to some hundred terms.
const opRTol, opATol = 2e-5, 2e-6

// on takes a tensor that a case made to where the inputs are.
func (x *inputs) on(made torch.Tensor) torch.Tensor { return made.ToDevice(x.On) }

// load makes the inputs on a device; with grad, the floating ones are copies of the returned leaves.
func (g opGolden) load(t testing.TB, on torch.Device, grad bool) (*inputs, map[string]torch.Tensor) {
	x, leaves := &inputs{On: on}, map[string]torch.Tensor{}
	for name, s := range g.Inputs {
		leaf := s.Tensor(t).ToDevice(on)
		if grad && leaf.DType().IsFloat() {
			leaves[name] = leaf.RequiresGrad_(true)
			leaf = leaf.Clone()
		}
		f := reflect.ValueOf(x).Elem().FieldByName(name)
		require.True(t, f.IsValid(), "no field for input %s", name)
		f.Set(reflect.ValueOf(leaf))
	}
	return x, leaves
}

func tensorsOf(t testing.TB, result any) outs {
	switch r := result.(type) {
	case torch.Tensor:
		return outs{r}
	case outs:
		return r
	case bool:
		return outs{torch.FromScalar(r)}
	}
	require.Failf(t, "result", "%T", result)
	return nil
}

func TestOperatorsArePyTorchs(t *testing.T) {
	compareOperators(t, cpu, nil, opRTol, opATol)
}

// compareOperators runs the cases on a device, but for those that without names with a reason, and compares what they
// give and their gradients with PyTorch's on the CPU.
func compareOperators(t *testing.T, on torch.Device, without map[string]string, rtol, atol float64) {
	g := torchtest.Golden[opGolden](t, "ops.json.gz")
	calls := map[string]func(*inputs) any{}
	for _, table := range opCases {
		for name, call := range table {
			calls[name] = call
		}
	}
	grads := 0
	for name, c := range g.Cases {
		call := calls[name]
		delete(calls, name)
		t.Run(name, func(t *testing.T) {
			require.NotNil(t, call, "no case in Go")
			if why := without[name]; why != "" {
				t.Skip(why)
			}
			if c.Error != "" {
				if !torch.CUDAAvailable() {
					torchtest.Scoped(t, func() {
						x, _ := g.load(t, on, false)
						caught(t, func() { call(x) })
					})
				}
				return
			}
			torchtest.Scoped(t, func() {
				x, _ := g.load(t, on, false)
				torch.ManualSeed(7)
				result := call(x)
				got := tensorsOf(t, result)
				require.Len(t, got, len(c.Outputs))
				for i, want := range c.Outputs {
					if _, goValue := result.(bool); !goValue {
						require.Equal(t, on, got[i].Device(), "result %d", i)
					}
					require.Equal(t, want.DType, got[i].DType().String(), "result %d", i)
					if strings.HasPrefix(name, "Empty") {
						require.Equal(t, want.Shape, got[i].Shape())
						continue
					}
					torchtest.Close(t, want.Tensor(t), got[i].ToDevice(cpu), rtol, atol, "result ", i)
				}
			})
			if c.Grads == nil {
				return
			}
			grads++
			torchtest.Scoped(t, func() {
				x, leaves := g.load(t, on, true)
				torch.ManualSeed(7)
				loss := torch.Zeros(torch.Float64, on)
				for _, y := range tensorsOf(t, call(x)) {
					if y.RequiresGrad() {
						weight := torch.Linspace(0.5, 1.5, y.Numel(), torch.Float64, on).Reshape(y.Shape()...)
						loss = loss.Add(y.To(torch.Float64).Mul(weight).Sum())
					}
				}
				loss.Backward()
				for key, leaf := range leaves {
					want, wanted := c.Grads[key]
					require.Equal(t, wanted, leaf.Grad().Defined(), "gradient of %s", key)
					if wanted {
						torchtest.Close(t, want.Tensor(t), leaf.Grad().ToDevice(cpu), rtol, atol, "gradient of ", key)
					}
				}
			})
		})
	}
	assert.Empty(t, calls, "cases that the golden file lacks")
	t.Logf("%d cases, %d of them with gradients", len(g.Cases), grads)
}

// TestEveryOperatorHasACase reads the source: every wrapper in ops_gen.go has a case of its name that calls it.
func TestEveryOperatorHasACase(t *testing.T) {
	fset := token.NewFileSet()
	generated, err := parser.ParseFile(fset, "ops_gen.go", nil, 0)
	require.NoError(t, err)
	tested := map[string]bool{}
	files, err := filepath.Glob("ops_*_test.go")
	require.NoError(t, err)
	for _, file := range files {
		f, err := parser.ParseFile(fset, file, nil, 0)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			kv, ok := n.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			key, ok := kv.Key.(*ast.BasicLit)
			if !ok {
				return true
			}
			name, err := strconv.Unquote(key.Value)
			require.NoError(t, err)
			name, _, _ = strings.Cut(name, "/")
			ast.Inspect(kv.Value, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == name {
					tested[name] = true
				}
				return true
			})
			return false
		})
	}
	for _, d := range generated.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.IsExported() {
			assert.True(t, tested[f.Name.Name], "%s has no case that calls it", f.Name.Name)
		}
	}
}
