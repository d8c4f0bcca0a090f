package api_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/api"
	"github.com/modelwarden/warden/internal/server/servertest"
)

func TestUpload(t *testing.T) {
	b := newBench(t)
	begin := func() string {
		resp, text := b.do("engineer", "POST", "/api/v1/uploads", "")
		b.want(201, "", resp, text)
		return resp.Header.Get("Location")
	}
	patch := func(at, offset, body string) (*http.Response, string) {
		return b.do("engineer", "PATCH", at, body, "Upload-Offset", offset)
	}
	data := servertest.Clean
	digest := warden.Sum([]byte(data)).String()

	t.Run("resume", func(t *testing.T) {
		at := begin()
		resp, text := patch(at, "0", data[:5])
		b.want(204, "", resp, text)
		resp, text = patch(at, "0", data[:5])
		b.want(409, "conflict", resp, text)
		resp, text = patch(at, "6", data[6:])
		b.want(409, "conflict", resp, text)
		resp, _ = b.do("engineer", "HEAD", at, "")
		if resp.Header.Get("Upload-Offset") != "5" {
			t.Errorf("offset %q, want 5", resp.Header.Get("Upload-Offset"))
		}
		resp, text = b.do("engineer", "PUT", at+"?digest="+digest, "")
		b.want(400, "invalid", resp, text) // half of it is another file
		resp, text = patch(at, "5", data[5:])
		b.want(404, "not_found", resp, text) // and it is gone
	})
	t.Run("whole", func(t *testing.T) {
		at := begin()
		patch(at, "0", data[:5])
		patch(at, "5", data[5:])
		resp, text := b.do("engineer", "PUT", at+"?digest="+digest, "")
		b.want(201, "", resp, text)
		resp, _ = b.do("engineer", "HEAD", "/api/v1/blobs/"+digest, "")
		if resp.StatusCode != 200 || resp.Header.Get("Content-Length") != fmt.Sprint(len(data)) {
			t.Errorf("HEAD blob: %d %v", resp.StatusCode, resp.Header)
		}
	})
	t.Run("bad_headers", func(t *testing.T) {
		at := begin()
		for _, offset := range []string{"", "-1", "x", "9223372036854775808", "0x0", " "} {
			resp, text := patch(at, offset, "x")
			b.want(400, "invalid", resp, text)
		}
		for _, d := range []string{"", "md5:0", strings.ToUpper(digest)} {
			resp, text := b.do("engineer", "PUT", at+"?digest="+d, "")
			b.want(400, "invalid", resp, text)
		}
	})
	t.Run("too_large", func(t *testing.T) {
		at := begin()
		resp, text := patch(at, "0", strings.Repeat("x", maxBlob))
		b.want(204, "", resp, text)
		resp, text = patch(at, fmt.Sprint(maxBlob), "x")
		b.want(413, "limit", resp, text)
	})
	t.Run("abort", func(t *testing.T) {
		at := begin()
		for range 2 {
			resp, text := b.do("engineer", "DELETE", at, "")
			b.want(204, "", resp, text)
		}
		resp, text := patch(at, "0", "x")
		b.want(404, "not_found", resp, text)
	})
	t.Run("names", func(t *testing.T) {
		for _, id := range []string{"x", "..", "%2e%2e", "..%2f..%2fwarden.db", strings.Repeat("A", 26), strings.Repeat("A", 25) + "%2f"} {
			for _, method := range []string{"HEAD", "PATCH", "PUT"} {
				resp, text := b.do("engineer", method, "/api/v1/uploads/"+id+"?digest="+digest, "", "Upload-Offset", "0")
				if s := resp.StatusCode; s != 404 && s != 301 && s != 307 || strings.Contains(text, b.Dir) {
					t.Errorf("%s %s: %d %s", method, id, s, text)
				}
			}
		}
	})
	t.Run("half_a_body", func(t *testing.T) { // what arrived is kept, and the upload goes on from there
		at := begin()
		c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "PATCH %s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nUpload-Offset: 0\r\nContent-Length: 1000\r\n\r\n%s", at, b.keys["engineer"], data[:7])
		c.(*net.TCPConn).CloseWrite()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil && resp.StatusCode != 400 {
			t.Errorf("half a body: %d", resp.StatusCode)
		}
		c.Close()
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			resp, _ := b.do("engineer", "HEAD", at, "")
			if resp.Header.Get("Upload-Offset") == "7" {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("offset %d %q, want 7", resp.StatusCode, resp.Header.Get("Upload-Offset"))
			}
		}
		patch(at, "7", data[7:])
		resp, text := b.do("engineer", "PUT", at+"?digest="+digest, "")
		b.want(201, "", resp, text)
	})
}

