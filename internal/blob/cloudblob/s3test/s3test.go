// Package s3test imitates as much of an S3 service as blobs need, in the memory
// of a test: one bucket with put, get with ranges, head, delete, copy, list and
// uploads in parts. It checks no signatures.
package s3test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// maxBody bounds a request.
const maxBody = 1 << 30

// A Service is one imitation.
type Service struct {
	mu      sync.Mutex // guards the fields below
	objects map[string]object
	uploads map[string]map[int][]byte
	fail    func(r *http.Request) int // a status to fail with, or 0
	cut     bool                      // answers to GET end early
}

// Fail makes requests fail for which f gives a status; nil for none.
func (f *Service) Fail(status func(r *http.Request) int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = status
}

// Cut makes answers to GET end early.
func (f *Service) Cut(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = on
}

// Keys returns the names of all objects, in order, and how many uploads in
// parts are open.
func (f *Service) Keys() (keys []string, uploads int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.objects)), len(f.uploads)
}

type object struct {
	data []byte
	at   time.Time
}

func (o object) tag() string { return fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(o.data))) }

// New starts a service and returns the address of its bucket for
// storage.blobs. It ends with the test.
func New(t *testing.T) (*Service, string) {
	t.Helper()
	f := &Service{objects: map[string]object{}, uploads: map[string]map[int][]byte{}}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	return f, "s3://bucket?region=us-east-1&use_path_style=true&endpoint=" + url.QueryEscape(srv.URL)
}

// body reads what was sent, also in the chunks of signed streams.
func body(r *http.Request) ([]byte, error) {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING") {
		var out bytes.Buffer
		_, err := out.ReadFrom(io.LimitReader(r.Body, maxBody))
		return out.Bytes(), err
	}
	var (
		out bytes.Buffer
		in  = bufio.NewReader(r.Body)
	)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		size, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseInt(size, 16, 64)
		if err != nil || n == 0 {
			return out.Bytes(), err
		}
		if n < 0 || n > maxBody-int64(out.Len()) {
			return nil, fmt.Errorf("chunk of %d bytes", n)
		}
		if _, err := io.CopyN(&out, in, n); err != nil {
			return nil, err
		}
		if _, err := in.Discard(2); err != nil {
			return nil, err
		}
	}
}

// ServeHTTP implements [http.Handler].
func (f *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := body(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	held := true
	release := func() {
		if held {
			held = false
			f.mu.Unlock()
		}
	}
	defer release()
	if f.fail != nil {
		if status := f.fail(r); status != 0 {
			refuse(w, status, "InternalError")
			return
		}
	}
	key, q := strings.TrimPrefix(r.URL.Path, "/bucket"), r.URL.Query()
	key = strings.TrimPrefix(key, "/")
	switch {
	case !strings.HasPrefix(r.URL.Path, "/bucket"):
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case key == "" && r.Method == http.MethodGet:
		f.list(w, q)
	case key == "":
		w.WriteHeader(http.StatusOK)
	case r.Method == http.MethodPost && q.Has("uploads"):
		id := fmt.Sprint("upload", len(f.uploads))
		f.uploads[id] = map[int][]byte{}
		answer(w, struct {
			XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
			UploadId string
		}{UploadId: id})
	case r.Method == http.MethodPut && q.Has("partNumber"):
		n, err := strconv.Atoi(q.Get("partNumber"))
		if err != nil || f.uploads[q.Get("uploadId")] == nil {
			refuse(w, http.StatusNotFound, "NoSuchUpload")
			return
		}
		f.uploads[q.Get("uploadId")][n] = b
		w.Header().Set("ETag", object{data: b}.tag())
	case r.Method == http.MethodPost && q.Has("uploadId"):
		var data []byte
		for n := 1; n <= len(f.uploads[q.Get("uploadId")]); n++ {
			data = append(data, f.uploads[q.Get("uploadId")][n]...)
		}
		delete(f.uploads, q.Get("uploadId"))
		f.objects[key] = object{data, time.Now()}
		answer(w, struct {
			XMLName   xml.Name `xml:"CompleteMultipartUploadResult"`
			Key, ETag string
		}{Key: key, ETag: f.objects[key].tag()})
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		delete(f.uploads, q.Get("uploadId"))
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "":
		from, err := url.PathUnescape(strings.TrimPrefix(r.Header.Get("X-Amz-Copy-Source"), "/"))
		o, ok := f.objects[strings.TrimPrefix(from, "bucket/")]
		if err != nil || !ok {
			refuse(w, http.StatusNotFound, "NoSuchKey")
			return
		}
		o.at = time.Now()
		f.objects[key] = o
		answer(w, struct {
			XMLName xml.Name `xml:"CopyObjectResult"`
			ETag    string
		}{ETag: o.tag()})
	case r.Method == http.MethodPut:
		f.objects[key] = object{b, time.Now()}
		w.Header().Set("ETag", f.objects[key].tag())
	case r.Method == http.MethodDelete:
		delete(f.objects, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		o, ok := f.objects[key]
		if !ok {
			refuse(w, http.StatusNotFound, "NoSuchKey")
			return
		}
		cut := f.cut
		release() // whoever reads may write meanwhile
		w.Header().Set("ETag", o.tag())
		if cut && r.Method == http.MethodGet {
			w.Header().Set("Content-Length", strconv.Itoa(len(o.data)))
			w.Write(o.data[:len(o.data)/2])
			return
		}
		http.ServeContent(w, r, "", o.at, bytes.NewReader(o.data))
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	answer(w, struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
	}{Code: code})
}

func answer(w io.Writer, v any) {
	xml.NewEncoder(w).Encode(v)
}

type listed struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	IsTruncated           bool
	NextContinuationToken string
	Contents              []content
	CommonPrefixes        []struct{ Prefix string }
}

type content struct {
	Key, ETag, LastModified string
	Size                    int
}

// list answers with pages of three, so that callers must turn them.
func (f *Service) list(w http.ResponseWriter, q url.Values) {
	var keys []string
	for k := range f.objects {
		if strings.HasPrefix(k, q.Get("prefix")) && k > q.Get("continuation-token") {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var (
		out  listed
		last string
		seen = map[string]bool{}
	)
	for _, k := range keys {
		if len(out.Contents)+len(out.CommonPrefixes) == 3 {
			out.IsTruncated, out.NextContinuationToken = true, last
			break
		}
		last = k
		rest := strings.TrimPrefix(k, q.Get("prefix"))
		if d := q.Get("delimiter"); d != "" && strings.Contains(rest, d) {
			head, _, _ := strings.Cut(rest, d)
			if p := q.Get("prefix") + head + d; !seen[p] {
				seen[p] = true
				out.CommonPrefixes = append(out.CommonPrefixes, struct{ Prefix string }{p})
			}
			continue
		}
		o := f.objects[k]
		out.Contents = append(out.Contents, content{k, o.tag(), o.at.UTC().Format(time.RFC3339), len(o.data)})
	}
	answer(w, out)
}
