package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// peer is a Python process that measures on request, so that its start is not in the figures: a line of words goes in,
// a JSON object comes back.
type peer struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	stderr bytes.Buffer
}

// answer is what a peer gives back.
type answer struct {
	Nanoseconds float64 `json:"ns"`
	CPU         float64 `json:"cpu_ns"`
	Tokens      int     `json:"tokens"`
	SHA256      string  `json:"sha256"`
}

// startPeer runs peers/script on one thread and waits until it is ready.
func startPeer(script string, args ...string) (*peer, error) {
	interpreter, err := python()
	if err != nil {
		return nil, err
	}
	p := &peer{cmd: exec.Command(interpreter, append([]string{"peers/" + script}, args...)...)}
	p.cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1", "TOKENIZERS_PARALLELISM=false")
	p.cmd.Stderr = &p.stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := p.ask("ready"); err != nil {
		return nil, err
	}
	return p, nil
}

// ask sends one request and waits for its answer.
func (p *peer) ask(words ...any) (a answer, err error) {
	if _, err = fmt.Fprintln(p.in, words...); err == nil && p.out.Scan() {
		return a, json.Unmarshal(p.out.Bytes(), &a)
	}
	p.in.Close()
	p.cmd.Wait()
	lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	return a, fmt.Errorf("the peer %s ended (%v): %s", p.cmd.Args[1], p.cmd.ProcessState, lines[len(lines)-1])
}

func (p *peer) close() {
	p.in.Close()
	p.cmd.Wait()
}
