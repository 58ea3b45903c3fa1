package finetune

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A run that waits for another's turn on the GPU ends where its context does; no GPU is needed to wait for one.
func TestWaitingForATurnEnds(t *testing.T) {
	turns <- struct{}{} // another run has it
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- (&gpu{}).within(ctx, func() error { return errors.New("it began out of turn") })
	}()
	cancel()
	err := <-ended
	<-turns
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "waiting for another run")
}
