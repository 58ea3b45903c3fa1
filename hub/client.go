package hub

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// client asks servers; in offline mode there is none.
type client struct {
	http *http.Client
	hub  *Hub
	pace pace
	free func(folder string) (int64, bool)
}

func (h *Hub) client() *client {
	transport := h.Transport
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DisableCompression = true // a compressed answer would hide the file's length
		t.MaxIdleConnsPerHost = 1
		transport = t
	}
	return &client{http: &http.Client{Transport: transport, CheckRedirect: redirect}, hub: h, pace: h.paced(), free: freeBytes}
}

// close lets go of connections that are kept for another request.
func (c *client) close() {
	if c.hub.Transport == nil {
		c.http.CloseIdleConnections()
	}
}

// headOnly marks the context of a request that asks about a file, not for it.
type headOnly struct{}

// redirect keeps the token from other hosts. net/http alone would send it to other ports and subdomains of the same
// host.
func redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return redirectError("redirected 10 times")
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return redirectError("redirected from https to " + req.URL.Scheme)
	}
	for _, r := range slices.Concat(via[1:], []*http.Request{req}) {
		if r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme {
			req.Header.Del("Authorization")
			req.Header.Del("Cookie")
			if req.Context().Value(headOnly{}) != nil && req.Response.Header.Get("X-Repo-Commit") != "" {
				return http.ErrUseLastResponse // the hub has said all; where its files lie, the headers mean something else
			}
		}
	}
	return nil
}

type redirectError string

func (e redirectError) Error() string { return string(e) }

// answer is a server's answer, whose body cannot stall.
type answer struct {
	*http.Response
	watch *watchdog
}

func (a answer) Read(p []byte) (int, error) {
	n, err := a.Body.Read(p)
	a.watch.pet()
	if err != nil && err != io.EOF {
		err = a.watch.cause(err)
	}
	return n, err
}

func (a answer) Close() {
	a.Body.Close()
	a.watch.stop()
}

// do asks once. Redirects are followed, the token goes to the hub alone, and an answer that begins later than the stall
// timeout, or stops for so long, ends. Errors that another try may fix are faults.
func (c *client) do(ctx context.Context, method, address string, header http.Header, what string) (_ answer, err error) {
	watch := watchFor(ctx, c.pace.stall)
	defer func() {
		if err != nil {
			watch.stop()
		}
	}()
	ctx = watch.ctx
	if method == http.MethodHead {
		ctx = context.WithValue(ctx, headOnly{}, true)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", what, err)
	}
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" || req.URL.Host == "" {
		return answer{}, fmt.Errorf("%s: %q is no address: it begins with http:// or https:// (HF_ENDPOINT, THAW_TORCHVISION)", what, address)
	}
	req.Header = header.Clone()
	req.Header.Set("User-Agent", "thaw")
	req.Header.Set("Accept-Encoding", "identity")
	ours, err := url.Parse(c.hub.Endpoint)
	if err == nil && c.hub.Token != "" && req.URL.Host == ours.Host && req.URL.Scheme == ours.Scheme {
		req.Header.Set("Authorization", "Bearer "+c.hub.Token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, fault{watch.cause(err)}
	}
	switch code := resp.StatusCode; {
	case code == 200, (code == 206 || code == 416) && req.Header.Get("Range") != "", method == http.MethodHead && code/100 == 3:
		return answer{resp, watch}, nil
	case code == 206, code == 416:
		resp.Body.Close()
		return answer{}, faultf("the server answered %d %s, though no range was asked for", code, http.StatusText(code))
	case code == 408, code == 425, code == 429, code >= 500:
		resp.Body.Close()
		after, _ := retryAfter(resp.Header.Get("Retry-After"), time.Now())
		return answer{}, fault{&busyError{code: code, after: after}}
	default:
		resp.Body.Close()
		return answer{}, c.refused(resp, what)
	}
}

