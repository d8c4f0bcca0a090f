package cloudblob_test

import (
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/blob"
	"github.com/modelwarden/warden/internal/blob/blobtest"
	"github.com/modelwarden/warden/internal/blob/cloudblob"
	"github.com/modelwarden/warden/internal/blob/cloudblob/s3test"
)

func open(t *testing.T, url string) *cloudblob.Store {
	t.Helper()
	s, err := cloudblob.Open(t.Context(), cloudblob.Config{URL: url, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// The suite on an imitation of S3 in this process.
func TestStoreOnFake(t *testing.T) {
	blobtest.TestStore(t, func(t *testing.T) blobtest.Store {
		_, url := s3test.New(t)
		return open(t, url)
	})
}

// The suite on a real service, below prefixes that it leaves behind.
func TestStoreOnS3(t *testing.T) {
	url := os.Getenv("WARDEN_TEST_S3")
	if url == "" {
		t.Skip("a real S3 service was not tried: set WARDEN_TEST_S3 to s3://bucket?region=…&endpoint=… (and AWS_… variables)")
	}
	blobtest.TestStore(t, func(t *testing.T) blobtest.Store { return open(t, url+"&prefix=test-"+rand.Text()) })
}

// Bytes of more than one part, in uploads and in the service's own parts.
func TestLarge(t *testing.T) {
	f, url := s3test.New(t)
	s := open(t, url+"&prefix=a/b")
	data := make([]byte, 70<<20)
	for i := range data {
		data[i] = byte(i >> 12)
	}
	d := warden.Sum(data)
	id, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Append(t.Context(), id, 0, strings.NewReader(string(data)), 1<<30); err != nil || n != int64(len(data)) {
		t.Fatalf("Append = %d, %v", n, err)
	}
	if info, err := s.Commit(t.Context(), id, d); err != nil || info.Digest != d {
		t.Fatalf("Commit = %+v, %v", info, err)
	}
	if got := warden.Sum(blobtest.Read(t, s, d)); got != d {
		t.Errorf("read back %s, want %s", got, d)
	}
	b, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	h := warden.Sum(data[3<<20-5 : 5<<20+5])
	part := make([]byte, 2<<20+10)
	if _, err := b.ReadAt(part, 3<<20-5); err != nil || warden.Sum(part) != h {
		t.Errorf("ReadAt across windows = %v, other bytes %v", err, warden.Sum(part) != h)
	}
	if err := iotest.TestReader(io.NewSectionReader(b, 1<<20-100, 300), data[1<<20-100:1<<20+200]); err != nil {
		t.Error(err)
	}
	keys, uploads := f.Keys()
	for _, key := range keys {
		if !strings.HasPrefix(key, "a/b/sha256/") {
			t.Errorf("%s was left behind", key)
		}
	}
	if uploads != 0 {
		t.Errorf("%d uploads in parts were left behind", uploads)
	}
}

// What the service cuts short or refuses is an error, never other bytes.
func TestBadService(t *testing.T) {
	f, url := s3test.New(t)
	s := open(t, url)
	data := strings.Repeat("weights ", 1<<15)
	info, err := s.Put(t.Context(), strings.NewReader(data), warden.Digest{}, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	f.Cut(true)
	if _, err := s.Open(t.Context(), info.Digest); err == nil {
		t.Error("a truncated blob was opened")
	}
	f.Cut(false)
	f.Fail(func(r *http.Request) int {
		if r.Method == http.MethodPut || r.Method == http.MethodPost {
			return http.StatusForbidden
		}
		return 0
	})
	var we *warden.Error
	if _, err := s.Put(t.Context(), strings.NewReader("x"), warden.Sum([]byte("x")), 10); !errors.As(err, &we) || we.Code != warden.CodeUnavailable {
		t.Errorf("Put = %v, want unavailable", err)
	}
	if _, err := s.Stat(t.Context(), warden.Sum([]byte("x"))); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Stat = %v, want ErrNotFound", err)
	}
	n := 0
	f.Fail(func(*http.Request) int { // twice, then well again
		if n++; n <= 2 {
			return http.StatusInternalServerError
		}
		return 0
	})
	if _, err := s.Stat(t.Context(), info.Digest); err != nil {
		t.Errorf("Stat after two failures of the service = %v", err)
	}
}

// Uploads that nobody touches are swept, others stay.
func TestSweep(t *testing.T) {
	f, url := s3test.New(t)
	now := time.Now()
	s, err := cloudblob.Open(t.Context(), cloudblob.Config{URL: url, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 5 {
		id, err := s.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Append(t.Context(), id, 0, strings.NewReader("abc"), 10); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{10, 0} {
		err := s.SweepUploads(t.Context())
		if keys, _ := f.Keys(); err != nil || len(keys) != want {
			t.Errorf("SweepUploads = %v, %d objects left, want %d", err, len(keys), want)
		}
		now = now.Add(25 * time.Hour)
	}
}

func TestOpenRefuses(t *testing.T) {
	_, url := s3test.New(t)
	for _, u := range []string{"", "file:///x", "s3://?region=x", strings.Replace(url, "bucket", "other", 1)} {
		if s, err := cloudblob.Open(t.Context(), cloudblob.Config{URL: u, Now: time.Now}); err == nil {
			t.Errorf("Open(%q) = %v", u, s)
		}
	}
}
