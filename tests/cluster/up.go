package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// patience is how long any one part may take to get ready. A loaded machine needs a tenth of it.
const patience = 60 * time.Second

// init keeps the first goroutine on the first thread. The kernel kills the children when the *thread* that started
// them ends (Pdeathsig), and only the first thread lives as long as the process.
func init() {
	runtime.LockOSThread()
}

// options are the arguments of `up`.
type options struct {
	directory string
	fsync     bool
	crds      string
	audit     bool
	stay      bool
}

// up starts a control plane, says on standard output where it is, and obeys commands on standard input until that ends.
//
//	stop-apiserver, start-apiserver     SIGKILL, then again with the same port and data
//	pause-apiserver, resume-apiserver   SIGSTOP, SIGCONT
//
// Each command is answered by the line `ok`, or `error: ...`. Nothing of the cluster outlives this process.
func up(arguments []string) error {
	options, err := parse(arguments)
	if err != nil {
		return err
	}
	// A SIGTERM, or the end of standard input, must also end a wait that is under way.
	running, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	commands := make(chan string)
	atEnd := stop
	if options.stay {
		atEnd = func() {}
	}
	go readCommands(os.Stdin, commands, atEnd)

	cluster, err := newCluster(options)
	if err != nil {
		return err
	}
	defer cluster.kill()
	if err := cluster.start(running); err != nil {
		return err
	}
	if err := cluster.announce(os.Stdout); err != nil {
		return err
	}
	return cluster.obey(running, commands)
}

func parse(arguments []string) (options, error) {
	var parsed options
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.StringVar(&parsed.directory, "dir", "", "folder for data, logs, kubeconfig and ports.json; made when missing")
	flags.BoolVar(&parsed.fsync, "fsync", false, "let etcd wait for the disk, as in production")
	flags.StringVar(&parsed.crds, "crds", "", "folder of manifests to apply before the controllers start, so that the garbage collector knows them at once and not after 30 s")
	flags.BoolVar(&parsed.audit, "audit", false, "write every request of a ServiceAccount outside kube-system to audit.log")
	flags.BoolVar(&parsed.stay, "stay", false, "go on when standard input ends, until SIGTERM")
	if err := flags.Parse(arguments); err != nil {
		return parsed, err
	}
	if parsed.directory == "" {
		return parsed, fmt.Errorf("--dir is required")
	}
	directory, err := filepath.Abs(parsed.directory)
	if err != nil {
		return parsed, err
	}
	parsed.directory = directory
	return parsed, os.MkdirAll(directory, 0o755)
}

func readCommands(input io.Reader, commands chan<- string, atEnd func()) {
	lines := bufio.NewScanner(input)
	for lines.Scan() {
		commands <- lines.Text()
	}
	atEnd()
}

// start brings the parts up in the order in which they need each other.
func (c *cluster) start(running context.Context) error {
	if err := c.writeFiles(); err != nil {
		return err
	}
	// The API server retries until etcd answers, so there is nothing to wait for in between.
	if err := c.spawn(etcd); err != nil {
		return err
	}
	if err := c.startAPIServer(running); err != nil {
		return err
	}
	if c.options.crds != "" {
		if err := c.applyCRDs(running); err != nil {
			return err
		}
	}
	if err := c.spawn(controllerManager); err != nil {
		return err
	}
	// The first ServiceAccount shows that the controllers work.
	return c.waitFor(running, "/api/v1/namespaces/default/serviceaccounts/default")
}

func (c *cluster) startAPIServer(running context.Context) error {
	if err := c.spawn(apiServer); err != nil {
		return err
	}
	return c.waitFor(running, "/readyz")
}

func (c *cluster) applyCRDs(running context.Context) error {
	if err := c.kubectl(running, "apply", "--server-side", "-f", c.options.crds); err != nil {
		return err
	}
	return c.kubectl(running, "wait", "--for=condition=Established", "--timeout=30s", "-f", c.options.crds)
}

func (c *cluster) kubectl(running context.Context, arguments ...string) error {
	arguments = append([]string{"kubectl", "--kubeconfig", c.path("kubeconfig")}, arguments...)
	output, err := exec.CommandContext(running, c.self, arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("kubectl %v: %w: %s", arguments[3:], err, output)
	}
	return nil
}

func (c *cluster) announce(output io.Writer) error {
	return json.NewEncoder(output).Encode(map[string]any{
		"kubeconfig":   c.path("kubeconfig"),
		"server":       c.server(),
		"apiserverPid": c.children[apiServer].Process.Pid,
	})
}

func (c *cluster) obey(running context.Context, commands <-chan string) error {
	for {
		select {
		case <-running.Done():
			return nil
		case gone := <-c.died:
			return c.describeDeath(gone)
		case command := <-commands:
			if err := c.carryOut(running, command); err != nil {
				fmt.Printf("error: %v\n", err)
			} else {
				fmt.Println("ok")
			}
		}
	}
}

func (c *cluster) carryOut(running context.Context, command string) error {
	switch command {
	case "stop-apiserver":
		return c.stop(apiServer)
	case "start-apiserver":
		return c.startAPIServer(running)
	case "pause-apiserver":
		return c.signal(apiServer, syscall.SIGSTOP)
	case "resume-apiserver":
		return c.signal(apiServer, syscall.SIGCONT)
	default:
		return fmt.Errorf("unknown command %q", command)
	}
}
