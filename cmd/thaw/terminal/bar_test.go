package terminal

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// wrapped is a terminal as the program writes to it: no *os.File, but with its descriptor.
type wrapped struct{ file *os.File }

func (w wrapped) Write(b []byte) (int, error) { return w.file.Write(b) }
func (w wrapped) Fd() uintptr                 { return w.file.Fd() }

// pseudoTerminal makes a terminal so many columns wide, and gives what is written to it since.
func pseudoTerminal(t *testing.T, columns uint16) (terminal wrapped, written func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { master.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}))
	read := make(chan string)
	go func() {
		var all strings.Builder
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			all.Write(buffer[:n])
			if err != nil { // the terminal was closed
				read <- all.String()
				return
			}
		}
	}()
	return wrapped{slave}, func() string {
		require.NoError(t, slave.Close())
		return <-read
	}
}

// On a terminal there is a bar, with loss, rate, time left and memory, no line of which is wider than the terminal.
func TestBarOnATerminal(t *testing.T) {
	for _, columns := range []uint16{110, 60} {
		out, written := pseudoTerminal(t, columns)
		v := New(out, Settings{})
		require.True(t, v.live)
		v.begin("epoch 1", 4000)
		for i := 1; i <= 3; i++ {
			v.advance(1000*i, 0.5)
			time.Sleep(250 * time.Millisecond) // a bar is drawn five times a second
		}
		v.end("accuracy 0.7500")
		text := written()
		lines := strings.FieldsFunc(regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`).ReplaceAllString(text, "\n"), func(r rune) bool { return r == '\n' || r == '\r' })
		bars := 0
		for _, line := range lines {
			if strings.Contains(line, "eta") {
				bars++
				assert.LessOrEqual(t, len([]rune(line)), int(columns), "%q", line)
				if columns == 110 {
					assert.Regexp(t, `^epoch 1 .*█+░* +[123],000/4,000  loss 0\.500  [\d]+/s  eta [\d.]+s  \d+\.\d GB`, line)
				}
			}
		}
		assert.GreaterOrEqual(t, bars, 2, "%q", text)
		assert.Contains(t, text, " 3,000 rows  loss 0.500")
	}
}

// The speed of an epoch that goes on after an interruption counts what is trained since.
func TestRateOfAnEpochThatGoesOn(t *testing.T) {
	v := New(&strings.Builder{}, Settings{})
	v.begin("epoch 1", 1000)
	v.before.Store(900)
	v.began = time.Now().Add(-10 * time.Second)
	assert.Regexp(t, `^ 950/1,000  5/s  eta (9\.9s|10\.0s|10s) `, v.status(950))
}
