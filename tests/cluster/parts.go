package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// part is the name of a part, which is also the first argument that makes this binary run it.
type part string

const (
	etcd              part = "etcd"
	apiServer         part = "kube-apiserver"
	controllerManager part = "kube-controller-manager"
)

// cluster is one control plane and its folder. All its methods run on the first goroutine (see init).
type cluster struct {
	options     options
	self        string
	credentials credentials
	client      *http.Client
	etcdPort    int
	etcdPeer    int
	port        int
	children    map[part]*exec.Cmd
	ended       map[part]chan struct{}
	// died carries children that ended without being asked to.
	died chan part
}

func newCluster(options options) (*cluster, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	credentials, err := newCredentials()
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(credentials.authority)
	c := &cluster{
		options:     options,
		self:        self,
		credentials: credentials,
		client: &http.Client{
			Timeout:   5 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, DisableKeepAlives: true},
		},
		children: map[part]*exec.Cmd{},
		ended:    map[part]chan struct{}{},
		died:     make(chan part, 8),
	}
	for _, port := range []*int{&c.etcdPort, &c.etcdPeer, &c.port} {
		if *port, err = freePort(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// freePort finds a port below the range from which Linux takes ports for outgoing connections (32768 and up). One of
// those could be taken by any connection on the machine before a part listens, or while the API server is stopped.
func freePort() (int, error) {
	for range 100 {
		port := 20000 + rand.IntN(12000)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		return port, listener.Close()
	}
	return 0, fmt.Errorf("no free port found between 20000 and 32000")
}

func (c *cluster) path(name string) string { return filepath.Join(c.options.directory, name) }
func (c *cluster) server() string          { return fmt.Sprintf("https://127.0.0.1:%d", c.port) }

func (c *cluster) arguments(part part) []string {
	switch part {
	case etcd:
		return c.etcdArguments()
	case apiServer:
		return c.apiServerArguments()
	default:
		return c.controllerManagerArguments()
	}
}

func (c *cluster) etcdArguments() []string {
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", c.etcdPort), fmt.Sprintf("http://127.0.0.1:%d", c.etcdPeer)
	arguments := []string{
		"--data-dir", c.path("etcd"),
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer,
		"--log-level", "error",
	}
	if !c.options.fsync {
		arguments = append(arguments, "--unsafe-no-fsync")
	}
	return arguments
}

func (c *cluster) apiServerArguments() []string {
	arguments := []string{
		"--etcd-servers", fmt.Sprintf("http://127.0.0.1:%d", c.etcdPort),
		"--bind-address", "127.0.0.1", "--secure-port", fmt.Sprint(c.port),
		"--tls-cert-file", c.path("apiserver.crt"), "--tls-private-key-file", c.path("apiserver.key"),
		"--token-auth-file", c.path("tokens.csv"),
		"--authorization-mode", "RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", c.path("serviceaccount.key"),
		"--service-account-signing-key-file", c.path("serviceaccount.key"),
		"--service-cluster-ip-range", "10.96.0.0/16",
		// There is one API server, and no node that would look for it by its endpoints.
		"--endpoint-reconciler-type", "none",
		// A bench must meet the operator's limits, not the server's.
		"--max-requests-inflight", "3000", "--max-mutating-requests-inflight", "1500",
	}
	if c.options.audit {
		arguments = append(arguments,
			"--audit-policy-file", c.path("audit-policy.yaml"), "--audit-log-path", c.path("audit.log"), "--audit-log-maxsize", "2000")
	}
	return arguments
}

func (c *cluster) controllerManagerArguments() []string {
	return []string{
		"--kubeconfig", c.path("kubeconfig"),
		"--service-account-private-key-file", c.path("serviceaccount.key"),
		"--root-ca-file", c.path("ca.crt"),
		// What an operator leans on. There are no nodes, so controllers of pods would have nothing to do.
		"--controllers", "namespace-controller,serviceaccount-controller,serviceaccount-token-controller," +
			"garbage-collector-controller,root-ca-certificate-publisher-controller,clusterrole-aggregation-controller",
		"--leader-elect=false", "--secure-port", "0",
		// With the defaults a new namespace waits seconds for its ServiceAccount.
		"--kube-api-qps", "200", "--kube-api-burst", "400",
		"--concurrent-namespace-syncs", "20",
	}
}

// spawn starts a part, which dies with this process, however that ends.
func (c *cluster) spawn(part part) error {
	if child := c.children[part]; child != nil {
		return fmt.Errorf("%s runs already, as process %d", part, child.Process.Pid)
	}
	log, err := os.OpenFile(c.path(string(part)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	child := exec.Command(c.self, append([]string{string(part)}, c.arguments(part)...)...)
	child.Stdout, child.Stderr = log, log
	child.Dir = c.options.directory
	// Its own process group: Ctrl-C in a terminal goes to `up` alone, which then ends the parts.
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := child.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	c.children[part], c.ended[part] = child, ended
	go func() {
		_ = child.Wait()
		close(ended)
		c.died <- part
	}()
	return c.writePorts()
}

// stop kills a part and returns when it is gone.
func (c *cluster) stop(part part) error {
	if err := c.signal(part, syscall.SIGKILL); err != nil {
		return err
	}
	<-c.ended[part]
	// This death was asked for. Another part may have died meanwhile: keep that news.
	for {
		gone := <-c.died
		if gone == part {
			break
		}
		defer func() { c.died <- gone }()
	}
	delete(c.children, part)
	return c.writePorts()
}

func (c *cluster) signal(part part, signal syscall.Signal) error {
	child := c.children[part]
	if child == nil {
		return fmt.Errorf("%s does not run", part)
	}
	return child.Process.Signal(signal)
}

// kill ends all parts at once. Their data is thrown away, so none needs time to tidy up.
func (c *cluster) kill() {
	for part, child := range c.children {
		_ = child.Process.Kill()
		<-c.ended[part]
	}
}

// waitFor returns once the API server answers 200 for a path.
func (c *cluster) waitFor(running context.Context, path string) error {
	limit, cancel := context.WithTimeout(running, patience)
	defer cancel()
	last := "no answer"
	for {
		if status, err := c.get(limit, path); err != nil {
			last = err.Error()
		} else if status == http.StatusOK {
			return nil
		} else {
			last = http.StatusText(status)
		}
		select {
		case gone := <-c.died:
			return c.describeDeath(gone)
		case <-limit.Done():
			if running.Err() != nil {
				return fmt.Errorf("stopped while waiting for %s", path)
			}
			return fmt.Errorf("%s was not ready within %s: %s", path, patience, last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *cluster) get(running context.Context, path string) (int, error) {
	request, err := http.NewRequestWithContext(running, http.MethodGet, c.server()+path, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+c.credentials.token)
	response, err := c.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode, nil
}

// describeDeath quotes the end of the part's log, where its reason is.
func (c *cluster) describeDeath(part part) error {
	log, _ := os.ReadFile(c.path(string(part) + ".log"))
	return fmt.Errorf("%s ended by itself (%s); the end of its log:\n%s", part, c.children[part].ProcessState, log[max(0, len(log)-2000):])
}

// writePorts says which process is which, for tests that send signals themselves.
func (c *cluster) writePorts() error {
	type entry struct {
		Pid  int `json:"pid"`
		Port int `json:"port,omitempty"`
	}
	ports := map[part]int{etcd: c.etcdPort, apiServer: c.port}
	entries := map[part]entry{}
	for part, child := range c.children {
		entries[part] = entry{Pid: child.Process.Pid, Port: ports[part]}
	}
	content, err := json.Marshal(entries)
	if err != nil {
		return err
	}
	return c.replace("ports.json", content)
}
