package torch_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// keepFreedChild is set in the processes of TestKeepFreedMemory.
const keepFreedChild = "THAW_TEST_KEEP_FREED"

// giveBackChild is set in those that take KeepFreedMemory back.
const giveBackChild = "THAW_TEST_GIVE_BACK"

// blocksChild is set in those that allocate many tensors.
const blocksChild = "THAW_TEST_BLOCKS"

func init() {
	if os.Getenv(keepFreedChild) != "" {
		runtime.LockOSThread()
	}
}

// keepFreed is what such a process does in place of tests: it tells what became of a large tensor's memory.
func keepFreed() error {
	const large = 512 << 20
	torch.KeepFreedMemory()
	if os.Getenv(blocksChild) != "" {
		return manyBlocks()
	}
	if os.Getenv(giveBackChild) != "" {
		torch.GiveBackFreedMemory()
	}
	before, err := residentBytes()
	if err != nil {
		return err
	}
	torch.Scoped(func() { torch.Ones(torch.Float32, torch.CPU, large/4) })
	after, err := residentBytes()
	if after-before > large/2 {
		fmt.Println("kept")
	} else {
		fmt.Println("given back")
	}
	return err
}

// What is freed stays with the process after KeepFreedMemory, unless the environment sets malloc. Each case is a
// process, as malloc's settings are.
func TestKeepFreedMemory(t *testing.T) {
	for env, want := range map[string]string{
		"NOTHING=1":          "kept",
		"MALLOC_ARENA_MAX=8": "given back",
		giveBackChild + "=1": "given back",
		"GLIBC_TUNABLES=glibc.malloc.tcache_count=7": "given back",
	} {
		cmd := exec.Command(os.Args[0])
		for _, pair := range os.Environ() {
			if !strings.HasPrefix(pair, "MALLOC_") && !strings.HasPrefix(pair, "GLIBC_TUNABLES=") {
				cmd.Env = append(cmd.Env, pair)
			}
		}
		cmd.Env = append(cmd.Env, keepFreedChild+"=1", env)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Equal(t, want+"\n", string(out), env)
	}
}

// manyBlocks frees and makes tensors of many sizes at random from two threads, while at most 400 MB of them live. None may
// lose what is in it, and all that the process holds must stay near those.
func manyBlocks() error {
	const live = 400 << 20
	before, err := residentBytes()
	if err != nil {
		return err
	}
	failures := make(chan error, 2)
	for worker := range 2 {
		go func() { failures <- someBlocks(worker, live/2) }()
	}
	if err := errors.Join(<-failures, <-failures); err != nil {
		return err
	}
	after, err := residentBytes()
	if err != nil {
		return err
	}
	if held := after - before; held > live+live/8 {
		return fmt.Errorf("%d bytes are held, where %d were live at most", held, live)
	}
	torch.GiveBackFreedMemory()
	last, err := residentBytes()
	if err != nil {
		return err
	}
	if last-before > live/8 {
		return fmt.Errorf("%d bytes are held after all were given back", last-before)
	}
	fmt.Println("bounded")
	return nil
}

func someBlocks(worker, most int) error {
	rng := rand.New(rand.NewPCG(1, uint64(worker)))
	type block struct {
		t     torch.Tensor
		value float64
	}
	var blocks []block
	total := 0
	free := func(i int) error {
		b := blocks[i]
		blocks = slices.Delete(blocks, i, i+1)
		total -= 4 * b.t.Numel()
		defer b.t.Close()
		var low, high float64
		torch.Scoped(func() { low, high = b.t.Min().Item(), b.t.Max().Item() })
		if low != b.value || high != b.value {
			return fmt.Errorf("a tensor of %v holds values from %v to %v", b.value, low, high)
		}
		return nil
	}
	for i := range 400 {
		n := 1 << 18 << rng.IntN(6) * (64 + rng.IntN(64)) / 64
		for total+4*n > most {
			if err := free(rng.IntN(len(blocks))); err != nil {
				return err
			}
		}
		value := float64(i)
		var t torch.Tensor
		torch.Unscoped(func() { t = torch.Full([]int{n}, value, torch.Float32, torch.CPU) })
		blocks, total = append(blocks, block{t, value}), total+4*n
	}
	for len(blocks) > 0 {
		if err := free(0); err != nil {
			return err
		}
	}
	return nil
}

// Large tensors keep their values, and with those that were freed take no more memory than they did at their peak.
func TestLargeBlocksAreBounded(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "MALLOC_") && !strings.HasPrefix(pair, "GLIBC_TUNABLES=") {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	cmd.Env = append(cmd.Env, keepFreedChild+"=1", blocksChild+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, "bounded\n", string(out))
}
