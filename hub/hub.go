package hub

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Hub says where checkpoints come from and where they lie. FromEnvironment makes one as Python's libraries would.
type Hub struct {
	Endpoint    string // of Hugging Face's hub, without a slash at the end
	Token       string // for gated and private repositories of that hub; "": none. It is sent to no other host
	Cache       string // huggingface_hub's cache folder
	Torchvision string // what stands in for the address torchvision publishes its weights at, with a slash at the end; "": nothing
	Checkpoints string // torch.hub's folder of checkpoint files
	Offline     bool   // nothing is asked of any network: no client is even made

	// Transport carries the requests; nil is a transport that follows HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
	Transport http.RoundTripper

	pace *pace // nil: the usual one; tests hurry
}

// pace is how patient downloads are.
type pace struct {
	stall   time.Duration // without a byte for so long, the connection is given up
	backoff time.Duration // before the second try; doubled for each further one
	longest time.Duration // the longest wait between tries, the server's wish included
	tries   int           // without a byte of progress
	again   int           // times that a file is begun anew, when what came was not the file
	poll    time.Duration // between looks at a lock that another process holds
}

var usualPace = pace{stall: 30 * time.Second, backoff: time.Second, longest: 2 * time.Minute, tries: 6, again: 1, poll: 200 * time.Millisecond}

func (h *Hub) paced() pace {
	if h.pace != nil {
		return *h.pace
	}
	return usualPace
}

// The hub that FromEnvironment names when HF_ENDPOINT does not.
const huggingFace = "https://huggingface.co"

// FromEnvironment reads the variables that huggingface_hub and torch.hub read, with their meaning: HF_ENDPOINT,
// HF_HOME, HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH (else the file
// HF_HOME/token), HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE, TORCH_HOME and XDG_CACHE_HOME; and two of Thaw's own:
// THAW_OFFLINE, and THAW_TORCHVISION, the address of a mirror of torchvision's weights. An empty variable counts as not
// set. It fails when there is neither a home folder nor variables that make up for it, and when the token cannot be
// read.
func FromEnvironment() (*Hub, error) {
	home, homeErr := os.UserHomeDir()
	path := func(variable, or string) string {
		value := os.Getenv(variable)
		if value == "" {
			return or
		}
		value = os.ExpandEnv(value)
		if value == "~" || strings.HasPrefix(value, "~/") {
			value = home + value[1:]
		}
		return value
	}
	caches := path("XDG_CACHE_HOME", filepath.Join(home, ".cache"))
	hfHome := path("HF_HOME", filepath.Join(caches, "huggingface"))
	h := &Hub{
		Endpoint:    strings.TrimRight(or(os.Getenv("HF_ENDPOINT"), huggingFace), "/"),
		Cache:       path("HF_HUB_CACHE", path("HUGGINGFACE_HUB_CACHE", filepath.Join(hfHome, "hub"))),
		Checkpoints: filepath.Join(path("TORCH_HOME", filepath.Join(caches, "torch")), "hub", "checkpoints"),
		Torchvision: os.Getenv("THAW_TORCHVISION"),
		Offline:     isTrue("THAW_OFFLINE") || isTrue("HF_HUB_OFFLINE") || isTrue("TRANSFORMERS_OFFLINE"),
	}
	if h.Torchvision != "" && !strings.HasSuffix(h.Torchvision, "/") {
		h.Torchvision += "/"
	}
	if homeErr != nil && (!filepath.IsAbs(h.Cache) || !filepath.IsAbs(h.Checkpoints)) {
		return nil, fmt.Errorf("where downloads go: %w; set HF_HOME and TORCH_HOME, or XDG_CACHE_HOME", homeErr)
	}
	h.Token = or(os.Getenv("HF_TOKEN"), os.Getenv("HUGGING_FACE_HUB_TOKEN"))
	if h.Token == "" && !h.Offline {
		token, err := os.ReadFile(path("HF_TOKEN_PATH", filepath.Join(hfHome, "token")))
		if err != nil && !os.IsNotExist(err) {
			return nil, fmt.Errorf("read the token of Hugging Face's hub: %w", err)
		}
		h.Token = string(token)
	}
	h.Token = strings.TrimSpace(h.Token)
	if strings.ContainsFunc(h.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("the token of Hugging Face's hub (HF_TOKEN, or the file HF_HOME/token) holds characters that no token has")
	}
	return h, nil
}

func isTrue(variable string) bool {
	switch strings.ToUpper(os.Getenv(variable)) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

func or(value, other string) string {
	if value == "" {
		return other
	}
	return value
}

// Progress is told how downloads go. A nil Progress is told nothing.
type Progress interface {
	// Begin says that a file is being downloaded: total bytes, -1 when the server does not tell, of which have are here
	// from an earlier download.
	Begin(file string, total, have int64)
	// Advance says that n more bytes are here; a negative n, that bytes had to be thrown away.
	Advance(n int64)
	// End says that the file of the last Begin is done with, well or not.
	End()
	// Note says what a person who waits wants to know: that another process is downloading, that a try failed.
	Note(text string)
}

type silent struct{}

func (silent) Begin(string, int64, int64) {}
func (silent) Advance(int64)              {}
func (silent) End()                       {}
func (silent) Note(string)                {}
