// Command serve answers HTTP requests with a fine-tuned BERT, those of many clients at once: go run ./examples/serve RUN, then
// curl -d '{"text": "A quiet, generous film."}' http://127.0.0.1:8080
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/serve"
	"github.com/thaw-ml/thaw/text"
)

func main() {
	address := flag.String("listen", "127.0.0.1:8080", "the `address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, flag.Arg(0), *address); err != nil {
		log.Fatal(err)
	}
}

// run serves a run folder's best model until ctx ends.
func run(ctx context.Context, folder, address string) error {
	model, err := text.OpenClassifier(filepath.Join(folder, finetune.WeightsDir), "")
	if err != nil {
		return err
	}
	defer model.Close()
	server, err := serve.Start(model, serve.Options{})
	if err != nil {
		return err
	}
	defer server.Close() // before the model
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	log.Printf("listening on http://%s", listener.Addr())
	web := &http.Server{Handler: handler(server), ReadTimeout: 10 * time.Second}
	go func() { _ = web.Serve(listener) }() // until Shutdown
	<-ctx.Done()
	return web.Shutdown(context.Background()) // once all that was asked is answered
}

// handler answers a POST of a JSON object: a text, and a pair where the model was trained on pairs.
func handler(server *serve.Server[text.Item, text.Encoded]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var item text.Item
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&item); err != nil || item.Text == "" {
			http.Error(w, `expected a JSON object such as {"text": "A quiet, generous film."}`, http.StatusBadRequest)
			return
		}
		p, err := server.Predict(r.Context(), item)
		switch _, unreadable := errors.AsType[*serve.InputError](err); {
		case err == nil:
			p.Input, p.Pair = item.Text, item.Pair
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(p) // fails where the client is gone
		case unreadable:
			http.Error(w, err.Error(), http.StatusBadRequest)
		case errors.Is(err, serve.ErrFull), errors.Is(err, serve.ErrClosed):
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		case r.Context().Err() == nil:
			log.Print(err)
			http.Error(w, "the model failed", http.StatusInternalServerError)
		}
	}
}
