package hub

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/thaw-ml/thaw/internal/suggest"
)

// UnknownError is a name that neither the registry knows nor names a repository.
type UnknownError struct {
	Name string
	Near string // the name that was likely meant, or ""
}

func (e *UnknownError) Error() string {
	near := ""
	if e.Near != "" {
		near = fmt.Sprintf("; did you mean %q?", e.Near)
	}
	return fmt.Sprintf("no model is named %s%s (thaw models lists them; a Hugging Face repository is named like org/name or org/name@revision)",
		suggest.Quote(e.Name), near)
}

// InvalidError is a name, revision or file that cannot be one.
type InvalidError struct{ Reason string }

func (e *InvalidError) Error() string { return e.Reason }

// OfflineError is something that is not here while nothing may be downloaded.
type OfflineError struct {
	What  string // as in "resnet50-11ad3fa6.pth"
	Where string // the folder or file that it would be
}

func (e *OfflineError) Error() string {
	return fmt.Sprintf("offline: %s is not here: %s; download it where there is a network, or leave offline mode (--offline, THAW_OFFLINE, HF_HUB_OFFLINE)", e.What, e.Where)
}

// StatusError is an answer of a server that trying again does not change.
type StatusError struct {
	What string // what was asked for
	URL  string
	Code int    // HTTP's
	Hint string // what may help, or ""
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s: the server answered %d %s (%s)", e.What, e.Code, http.StatusText(e.Code), e.URL)
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// HashError is a file that came whole but is not the one that was asked for. It is not kept.
type HashError struct {
	File, URL string
	Want, Got string // hexadecimal; Want may be the first digits only
}

func (e *HashError) Error() string {
	return fmt.Sprintf("%s: what %s sends has the hash %s, expected %s; nothing was kept. A proxy or a mirror may change the file: try another network, or tell who serves it",
		e.File, e.URL, e.Got, e.Want)
}

// NetworkError is a server that was not reached, or did not answer to the end, as often as it was tried.
type NetworkError struct {
	What  string // what was asked for
	Host  string
	Tries int   // the last ones, without a byte of progress
	Err   error // the last try's
}

func (e *NetworkError) Error() string {
	return fmt.Sprintf("%s: %s was not reached, or did not answer to the end (tries: %d): %v; check the network (HTTPS_PROXY is followed), or work with what is here: --offline", e.What, e.Host, e.Tries, plainCause(e.Err))
}

func (e *NetworkError) Unwrap() error { return e.Err }

// fault is what another try may fix.
type fault struct{ err error }

func (e fault) Error() string { return e.err.Error() }
func (e fault) Unwrap() error { return e.err }

func faultf(format string, args ...any) error { return fault{fmt.Errorf(format, args...)} }

// plainCause drops the method and address that package net/http puts before the cause.
func plainCause(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// hostOf is the host of an address that was parsed before.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return strings.TrimSpace(address)
	}
	return u.Host
}
