package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

// A machine with GPUs, as far as adding up gradients goes. All of this is assumed, nothing measured.
type cluster struct {
	name       string
	gpus       int     // of a node
	nodes      int     //
	inside     float64 // bytes a second and direction that all-reduce gets out of a GPU's links within the node
	outside    float64 // the same of a GPU's share of the node's network
	hop        float64 // seconds of a step of a collective within the node
	far        float64 // the same between nodes
	message    float64 // seconds of a step of a small message between processes on one node, by TCP
	messageFar float64 // the same between nodes
}

const (
	nvlink = 0.8 * 450e9 // of the 450 GB/s a direction that an H100's NVLink has
	card   = 0.9 * 50e9  // of 400 Gb/s
)

func eightNodes(name string, outside float64) cluster {
	return cluster{
		name: name, gpus: 8, nodes: 8, inside: nvlink, outside: outside, hop: 3e-6, far: 8e-6, message: 25e-6, messageFar: 40e-6,
	}
}

// clusters are one node of eight H100, and eight of them by one network card a GPU, and by one a node.
var clusters = []cluster{
	{name: "8 H100, NVLink", gpus: 8, nodes: 1, inside: nvlink, hop: 3e-6, message: 25e-6},
	eightNodes("64 H100, 400 Gb/s a GPU", card),
	eightNodes("64 H100, 400 Gb/s a node", card/8),
}

// What a step is assumed to be made of.
const (
	launchTime    = 20e-6   // of handing a bucket to the GPU
	backwardShare = 2. / 3. // of a step: twice the forward pass, and no time for the optimizer
	messages      = 2       // small messages of a step: who has how many samples, and the loss
)

// gpuStep is the time of a step of one H100: PyTorch's eager step in a CUDA graph, bfloat16, which is how Thaw runs its own.
type gpuStep struct {
	network string // as overlap names it
	what    string
	batch   int     // samples of a GPU
	rate    float64 // samples a second of one GPU
}

// gpuSteps were measured on 2026-11-23 on one H100 80GB with PyTorch 2.11.0+cu130, as a hand-made CUDA graph of eager steps.
var gpuSteps = []gpuStep{
	{"ResNet-50 full", "ResNet-50 full", 32, 3184},
	{"ResNet-50 full", "ResNet-50 full", 256, 4066},
	{"BERT-base full", "BERT-base full, 128 tokens", 16, 1852},
	{"BERT-base full", "BERT-base full, 128 tokens", 128, 3353},
	{"BERT-base top 4", "BERT-base top 4, 128 tokens", 16, 3783},
	{"BERT-base top 4", "BERT-base top 4, 128 tokens", 128, 6457},
}

// allReduce is the time of adding up so many bytes on all GPUs: scattered within each node, around the ring of nodes,
// gathered within each node. A ring of n sends 2 (n-1)/n of the bytes in 2 (n-1) steps.
func (c cluster) allReduce(bytes float64) float64 {
	n, m := float64(c.gpus), float64(c.nodes)
	t := launchTime + 2*(n-1)/n*bytes/c.inside + 2*(n-1)*c.hop
	if c.nodes > 1 {
		t += 2*(m-1)/m*(bytes/n)/c.outside + 2*(m-1)*c.far
	}
	return t
}

// talk is the time of a small message of each process to all, by Gloo's ring.
func (c cluster) talk() float64 {
	ranks := c.gpus * c.nodes
	return float64(ranks-1-(c.nodes-1))*c.message + float64(c.nodes-1)*c.messageFar
}

// scaled is what a step becomes on a cluster.
type scaled struct {
	reduce  float64 // seconds of all buckets' all-reduces
	exposed float64 // what of them the backward pass does not cover
	talk    float64 // of small messages
	step    float64 // of all
}

// on simulates a step that takes so many seconds on one GPU. Gradients come evenly, by bytes, over the backward pass; a
// bucket goes when all of its gradients are there and the bucket before it is done.
func (n network) on(c cluster, alone float64) (s scaled) {
	backward, begun, done := backwardShare*alone, 0.0, 0.0
	var before int64
	for _, b := range n.Buckets {
		before += b
		begun = max(done, backward*float64(before)/float64(n.bytes()))
		took := c.allReduce(float64(b))
		done = begun + took
		s.reduce += took
	}
	s.exposed = max(0, done-backward)
	s.talk = messages * c.talk()
	s.step = alone + s.exposed + s.talk
	return s
}

// runScale prints what more GPUs would bring: simulated, from the bytes and buckets of a step, which are measured.
func runScale(options) error {
	if err := need(); err != nil {
		return err
	}
	found, err := measureRanks("networks")
	if err != nil {
		return err
	}
	return printScale(os.Stdout, found.Networks)
}

func printScale(w io.Writer, networks []network) error {
	fmt.Fprintln(w, "Simulated, not measured: steps of H100s, from the bytes and buckets of a step, and its time on one.")
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "network\ta GPU\tMB\tbuckets\tone GPU\ton\tadding up\tof it not covered\tsmall messages\tstep\tsamples/s\tof ideal")
	for _, g := range gpuSteps {
		for _, n := range networks {
			if n.Name != g.network {
				continue
			}
			alone := float64(g.batch) / g.rate
			for _, c := range clusters {
				s := n.on(c, alone)
				gpus := float64(c.gpus * c.nodes)
				fmt.Fprintf(t, "%s\t%d\t%.1f\t%d\t%.1f ms\t%s\t", g.what, g.batch, float64(n.bytes())/1e6, len(n.Buckets), 1e3*alone, c.name)
				fmt.Fprintf(t, "%.2f ms\t%.2f ms\t%.2f ms\t%.1f ms\t", 1e3*s.reduce, 1e3*s.exposed, 1e3*s.talk, 1e3*s.step)
				fmt.Fprintf(t, "%.0f\t%.0f%%\n", gpus*float64(g.batch)/s.step, 100*alone/s.step)
			}
		}
	}
	return t.Flush()
}