func TestDownload(t *testing.T) {
	b := newBench(t)
	a := b.Admit("team/good", "dir/m.pkl", []byte(servertest.Clean))
	files := "/api/v1/artifacts/" + a.Digest.String() + "/files/"
	resp, text := b.do("reader", "GET", files+"dir/m.pkl", "")
	if resp.StatusCode != 200 || text != servertest.Clean || resp.Header.Get("Content-Disposition") != "attachment" || resp.Header.Get("Content-Type") != "application/octet-stream" {
		t.Fatalf("%d %q %v", resp.StatusCode, text, resp.Header)
	}
	etag := resp.Header.Get("ETag")
	for _, tt := range []struct {
		name   string
		header []string
		status int
		body   string
	}{
		{"first", []string{"Range", "bytes=0-3"}, 206, servertest.Clean[:4]},
		{"from", []string{"Range", "bytes=4-"}, 206, servertest.Clean[4:]},
		{"last", []string{"Range", "bytes=-2"}, 206, servertest.Clean[len(servertest.Clean)-2:]},
		{"beyond", []string{"Range", "bytes=1000-"}, 416, ""},
		{"huge", []string{"Range", "bytes=0-99999999999999999999"}, 416, ""},
		{"garbage", []string{"Range", "bytes=x"}, 416, ""},
		{"many", []string{"Range", "bytes=" + strings.TrimSuffix(strings.Repeat("0-,", 500), ",")}, 200, servertest.Clean},
		{"same", []string{"If-None-Match", etag}, 304, ""},
		{"if_range", []string{"Range", "bytes=0-3", "If-Range", etag}, 206, servertest.Clean[:4]},
		{"if_range_other", []string{"Range", "bytes=0-3", "If-Range", `"other"`}, 200, servertest.Clean},
	} {
		resp, text := b.do("reader", "GET", files+"dir/m.pkl", "", tt.header...)
		if resp.StatusCode != tt.status || tt.body != "" && text != tt.body {
			t.Errorf("%s: %d %.60q, want %d %q", tt.name, resp.StatusCode, text, tt.status, tt.body)
		}
	}
	for _, p := range []string{"", "dir", "dir/", "dir%2fM.pkl", "m.pkl", "..%2f..%2fwarden.db", "%2e%2e/%2e%2e/warden.db", "%2fetc%2fpasswd", "dir/m.pkl%00", "dir//m.pkl", "dir/../dir/m.pkl", "/dir/m.pkl", strings.Repeat("a", 8000)} {
		resp, text := b.do("reader", "GET", files+p, "")
		if s := resp.StatusCode; s != 404 && s != 301 && s != 307 || strings.Contains(text, b.Dir) {
			t.Errorf("file %.40q: %d %.200s", p, s, text)
		}
	}
	for model, data := range map[string]string{"team/bad": servertest.Hostile, "team/pending": ""} {
		v := b.Push(model, "m", []byte(data+"x"))
		if data != "" {
			b.Admit(model, "m", []byte(data+"x"))
		}
		resp, text := b.do("admin", "GET", "/api/v1/artifacts/"+v.Digest.String()+"/files/m", "")
		b.want(403, "denied", resp, text)
	}
}

// A download that runs while its artifact is quarantined breaks off, and its
// client sees that it did.
func TestQuarantineMidDownload(t *testing.T) {
	b := newBench(t)
	large := append([]byte("(dp0\nS'"), bytes.Repeat([]byte("x"), 64<<20)...)
	large = append(large, "'\np1\nF0.5\ns."...)
	a := b.Admit("team/large", "m.pkl", large)
	if a.State() != "admitted" {
		t.Skipf("the large file is %s", a.Says())
	}
	req, err := http.NewRequest(http.MethodGet, b.url+"/api/v1/artifacts/"+a.Digest.String()+"/files/m.pkl", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+b.keys["reader"])
	resp, err := b.client.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(err, resp)
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	r, text := b.do("security", "POST", "/api/v1/artifacts/"+a.Digest.String()+"/quarantine", `{"reason":"drill"}`)
	b.want(200, "", r, text)
	time.Sleep(250 * time.Millisecond)
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil || n > 32<<20 {
		t.Errorf("%d more bytes came, error %v: want a broken body", n, err)
	}
}

// What is left of a body that was refused is never read as another request.
func TestNoDesync(t *testing.T) {
	b := newBench(t)
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	inner := "GET /api/v1/health HTTP/1.1\r\nHost: h\r\n\r\n"
	body := `{"name":"` + strings.Repeat(inner, 2<<20/len(inner)) + `"}`
	go fmt.Fprintf(c, "POST /api/v1/keys HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", b.keys["admin"], len(body), body)
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Fatal(err, resp)
	}
	io.Copy(io.Discard, resp.Body)
	if resp, err := http.ReadResponse(in, nil); err == nil {
		t.Errorf("the rest of the body was answered: %d", resp.StatusCode)
	}
}

// Reading a body leaves no deadline that ends a long operation, and a body that
// stands still is given up.
func TestPace(t *testing.T) {
	if testing.Short() {
		t.Skip("waits")
	}
	b := newBench(t)
	var long time.Duration
	h := api.Paced(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/read":
			io.Copy(io.Discard, r.Body)
		case "/write":
			io.WriteString(w, "answer")
			return
		}
		for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if r.Context().Err() != nil {
				t.Error("the context of a running operation ended")
				break
			}
		}
		w.WriteHeader(http.StatusNoContent)
	}), 200*time.Millisecond)
	srv := httptest.NewServer(h)
	defer srv.Close()
	long = time.Second
	resp, err := b.client.Post(srv.URL+"/read", "text/plain", strings.NewReader("body"))
	if err != nil || resp.StatusCode != http.StatusNoContent {
		t.Errorf("a long operation: %v %v", resp, err)
	}
	long = 0
	// The deadline of one answer does not fail the next on the same connection.
	c, err := net.Dial("tcp", strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for _, path := range []string{"/write", "/nothing", "/write", "/nothing"} {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s after a pause: %v", path, err)
		}
		io.Copy(io.Discard, resp.Body)
		time.Sleep(300 * time.Millisecond)
	}
	for _, path := range []string{"/read", "/ignore"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(srv.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "POST "+path+" HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nx")
		c.SetDeadline(time.Now().Add(5 * time.Second))
		in := bufio.NewReader(c)
		if _, err := http.ReadResponse(in, nil); err != nil {
			t.Errorf("%s: a body that stands still: %v, want it given up", path, err)
		}
		if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("%s: %v, want a closed connection", path, err)
		}
	}
}
