//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// programs are the processes of one run.
type programs struct {
	dir  string
	cmds []*exec.Cmd
}

func (p *programs) stop() {
	for _, c := range slices.Backward(p.cmds) {
		c.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	}
	for _, c := range p.cmds {
		c.Wait() //nolint:errcheck // how it ends does not matter
	}
}

// self starts this program in another role and returns its address.
func (p *programs) self(args ...string) (string, int, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", 0, err
	}
	cmd := exec.Command(exe, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", 0, err
	}
	cmd.Stderr = nil
	if err := cmd.Start(); err != nil {
		return "", 0, err
	}
	p.cmds = append(p.cmds, cmd)
	line, err := bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(line), cmd.Process.Pid, err
}

func (p *programs) run(name string, env []string, args ...string) (int, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	log, err := os.Create(filepath.Join(p.dir, filepath.Base(name)+".log"))
	if err != nil {
		return 0, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	p.cmds = append(p.cmds, cmd)
	return cmd.Process.Pid, nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close() //nolint:errcheck // only its number is wanted
	return l.Addr().String(), nil
}

func reachable(address string) error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			return c.Close()
		}
	}
	return fmt.Errorf("nothing answers at %s", address)
}

func (p *programs) start(o options) ([]*target, error) {
	up, pid, err := p.self("-role", "mock")
	if err != nil {
		return nil, err
	}
	wanted := func(name string) bool {
		return o.only == "" || slices.Contains(strings.Split(o.only, ","), strings.ReplaceAll(name, ",", ""))
	}
	out := []*target{{name: "direct", address: up, pid: pid}}
	for _, x := range []struct {
		name  string
		start func(up string) (*target, error)
	}{
		{"nginx", p.nginx},
		{"Caddy", p.caddy},
		{"Go ReverseProxy, body buffered", p.goProxy("buffered")},
		{"Go ReverseProxy, plain", p.goProxy("plain")},
		{"warden", p.warden(o.binary, false)},
		{"warden, guards on", p.warden(o.binary, true)},
	} {
		if !wanted(x.name) {
			continue
		}
		t, err := x.start(up)
		if errors.Is(err, exec.ErrNotFound) {
			fmt.Fprintf(os.Stderr, "%s is not installed: left out\n", x.name)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.name, err)
		}
		t.name = x.name
		out = append(out, t)
	}
	return out, nil
}

func (p *programs) goProxy(kind string) func(string) (*target, error) {
	return func(up string) (*target, error) {
		addr, pid, err := p.self("-role", kind, "-upstream", "http://"+up)
		return &target{address: addr, pid: pid}, err
	}
}

func (p *programs) nginx(up string) (*target, error) {
	exe, err := exec.LookPath("nginx")
	if err != nil {
		return nil, err
	}
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(p.dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; worker_processes auto; pid %[1]s/nginx.pid; error_log %[1]s/nginx-error.log crit;
events { worker_connections 4096; }
http { access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  client_max_body_size 32m; client_body_buffer_size 1m; keepalive_requests 1000000;
  upstream mock { server %[2]s; keepalive 256; keepalive_requests 1000000; }
  server { listen %[3]s; location / { proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } }
}`, p.dir, up, addr)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	pid, err := p.run(exe, nil, "-c", conf, "-p", p.dir)
	if err != nil {
		return nil, err
	}
	return &target{address: addr, pid: pid}, reachable(addr)
}

func (p *programs) caddy(up string) (*target, error) {
	exe, err := exec.LookPath("caddy")
	if err != nil {
		return nil, err
	}
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(p.dir, "Caddyfile")
	text := fmt.Sprintf("{\n admin off\n auto_https off\n}\nhttp://%s {\n reverse_proxy %s {\n  flush_interval -1\n }\n}\n", addr, up)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	pid, err := p.run(exe, []string{"HOME=" + p.dir}, "run", "--config", conf, "--adapter", "caddyfile")
	if err != nil {
		return nil, err
	}
	return &target{address: addr, pid: pid}, reachable(addr)
}

// warden starts a platform with an admitted model, a route to it and a key.
func (p *programs) warden(binary string, guards bool) func(string) (*target, error) {
	return func(up string) (*target, error) {
		data := filepath.Join(p.dir, fmt.Sprint("data", guards))
		guard := ""
		if guards {
			guard = ", guard: {preset: standard}"
		}
		conf, model := data+".yaml", data+".pkl"
		text := fmt.Sprintf(`gateway:
  limits: [{per: key, requests: 100000000/1m}, {per: identity, tokens: 100000000000/1m}]
  routes:
    - {name: bench, model: team/bench, upstream: "http://%s/v1", allow_private: [127.0.0.0/8], max_output: 1024%s}
`, up, guard)
		if err := errors.Join(os.WriteFile(conf, []byte(text), 0o600), os.WriteFile(model, []byte("(dp0\nS'weight'\np1\nF0.5\ns."), 0o600)); err != nil {
			return nil, err
		}
		env := []string{"WARDEN_API_LISTEN=127.0.0.1:0", "WARDEN_GATEWAY_LISTEN=127.0.0.1:0", "WARDEN_ADMIN_LISTEN=127.0.0.1:0", "WARDEN_DATA=" + data}
		pid, err := p.run(binary, env, "serve", "--data", data, "--config", conf)
		if err != nil {
			return nil, err
		}
		var local struct{ API, Gateway, Key string }
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && local.Gateway == ""; time.Sleep(50 * time.Millisecond) {
			if b, err := os.ReadFile(filepath.Join(data, "local.json")); err == nil {
				json.Unmarshal(b, &local) //nolint:errcheck // it is being written
			}
		}
		if local.Gateway == "" {
			return nil, errors.New("the server did not start: " + tail(filepath.Join(p.dir, filepath.Base(binary)+".log")))
		}
		address := strings.TrimPrefix(local.Gateway, "http://")
		if err := reachable(address); err != nil {
			return nil, err
		}
		if _, err := command(binary, env, "registry", "push", "team/bench", model); err != nil {
			return nil, err
		}
		out, err := command(binary, env, "access", "key", "create", "--name", "bench", "--role", "client", "--format", "json")
		if err != nil {
			return nil, err
		}
		var key struct{ Secret string }
		if err := json.Unmarshal(out, &key); err != nil || key.Secret == "" {
			return nil, fmt.Errorf("the key: %q", out)
		}
		return &target{address: address, key: key.Secret, pid: pid}, nil
	}
}

func command(binary string, env []string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s%s", strings.Join(args, " "), err, out.Bytes(), errs.Bytes())
	}
	return out.Bytes(), nil
}

func tail(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// peak returns the largest memory that a process and its children had.
func peak(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "-"
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var kb int
			if _, err := fmt.Sscan(rest, &kb); err == nil {
				return fmt.Sprintf("%d", kb/1024)
			}
		}
	}
	return "-"
}
