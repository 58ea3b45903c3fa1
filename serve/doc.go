// Package serve answers many goroutines with one model: [Start] starts a thread that computes, and any number of
// goroutines call [Server.Predict].
//
//	model, err := text.OpenClassifier("runs/reviews-1/weights", "")
//	...
//	server, err := serve.Start(model, serve.Options{})
//	...
//	http.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
//		p, err := server.Predict(r.Context(), text.Item{Text: r.FormValue("text")})
//		...
//	})
//	...
//	server.Close() // answers what waits
//	model.Close()
//
// examples/serve is the whole program.
//
// # Life of a request
//
// Predict encodes the input on the caller's goroutine (a text becomes token ids, a file of a picture becomes pixels),
// puts it into a queue, and waits. The server's thread takes a batch out of the queue, computes it, and answers; what
// came meanwhile is the next batch, so batches are as large as the load makes them, and a request that comes alone is
// computed at once.
//
// In a batch all are padded to the longest, and padding takes as long as text. So a batch is made of requests of like
// length: what waits is cut into the batches that take the least time together, and the one with the oldest request is
// computed. No request waits for more batches than there were requests before it. The thread rests at most MaxWait
// behind a batch, and only while callers who were just answered are on their way back with the next request. Decision
// 014 has what this gains.
//
// # When there is too much
//
// The queue is bounded by MaxQueue. One request more is refused at once with [ErrFull] before it is encoded, so a
// server that is asked for more than it can compute stays as fast as it is, and as large. To a request whose context
// ends Predict returns at once; where it waits in the queue it is taken out, and where it is computed its answer is
// dropped. Errors and panics of the model are errors of the requests concerned.
//
// # Threads and memory
//
// Everything of libtorch runs on one thread, which is the server's own from Start to Close. libtorch keeps a pool of
// workers, and the C library a heap, for every thread that calls it: a program whose handlers call a model's Predict
// themselves gets those for as many threads as Go happens to have. One batch at a time uses all cores (see
// torch.SetNumThreads), so a second server of the same model gains nothing. Encode must not use libtorch.
//
// A request takes the memory of its encoded input while it waits: token ids are some hundred bytes, the pixels of a
// picture 600 kB, so that MaxQueue pictures take 600 MB by default. A batch takes the model's memory for MaxBatch
// inputs, or MaxTokens.
//
// While a server runs, the model is the server's: it is to be neither trained, moved nor closed. Close ends the thread
// once all that waits is answered, and the model may be closed behind it. On a GPU a training in the same process has
// the GPU for itself until it ends, and requests wait: serve on the CPU beside it, or in another process.
//
// # Models
//
// A [Model] has three methods. Those of packages text and vision have them:
//
//   - Encode(I) (E, error) makes of an input what a batch is made of. It runs on many goroutines at once, changes nothing of
//     the model, and reports an input that the model cannot read by an error.
//   - Cost(E) int is the length that a batch is padded along: tokens. It is 1 where nothing is padded, as with pictures.
//   - PredictEncoded(ctx, []E) ([]objective.Prediction, error) computes one batch in one piece, pads it, and frees all that it
//     took. An error is that of the whole batch: the server then tries its halves, until it is alone with the input that is
//     the cause. ctx ends when nobody waits for the answers any more; a model may end early then.
package serve
