package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/thaw-ml/thaw/hub"
)

type downloadCmd struct {
	Names    []string `arg:"" name:"name" help:"What to download: a name that thaw models lists, or a Hugging Face repository, as org/name or org/name@revision."`
	Revision string   `help:"Of a repository: a branch, a tag or a commit; the default is main." placeholder:"R"`
	File     string   `help:"Of a repository: this file alone." placeholder:"F"`
	Offline  bool     `help:"Use no network: print where it is, or fail."`
	JSON     bool     `name:"json" help:"Print one JSON object a line: name, path."`
}

func (*downloadCmd) Help() string {
	return "The path of each is printed: torchvision's weights lie where torch.hub keeps them, repositories where huggingface_hub does " +
		"(TORCH_HOME, HF_HOME), and what Python downloaded there is found. HF_TOKEN opens gated repositories, HF_ENDPOINT and " +
		"THAW_TORCHVISION name mirrors, THAW_OFFLINE=1 is --offline everywhere. What is interrupted goes on where it stopped."
}

func (c *downloadCmd) Run(ctx context.Context, s streams) error {
	h, err := hub.FromEnvironment()
	if err != nil {
		return err
	}
	h.Offline = h.Offline || c.Offline
	for _, name := range c.Names {
		path, err := h.Download(ctx, hub.Request{Name: name, Revision: c.Revision, File: c.File}, newDownloadView(s.err))
		_, unknown := errors.AsType[*hub.UnknownError](err)
		_, invalid := errors.AsType[*hub.InvalidError](err)
		if unknown || invalid {
			return usageError{fmt.Sprintf("download: %v", err)}
		}
		if err != nil {
			return fmt.Errorf("download: %w", err)
		}
		if c.JSON {
			err = json.NewEncoder(s.out).Encode(struct {
				Name string `json:"name"`
				Path string `json:"path"`
			}{name, path})
		} else {
			_, err = fmt.Fprintln(s.out, path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// downloadView shows a download as a bar on a terminal, or as a line when it has ended.
type downloadView struct {
	out         io.Writer
	live        bool
	bars        *mpb.Progress
	bar         *mpb.Bar
	file        string
	total       int64
	began       time.Time
	first, here int64 // bytes at the beginning, and now
}

func newDownloadView(out io.Writer) *downloadView {
	f, isFile := out.(interface{ Fd() uintptr })
	return &downloadView{out: out, live: isFile && term.IsTerminal(int(f.Fd()))}
}

func (v *downloadView) Begin(file string, total, have int64) {
	v.file, v.total, v.began, v.first, v.here = file, total, time.Now(), have, have
	v.draw()
}

// draw begins a bar, on a terminal.
func (v *downloadView) draw() {
	if !v.live {
		return
	}
	v.bars = mpb.New(mpb.WithOutput(v.out), mpb.WithWidth(24), mpb.WithRefreshRate(200*time.Millisecond))
	v.bar = v.bars.New(max(v.total, 0), mpb.BarStyle().Lbound("").Filler("█").Tip("█").Padding("░").Rbound(""),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(v.file+" ")),
		mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string { return v.status(s.Current) })))
	v.bar.SetCurrent(v.here)
}

// status is what stands behind a bar; the bar's own goroutine asks.
func (v *downloadView) status(here int64) string {
	spent := time.Since(v.began).Seconds()
	rate := float64(max(here-v.first, 0)) / max(spent, 1e-3)
	s := fmt.Sprintf(" %.1f", float64(here)/1e6)
	if v.total > 0 {
		s += fmt.Sprintf("/%.1f", float64(v.total)/1e6)
	}
	s += fmt.Sprintf(" MB  %.1f MB/s", rate/1e6)
	if v.total > here && rate > 0 {
		s += "  eta " + (time.Duration(float64(v.total-here)/rate+0.5) * time.Second).String()
	}
	return s
}

func (v *downloadView) Advance(n int64) {
	v.here += n
	if n < 0 { // a bar that was full does not come back
		v.close()
		v.draw()
	}
	if v.bar != nil {
		v.bar.SetCurrent(v.here)
	}
}

func (v *downloadView) close() {
	if v.bar == nil {
		return
	}
	v.bar.Abort(true)
	v.bars.Wait()
	v.bar = nil
}

func (v *downloadView) End() {
	v.close()
	spent := time.Since(v.began).Seconds()
	rate := float64(max(v.here-v.first, 0)) / max(spent, 1e-3)
	fmt.Fprintf(v.out, "%s  %.1f MB  %.1f MB/s  %.1fs\n", v.file, float64(v.here)/1e6, rate/1e6, spent)
}

func (v *downloadView) Note(text string) {
	if v.bar != nil {
		fmt.Fprintln(v.bars, text) // above the bar
		return
	}
	fmt.Fprintln(v.out, text)
}
