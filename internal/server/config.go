// Package server turns a configuration into a running platform. It is the only
// place that chooses implementations and names drivers.
package server

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/rules"
)

// A Config is the whole configuration of `warden serve`. [DefaultConfig] runs.
// Unknown keys are errors; secrets are references ("file:…" or "env:…").
type Config struct {
	Data     string        `yaml:"data"`     // folder of everything that is kept
	Policies string        `yaml:"policies"` // folder of .cedar files; "": the standard set
	Keys     string        `yaml:"keys"`     // folder of the platform's own keys, the same for all its processes; "": in the data folder
	Roles    []string      `yaml:"roles"`    // what this process does: gateway, api, worker
	Storage  StorageConfig `yaml:"storage"`
	Queue    QueueConfig   `yaml:"queue"`
	Audit    AuditConfig   `yaml:"audit"`
	API      APIConfig     `yaml:"api"`
	Access   AccessConfig  `yaml:"access"`
	Gateway  GatewayConfig `yaml:"gateway"`
	Admin    AdminConfig   `yaml:"admin"`
	Traces   TracesConfig  `yaml:"traces"`
	Limits   LimitsConfig  `yaml:"limits"`
	Demo     bool          `yaml:"demo"` // demo data may be loaded
}

// An APIConfig configures API and console.
type APIConfig struct {
	Listen string `yaml:"listen"` // host:port
	URL    string `yaml:"url"`    // how people reach it, if not under Listen
}

// A LimitsConfig bounds what the platform takes.
type LimitsConfig struct {
	MaxBlob  int64         `yaml:"max_blob"`  // bytes of one uploaded file
	Workers  int           `yaml:"workers"`   // artifacts scanned at once
	ScanDays int           `yaml:"scan_days"` // how long a scan statement holds
	Shutdown time.Duration `yaml:"shutdown"`  // longest wait for running requests
}

// DefaultConfig returns a configuration that runs on loopback with embedded
// engines.
func DefaultConfig() Config {
	return Config{
		Data: ".data", Demo: true, Roles: Roles(), Queue: QueueConfig{Replicas: 3},
		API:    APIConfig{Listen: "127.0.0.1:8080"},
		Access: AccessConfig{OIDC: OIDCConfig{Scopes: []string{}, RoleMap: map[string][]string{}, AllowedDomains: []string{}}, Workloads: []WorkloadConfig{}},
		Gateway: GatewayConfig{
			Listen: "127.0.0.1:8081", Limits: []LimitConfig{}, Routes: []RouteConfig{}, Credentials: map[string]string{},
			Private: []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "127.0.0.0/8", "::1/128"},
		},
		Admin:  AdminConfig{Listen: "127.0.0.1:9090"},
		Limits: LimitsConfig{MaxBlob: 1 << 40, Workers: 2, ScanDays: 90, Shutdown: 10 * time.Second},
	}
}

const maxConfig = 1 << 20

// LoadConfig reads the YAML file name ("" means none), then WARDEN_SECTION_KEY
// variables, on top of the defaults. Errors say file, line and what to do.
func LoadConfig(name string, getenv func(string) string) (Config, error) {
	c := DefaultConfig()
	if name != "" {
		st, err := os.Stat(name)
		if err != nil {
			return c, configError(name, err)
		}
		if st.Size() > maxConfig {
			return c, configError(name, fmt.Errorf("%d bytes, at most %d", st.Size(), maxConfig))
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return c, configError(name, err)
		}
		if len(bytes.TrimSpace(text)) > 0 {
			if err := rules.DecodeStrict(text, &c); err != nil {
				return c, configError(name, err)
			}
		}
	}
	if err := c.environment(getenv); err != nil {
		return c, err
	}
	return c, c.Check()
}

func configError(name string, err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) && pe.Path == name {
		err = pe.Err
	}
	hint := "warden config print shows every key with its default"
	if errors.Is(err, errUnset) {
		hint = "set it in the environment of warden serve, or use file:PATH"
	}
	return &warden.Error{Code: warden.CodeInvalid, Message: "configuration " + name + ": " + err.Error(), Hint: hint, Err: err}
}

