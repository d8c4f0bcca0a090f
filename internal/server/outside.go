package server

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/modelwarden/warden/internal/audit"
)

// An AuditConfig says where checkpoints of the audit log are copied to, and how
// many others must sign them, so that a rollback of log and checkpoint together
// is found.
type AuditConfig struct {
	Outside string `yaml:"outside"` // file that is replaced, or http(s) address that is PUT to; "": nowhere
	// witnesses that must have signed whatever is older than ten minutes
	WitnessesRequired int `yaml:"witnesses_required"`
}

const (
	witnessEvery = 10 * time.Second
	outsideEvery = time.Minute
)

func (c Config) checkAudit() error {
	if k := c.Audit.WitnessesRequired; k < 0 || k > 100 {
		return configError("audit.witnesses_required", fmt.Errorf("%d, want 0 to 100", k))
	}
	o := c.Audit.Outside
	if !strings.Contains(o, "://") {
		return nil
	}
	u, err := url.Parse(o)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return configError("audit.outside", fmt.Errorf("%q is neither a file nor http(s)://host/path", o))
	}
	return nil
}

// outside copies the newest checkpoint to where the configuration says.
func (s *Server) outside(ctx context.Context) error {
	to := s.cfg.Audit.Outside
	if to == "" {
		return nil
	}
	var c audit.Checkpoint
	err := s.store.ViewAudit(ctx, func(r audit.Reader) (err error) {
		c, _, err = audit.Latest(ctx, r)
		return err
	})
	if err != nil || c.Size == 0 || c.Size == s.copied {
		return err
	}
	if !strings.Contains(to, "://") {
		err = writeFile(filepath.Clean(to), c.Note)
	} else {
		err = put(ctx, to, c.Note)
	}
	if err == nil {
		s.copied = c.Size
	}
	return err
}

func put(ctx context.Context, to string, data []byte) error {
	client := &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("copy checkpoint to %s: %s", to, resp.Status)
	}
	return nil
}
