// Package guide_test compiles the Go code of the guides, so that none of it is stale.
package guide_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/recipe"
)

var (
	spec  = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	block = regexp.MustCompile("(?s)```go\n(.*?)```")
	row   = regexp.MustCompile(`(?m)^\| .* \|$`)
	cell  = regexp.MustCompile("`([^`]+)`")
)

// pages are the guides, and the README, which has programs too.
func pages(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("*.md")
	require.NoError(t, err)
	require.NotEmpty(t, list)
	return append(list, "../../README.md")
}

// Every fenced Go block is a whole program, declarations, or statements that may use what prelude declares.
func TestBlocksCompile(t *testing.T) {
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		var declarations, functions strings.Builder
		for i, found := range block.FindAllStringSubmatch(string(text), -1) {
			switch code := found[1]; {
			case strings.Contains(code, "package main\n"):
				vet(t, fmt.Sprintf("%s, block %d", page, i+1), code)
			case isDeclaration(code):
				declarations.WriteString(code)
			default:
				fmt.Fprintf(&functions, "func _() error {\n%s\nreturn nil\n}\n", code)
			}
		}
		if declarations.Len()+functions.Len() > 0 {
			vet(t, page, prelude+declarations.String()+functions.String())
		}
	}
}

// isDeclaration reports whether code stands outside of functions: its first line that is no comment begins so.
func isDeclaration(code string) bool {
	for line := range strings.Lines(code) {
		if !strings.HasPrefix(line, "//") {
			return strings.HasPrefix(line, "type ") || strings.HasPrefix(line, "func ")
		}
	}
	return false
}

// Every YAML block is a spec, or a part of one.
func TestSpecsParse(t *testing.T) {
	n := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, found := range spec.FindAllStringSubmatch(string(text), -1) {
			yaml := found[1]
			if !strings.Contains(yaml, "model:") {
				yaml += "model: model\n"
			}
			if !strings.Contains(yaml, "phases:") {
				yaml += "phases: [{train: head, epochs: 1, lr: 1e-3}]\n"
			}
			_, err := recipe.Parse(filepath.Base(page), []byte(yaml))
			assert.NoError(t, err, yaml)
			n++
		}
	}
	assert.Greater(t, n, 4)
}

// The right-hand column of a table of calls is Go code: expressions and statements, each in backticks.
func TestTablesCompile(t *testing.T) {
	for _, page := range []string{"from-pytorch.md", "from-gotch.md"} {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		body, n := &strings.Builder{}, 0
		for _, line := range row.FindAllString(string(text), -1) {
			cells := strings.Split(strings.Trim(line, "|"), " | ")
			for _, code := range cell.FindAllStringSubmatch(cells[len(cells)-1], -1) {
				fmt.Fprintf(body, "{\n%s\n}\n", statement(t, code[1]))
				n++
			}
		}
		assert.Greater(t, n, 20, page)
		vet(t, page, fmt.Sprintf("%sfunc _() error {\n%s\nreturn nil\n}\n", prelude, body))
	}
}

// statement makes a statement of what a table has.
func statement(t *testing.T, code string) string {
	t.Helper()
	if e, err := parser.ParseExpr(code); err == nil {
		if _, ok := e.(*ast.CallExpr); ok {
			return code
		}
		return "use(" + code + ")"
	}
	if left, _, ok := strings.Cut(code, " := "); ok && !strings.HasPrefix(code, "for ") {
		return code + "\nuse(" + left + ")"
	}
	return code
}

// vet type-checks a file as one of this module.
func vet(t *testing.T, name, code string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(path, []byte(code), 0o644))
	out, err := exec.Command("go", "vet", "-unusedresult=false", "-copylocks=false", path).CombinedOutput()
	assert.NoError(t, err, "%s: %s", name, out)
}

// prelude has what fragments use.
const prelude = `package guide

import (
	"context"
	"errors"
	"fmt"
	"image"
	"log"
	"net/http"
	"runtime"
	"time"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/lora"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/recipe"
	"github.com/thaw-ml/thaw/report"
	"github.com/thaw-ml/thaw/serve"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/text/tokenizer"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/album"
	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

var (
	_ = context.Background
	_ = errors.Is
	_ = fmt.Print
	_ image.Image
	_ = log.Print
	_ http.Handler
	_ = runtime.LockOSThread
	_ time.Duration
	_ = thaw.Tune
	_ finetune.Options
	_ lora.Config
	_ train.Event
	_ metric.Score
	_ objective.Number
	_ = hub.Find
	_ recipe.Spec
	_ report.Sample
	_ serve.Options
	_ text.Item
	_ = tokenizer.Load
	_ torch.Tensor
	_ = cuda.Devices
	_ data.Request
	_ nn.Values
	_ optim.Group
	_ vision.Item
	_ = album.ReadIdx
	_ picture.Options
	_ transform.Pipeline
)

// net is the model of the tables.
type net struct {
	FC *nn.Linear ` + "`torch:\"fc\"`" + `
}

func (m *net) Forward(x torch.Tensor) torch.Tensor { return m.FC.Forward(x) }

var (
	ctx                                              = context.Background()
	a, b, x, y, w, bias, logits, labels, target, ids torch.Tensor
	mask                                             torch.Tensor
	g                                                *torch.Generator
	m                                                *net
	layer                                            *nn.Linear
	o                                                optim.Optimizer
	step, total                                      int
	path, folder                                     string
	texts                                            []string
	checkpoint                                       *torch.Checkpoint
	model                                            *text.Classifier
	resnet                                           *vision.Classifier
	trainSet, testSet                                *text.Dataset
	samples                                          *data.Tensors
	server                                           *serve.Server[text.Item, text.Encoded]
	err                                              error
)

func use(...any) {}
`
