package serve_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/serve"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
)

// What TestMeasure wants, on two cores that nothing else uses.
const (
	overOneByOne = 1.8  // times the texts a second of one text at a time
	overEvaluate = 0.85 // of those of an evaluation in sorted batches of 64
	longestWait  = 250 * time.Millisecond
)

// TestMeasure measures a server of the demo's model, for minutes:
//
//	THAW_MEASURE=1 go test -run TestMeasure -v -timeout 30m ./serve
//
// THAW_MEASURE may list what to measure: throughput, wait, memory. Where other programs compute too, the ratios of CPU
// time with OMP_NUM_THREADS=1 say more than those of texts a second.
func TestMeasure(t *testing.T) {
	asked := os.Getenv("THAW_MEASURE")
	if asked == "" {
		t.Skip("THAW_MEASURE=1 measures for minutes")
	}
	wanted := func(name string) bool { return asked == "1" || strings.Contains(asked, name) }
	n := 1024
	if s := os.Getenv("THAW_MEASURE_TEXTS"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	c, items := reviews(t, n)
	t.Logf("libtorch %s, %s, %d threads, GOMAXPROCS %d", torch.Version(), torch.CPUCapability(), torch.NumThreads(), runtime.GOMAXPROCS(0))
	rate := 0.0
	if wanted("throughput") || wanted("wait") {
		rate = measureThroughput(t, c, items)
	}
	if wanted("wait") {
		measureWait(t, c, items, rate/2)
	}
	if wanted("memory") {
		measureMemory(t, c, items, 20_000)
	}
}

// measureThroughput takes turns: one text at a time, 64 callers of a server, an evaluation. It gives the server's
// texts a second.
func measureThroughput(t *testing.T, c *text.Classifier, items []text.Item) float64 {
	const callers, rounds = 64, 5
	inference, err := c.Inference()
	require.NoError(t, err)
	set, err := c.NewDataset(items, text.DatasetOptions{})
	require.NoError(t, err)
	var lock sync.Mutex
	each := func(items []text.Item, predict func(item text.Item) error) func() {
		return func() {
			next := make(chan text.Item)
			var group sync.WaitGroup
			for range callers {
				group.Go(func() {
					for item := range next {
						assert.NoError(t, predict(item))
					}
				})
			}
			for _, item := range items {
				next <- item
			}
			close(next)
			group.Wait()
		}
	}
	var s *serve.Server[text.Item, text.Encoded]
	few := items[:len(items)/4] // one by one takes long
	oneByOne := each(few, func(item text.Item) error {
		lock.Lock()
		defer lock.Unlock()
		_, err := c.Predict(t.Context(), []text.Item{item}, finetune.PredictOptions{})
		return err
	})
	served := each(items, func(item text.Item) error {
		_, err := s.Predict(t.Context(), item)
		return err
	})
	evaluate := func() {
		_, err := inference.Evaluate(t.Context(), set, 64)
		require.NoError(t, err)
	}
	perSecond := func(n int, f func()) (rate, cpu float64) {
		began, beganCPU := time.Now(), cpuTime(t)
		f()
		return float64(n) / time.Since(began).Seconds(), (cpuTime(t) - beganCPU).Seconds() / float64(n)
	}
	var ratesOne, ratesServed, ratesEvaluate, overOne, overEval, cpuOverOne, cpuOverEval []float64
	for round := range rounds + 1 {
		one, oneCPU := perSecond(len(few), oneByOne)
		s = serveTexts(t, c, serve.Options{})
		server, serverCPU := perSecond(len(items), served)
		s.Close()
		eval, evalCPU := perSecond(len(items), evaluate)
		t.Logf("texts a second: one by one %.1f, server %.1f, evaluation %.1f; server / one by one %.2f, server / evaluation %.2f, "+
			"of CPU time %.2f and %.2f; %s", one, server, eval, server/one, server/eval, oneCPU/serverCPU, evalCPU/serverCPU, batches(s.Stats()))
		if round == 0 { // warms up
			continue
		}
		ratesOne, ratesServed, ratesEvaluate = append(ratesOne, one), append(ratesServed, server), append(ratesEvaluate, eval)
		overOne, overEval = append(overOne, server/one), append(overEval, server/eval)
		cpuOverOne, cpuOverEval = append(cpuOverOne, oneCPU/serverCPU), append(cpuOverEval, evalCPU/serverCPU)
	}
	t.Logf("medians of %d rounds: one by one %.1f, server %.1f, evaluation %.1f texts a second; server / one by one %.2f (wanted %.2f), "+
		"server / evaluation %.2f (wanted %.2f); of CPU time %.2f and %.2f", rounds, median(ratesOne), median(ratesServed), median(ratesEvaluate),
		median(overOne), overOneByOne, median(overEval), overEvaluate,
		median(cpuOverOne), median(cpuOverEval))
	assert.GreaterOrEqual(t, median(overOne), overOneByOne)
	assert.GreaterOrEqual(t, median(overEval), overEvaluate)
	return median(ratesServed)
}

func batches(s serve.Stats) string {
	return fmt.Sprintf("%d batches of %.1f, %.0f%% of what was computed is padding", s.Batches,
		float64(s.Requests)/float64(max(1, s.Batches)), 100*float64(s.Padded)/float64(max(1, s.Tokens+s.Padded)))
}

// measureWait has requests come at random (Poisson), whatever the answers do, so many a second.
func measureWait(t *testing.T, c *text.Classifier, items []text.Item, rate float64) {
	s := serveTexts(t, c, serve.Options{})
	rng := rand.New(rand.NewPCG(1, 2))
	waits := make([]time.Duration, int(rate*30))
	var group sync.WaitGroup
	at := time.Now()
	for i := range waits {
		at = at.Add(time.Duration(rng.ExpFloat64() / rate * float64(time.Second)))
		time.Sleep(time.Until(at))
		came := at // a request that is sent late has waited already
		group.Go(func() {
			_, err := s.Predict(t.Context(), items[i%len(items)])
			assert.NoError(t, err)
			waits[i] = time.Since(came)
		})
	}
	group.Wait()
	slices.Sort(waits)
	at99 := waits[len(waits)*99/100]
	t.Logf("%d requests at %.1f a second: median %v, 95%% %v, 99%% %v (wanted %v), longest %v; %s", len(waits), rate,
		waits[len(waits)/2], waits[len(waits)*95/100], at99, longestWait, waits[len(waits)-1], batches(s.Stats()))
	assert.Less(t, at99, longestWait)
}

// TestMemory is measureMemory with a tiny model, and fewer requests unless THAW_MEASURE is set.
func TestMemory(t *testing.T) {
	tiny := "../text/testdata/tiny"
	c, err := text.LoadClassifier(tiny, tiny+"/bert_prefix.safetensors", text.NewHead("bad", "good"))
	require.NoError(t, err)
	defer c.Close()
	words := strings.Fields("the movie is not very good , it is boring . and so is this film , which is long")
	var items []text.Item
	for n := range words {
		items = append(items, text.Item{Text: strings.Join(words[:n], " ")})
	}
	requests := 4_000
	if os.Getenv("THAW_MEASURE") != "" {
		requests = 20_000
	}
	measureMemory(t, c, items, requests)
}

// measureMemory serves requests, every fifth of which is cancelled on its way. Threads and memory are to stay as they
// are behind the first third: by then oneDNN has made the kernels, which it keeps, for nearly all shapes of batches.
func measureMemory(t *testing.T, c *text.Classifier, items []text.Item, requests int) {
	const callers = 64
	warmUp(t, c, items)
	before := torch.Stats().Tensors
	s := serveTexts(t, c, serve.Options{})
	var first, last [2]int
	for part := range 10 {
		next := make(chan int)
		var group sync.WaitGroup
		for range callers {
			group.Go(func() {
				for i := range next {
					ctx, cancel := context.WithCancel(t.Context())
					if i%5 == 4 {
						time.AfterFunc(time.Duration(i%70)*time.Millisecond, cancel)
					}
					_, err := s.Predict(ctx, items[i%len(items)])
					assert.True(t, err == nil || i%5 == 4, err)
					cancel()
				}
			})
		}
		for i := range requests / 10 {
			next <- i
		}
		close(next)
		group.Wait()
		last = [2]int{status(t, "Threads"), status(t, "VmRSS")}
		if part == 2 {
			first = last
		}
		t.Logf("%d requests, %d of them cancelled: %d threads, %d MB resident, %d goroutines, %d tensors more than before", (part+1)*requests/10,
			s.Stats().Cancelled, last[0], last[1]>>10, runtime.NumGoroutine(), torch.Stats().Tensors-before)
	}
	s.Close()
	assert.LessOrEqual(t, last[0], first[0]+2, "threads")
	if requests >= 20_000 {
		assert.Less(t, last[1], first[1]+16<<10, "kB of resident memory")
	}
	assert.Equal(t, before, torch.Stats().Tensors)
}

// warmUp computes the largest batch that there can be: the heap has room for it from now on, and the classifier keeps
// packed weights.
func warmUp(t *testing.T, c *text.Classifier, items []text.Item) {
	var longest text.Encoded
	for _, item := range items {
		e, err := c.Encode(item)
		require.NoError(t, err)
		if e.Len() > longest.Len() {
			longest = e
		}
	}
	_, err := c.PredictEncoded(t.Context(), slices.Repeat([]text.Encoded{longest}, 32))
	require.NoError(t, err)
}

// cpuTime is what the process took.
func cpuTime(t *testing.T) time.Duration {
	var r syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// status reads a number of /proc/self/status, memory in kB.
func status(t *testing.T, key string) int {
	content, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(content), "\n"+key+":")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(t, err)
	return n
}

func median(x []float64) float64 { return slices.Sorted(slices.Values(x))[len(x)/2] }