// refused words an answer that is final.
func (c *client) refused(resp *http.Response, what string) error {
	e := &StatusError{What: what, URL: plain(resp.Request.URL), Code: resp.StatusCode}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		switch {
		case resp.Header.Get("X-Error-Code") == "GatedRepo":
			e.Hint = "the repository is gated: accept its terms on its page, and give a token that may read it in HF_TOKEN"
		case c.hub.Token == "":
			e.Hint = "there is no such repository, or it is private or gated: then give a token in HF_TOKEN"
		default:
			e.Hint = "the token may not read it (HF_TOKEN, or the file HF_HOME/token), or there is no such repository"
		}
	case http.StatusNotFound:
		switch resp.Header.Get("X-Error-Code") {
		case "RevisionNotFound":
			e.Hint = "the repository has no such revision (a branch, a tag or a commit)"
		case "EntryNotFound":
			e.Hint = "the repository has no such file at this revision"
		case "RepoNotFound":
			e.Hint = "there is no such repository"
		default:
			e.Hint = "check the name and the revision"
		}
	}
	return e
}

// plain writes an address without what may sign it.
func plain(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// busyError is a server's request to come again.
type busyError struct {
	code  int
	after time.Duration
}

func (e *busyError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code))
}

// retryAfter reads a Retry-After header: seconds, or a date.
func retryAfter(s string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.ParseInt(s, 10, 32); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}

// wait waits before the next try: twice as long after each failure, with a random part so that many do not come at
// once, and at least as long as the server wished.
func (c *client) wait(ctx context.Context, failed int, err error, progress Progress, what string) error {
	d := min(c.pace.longest, c.pace.backoff<<min(failed-1, 10))
	d = d/2 + rand.N(d/2+1)
	if busy, ok := errors.AsType[*busyError](err); ok && busy.after > d {
		if busy.after > c.pace.longest {
			return fmt.Errorf("%s: %w and wishes to be asked again in %v only; try again then", what, err, busy.after)
		}
		d = busy.after
	}
	if d >= time.Second {
		progress.Note(fmt.Sprintf("%s: %v; trying again in %v", what, plainCause(err), d.Round(time.Second)))
	}
	return sleep(ctx, d)
}

// givesUp tells whether so many failures are enough. Where there is no network at all, patience does not help.
func (c *client) givesUp(failed int, err error) bool {
	_, noHost := errors.AsType[*net.DNSError](err)
	unreachable := noHost || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENETUNREACH)
	_, forged := errors.AsType[*tls.CertificateVerificationError](err)
	_, astray := errors.AsType[redirectError](err)
	return failed >= c.pace.tries || unreachable && failed >= 2 || forged || astray
}

// ask asks until there is an answer, and hands it to read.
func (c *client) ask(ctx context.Context, method, address, what string, progress Progress, read func(answer) error) error {
	for failed := 1; ; failed++ {
		a, err := c.do(ctx, method, address, http.Header{}, what)
		if err == nil {
			err = read(a)
			a.Close()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, mends := errors.AsType[fault](err); !mends {
			return err
		}
		if c.givesUp(failed, err) {
			return &NetworkError{What: what, Host: hostOf(address), Tries: failed, Err: err}
		}
		if err := c.wait(ctx, failed, err, progress, what); err != nil {
			return err
		}
	}
}

// getJSON reads a small JSON answer.
func (c *client) getJSON(ctx context.Context, address, what string, progress Progress, into any) error {
	return c.ask(ctx, http.MethodGet, address, what, progress, func(a answer) error {
		const most = 64 << 20 // a list of files, however long
		data, err := io.ReadAll(io.LimitReader(a, most))
		if err != nil {
			return fault{err}
		}
		if err := json.Unmarshal(data, into); err != nil {
			return faultf("the answer of %s is no such JSON as Hugging Face's hub gives: %w", plain(a.Request.URL), err)
		}
		return nil
	})
}
