package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/report"
)

// scanFor is how long a scan statement of the command line holds.
const scanFor = 90 * 24 * time.Hour

// A statement is a report.Writer that makes a signed scan statement of what
// passes through it. The zero value makes none.
type statement struct {
	name   string // of the file to write; "": none
	signer *attest.Signer
	root   string // the one path that is scanned, with slashes
	folder bool

	sum    hash.Hash     // of the JSON report
	json   report.Writer // into sum
	scan   attest.Scan
	files  []registry.File
	unread []string // paths without a digest: nothing can be said of them
}

// newStatement reads the key before anything is scanned.
func (a *app) newStatement(ctx context.Context, f *scanFlags, paths []string) (*statement, error) {
	switch {
	case f.attest == "" && f.key == "":
		return &statement{}, nil
	case f.attest == "" || f.key == "":
		return nil, usage("--attest FILE and --key FILE belong together (hint: warden key generate makes a key)")
	case f.digest == "never":
		return nil, usage("--attest names what was scanned by its digest: leave out --digest never")
	case len(paths) != 1 || paths[0] == "-" || strings.HasPrefix(paths[0], remoteScheme):
		return nil, usage("--attest wants exactly one file or folder on this machine")
	}
	st, err := os.Stat(paths[0])
	if err != nil {
		return nil, usage("--attest: %w", err)
	}
	signer, err := a.signer(ctx, f.key)
	if err != nil {
		return nil, err
	}
	s := &statement{name: f.attest, signer: signer, root: filepath.ToSlash(filepath.Clean(paths[0])), folder: st.IsDir(), sum: sha256.New()}
	s.json = report.NewJSON(s.sum)
	return s, nil
}

// readSigner reads a private key from a PEM file.
func (a *app) readSigner(name string) (*attest.Signer, error) {
	text, err := readKeyFile(name)
	if err != nil {
		return nil, usage("--key: %w", err)
	}
	return a.signerOf(name, text)
}

// Begin implements report.Writer.
func (s *statement) Begin(t report.Tool, started time.Time) error {
	if s.name == "" {
		return nil
	}
	s.scan = attest.NewScan(attest.Scanner(t), started, scanFor)
	return s.json.Begin(t, started)
}

// Target implements report.Writer.
func (s *statement) Target(t report.Target) error {
	if s.name == "" {
		return nil
	}
	registry.AddTarget(&s.scan, t)
	d, err := warden.ParseDigest(t.Digest)
	if err != nil || strings.Contains(t.Path, `\x`) { // bytes that are not text have no place in a manifest
		s.unread = append(s.unread, t.Path)
		return s.json.Target(t)
	}
	path := filepath.Base(s.root)
	if s.folder {
		path = strings.TrimPrefix(t.Path, s.root+"/")
	}
	if s.folder && (strings.HasPrefix(path, ".git/") || strings.Contains(path, "/.git/")) {
		return s.json.Target(t) // scanned, but no part of what is pushed or signed
	}
	s.files = append(s.files, registry.File{Path: path, Digest: d, Size: t.Size})
	return s.json.Target(t)
}

// End implements report.Writer.
func (s *statement) End(sum report.Summary, took time.Duration) error {
	if s.name == "" {
		return nil
	}
	err := s.json.End(sum, took)
	s.scan.Report = warden.Digest(s.sum.Sum(nil)).String()
	return err
}

// write signs the statement and writes its envelope. The first subject is the
// digest of the manifest, under which a push of the same file or folder is
// registered; the others are its files.
func (s *statement) write() error {
	switch {
	case s.name == "":
		return nil
	case len(s.unread) > 0:
		return fmt.Errorf("no statement was written: %s could not be read whole, so nothing can be said of %s", s.unread[0], s.root)
	case len(s.files) == 0:
		return fmt.Errorf("no statement was written: %s holds no files", s.root)
	}
	subjects, err := manifestSubjects(registry.Manifest{Files: s.files})
	if err != nil {
		return err
	}
	st, err := attest.New(attest.ScanType, s.scan, subjects...)
	if err != nil {
		return err
	}
	envelope, err := attest.SignStatement(s.signer, st)
	if err != nil {
		return err
	}
	return writeWhole(s.name, append(envelope, '\n'), 0o644)
}

// writeWhole replaces a file so that a crash leaves the old one or the new one.
func writeWhole(name string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".warden-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
