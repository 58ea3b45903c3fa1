//go:build cluster

// Package kubernetes_test applies the manifests to a real etcd, kube-apiserver and Job controller, on loopback and in a
// temporary folder: make cluster-test.
package kubernetes_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// cluster is a control plane without a node.
type cluster struct {
	program string // testserver
	folder  string
	address string // of the apiserver
	token   string
	servers []*exec.Cmd
}

var kube cluster

func TestMain(m *testing.M) {
	os.Exit(func() int {
		defer kube.stop()
		flag.Parse()
		if err := flag.Set("test.parallel", "8"); err != nil { // most of the time the tests wait for the Job controller
			panic(err)
		}
		if err := kube.start(); err != nil {
			fmt.Fprintf(os.Stderr, "starting Kubernetes: %v\n", err)
			return 1
		}
		return m.Run()
	}())
}

func (c *cluster) start() error {
	built, err := program()
	if err != nil {
		return err
	}
	c.program = filepath.Join(built, "testserver")
	if c.folder, err = os.MkdirTemp("", "thaw-kubernetes-"); err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	store, peers := "http://"+ports[0], "http://"+ports[1]
	c.address, c.token = "https://"+ports[2], rand.Text()
	if err := c.credentials(); err != nil {
		return err
	}
	_, port, _ := strings.Cut(ports[2], ":")
	err = c.serve("etcd", "--data-dir=etcd", "--listen-client-urls="+store, "--advertise-client-urls="+store,
		"--listen-peer-urls="+peers, "--initial-advertise-peer-urls="+peers, "--initial-cluster=default="+peers,
		"--unsafe-no-fsync=true")
	if err != nil {
		return err
	}
	err = c.serve("apiserver", "--etcd-servers="+store, "--bind-address=127.0.0.1", "--secure-port="+port,
		"--cert-dir=certificates", "--service-account-issuer=https://test", "--service-account-key-file=accounts.pem",
		"--service-account-signing-key-file=accounts.pem", "--service-cluster-ip-range=10.99.0.0/24",
		"--token-auth-file=tokens.csv", "--authorization-mode=RBAC", "--endpoint-reconciler-type=none")
	if err != nil {
		return err
	}
	if err := c.wait(); err != nil {
		return err
	}
	err = c.serve("controller-manager", "--kubeconfig=kubeconfig", "--leader-elect=false",
		"--controllers=job-controller,serviceaccount-controller", "--service-account-private-key-file=accounts.pem",
		"--bind-address=127.0.0.1", "--secure-port=0")
	if err != nil {
		return err
	}
	return c.define(filepath.Join(built, "*.yaml"))
}

// credentials writes the apiserver's token and keys, and a kubeconfig.
func (c *cluster) credentials() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	accounts := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	kubeconfig := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q, insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: %q}}]
contexts: [{name: test, context: {cluster: test, user: admin, namespace: default}}]
current-context: test
`, c.address, c.token)
	for name, content := range map[string]string{
		"accounts.pem": string(accounts),
		"tokens.csv":   c.token + ",admin,admin,system:masters\n",
		"kubeconfig":   kubeconfig,
	} {
		if err := os.WriteFile(filepath.Join(c.folder, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// serve starts a part of testserver in the background. The part does not outlive the tests.
func (c *cluster) serve(args ...string) error {
	log, err := os.Create(filepath.Join(c.folder, args[0]+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command(c.program, args...)
	command.Dir, command.Stdout, command.Stderr = c.folder, log, log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return err
	}
	c.servers = append(c.servers, command)
	return nil
}

// wait returns when the apiserver is ready.
func (c *cluster) wait() error {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	client := http.Client{Transport: transport, Timeout: 5 * time.Second}
	var last string
	for range 600 {
		request, err := http.NewRequest(http.MethodGet, c.address+"/readyz", nil)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+c.token)
		answer, err := client.Do(request)
		if err == nil {
			body, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if last = string(body); answer.StatusCode == http.StatusOK {
				return nil
			}
		} else {
			last = err.Error()
		}
		time.Sleep(100 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(c.folder, "apiserver.log"))
	return fmt.Errorf("the apiserver is not ready after a minute: %s\n%s", last, log[max(0, len(log)-4000):])
}

// define teaches the apiserver the kinds of Trainer and JobSet.
func (c *cluster) define(pattern string) error {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	for _, file := range files {
		if _, said, err := c.kubectl("", "create", "--filename", file); err != nil {
			return fmt.Errorf("%w: %s", err, said)
		}
	}
	_, said, err := c.kubectl("", "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
	if err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}

func (c *cluster) stop() {
	for _, server := range c.servers {
		server.Process.Kill()
		server.Wait()
	}
	if c.folder != "" {
		os.RemoveAll(c.folder)
	}
}

// kubectl runs kubectl of the apiserver's version.
func (c *cluster) kubectl(in string, args ...string) (out, said string, err error) {
	command := exec.Command(c.program, append([]string{"kubectl"}, args...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(c.folder, "kubeconfig"), "HOME="+c.folder)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(in), &stdout, &stderr
	err = command.Run()
	return stdout.String(), stderr.String(), err
}

// ask is kubectl where it must succeed, without a warning.
func (c *cluster) ask(t *testing.T, in string, args ...string) string {
	t.Helper()
	out, said, err := c.kubectl(in, args...)
	require.NoError(t, err, said)
	require.Empty(t, said, strings.Join(args, " "))
	return out
}

// freePorts are addresses on loopback where nobody listens.
func freePorts(count int) (addresses []string, err error) {
	for range count {
		listener, failure := net.Listen("tcp", "127.0.0.1:0")
		if failure != nil {
			return nil, failure
		}
		defer func() { err = errors.Join(err, listener.Close()) }() // when all are found, so that none comes twice
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}
