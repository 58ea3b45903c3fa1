package main

import (
	"bufio"
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/text/tokenizer"
)

type tokenizeCmd struct {
	Model     string `required:"" help:"A model's folder, a tokenizer.json or a vocab.txt." type:"path"`
	MaxLength int    `help:"Cut after so many tokens, special ones counted; 0 for no limit." default:"0"`
}

func (c *tokenizeCmd) Run(ctx context.Context, s streams) error {
	t, err := tokenizer.Load(c.Model)
	if err != nil {
		return err
	}
	in, out := bufio.NewReaderSize(s.in, 1<<20), bufio.NewWriter(s.out)
	var ids []int64
	var text []byte
	for ctx.Err() == nil {
		line, err := in.ReadString('\n')
		if line != "" {
			ids = t.AppendIDs(ids[:0], strings.TrimRight(line, "\r\n"), c.MaxLength)
			text = append(text[:0], '[')
			for i, id := range ids {
				if i > 0 {
					text = append(text, ',')
				}
				text = strconv.AppendInt(text, id, 10)
			}
			if _, err := out.Write(append(text, "]\n"...)); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return out.Flush()
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}
