package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/thaw-ml/thaw/text/tokenizer"
)

type tokenizeCmd struct {
	Model     string `required:"" help:"A model's folder, a tokenizer.json or a vocab.txt." placeholder:"PATH"`
	MaxLength int    `help:"Cut after so many tokens, special ones counted; 0, the default, is no limit." default:"0" placeholder:"N"`
}

func (*tokenizeCmd) Help() string { return "The lines are read from the standard input." }

func (c *tokenizeCmd) Run(ctx context.Context, s streams) error {
	if _, err := os.Stat(c.Model); err != nil {
		return usageError{"tokenize: --model: " + unreadable("file or folder", c.Model, err)}
	}
	if c.MaxLength < 0 {
		return usageError{fmt.Sprintf("tokenize: --max-length %d: give 0 for no limit, or more", c.MaxLength)}
	}
	t, err := tokenizer.Load(c.Model)
	if err != nil {
		return err
	}
	const together = 256 // lines to a write
	var ids []int64
	var text []byte
	for batch, err := range lines(ctx, s, together) {
		if err != nil {
			return err
		}
		text = text[:0]
		for _, line := range batch {
			ids = t.AppendIDs(ids[:0], line, c.MaxLength)
			text = append(text, '[')
			for i, id := range ids {
				if i > 0 {
					text = append(text, ',')
				}
				text = strconv.AppendInt(text, id, 10)
			}
			text = append(text, "]\n"...)
		}
		if _, err := s.out.Write(text); err != nil {
			return err
		}
	}
	return nil
}
