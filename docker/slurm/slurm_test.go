//go:build cluster

// Package slurm_test runs the scripts on a real Slurm of two nodes, on loopback and in a temporary folder:
// make cluster-test.
package slurm_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// cluster is a Slurm of the nodes n0 and n1, which are both this machine, with 16 CPUs, 64 GB and a GPU each as far as
// Slurm knows.
type cluster struct {
	folder  string
	daemons []*exec.Cmd
}

var (
	slurm cluster
	// binaries is the folder of the program thaw.
	binaries string
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		defer slurm.stop()
		if err := slurm.start(); err != nil {
			fmt.Fprintf(os.Stderr, "starting Slurm: %v\n", err)
			return 1
		}
		return m.Run()
	}())
}

// cred_expire is also how long Slurm waits before it starts a requeued job again; the default is two minutes.
const conf = `ClusterName=thaw
SlurmctldHost=localhost
SlurmUser=USER
SlurmdUser=USER
AuthType=auth/munge
AuthInfo=socket=FOLDER/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
ReturnToService=2
KillWait=5
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SlurmdParameters=config_overrides
SlurmctldPort=PORT0
SlurmctldPidFile=FOLDER/slurmctld.pid
SlurmdPidFile=FOLDER/slurmd.%n.pid
StateSaveLocation=FOLDER/state
SlurmdSpoolDir=FOLDER/spool.%n
NodeName=DEFAULT CPUs=16 RealMemory=65536 Gres=gpu:1
NodeName=n0 NodeHostname=localhost NodeAddr=127.0.0.1 Port=PORT1
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=PORT2
PartitionName=main Nodes=n[0-1] Default=YES MaxTime=1-00:00:00 OverSubscribe=NO
`

func (c *cluster) start() error {
	for _, name := range []string{"munged", "slurmctld", "slurmd", "sbatch", "srun", "ch-run"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%w; docker/slurm/install.sh installs what is missing", err)
		}
	}
	var err error
	if binaries, err = filepath.Abs("../../bin"); err != nil {
		return err
	}
	if _, err := exec.LookPath(filepath.Join(binaries, "thaw")); err != nil {
		return fmt.Errorf("%w; make build", err)
	}
	if c.folder, err = os.MkdirTemp("", "thaw-slurm-"); err != nil {
		return err
	}
	if err := c.configure(); err != nil {
		return err
	}
	for _, daemon := range [][]string{
		{"munged", "--foreground", "--force", "--key-file=munge.key", "--seed-file=" + c.folder + "/munge.seed",
			"--socket=" + c.folder + "/munge.socket", "--pid-file=" + c.folder + "/munged.pid",
			"--log-file=" + c.folder + "/munge.log"},
		{"slurmctld", "-D", "-c"},
		{"slurmd", "-D", "-N", "n0"},
		{"slurmd", "-D", "-N", "n1"},
	} {
		if err := c.serve(daemon...); err != nil {
			return err
		}
	}
	var last string
	for range 300 {
		out, said, _ := c.run(c.folder, "sinfo", "--noheader", "--states=idle", "--format=%D")
		if last = out + said; strings.TrimSpace(out) == "2" {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("the nodes are not idle after 30 seconds: %s\n%s", last, c.logs())
}

// configure writes the files that Slurm and munge read.
func (c *cluster) configure() error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	replaced := []string{"FOLDER", c.folder, "USER", me.Username}
	for i := range 3 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer listener.Close()
		replaced = append(replaced, fmt.Sprint("PORT", i), fmt.Sprint(listener.Addr().(*net.TCPAddr).Port))
	}
	key := make([]byte, 1024)
	rand.Read(key)
	err = os.WriteFile(filepath.Join(c.folder, "munge.key"), key, 0o400)
	for name, content := range map[string]string{
		"slurm.conf": strings.NewReplacer(replaced...).Replace(conf),
		"gres.conf":  "NodeName=n[0-1] Name=gpu File=/dev/null\n",
	} {
		err = errors.Join(err, os.WriteFile(filepath.Join(c.folder, name), []byte(content), 0o644))
	}
	for _, name := range []string{"state", "spool.n0", "spool.n1"} {
		err = errors.Join(err, os.Mkdir(filepath.Join(c.folder, name), 0o755))
	}
	return err
}

// serve starts a daemon in the foreground of its own. The daemon does not outlive the tests.
func (c *cluster) serve(args ...string) error {
	log, err := os.Create(filepath.Join(c.folder, fmt.Sprint(args[0], len(c.daemons), ".log")))
	if err != nil {
		return err
	}
	defer log.Close()
	daemon := exec.Command(args[0], args[1:]...)
	daemon.Dir, daemon.Stdout, daemon.Stderr, daemon.Env = c.folder, log, log, c.environment()
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := daemon.Start(); err != nil {
		return err
	}
	c.daemons = append(c.daemons, daemon)
	return nil
}

// stop cancels what still runs, ends the daemons and removes the folder.
func (c *cluster) stop() {
	if c.folder == "" {
		return
	}
	c.run(c.folder, "scancel", "--state=PENDING")
	c.run(c.folder, "scancel", "--signal=KILL", "--full", "--state=RUNNING")
	for range 100 {
		out, _, err := c.run(c.folder, "squeue", "--noheader", "--states=RUNNING,COMPLETING")
		if err != nil || strings.TrimSpace(out) == "" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	for i := len(c.daemons) - 1; i >= 0; i-- { // munged last, the others speak through it
		c.daemons[i].Process.Signal(syscall.SIGTERM)
		c.daemons[i].Wait()
	}
	os.RemoveAll(c.folder)
}

// logs are the ends of the daemons' logs.
func (c *cluster) logs() string {
	var out strings.Builder
	files, _ := filepath.Glob(filepath.Join(c.folder, "*.log"))
	for _, file := range files {
		data, _ := os.ReadFile(file)
		fmt.Fprintf(&out, "%s\n%s\n", file, data[max(0, len(data)-2000):])
	}
	return out.String()
}

// environment is that of a user of this Slurm, in no job.
func (c *cluster) environment(more ...string) (env []string) {
	for _, variable := range os.Environ() {
		if !regexp.MustCompile("^(SLURM|SBATCH|PATH=)").MatchString(variable) {
			env = append(env, variable)
		}
	}
	me, err := user.Current()
	if err != nil {
		panic(err)
	}
	env = append(env, "SLURM_CONF="+filepath.Join(c.folder, "slurm.conf"), "USER="+me.Username,
		"PATH="+binaries+":"+os.Getenv("PATH"))
	return append(env, more...)
}

// run runs a program in a folder, as a user would.
func (c *cluster) run(folder, name string, args ...string) (out, said string, err error) {
	path := name
	if !strings.Contains(name, "/") {
		if path, err = exec.LookPath(name); err != nil {
			return "", "", err
		}
	}
	command := exec.Command(path, args...)
	command.Dir, command.Env = folder, c.environment()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err = command.Run()
	return stdout.String(), stderr.String(), err
}

// ask is run where the program must succeed.
func (c *cluster) ask(t *testing.T, folder, name string, args ...string) string {
	t.Helper()
	out, said, err := c.run(folder, name, args...)
	require.NoError(t, err, said)
	return strings.TrimSpace(out)
}