// environment sets keys from WARDEN_SECTION_KEY variables. Routes are a list and
// have none.
func (c *Config) environment(getenv func(string) string) error {
	texts := map[string]*string{
		"WARDEN_DATA": &c.Data, "WARDEN_POLICIES": &c.Policies, "WARDEN_API_LISTEN": &c.API.Listen, "WARDEN_API_URL": &c.API.URL, "WARDEN_GATEWAY_LISTEN": &c.Gateway.Listen,
		"WARDEN_ACCESS_OIDC_ISSUER": &c.Access.OIDC.Issuer, "WARDEN_ACCESS_OIDC_CLIENT_ID": &c.Access.OIDC.ClientID, "WARDEN_ACCESS_OIDC_CLIENT_SECRET": &c.Access.OIDC.ClientSecret,
		"WARDEN_KEYS": &c.Keys, "WARDEN_STORAGE_DATABASE": &c.Storage.Database, "WARDEN_STORAGE_BLOBS": &c.Storage.Blobs,
		"WARDEN_QUEUE_NATS": &c.Queue.NATS, "WARDEN_AUDIT_OUTSIDE": &c.Audit.Outside, "WARDEN_ADMIN_LISTEN": &c.Admin.Listen, "WARDEN_QUEUE_CREDENTIALS": &c.Queue.Credentials,
	}
	for name, to := range texts {
		if v := getenv(name); v != "" {
			*to = v
		}
	}
	for name, set := range map[string]func(string) error{
		"WARDEN_DEMO":                     func(v string) (err error) { c.Demo, err = strconv.ParseBool(v); return err },
		"WARDEN_ROLES":                    func(v string) error { c.Roles = strings.Split(v, ","); return nil },
		"WARDEN_QUEUE_REPLICAS":           func(v string) (err error) { c.Queue.Replicas, err = strconv.Atoi(v); return err },
		"WARDEN_AUDIT_WITNESSES_REQUIRED": func(v string) (err error) { c.Audit.WitnessesRequired, err = strconv.Atoi(v); return err },
		"WARDEN_LIMITS_MAX_BLOB":          func(v string) (err error) { c.Limits.MaxBlob, err = strconv.ParseInt(v, 10, 64); return err },
		"WARDEN_LIMITS_WORKERS":           func(v string) (err error) { c.Limits.Workers, err = strconv.Atoi(v); return err },
		"WARDEN_LIMITS_SCAN_DAYS": func(v string) (err error) {
			c.Limits.ScanDays, err = strconv.Atoi(v)
			return err
		},
		"WARDEN_LIMITS_SHUTDOWN": func(v string) (err error) { c.Limits.Shutdown, err = time.ParseDuration(v); return err },
	} {
		if v := getenv(name); v != "" {
			if err := set(v); err != nil {
				return configError("variable "+name, err)
			}
		}
	}
	return nil
}

// Check says what of c cannot be used, and why.
func (c Config) Check() error {
	for key, addr := range map[string]string{"api.listen": c.API.Listen, "gateway.listen": c.Gateway.Listen, "admin.listen": c.Admin.Listen} {
		if key == "admin.listen" && addr == adminOff {
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return configError(key, fmt.Errorf("%q is not host:port", addr))
		}
	}
	switch {
	case c.Data == "":
		return configError("data", errors.New("is empty"))
	case c.Limits.Workers < 1 || c.Limits.Workers > 64:
		return configError("limits.workers", fmt.Errorf("%d, want 1 to 64", c.Limits.Workers))
	case c.Limits.MaxBlob < 1:
		return configError("limits.max_blob", fmt.Errorf("%d, want 1 or more", c.Limits.MaxBlob))
	case c.Limits.ScanDays < 1 || c.Limits.ScanDays > 3650:
		return configError("limits.scan_days", fmt.Errorf("%d, want 1 to 3650", c.Limits.ScanDays))
	case c.Limits.Shutdown < 0 || c.Limits.Shutdown > time.Hour:
		return configError("limits.shutdown", fmt.Errorf("%v, want 0 to 1h", c.Limits.Shutdown))
	}
	if err := errors.Join(c.checkStorage(), c.checkRoles(), c.checkAudit()); err != nil {
		return err
	}
	if u, err := url.Parse(c.API.URL); c.API.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		return configError("api.url", fmt.Errorf("%q is not http(s)://host[:port]", c.API.URL))
	}
	if err := c.Access.check(); err != nil {
		return err
	}
	if err := c.Gateway.TLS.check(); err != nil {
		return configError("gateway.tls", err)
	}
	if err := c.Gateway.checkStored(); err != nil {
		return err
	}
	if _, err := c.limits(); err != nil {
		return err
	}
	_, err := c.routes(func(string) string { return "" }, false)
	return err
}

var errUnset = errors.New("is not set")

const maxSecret = 64 << 10

func secret(ref string, getenv func(string) string) (access.Secret, error) {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		v := getenv(name)
		if v == "" {
			return "", fmt.Errorf("variable %s %w", name, errUnset)
		}
		return access.Secret(v), nil
	}
	name, ok := strings.CutPrefix(ref, "file:")
	if !ok {
		return "", errors.New("secrets are references: file:PATH or env:NAME")
	}
	st, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if st.Size() > maxSecret {
		return "", fmt.Errorf("%s: %d bytes, at most %d", name, st.Size(), maxSecret)
	}
	b, err := os.ReadFile(name)
	return access.Secret(strings.TrimSpace(string(b))), err
}

// YAML returns c as a configuration file.
func (c Config) YAML() ([]byte, error) { return yaml.Marshal(c) }

// path returns a place inside the data folder.
func (c Config) path(parts ...string) string {
	return filepath.Join(append([]string{c.Data}, parts...)...)
}
