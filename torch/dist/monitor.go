package dist

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/thaw-ml/thaw/torch/dist/launch"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// How often a rank says that it lives, and how long one may be silent before it is suspected where something failed.
const (
	beat  = 500 * time.Millisecond
	quiet = 3 * beat
)

// monitor keeps, by way of the store, what an error should say: which ranks live, and why others ended. It decides nothing: a
// rank is given up when a collective fails or takes too long.
type monitor struct {
	world   launch.World
	address string
	store   capi.Store // by a connection of its own
	stop    chan struct{}

	mutex   sync.Mutex
	peers   []peer    // by rank
	reached time.Time // when the store answered last
	status  string    // of this rank; "" while all is well
	now     chan struct{}
}

// peer is what is known of a rank.
type peer struct {
	who    string // as in "host a, process 12"
	said   string // its last beat
	heard  time.Time
	status string // why it ends
}

func newMonitor(s capi.Store, w launch.World, address string) *monitor {
	return &monitor{
		world: w, address: address, store: s, stop: make(chan struct{}), now: make(chan struct{}, 1),
		peers: make([]peer, w.Size), reached: time.Now(),
	}
}

// introduce tells the others of this rank and waits for them.
func (m *monitor) introduce(timeout time.Duration) error {
	host, err := os.Hostname()
	if err != nil {
		host = m.address
	}
	me := fmt.Sprintf("host %s, process %d", host, os.Getpid())
	if err := m.store.Set("who/"+strconv.Itoa(m.world.Rank), me); err != nil {
		return fmt.Errorf("telling the store: %s", firstLine(err.Msg))
	}
	m.say("0")
	end := time.Now().Add(timeout)
	var missing []string
	for r := range m.peers {
		who, err := m.store.Get("who/"+strconv.Itoa(r), max(time.Until(end), beat/10))
		if err != nil && time.Until(end) > beat/10 { // that was no timeout
			return fmt.Errorf("the store at %s:%d has gone: is rank 0 running there? (%s)", m.world.Address, m.world.Port, firstLine(err.Msg))
		}
		if err != nil {
			missing = append(missing, strconv.Itoa(r))
			continue
		}
		m.peers[r] = peer{who: who, heard: time.Now()}
	}
	if missing != nil {
		return fmt.Errorf("within %v rank %s of %d did not come: was every one of them started, on every node?",
			timeout.Round(time.Second), strings.Join(missing, ", "), m.world.Size)
	}
	return nil
}

func (m *monitor) say(what string) *capi.Error {
	return m.store.Set("alive/"+strconv.Itoa(m.world.Rank), what)
}

func (m *monitor) start() {
	go func() {
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-m.stop:
				m.store.Free()
				return
			case <-m.now:
			case <-tick.C:
			}
			m.mutex.Lock()
			status := m.status
			m.mutex.Unlock()
			if m.say(fmt.Sprintf("%d|%s", n, status)) != nil {
				continue // suspects tells
			}
			for r := range m.peers {
				if r == m.world.Rank {
					continue
				}
				said, err := m.store.Get("alive/"+strconv.Itoa(r), beat)
				if err != nil {
					break
				}
				m.mutex.Lock()
				m.reached = time.Now()
				if p := &m.peers[r]; said != p.said {
					p.said, p.heard = said, time.Now()
					_, p.status, _ = strings.Cut(said, "|")
				}
				m.mutex.Unlock()
			}
		}
	}()
}

// What a rank says of itself when it ends.
const (
	left     = "left"
	lost     = "lost: "   // it ends because others did not answer
	mistaken = "failed: " // it ends by an error of its own
)

// suspects names the ranks that failed or are silent. Where none is known of yet it waits, until end at most.
func (m *monitor) suspects(end time.Time) string {
	if limit := time.Now().Add(2*quiet + beat); limit.Before(end) {
		end = limit
	}
	for {
		if s := m.known(); s != "" || !time.Now().Before(end) {
			return s
		}
		time.Sleep(beat / 5)
	}
}

func (m *monitor) known() string {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	now := time.Now()
	var failed, silent, gone []string
	for r, p := range m.peers {
		if r == m.world.Rank {
			continue
		}
		name := fmt.Sprintf("rank %d (%s)", r, p.who)
		switch {
		case strings.HasPrefix(p.status, mistaken):
			failed = append(failed, fmt.Sprintf("%s failed: %s", name, strings.TrimPrefix(p.status, mistaken)))
		case p.status == left:
			gone = append(gone, name+" has ended")
		case strings.HasPrefix(p.status, lost):
		case now.Sub(p.heard) > quiet && m.reached.Sub(p.heard) > quiet-beat:
			silent = append(silent, fmt.Sprintf("%s has not been heard of for %v", name, now.Sub(p.heard).Round(time.Second/10)))
		}
	}
	if now.Sub(m.reached) > quiet {
		store := fmt.Sprintf("the store at %s:%d does not answer", m.world.Address, m.world.Port)
		if !m.world.AgentStore {
			store += fmt.Sprintf(", which rank 0 (%s) keeps", m.peers[0].who)
		}
		return store
	}
	for _, found := range [][]string{failed, silent, gone} {
		if found != nil {
			return strings.Join(found, "; ")
		}
	}
	return ""
}

// fail says why this rank ends.
func (m *monitor) fail(err error) {
	kind := mistaken
	if e := new(Error); errors.As(err, &e) {
		kind = lost
	}
	m.mutex.Lock()
	if m.status == "" {
		m.status = kind + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	m.mutex.Unlock()
	select {
	case m.now <- struct{}{}:
	default:
	}
	if kind == mistaken {
		time.Sleep(2 * beat) // the others may still ask, and the store may be in this process
	}
}

// leave ends the beats. Without an error rank 0, which may keep the store, is the last to leave.
func (m *monitor) leave(failed bool) {
	if !failed {
		m.mutex.Lock()
		m.status = left
		m.mutex.Unlock()
		m.say("0|" + left) // not heard: nobody needs it
	}
	close(m.stop)
}
